"""Bags of proposals for the objects of a data set: the step of SAPNet that needs SAM, done once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from int_bench.core.geometry import encode_runs
from int_bench.core.instances import Instance
from int_bench.core.requests import Proposals, Segmentation
from int_bench.core.text import many
from int_bench.core.types import Picture
from int_bench.data.dataset import Dataset, InstanceDataset, SampleFile
from int_bench.data.instances.bags import BLOCK, BagStore, ImageBags, StoredBag
from int_bench.errors import SampleError, UsageError
from int_bench.methods.sapnet.proposing import Proposing

Say = Callable[[str], None]
_SAID_EVERY = 32 * BLOCK
_NOTHING = np.zeros((1, 1, 3), dtype=np.uint8)


class Proposer(Protocol):
    """What is asked for proposals: a segmenter."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """What decides its answers."""
        ...

    def proposals(self, requests: Sequence[Proposals]) -> list[tuple[Segmentation, ...]]:
        """Per request, all masks of its prompt, best first."""
        ...


def propose(
    data: Dataset, segmenter: Proposer, proposing: Proposing, folder: Path, say: Say
) -> BagStore:
    """Make the bags of all objects of a data set, or go on where an earlier sitting stopped.

    Images are taken block by block, and every image is encoded once. An image that cannot be read
    has no bags, and its line says why.

    Args:
        data: of objects, or of images of objects.
        segmenter: proposes.
        proposing: what makes a bag.
        folder: of the store; made where it is not there.
        say: told how far it is.

    Raises:
        UsageError: the data set knows no objects, or the folder holds other bags.
        MissingAsset: the segmenter cannot be loaded.
    """
    if not isinstance(data, InstanceDataset) or not data.categories:
        raise UsageError(
            f"The data set {data.name} knows no objects with points; choose one that does, such as "
            "dataset=camoworld_crowd."
        )
    images = _images(data)
    store = BagStore(folder, about(data, segmenter, proposing))
    for start in range(store.count, len(images), BLOCK):
        block = images[start : start + BLOCK]
        store.add(_bags(data, segmenter, proposing, block))
        if store.count % _SAID_EVERY == 0 or store.count == len(images):
            say(f"Bags of {store.count} of {many(len(images), 'image')} are made.")
    return store


def about(data: Dataset, segmenter: Proposer, proposing: Proposing) -> dict[str, Any]:
    """What decides bags: the samples, the segmenter, and how it is asked."""
    ids = "\n".join(sample.id for sample in data.samples())
    return {
        "dataset": data.name,
        "manifest": data.manifest(),
        "samples": hashlib.sha256(ids.encode()).hexdigest(),
        "segmenter": dict(segmenter.identity),
        "proposing": proposing.as_json(),
    }


def _images(data: Dataset) -> list[tuple[SampleFile, frozenset[str] | None]]:
    """A sample of each image in their order, and which of its objects are samples; None: all."""
    samples: dict[str, SampleFile] = {}
    objects: dict[str, set[str]] = {}
    for sample in data.samples():
        samples.setdefault(sample.topic, sample)
        objects.setdefault(sample.topic, set()).add(sample.id)
    return [
        (sample, None if sample.image_id is None else frozenset(objects[topic]))
        for topic, sample in samples.items()
    ]


def _bags(
    data: InstanceDataset,
    segmenter: Proposer,
    proposing: Proposing,
    block: Iterable[tuple[SampleFile, frozenset[str] | None]],
) -> list[ImageBags]:
    """The lines of a block; its prompts are asked together."""
    read = [_read(data, sample, wanted) for sample, wanted in block]
    prompts = [
        [proposing.requests(picture, instance) for instance in instances]
        for _, picture, instances, _ in read
    ]
    flat = [request for image in prompts for bag in image for request in bag]
    answers = iter(segmenter.proposals(flat))
    lines = []
    for (sample, picture, instances, problem), image in zip(read, prompts, strict=True):
        bags = [
            _stored(instance, [p for _ in bag for p in next(answers)])
            for instance, bag in zip(instances, image, strict=True)
        ]
        lines.append(ImageBags(sample.id, picture.size, tuple(bags), problem))
    return lines


def _read(
    data: InstanceDataset, sample: SampleFile, wanted: frozenset[str] | None
) -> tuple[SampleFile, Picture, list[Instance], str]:
    """An image, its objects by id, and what is wrong with it."""
    try:
        picture, objects = Picture(data.load_image(sample)), data.objects(sample)
    except SampleError as error:
        return sample, Picture(_NOTHING), [], str(error)
    taken = [known for known in objects if wanted is None or known.id in wanted]
    return sample, picture, sorted(taken, key=lambda instance: instance.id), ""


def _stored(instance: Instance, proposals: Sequence[Segmentation]) -> StoredBag:
    return StoredBag(
        instance.id,
        instance.category,
        instance.point,
        instance.box,
        tuple(encode_runs(proposal.logits > 0) for proposal in proposals),
        tuple(round(proposal.iou, 6) for proposal in proposals),
    )
