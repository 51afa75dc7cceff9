"""All that can be known to fail before a model is loaded or a folder is made, found at once.

Weights, devices, memory, disk, and whether each model can do what the method will ask of it. No
model library is imported.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from int_bench.config import RunConfig, binding, sources
from int_bench.config.needs import devices
from int_bench.config.needs.hardware import Memory, cuda_devices, host_memory
from int_bench.config.needs.memory import Demand, demands
from int_bench.config.needs.plan import plan
from int_bench.config.needs.weights import Weights, weights_of
from int_bench.config.places import file_of, options
from int_bench.core.protocols import Method
from int_bench.core.text import in_bytes
from int_bench.errors import Exit, MissingAsset, UsageError, UserError
from int_bench.runs.preflight.estimate import Estimate, estimate, total
from int_bench.runs.prepare import Prepared
from int_bench.runs.variants import RunRequest

_ENTRY = re.compile(r"^ *- /backbone/(\w+): (\w+)", re.MULTILINE)
_PROBABILITIES = ("score", "first_token", "contrast")


class Fault(NamedTuple):
    """One thing that is missing or cannot work: what it concerns, what is wrong, what mends it."""

    subject: str
    what: str
    remedy: str
    code: Exit

    @property
    def sentence(self) -> str:
        """All of it, on one line."""
        return "; ".join(filter(None, (f"{self.subject}: {self.what}", self.remedy)))


@dataclass(frozen=True)
class Preflight:
    """What was found.

    Attributes:
        faults: each once, in the order of the models.
        weights: of all models of the command.
        demands: what the models need in memory.
        estimate: what the command will cost; None where it cannot run.
        notes: what a user should know and nothing ends for.
    """

    faults: tuple[Fault, ...]
    weights: tuple[Weights, ...]
    demands: tuple[Demand, ...]
    estimate: Estimate | None
    notes: tuple[str, ...] = ()

    @property
    def code(self) -> Exit:
        """The exit code of the faults: that of a missing asset if one is missing."""
        return max((fault.code for fault in self.faults), default=Exit.DONE)

    @property
    def fetch(self) -> str:
        """The one command that brings all weights that can be fetched; empty if none lacks."""
        lacking = [part.word for part in self.weights if part.lacks and part.fetchable]
        words = _shortened(list(dict.fromkeys(lacking)))
        return f"int-bench models fetch {' '.join(words)}" if words else ""

    def refuse(self) -> None:
        """Raise what was found.

        Raises:
            MissingAsset: something is missing.
            UsageError: something is here and cannot work.
        """
        if self.faults:
            text = " ".join(f"{fault.sentence}." for fault in self.faults)
            raise (MissingAsset if self.code == Exit.MISSING else UsageError)(text)


def _shortened(words: list[str]) -> list[str]:
    """The words, those that make up a preset replaced by it."""
    for preset in options("models"):
        text = file_of("models", preset).read_text(encoding="utf-8", errors="replace")
        own = [f"backbone/{role}={name}" for role, name in _ENTRY.findall(text)]
        if own and set(own) <= set(words):
            return [f"models={preset}", *(word for word in words if word not in own)]
    return words


def preflight(
    requests: Sequence[RunRequest],
    prepared: Sequence[Prepared],
    methods: Sequence[Method],
    lack: UserError | None = None,
) -> Preflight:
    """Look at everything that a command needs.

    Args:
        requests: what it asks for.
        prepared: the runs of it that are computed; empty where the data set cannot be used.
        methods: theirs, built.
        lack: why the data set cannot be used.
    """
    configs = [request.config for request in requests if request.longer is None]
    weights = _distinct(part for config in configs for part in weights_of(config))
    needs = _distinct(need for config in configs for need in demands(config))
    faults = [Fault("data set", str(lack).rstrip("."), "", lack.exit_code)] if lack else []
    cost = estimate(prepared, methods) if prepared else None
    if cost is None or cost.images:  # what is finished needs no model
        faults += _of_weights(weights)
        if not _elsewhere(configs[0]):
            faults += _distinct(fault for config in configs for fault in _of_devices(config))
            faults += _of_memory(needs)
        if cost is not None:
            faults += _distinct(f for config in configs for f in _of_verbs(config, cost))
            faults += _of_disk(configs[0].out, cost)
        faults += _distinct(fault for config in configs for fault in _of_libraries(config))
    notes = _distinct(filter(None, (devices.unused(config.backbone) for config in configs)))
    return Preflight(tuple(faults), tuple(weights), tuple(needs), cost, tuple(notes))


def merged(reports: Sequence[Preflight]) -> Preflight:
    """What was found of several groups of runs, each thing once; they run one after the other."""
    costs = [report.estimate for report in reports if report.estimate is not None]
    return Preflight(
        tuple(_distinct(fault for report in reports for fault in report.faults)),
        tuple(_distinct(part for report in reports for part in report.weights)),
        tuple(_distinct(need for report in reports for need in report.demands)),
        total(costs) if costs else None,
        tuple(_distinct(note for report in reports for note in report.notes)),
    )


def _distinct(items: Iterable[Any]) -> list[Any]:
    return list(dict.fromkeys(items))


def _of_weights(weights: Sequence[Weights]) -> Iterator[Fault]:
    for part in weights:
        if part.lacks:
            size = f" ({in_bytes(part.known.bytes)})" if part.known.bytes else ""
            what = f"{part.name}{size} {part.lacks}"
            yield Fault(part.role, what, part.remedy, Exit.MISSING)


def _of_devices(config: RunConfig) -> Iterator[Fault]:
    """CUDA devices that are asked for and cannot be used."""
    for what, remedy in devices.refusals(config.backbone):
        yield Fault("device", what, remedy, Exit.USAGE)


def _elsewhere(config: RunConfig) -> bool:
    """Whether other machines compute, of whose devices nothing is known here."""
    return config.choices.get("executor") == "slurm" or bool(config.executor.get("address"))


def _of_memory(needs: Sequence[Demand]) -> Iterator[Fault]:
    """Models that cannot fit: their weights, or on a GPU the largest call of one request."""
    for place, demanded in by_place(needs).items():
        if place is None:
            continue
        size, all_of_it = sum(need.weights for need in demanded), in_bytes(place.total)
        on_gpu = place in (cuda_devices() or ())
        planned = plan(demanded, place.total) if on_gpu else None
        remedy = "models=small, or another device"
        if size > (planned.room if planned else place.total):
            what = f"{in_bytes(size)} of weights do not fit into {place.name}'s {all_of_it}"
        elif planned and planned.lacks:
            what = f"{planned.lacks} of {place.name}'s {all_of_it}"
        elif planned and size > planned.room - (place.total - place.free):
            what = (
                f"{in_bytes(size)} of weights do not fit into the {in_bytes(place.free)} that are "
                f"free of {place.name}'s {all_of_it}"
            )
            remedy = f"end what else computes there, {remedy}"
        else:
            continue
        yield Fault("memory", what, remedy, Exit.USAGE)


def by_place(needs: Sequence[Demand]) -> dict[Memory | None, list[Demand]]:
    """What is needed in each memory; under None where it is not known."""
    here, host = cuda_devices(), host_memory()
    places: dict[Memory | None, list[Demand]] = {}
    for need in needs:
        place: Memory | None = host
        if need.device != "cpu" and here:
            number = devices.number_of(need.device)
            place = here[number] if number < len(here) else None
        elif need.device.startswith("cuda"):
            place = None
        places.setdefault(place, []).append(need)
    return places


def _of_verbs(config: RunConfig, cost: Estimate) -> Iterator[Fault]:
    """Models that are asked what they cannot do, told from their class."""
    for role, node in config.backbone.items():
        target = str(node[binding.TARGET])
        asked = [call.partition(".")[2] for call in cost.calls if call.startswith(f"{role}.")]
        refused = [verb for verb in binding.constant(target, "CANNOT", ()) if verb in asked]
        absent = [verb for verb in asked if not binding.defines(target, verb)]
        if set(refused) & set(_PROBABILITIES):
            name = node.get("model") or target
            what = (
                f"{config.method_name} needs probabilities, and {name} "
                f"({config.choices.get(f'backbone/{role}')}) gives answers alone"
            )
            remedy = (
                "reading=sampled takes the share of sampled answers for a probability, "
                "method=vlm_api_sam needs none, backbone/vlm=llava_1_5_7b tells them"
            )
            yield Fault(role, what, remedy, Exit.USAGE)
        elif refused or absent:
            what = (
                f"{config.method_name} asks it to {[*refused, *absent][0]}, which {target} cannot"
            )
            yield Fault(role, what, f"another backbone/{role}", Exit.USAGE)


def _of_libraries(config: RunConfig) -> Iterator[Fault]:
    """The libraries of the executor and of the tracker, where they are not installed."""
    parts = (("executor", config.executor, "inline"), ("sink", config.sink, "null"))
    for group, node, instead in parts:
        if node is None:
            continue
        if binding.TARGET not in node:
            remedy = f"say {binding.TARGET} in its file, or {group}={instead}"
            yield Fault(
                group, f"{group}={config.choices[group]} names no class", remedy, Exit.USAGE
            )
            continue
        target = str(node[binding.TARGET])
        library = binding.constant(target, "LIBRARY", None)
        if group == "sink" and not isinstance(library, str):
            remedy = "a class with open(), which names its library as LIBRARY, or sink=null"
            yield Fault(group, f"{target} is no tracker", remedy, Exit.USAGE)
        spec = sources.find(library) if isinstance(library, str) else None
        if library and (spec is None or spec.origin is None):  # a folder ./wandb is no library
            extra = config.choices[group] if group == "executor" else library
            what = f"{group}={config.choices[group]} needs {library}, which is not installed"
            remedy = f"pip install 'int-bench[{extra}]', or {group}={instead}"
            yield Fault(group, what, remedy, Exit.MISSING)


def _of_disk(out: Path, cost: Estimate) -> Iterator[Fault]:
    folder = out.absolute()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if cost.bytes is not None and cost.bytes > free:
        what = f"{in_bytes(cost.bytes)} of masks at most, and {in_bytes(free)} are free in {folder}"
        yield Fault("disk", what, "keep=final, or --out on another disk", Exit.MISSING)
