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
from int_bench.data.fingerprint import images_hash, truths_hash
from int_bench.data.subset import First
from int_bench.errors import UsageError
from int_bench.runs.execute import Plan
from int_bench.runs.folder import RunFolder
from int_bench.runs.layout import MANIFEST, RECORDS, Key, file_names
from int_bench.runs.manifest import Manifest, read_manifest
from int_bench.runs.prefixes import derive
from int_bench.runs.provenance import code, device, machine
from int_bench.runs.reader import Run
from int_bench.runs.records import OK

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
        """How many samples, over trials, are done and well, and their masks there."""
        if not (self.path / MANIFEST).exists() or not (self.path / RECORDS).exists():
            return 0
        run, asked = Run(self.path), set(self.keys)
        done = {key for key in asked if run.records.status(key) == OK}
        return len(done - {damage.key for damage in run.verify(keys=done)})

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
        return self._open(self.description(own))

    def take(self, source: Path) -> None:
        """Fill the run folder from a longer run, as far as that is done.

        Raises:
            UserError: See :func:`int_bench.runs.prefixes.derive`.
        """
        if self.finished == self.total:
            return
        # Models, code and machine are those of the run that computed.
        longer = Run(source)
        computed = {key: longer.manifest.content[key] for key in ("models", "code", "machine")}
        with self._open({**self.description({}), **computed, PREFIX_OF: str(source)}) as folder:
            derive(longer, folder, int(self.config.method["iterations"]), self.keys)

    def description(self, models: Mapping[str, Any]) -> dict[str, Any]:
        """What ``run.json`` says of the run, see :mod:`int_bench.runs.manifest`."""
        before = self._before()
        earlier = before.content if before else {}
        return {
            "kind": "run",
            "name": self.config.method_name,
            "label": self.label,
            "digest": self.path.name,
            "identity": self.identity,
            "config": _resolved(self.config),
            "reading": self.config.choices.get("reading"),
            "code": code(),
            "machine": machine(),
            "models": self._models(models),
            "data": self._data(),
            "stamps": [],
            # Earlier records of the folder may have been taken from a longer run.
            **({PREFIX_OF: earlier[PREFIX_OF]} if PREFIX_OF in earlier else {}),
            "created": earlier.get("created") or _now(),
        }

    def _models(self, identities: Mapping[str, Any]) -> dict[str, Any]:
        """What serves each role: class, source, content where known, and its account of itself."""
        models = {}
        for role, node in self.config.backbone.items():
            known = self.identity["models"][role]
            content = str(known.get("checkpoint"))
            models[role] = {
                "class": known["class"],
                "source": node.get("checkpoint") or node.get("model"),
                "revision": node.get("revision"),
                "hash": content if content.startswith("sha256:") else None,
                "dtype": node.get("dtype"),
                "adapter": node.get("adapter"),
                "identity": dict(identities.get(role, {})),
            }
        return models

    def _open(self, description: Mapping[str, Any]) -> RunFolder:
        whole = self.dataset.whole if isinstance(self.dataset, First) else self.dataset
        names = file_names(sample.id for sample in whole.samples())
        host = {"name": description["machine"]["host"], "device": device()}
        return RunFolder(self.path, description, self.config.keep, names, host)

    def _data(self) -> dict[str, Any]:
        whole = self.dataset.whole if isinstance(self.dataset, First) else self.dataset
        samples, listed = whole.samples(), whole.manifest()
        return {
            "name": self.config.dataset_name,
            "n": len(samples),
            "list_hash": listed,
            "content_hash": images_hash(samples) or listed,
            "truth_hash": truths_hash(samples),
        }

    def _before(self) -> Manifest | None:
        """The description that is there.

        Raises:
            MissingAsset: It is there and not ours to replace.
        """
        return read_manifest(self.path) if (self.path / MANIFEST).exists() else None


def prepare(asked: Sequence[Asked]) -> list[Prepared]:
    """Check everything that can be checked before a model is loaded; each run folder once."""
    first = asked[0].config
    whole: Dataset = build(first.dataset, "dataset")
    dataset = First(whole, first.limit)
    samples = dataset.samples()
    known = {"name": first.dataset_name, "manifest": whole.manifest()}
    content = images_hash(whole.samples())
    if content is not None:
        known["content"] = content
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


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
