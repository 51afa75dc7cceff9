"""What `ablate` trains and runs of a trained method: the whole of it, and it without a part.

A part is left out by training again without it. Parts of the selector are measured on what it
selects for training objects, as in SAPNet's Tables 6 and 7, or through the network that learns from
it (``method=sapnet``), as in its Table 4; MPS is of the network alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from int_bench.config import RunConfig, binding, load_config
from int_bench.config.annotations import complaint
from int_bench.config.compose import TRAIN, composed
from int_bench.config.places import options
from int_bench.errors import UsageError
from int_bench.runs.training.request import SCENES, target_of, words_of

OF_SELECTOR: Mapping[str, tuple[str, ...]] = {
    "PDG": ("psm.pdg=off",),
    "PNPG": ("pnpg.ppg=off", "pnpg.npg=none"),
    "PPG": ("pnpg.ppg=off",),
    "NPG": ("pnpg.npg=none",),
    "BMS": ("bms.after=off",),
}
"""The parts of SAPNet's selection, and the options of its training that leave them out."""
OF_SEGMENTER: Mapping[str, tuple[str, ...]] = {"MPS": ("mps=false",)}
"""The same of its network."""
PARTS = {**OF_SELECTOR, **OF_SEGMENTER}
SELECTOR, SEGMENTER = "sapnet_select", "sapnet"
"""Trainings where no method is given, and the methods that run what they leave."""
_CLASSES = {"SelectionTraining": SELECTOR, "TrainSoloV2": SEGMENTER, "TrainEndToEnd": SEGMENTER}
_WHOLE = ("SelectionTraining", "TrainEndToEnd")
"""Trainings that need no selector of another one."""
_MEASURED = {SELECTOR: 200, SEGMENTER: 512}
"""Scenes of a drawn data set that are measured at most."""
_CHOSEN = frozenset(
    {"patches", "reading", "iterations", "ablation", "label", "allow_train", "dataset.unit"}
    | {f"{TRAIN}.labels", "backbone/selector", "backbone.selector.checkpoint"}
    | {"backbone.instance_segmenter.adapter"}
)
_OF_RUNS = ("dataset.split=", "method.", "out=")
"""How overrides begin that no training is told."""


@dataclass(frozen=True)
class Variant:
    """A method, or it without a part.

    Attributes:
        part: that it lacks; empty for the whole method.
        selector: overrides of the training of its selector, or of both end to end.
        segmenter: of its network's, but for the selector; None where there is no further training.
    """

    part: str
    selector: tuple[str, ...]
    segmenter: tuple[str, ...] | None

    @property
    def label(self) -> str:
        """What tables call it; empty for the method's own name."""
        return f"without {self.part}" if self.part else ""

    def network(self, selector: Path, bags: Sequence[str]) -> list[str]:
        """Overrides of the training of its network.

        Args:
            selector: the folder `final` of its selector.
            bags: where the bags lie, as an override; none if they were given.
        """
        chosen = ("backbone/selector=sapnet", f"backbone.selector.checkpoint={selector}")
        return [*(self.segmenter or ()), *chosen, *bags]


@dataclass(frozen=True)
class TrainedAblation:
    """Variants of one method, and how they are measured.

    Attributes:
        method: that runs what is trained: ``sapnet_select`` or ``sapnet``.
        variants: the whole method first.
        words: the overrides that its runs share.
    """

    method: str
    variants: tuple[Variant, ...]
    words: tuple[str, ...]

    def config(self, variant: Variant, final: Path) -> RunConfig:
        """The run of a variant, of which ``final`` is the folder that its training left."""
        key = "selector.checkpoint" if self.method == SELECTOR else "instance_segmenter.adapter"
        label = [f"label={variant.label}"] if variant.part else []
        return load_config([*self.words, *label, f"backbone.{key}={final}"])


def is_trained(overrides: Sequence[str]) -> bool:
    """Whether `ablate` is asked for the parts of what is trained.

    So it is where the method can be trained, or, without a method, where a part is SAPNet's.
    """
    values = dict(text.partition("=")[::2] for text in overrides)
    if "method" in values:
        name = values["method"]
        return "module" in values and name in options("training") and _class(name) in _CLASSES
    return any(name in PARTS for name in values.get("module", "").upper().split(","))


def trained_ablations(overrides: Sequence[str]) -> list[TrainedAblation]:
    """What `ablate module=A,B` trains and runs.

    Without ``method=`` the parts of the selection are measured on what is selected, and MPS by the
    network; with it all are measured on what that method makes.

    Raises:
        UsageError: unknown parts, or a choice by hand of what is varied.
    """
    values = dict(text.partition("=")[::2] for text in overrides)
    words = [text for text in overrides if not text.startswith(("module=", "method="))]
    if len(overrides) - len(words) > len({"module", "method"} & set(values)):
        raise UsageError("Say module= and method= of `ablate` once each.")
    parts = _parts(values["module"], values.get("method", SEGMENTER))
    options_left_out = {f"{TRAIN}.{_key(word)}" for part in parts for word in PARTS[part]}
    for key in map(_key, words):
        if key in _CHOSEN | options_left_out:
            raise UsageError(f"ablate module= chooses {key} itself; leave {key}= out.")
    if "method" in values:
        return [_ablation(values["method"], parts, words)]
    groups = ((SELECTOR, OF_SELECTOR), (SEGMENTER, OF_SEGMENTER))
    split = [(name, [part for part in parts if part in own]) for name, own in groups]
    trained = [name for name, own in split if own]
    return [_ablation(name, own, words, trained) for name, own in split if own]


def _node(training: str, words: Sequence[str] = ()) -> dict[str, Any]:
    """The options of a training."""
    tree = composed([f"training={training}", "method=empty", *words]).tree
    node: dict[str, Any] = tree[TRAIN]
    return node


def _class(training: str) -> str:
    return target_of(training).rpartition(".")[2]


def _parts(text: str, training: str) -> list[str]:
    """The parts by name, each once.

    Raises:
        UsageError: the method has no such part.
    """
    known = list(OF_SELECTOR if _CLASSES[_class(training)] == SELECTOR else PARTS)
    names = known if text.lower() == "all" else list(dict.fromkeys(text.upper().split(",")))
    for name in names:
        if name not in known:
            raise UsageError(
                f"Unknown module {name!r} of method={training}; choose {', '.join(known)} or all."
                + binding.closest(name, known)
            )
    return names


def _ablation(
    training: str, parts: Sequence[str], words: Sequence[str], beside: Sequence[str] = ()
) -> TrainedAblation:
    """The variants of one training; ``beside`` are the others that the command is of."""
    method = _CLASSES[_class(training)]
    alone = _class(training) in _WHOLE
    trainings = [training] if alone else [SELECTOR, training]
    for part in parts:
        name = training if part in OF_SEGMENTER else trainings[0]
        if _node(name) == _node(name, _without(part, PARTS)):
            raise UsageError(f"method={name} has no {part} that could be left out.")
    told = [*_out(words, "train"), *(word for word in words if not word.startswith(_OF_RUNS))]
    shared = [
        (f"method={name}", *words_of(name, {*trainings, *beside}, told)) for name in trainings
    ]
    variants = []
    for part in ("", *parts):
        selector = (*shared[0], *_without(part, PARTS if alone else OF_SELECTOR))
        network = None if alone else (*shared[1], *_without(part, OF_SEGMENTER))
        variants.append(Variant(part, selector, network))
    return TrainedAblation(method, tuple(variants), tuple(_run_words(method, words)))


def _without(part: str, parts: Mapping[str, Sequence[str]]) -> list[str]:
    """The overrides that leave a part out; none where it is not among the parts."""
    return [f"{TRAIN}.{word}" for word in parts.get(part, ())]


def _run_words(method: str, words: Sequence[str]) -> list[str]:
    """The overrides of the runs: of the selection on training objects, of a network on others.

    What bags were made with, the selection is asked of as well.
    """
    plain = [word for word in words if not word.startswith((f"{TRAIN}.", "out=", "dataset.count="))]
    kept = [f"method={method}", *plain, *_out(words, "runs")]
    proposing = f"{TRAIN}.proposing."
    if method == SELECTOR:
        given = [word for word in words if word.startswith(proposing)]
        kept += [word.replace(proposing, "method.proposing.", 1) for word in given]
        kept.append("allow_train=true")
    else:
        kept.append("dataset.unit=image")
    of_data = [word for word in words if word.startswith(("dataset=", "dataset."))]
    dataset = composed([*of_data, "method=empty"]).tree["dataset"]
    signature = binding.signature(str(dataset[binding.TARGET])) or {}
    if "split" in signature and "dataset.split" not in map(_key, words):
        unknown = complaint(signature["split"].kind, "test")
        test = "test" in dataset.get("published", ("test",)) and not unknown
        others = "test" if test else "val"
        kept.append(f"dataset.split={'train' if method == SELECTOR else others}")
    if "count" in signature:
        count = dataset["count"] if "dataset.count" in map(_key, words) else SCENES
        kept.append(f"dataset.count={min(int(count), _MEASURED[method])}")
    return kept


def _out(words: Sequence[str], kind: str) -> list[str]:
    """With ``out=DIR`` the folder of trainings, or of runs, under it."""
    given = [word for word in words if word.startswith("out=")]
    if not given:
        return []
    return [f"out={Path(composed([*given, 'method=empty']).tree['out'], kind)}"]


def _key(text: str) -> str:
    return text.partition("=")[0]
