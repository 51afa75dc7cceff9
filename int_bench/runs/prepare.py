"""What one command runs side by side: configurations, their run folders, the models they share."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from int_bench.config import RunConfig, binding, build
from int_bench.config.contents import commit_of
from int_bench.config.identity import digest, identity
from int_bench.core.files import expanded
from int_bench.data.dataset import Dataset, SampleFile
from int_bench.data.fingerprint import images_hash, truths_hash
from int_bench.data.subset import Part, asked_for
from int_bench.errors import MissingAsset, UsageError
from int_bench.runs.folder import RunFolder, describe
from int_bench.runs.kept.standing import Standing
from int_bench.runs.layout import FORMAT, MANIFEST, SHARDS, Key, file_names
from int_bench.runs.manifest import Manifest, read_manifest
from int_bench.runs.prefixes import copy, derive
from int_bench.runs.preflight.stamps import MIXED, stamps_of
from int_bench.runs.provenance import code, device, machine
from int_bench.runs.reader import Run
from int_bench.runs.training.guard import refuse
from int_bench.runs.variants import RunRequest

PREFIX_OF = "prefix_of"
"""In ``run.json``: the folder of the longer run that this one was taken from."""


@dataclass(frozen=True)
class Prepared:
    """A request with its data set and its run folder (not yet made); all of it was checked.

    Attributes:
        request: the configuration and its label.
        dataset: where images and ground truth come from, limited.
        samples: its samples, in order.
        identity: what decides the results.
        path: the run folder.
        source: the run folder that it is taken from; None if it is run itself.
        before: the ``run.json`` that is there; None if there is none.
    """

    request: RunRequest
    dataset: Part
    samples: Sequence[SampleFile]
    identity: dict[str, Any]
    path: Path
    source: Path | None = None
    before: Manifest | None = None

    @property
    def config(self) -> RunConfig:
        """The configuration."""
        return self.request.config

    @property
    def label(self) -> str:
        """What tables print."""
        return self.request.label or self.config.label or self.config.method_name

    @property
    def task_prompt(self) -> str:
        """The task-generic prompt."""
        return self.config.task.prompt

    @property
    def seed(self) -> int:
        """The run seed."""
        return self.config.seed

    @property
    def trials(self) -> int:
        """Repetitions of every sample, each with its own seed."""
        return self.config.trials

    @property
    def traced(self) -> bool:
        """Whether methods tell what they see and weigh."""
        return self.config.keep == "trace"

    @property
    def shards(self) -> int:
        """Files that its records are spread over: as it was begun, else as the executor says."""
        if self.before is not None and self.before.format == FORMAT:
            return self.before.shards
        return int(self.config.executor.get("shards") or SHARDS)

    @property
    def stamps(self) -> tuple[str, ...]:
        """What every table must say about it."""
        return stamps_of(self.config, self.samples)

    @property
    def keys(self) -> list[Key]:
        """All samples of all trials."""
        return [(trial, sample.id) for trial in range(self.trials) for sample in self.samples]

    @property
    def writable(self) -> bool:
        """Whether its folder, where it is there, can be written: not so on a read-only disk."""
        return not self.path.exists() or os.access(self.path, os.W_OK)

    def standing(self) -> Standing:
        """How much of it is done and well, and whether the folder needs mending."""
        return Standing.of(self.path, self.keys, self.config.keep, self.config.refill)

    def open(self, models: Mapping[str, Any]) -> RunFolder:
        """The run folder, open for a run with these models' identities, all roles of the command's.

        Raises:
            UsageError: it cannot be written, or another process writes to it.
        """
        return self._open(self.description(models))

    def settle(self) -> None:
        """Where nothing is to be computed: mend what is torn, and write ``run.json`` anew.

        It says the limit and the trials that were asked for last, so that scores are of them. On a
        read-only disk all stays as it is.

        Raises:
            UsageError: it cannot be written.
        """
        if not self.writable:
            return
        if self.standing().torn:
            with self.open({}):
                pass
        elif self.before is None or any(
            self.before.config.get(key) != getattr(self.config, key)
            for key in ("limit", "skip", "ids", "trials", "label")
        ):
            describe(self.path, self.description({}))

    def take(self, source: Path) -> None:
        """Fill the run folder from a longer run, as far as that is done.

        Raises:
            UserError: see :func:`int_bench.runs.prefixes.derive`.
        """
        standing = self.standing()
        if standing.done == len(self.keys) and self.before is not None and not standing.torn:
            return
        longer = Run(source)
        with self._open({**self._described_as(longer), PREFIX_OF: str(source)}) as folder:
            derive(longer, folder, int(self.config.method["iterations"]), self.keys)

    def join(self, sources: Sequence[Path], keys: Sequence[Key] | None = None) -> None:
        """Fill the run folder from those of the same configuration that did a part of its samples.

        Args:
            sources: their folders.
            keys: what to take of them; None for all that is asked for.

        Raises:
            UserError: see :func:`int_bench.runs.prefixes.copy`.
        """
        runs = [Run(source) for source in sources]
        with self._open(self._described_as(runs[0])) as folder:
            for run in runs:
                copy(run, folder, self.keys if keys is None else keys)

    def _described_as(self, other: Run) -> dict[str, Any]:
        """What ``run.json`` says; models, code and machine are those of the run that computed."""
        computed = {key: other.manifest.content[key] for key in ("models", "code", "machine")}
        return {**self.description({}), **computed}

    def description(self, identities: Mapping[str, Any]) -> dict[str, Any]:
        """What ``run.json`` says of the run, see :mod:`int_bench.runs.manifest`.

        Args:
            identities: by role what the models say of themselves; without them, what computed
                before stays.
        """
        earlier = self.before.content if self.before else {}
        stamped = self.before.stamps if self.before else ()
        computed = {"code": code(), "machine": machine(), "models": self._models(identities)}
        if identities and self.before:
            _refuse_other_weights(self.before, computed["models"])
        if not identities:
            computed |= {key: earlier[key] for key in computed if key in earlier}
        return {
            "kind": "run",
            "name": self.config.method_name,
            "label": self.config.label or self.config.method_name,
            "digest": self.path.name,
            "identity": self.identity,
            "config": _resolved(self.config),
            "reading": self.config.choices.get("reading"),
            **computed,
            "data": self._data(),
            "shards": self.shards,
            "stamps": [*self.stamps, *(s for s in stamped if str(s).startswith(MIXED))],
            # Earlier records of the folder may have been taken from a longer run.
            **({PREFIX_OF: earlier[PREFIX_OF]} if PREFIX_OF in earlier else {}),
            "created": earlier.get("created") or _now(),
        }

    def _models(self, identities: Mapping[str, Any]) -> dict[str, Any]:
        """What serves each role: class, source, content where known, and its account of itself."""
        models = {}
        for role, node in self.config.backbone.items():
            identified = self.identity["models"][role]
            content = str(identified.get("checkpoint"))
            models[role] = {
                "class": identified["class"],
                "source": node.get("checkpoint") or node.get("model"),
                "revision": node.get("revision"),
                "commit": commit_of(str(node.get("checkpoint")), node.get("revision")),
                "hash": content if content.startswith("sha256:") else None,
                "dtype": node.get("dtype"),
                "adapter": node.get("adapter"),
                "identity": dict(identities.get(role, {})),
            }
        return models

    def _open(self, description: Mapping[str, Any]) -> RunFolder:
        names = file_names(sample.id for sample in unlimited(self.dataset).samples())
        host = {"name": description["machine"]["host"], "device": device(self.config.backbone)}
        refill = self.config.refill
        return RunFolder(self.path, description, self.config.keep, names, host, refill)

    def _data(self) -> dict[str, Any]:
        whole = unlimited(self.dataset)
        samples, listed = whole.samples(), whole.manifest()
        return {
            "name": self.config.dataset_name,
            "n": len(samples),
            "list_hash": listed,
            "content_hash": images_hash(samples) or listed,
            "truth_hash": truths_hash(samples),
        }


def _refuse_other_weights(before: Manifest, serving: Mapping[str, Any]) -> None:
    """A hub's name may stand for other weights than when the run was begun.

    They are not part of the identity, as nothing is known of them before they are downloaded.

    Raises:
        UsageError: both commits are known and differ.
    """
    for role, model in serving.items():
        begun = before.models.get(role)
        commit = begun.get("commit") if isinstance(begun, Mapping) else None
        if commit and model["commit"] and commit != model["commit"]:
            raise UsageError(
                f"{before.path} was begun with commit {str(commit)[:12]} of {model['source']}, and "
                f"{model['commit'][:12]} is here now; give the new one a run of its own with "
                f"backbone.{role}.revision={model['commit']}."
            )


def prepare(requests: Sequence[RunRequest]) -> list[Prepared]:
    """Check everything that can be checked before a model is loaded; each run folder once.

    Raises:
        UserError: the data set cannot be used, or a folder is there that is not to be touched.
    """
    first = requests[0].config
    whole: Dataset = build(first.dataset, "dataset")
    _check_ids(whole, first.ids or ())
    dataset = Part(whole, asked_for(whole.samples(), first.skip, first.limit, first.ids))
    samples = dataset.samples()
    identified = {"name": first.dataset_name, "manifest": whole.manifest()}
    content = images_hash(whole.samples())
    if content is not None:
        identified["content"] = content
    prepared: dict[Path, Prepared] = {}
    for request in requests:
        refuse(request.config, samples)
        decided = identity(request.config, identified)
        path = _folder(request.config, decided)
        source = None
        if request.longer is not None:
            source = _folder(request.longer, identity(request.longer, identified))
        before = read_manifest(path) if (path / MANIFEST).exists() else None
        checked = Prepared(request, dataset, samples, decided, path, source, before)
        prepared.setdefault(path, checked)
    return list(prepared.values())


def _check_ids(dataset: Dataset, ids: Sequence[str]) -> None:
    known = {sample.id for sample in dataset.samples()} if ids else set()
    for sample_id in ids:
        if sample_id not in known:
            hint = binding.closest(sample_id, known)
            raise MissingAsset(f"Data set {dataset.name} has no sample {sample_id!r}.{hint}")


def former(prepared: Prepared) -> Path | None:
    """A run of the same method and data in an earlier format, where a new folder is begun."""
    if prepared.before is None:
        for path in sorted(prepared.path.parent.glob(f"*/{MANIFEST}")):
            with suppress(MissingAsset):
                if read_manifest(path.parent).format < 2:
                    return path.parent
    return None


def with_all_models(prepared: Sequence[Prepared]) -> RunConfig:
    """The first configuration with the models and the strictest class of all of them.

    Raises:
        UsageError: two of them want different models for a role.
    """
    first, models = prepared[0].config, dict[str, Mapping[str, Any]]()
    strictest = min(run.config.exactness for run in prepared)
    for run in prepared:
        for role, node in run.config.backbone.items():
            if models.setdefault(role, node) != node:
                raise UsageError(
                    f"{first.method_name} and {run.config.method_name} want different models as "
                    f"{role}; run them one by one."
                )
    return replace(first, backbone=models, exactness=strictest)


def _folder(config: RunConfig, decided: Mapping[str, Any]) -> Path:
    return config.out / config.dataset_name / config.method_name / digest(decided)


def unlimited(dataset: Dataset) -> Dataset:
    """The data set without a limit."""
    return dataset.whole if isinstance(dataset, Part) else dataset


def _resolved(config: RunConfig) -> dict[str, Any]:
    """The whole configuration, JSON-ready; the data set's root made absolute."""
    dataset = dict(config.dataset)
    if "root" in (binding.signature(str(dataset[binding.TARGET])) or {}):
        dataset["root"] = str(expanded(dataset.get("root", ".")).absolute())
    return {**asdict(config), "out": str(config.out), "dataset": dataset}


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
