"""``int-bench train``: from the words of the command to checked data sets and a folder."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from int_bench.config import RunConfig, binding, build
from int_bench.config.annotations import complaint
from int_bench.config.compose import TRAIN, composed, load_training
from int_bench.config.places import options
from int_bench.core.files import expanded
from int_bench.data.dataset import Dataset
from int_bench.data.subset import Part
from int_bench.errors import MissingAsset, UsageError
from int_bench.runs.prepare import Prepared, prepare, unlimited
from int_bench.runs.training.folder import SCRATCH
from int_bench.runs.variants import RunRequest

ROOT = "results/train"
_SPLIT, _COUNT = "dataset.split", "dataset.count"
SCENES, _LOOKED_AT = 1200, 200
"""Scenes of drawn data sets that are trained on and looked at, where no number is given."""
_VALIDATION = ("val", "validation")
_TENTH = 10
_SELECTORS = {"sapnet": "sapnet_select", "mil_single": "mil_single"}
"""By the labels that a segmenter learns from, the training of the selector that chooses them."""


@dataclass(frozen=True)
class TrainRequest:
    """What a training is asked for, checked.

    Attributes:
        config: of the training; its ``method`` is the training itself, its data the training split.
        validation: the same with the validation split; None where the data set has no splits, and
            every tenth sample is looked at instead of trained on.
    """

    config: RunConfig
    validation: RunConfig | None

    @classmethod
    def of(cls, overrides: Sequence[str]) -> TrainRequest:
        """From overrides, with ``method=NAME`` for the training.

        Raises:
            UsageError: no method or one that is not trained, or anything else that is wrong with
                them.
        """
        words = _translated(overrides)
        dataset = composed([*words, "method=empty"]).tree["dataset"]
        parameter = (binding.signature(str(dataset[binding.TARGET])) or {}).get("split")
        if parameter is None:
            return cls(load_training(words), None)
        split, validation = _splits(parameter, words)
        rest = [word for word in words if not word.startswith(f"{_SPLIT}=")]
        selected = ("limit=", "skip=", "ids=", f"{_COUNT}=")  # they are of the training samples
        kept = [word for word in rest if not word.startswith(selected)]
        if "count" in (binding.signature(str(dataset[binding.TARGET])) or {}):
            drawn = any(word.startswith(f"{_COUNT}=") for word in words)
            rest += [] if drawn else [f"{_COUNT}={SCENES}"]
            count = dataset["count"] if drawn else SCENES
            kept.append(f"{_COUNT}={min(int(count), _LOOKED_AT)}")
        return cls(
            load_training([*rest, f"{_SPLIT}={split}"]),
            load_training([*kept, f"{_SPLIT}={validation}"]),
        )

    def prepare(self) -> tuple[Prepared, Dataset]:
        """The training split with its folder, and the validation split.

        Raises:
            UserError: a split cannot be used, or a file of weights to begin with is not there.
            UsageError: the splits share a sample.
        """
        _find_pretrained(self.config.method)
        prepared = prepare([RunRequest(self.config)])[0]
        if self.validation is None:
            return _held_out(prepared)
        validation: Dataset = build(self.validation.dataset, "dataset")
        shared = {sample.id for sample in prepared.samples}.intersection(
            sample.id for sample in validation.samples()
        )
        if not prepared.samples:
            raise MissingAsset(f"The split {_SPLIT} of {self.config.dataset_name} has no samples.")
        if shared:
            raise UsageError(
                f"{len(shared)} samples of {self.config.dataset_name} are in its training and its "
                f"validation split, {min(shared)!r} first; make the splits disjoint."
            )
        return prepared, validation


def selector_first(overrides: Sequence[str]) -> tuple[list[str], list[str]] | None:
    """The trainings of a segmenter: the selector of its labels, where none is given, and its own.

    Returns:
        The overrides of each; None where nothing has to be trained before.

    Raises:
        MissingAsset: the segmenter's own file of weights to begin with is not there.
    """
    name = _translated(overrides)[0].partition("=")[2]
    if any(word.startswith("backbone/selector=") for word in overrides):
        return None
    trainings = {name, *_SELECTORS.values()}
    words = [word for word in overrides if not word.startswith("method=")]
    own = [f"method={name}", *words_of(name, trainings, words)]
    training = composed([*_translated(own), "method=empty"]).tree[TRAIN]
    selector = _SELECTORS.get(str(training.get("labels")))
    if selector is None:
        return None
    _find_pretrained(training)
    return [f"method={selector}", *words_of(selector, trainings, words)], own


def words_of(name: str, trainings: Collection[str], words: Sequence[str]) -> list[str]:
    """The overrides of one training: of ``train.KEY`` those that it takes, or that none takes.

    Args:
        name: of the training.
        trainings: all that the command is of.
        words: what it was given.
    """
    taken = {other: set(binding.signature(target_of(other)) or {}) for other in trainings}
    kept = []
    for word in words:
        key, _, option = word.partition("=")[0].partition(".")
        option = option.partition(".")[0]
        others = any(option in options_of for options_of in taken.values())
        if key != TRAIN or option in taken[name] or not others:
            kept.append(word)
    return kept


def target_of(training: str) -> str:
    """The class of a training by its name, as a file of ``conf/training`` has it."""
    tree = composed([f"training={training}", "method=empty"]).tree
    return str(tree[TRAIN][binding.TARGET])


def bags_of(selector: Path, overrides: Sequence[str]) -> list[str]:
    """Where further trainings take their bags from: a selector's scratch, unless told otherwise.

    Args:
        selector: the folder ``final`` of its training.
        overrides: what the user gave.
    """
    if any(word.startswith(f"{TRAIN}.bags=") for word in overrides):
        return []
    return [f"{TRAIN}.bags={selector.parent / SCRATCH / 'bags'}"]


def _find_pretrained(training: Mapping[str, Any]) -> None:
    """Refuse a training whose ``pretrained`` is not there: it is read after hours of other work."""
    path = training.get("pretrained")
    if isinstance(path, str) and not expanded(path).is_file():
        raise MissingAsset(
            f"Of train.pretrained={path} there is no such file; torchvision's weights of a ResNet "
            "are at download.pytorch.org/models (resnet50-0676ba61.pth, resnet101-63fe2227.pth)."
        )


def _translated(overrides: Sequence[str]) -> list[str]:
    """``method=NAME`` as the choice of a training, and the root of trainings as the default."""
    names = [text.partition("=")[2] for text in overrides if text.startswith("method=")]
    known = options("training")
    if len(names) != 1:
        raise UsageError(f"Say what to train, once: method={'|'.join(known)}.")
    if names[0] not in known:
        raise UsageError(
            f"method={names[0]} is not trained; choose one of {', '.join(known)}."
            + binding.closest(names[0], known)
        )
    for text in overrides:
        if text.startswith(("method.", "training")):
            raise UsageError(f"{text!r}: options of a training are {TRAIN}.KEY=VALUE.")
    rest = [text for text in overrides if not text.startswith("method=")]
    own = {"out": ROOT, "allow_train": "true"}  # what a frozen model saw may be learned from again
    keys = {text.partition("=")[0] for text in rest}
    added = [f"{key}={value}" for key, value in own.items() if key not in keys]
    return [f"training={names[0]}", *rest, *added]


def _held_out(prepared: Prepared) -> tuple[Prepared, Dataset]:
    """A data set without splits: every tenth sample is for validation, from the first on."""
    ids, whole = [sample.id for sample in prepared.samples], unlimited(prepared.dataset)
    if len(ids) < 2:
        raise MissingAsset(f"A training needs two samples, and {whole.name} has {len(ids)}.")
    held = frozenset(ids[::_TENTH])
    data = Part(whole, frozenset(ids) - held)
    return replace(prepared, dataset=data, samples=data.samples()), Part(whole, held)


def _splits(parameter: binding.Parameter, words: Sequence[str]) -> tuple[str, str]:
    """The names of the training and of the validation split."""
    given = [word.partition("=")[2] for word in words if word.startswith(f"{_SPLIT}=")]
    validation = next((v for v in _VALIDATION if not complaint(parameter.kind, v)), "val")
    train = given[0] if given else "train"
    if train == validation:
        raise UsageError(f"{_SPLIT}={train} is what a training is looked at with; leave it out.")
    return train, validation
