"""No model is measured on what it was trained on unless somebody says so, and then tables say so.

What a model was trained on is told by ``card.json`` in the folder of its weights or adapter. An
image is known by its content, or by how it is drawn; where a card of an earlier version tells no
images, a sample is known by the name of its data set and its id.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from int_bench.config import RunConfig, binding
from int_bench.config.annotations import TARGET
from int_bench.config.contents import ZOO
from int_bench.config.identity import named
from int_bench.core.files import expanded, read_plain
from int_bench.core.text import many
from int_bench.core.typed import Malformed, Node, parsed
from int_bench.data.dataset import SampleFile
from int_bench.data.fingerprint import image_keys
from int_bench.errors import MissingAsset, UsageError
from int_bench.runs.training.folder import CARD

TRAINED = "TRAINED ON THESE SAMPLES"
"""How the stamp begins of a run on what one of its models was trained on."""
_LARGEST = 2**28  # bytes; a million ids are some 20 MB
_KEYS = ("adapter", "decoder", "checkpoint")


@dataclass(frozen=True)
class Seen:
    """Samples of a run that a model was trained on.

    Attributes:
        role: the model's.
        folder: of its card.
        ids: the samples, in their order.
        of: how many samples the run has.
    """

    role: str
    folder: Path
    ids: tuple[str, ...]
    of: int

    def __str__(self) -> str:
        return f"the {self.role} ({self.folder}) learned from {len(self.ids)} of {self.of}"


class _Known(NamedTuple):
    """The data set, the samples and the images that a card tells of."""

    dataset: str
    ids: frozenset[str]
    images: frozenset[str]


def seen(config: RunConfig, samples: Sequence[SampleFile]) -> Iterator[Seen]:
    """The models of a run that were trained on some of its samples.

    Raises:
        MissingAsset: an adapter whose card is missing, or a card that cannot be read.
    """
    for role, node in config.backbone.items():
        for key in _KEYS:
            folder = _folder(node.get(key))
            if folder is None or not folder.is_dir():
                continue
            card = folder / CARD
            if not card.exists() and key == "checkpoint":
                continue
            known = _trained_on(card, card.stat().st_mtime_ns if card.exists() else 0)
            common = tuple(_common(known, config, samples))
            if common:
                yield Seen(role, folder, common, len(samples))


def images_of(config: RunConfig, samples: Sequence[SampleFile]) -> tuple[str, ...]:
    """What identifies the image of each sample, whatever its data set is called."""
    node = config.dataset
    deciding = binding.constant(str(node[TARGET]), "SCENES", ("name",))
    whole = named(node)
    drawn = json.dumps([whole["class"], *(whole.get(key) for key in deciding)])
    return image_keys(tuple(samples), drawn)


def _common(known: _Known, config: RunConfig, samples: Sequence[SampleFile]) -> Iterator[str]:
    """The ids of the samples that a card tells of."""
    if known.images:
        keys = images_of(config, samples)
        yield from (s.id for s, key in zip(samples, keys, strict=True) if key in known.images)
    elif known.dataset == config.dataset_name:
        yield from (sample.id for sample in samples if sample.id in known.ids)


def refuse(config: RunConfig, samples: Sequence[SampleFile]) -> None:
    """See that no model was trained on a sample, unless ``allow_train`` is set.

    Raises:
        UsageError: one was.
        MissingAsset: see :func:`seen`.
    """
    for model in () if config.allow_train else seen(config, samples):
        raise UsageError(
            f"{model.folder} was trained on {many(len(model.ids), 'sample')} of the "
            f"{model.of} of {config.dataset_name}, {model.ids[0]!r} first; choose another split "
            "(dataset.split=test), or say allow_train=true, and tables will mark the run."
        )


def stamp(config: RunConfig, samples: Sequence[SampleFile]) -> str | None:
    """What tables say about a run on samples that were trained on; None about any other."""
    told = "; ".join(map(str, seen(config, samples))) if config.allow_train else ""
    return f"{TRAINED}: {told}" if told else None


def _folder(value: object) -> Path | None:
    if not isinstance(value, str):
        return None
    return ZOO / value.removeprefix("zoo:") if value.startswith("zoo:") else expanded(value)


@lru_cache(maxsize=8)
def _trained_on(card: Path, changed: int) -> _Known:
    """What a card tells; ``changed`` is when it was written."""
    try:
        node = Node(parsed(read_plain(card, _LARGEST))).node("trained_on")
        ids, images = node.items("ids"), node.items("images", [])
        return _Known(node.text("dataset"), frozenset(map(str, ids)), frozenset(map(str, images)))
    except OSError as error:
        raise MissingAsset(
            f"{card.parent} has no readable {CARD}, which says what was trained on; copy the whole "
            "folder `final` of the training."
        ) from error
    except Malformed as error:
        raise MissingAsset(f"{card} is no card of a training: {error}.") from error
