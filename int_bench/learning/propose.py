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
    has no bags, an object that cannot has none, and the image's line says why.

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
    store = BagStore(folder, about(data, segmenter, proposing), len(images))
    problems: list[str] = []
    for start in range(store.count, len(images), BLOCK):
        block = images[start : start + BLOCK]
        lines = _bags(data, segmenter, proposing, block)
        store.add(lines)
        problems += [line.problem for line in lines if line.problem]
        if store.count % _SAID_EVERY == 0 or store.count == len(images):
            say(f"Bags of {store.count} of {many(len(images), 'image')} are made.")
    if problems:
        say(f"Of {many(len(problems), 'image')} not every object has a bag: {problems[0]}")
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


def _images(data: Dataset) -> list[tuple[SampleFile, ...]]:
    """The samples of each image, in their order: its objects, or itself."""
    samples: dict[str, list[SampleFile]] = {}
    for sample in data.samples():
        samples.setdefault(sample.topic, []).append(sample)
    return [tuple(of_image) for of_image in samples.values()]


def _bags(
    data: InstanceDataset,
    segmenter: Proposer,
    proposing: Proposing,
    block: Iterable[Sequence[SampleFile]],
) -> list[ImageBags]:
    """The lines of a block; its prompts are asked together."""
    read = [_read(data, samples) for samples in block]
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
    data: InstanceDataset, samples: Sequence[SampleFile]
) -> tuple[SampleFile, Picture, list[Instance], str]:
    """An image, its objects by id, and what is wrong with it, or with the first that is wrong."""
    first, known, problem = samples[0], dict[str, Instance](), ""
    try:
        picture = Picture(data.load_image(first))
    except SampleError as error:
        return first, Picture(_NOTHING), [], str(error)
    for sample in samples:
        try:
            objects = data.objects(sample)
        except SampleError as error:
            problem = problem or str(error)
            continue
        own = objects if sample.image_id is None else objects[:1]
        known |= {instance.id: instance for instance in own}
    return first, picture, [known[name] for name in sorted(known)], problem


def _stored(instance: Instance, proposals: Sequence[Segmentation]) -> StoredBag:
    return StoredBag(
        instance.id,
        instance.category,
        instance.point,
        instance.box,
        tuple(encode_runs(proposal.logits > 0) for proposal in proposals),
        tuple(round(proposal.iou, 6) for proposal in proposals),
    )
