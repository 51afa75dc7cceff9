"""What one command runs side by side: configurations, their run folders, the models they share."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from int_bench.config import RunConfig, binding, build
from int_bench.config.identity import digest, identity
from int_bench.core.paths import expanded
from int_bench.data.dataset import Dataset, SampleFile
from int_bench.data.subset import First
from int_bench.errors import MissingAsset, UsageError
from int_bench.runs import folder as store
from int_bench.runs.execute import Plan
from int_bench.runs.folder import Key, RunFolder
from int_bench.runs.prefixes import derive
from int_bench.runs.provenance import provenance

PREFIX_OF = "prefix_of"
"""In ``run.json``: the folder of the longer run that this one was taken from."""


@dataclass(frozen=True)
class Asked:
    """One configuration that a command asks for.

    Attributes:
        config: the configuration.
        label: its name in what the command prints; the method's if empty.
        longer: the run of more iterations that it is the beginning of; None if it is run itself.
    """

    config: RunConfig
    label: str = ""
    longer: RunConfig | None = None


@dataclass(frozen=True)
class Prepared:
    """A checked configuration with its data set and its run folder (not yet made).

    ``source`` is the run folder that it is taken from; None if it is run itself.
    """

    config: RunConfig
    label: str
    dataset: Dataset
    samples: Sequence[SampleFile]
    identity: dict[str, Any]
    path: Path
    source: Path | None = None

    @property
    def keys(self) -> list[Key]:
        """All samples of all trials."""
        return [(trial, one.id) for trial in range(self.config.trials) for one in self.samples]

    @property
    def total(self) -> int:
        """Samples over trials."""
        return len(self.samples) * self.config.trials

    @property
    def finished(self) -> int:
        """How many samples, over trials, are done and well."""
        if not (self.path / store.RECORDS).exists():
            return 0
        records = store.read_records(self.path)
        done = {key for key, record in records.items() if record.status == "ok"}
        return len(done & set(self.keys))

    @property
    def plan(self) -> Plan:
        """What the run loop needs of it."""
        config = self.config
        return Plan(
            self.dataset, self.samples, config.task.prompt, seed=config.seed, trials=config.trials
        )

    def open(self, models: Mapping[str, Any]) -> RunFolder:
        """The run folder, open for a run with these models' identities, all roles of the command's.

        Raises:
            UsageError: It cannot be written, or another process writes to it.
        """
        own = {role: models[role] for role in self.config.backbone}
        return self._open({"models": own, **provenance()})

    def take(self, source: Path) -> None:
        """Fill the run folder from a longer run, as far as that is done.

        Raises:
            UserError: See :func:`int_bench.runs.prefixes.derive`.
        """
        if self.finished == self.total:
            return
        # Models, revision and host are those of the run that computed.
        computed = {**store.read_manifest(source), PREFIX_OF: str(source)}
        with self._open(computed) as folder:
            derive(source, folder, int(self.config.method["iterations"]), self.keys)

    def _open(self, computed: Mapping[str, Any]) -> RunFolder:
        known = {
            "name": self.config.method_name,
            "identity": self.identity,
            "config": _resolved(self.config),
        }
        rest = {key: value for key, value in computed.items() if key not in known}
        created = {"created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
        manifest = {**known, **self._origin(), **rest, **created}
        return RunFolder(self.path, manifest, self.config.keep)

    def _origin(self) -> dict[str, str]:
        """Where earlier records of this folder were taken from, which a later run must not hide."""
        try:
            before = store.read_manifest(self.path)
        except MissingAsset:
            return {}
        return {PREFIX_OF: before[PREFIX_OF]} if PREFIX_OF in before else {}


def prepare(asked: Sequence[Asked]) -> list[Prepared]:
    """Check everything that can be checked before a model is loaded; each run folder once."""
    first = asked[0].config
    whole: Dataset = build(first.dataset, "dataset")
    dataset = First(whole, first.limit)
    samples = dataset.samples()
    known = {"name": first.dataset_name, "manifest": whole.manifest()}
    prepared: dict[Path, Prepared] = {}
    for one in asked:
        decided = identity(one.config, known)
        path = _folder(one.config, decided)
        source = None
        if one.longer is not None:
            source = _folder(one.longer, identity(one.longer, known))
        label = one.label or one.config.method_name
        found = Prepared(one.config, label, dataset, samples, decided, path, source)
        prepared.setdefault(path, found)
    return list(prepared.values())


def _folder(config: RunConfig, decided: Mapping[str, Any]) -> Path:
    return config.out / config.dataset_name / config.method_name / digest(decided)


def with_all_models(prepared: Sequence[Prepared]) -> RunConfig:
    """The first configuration with the models and the strictest class of all of them.

    Raises:
        UsageError: Two of them want different models for a role.
    """
    first, models = prepared[0].config, dict[str, Mapping[str, Any]]()
    strictest = min(one.config.exactness for one in prepared)
    for one in prepared:
        for role, node in one.config.backbone.items():
            if models.setdefault(role, node) != node:
                raise UsageError(
                    f"{first.method_name} and {one.config.method_name} want different models as "
                    f"{role}; run them one by one."
                )
    return replace(first, backbone=models, exactness=strictest)


def _resolved(config: RunConfig) -> dict[str, Any]:
    """The whole configuration, JSON-ready; the data set's root made absolute."""
    dataset = dict(config.dataset)
    if "root" in (binding.signature(str(dataset[binding.TARGET])) or {}):
        dataset["root"] = str(expanded(dataset.get("root", ".")).absolute())
    return {**asdict(config), "out": str(config.out), "dataset": dataset}
