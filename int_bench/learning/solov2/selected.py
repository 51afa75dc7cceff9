"""Proposals that were chosen for a data set's objects, and the further ones of Eq. 11."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from int_bench.backbones.common.batching import chunks
from int_bench.backbones.solov2.mps import ranks
from int_bench.core.requests import ObjectBag, Selection, SelectProposal
from int_bench.core.types import Picture
from int_bench.data.dataset import Dataset
from int_bench.data.instances.bags import BLOCK, ImageBags, StoredBag, decode_runs
from int_bench.learning.propose import propose
from int_bench.learning.solov2.labels import Chosen, Source
from int_bench.learning.store import say
from int_bench.methods.sapnet.proposing import Proposing


def selected(
    data: Dataset,
    source: Source,
    further: bool,
    proposing: Proposing,
    backbones: Mapping[str, Any],
    folder: Path,
) -> dict[str, list[Chosen]]:
    """What is learnt of each image, by the id of the sample that shows it.

    Bags are made once and kept in the folder; an image that cannot be read has none.

    Args:
        data: of objects with points and classes.
        source: ``sam_top1``: the first proposal of the point; ``mil_single``: what the selector's
            first stage takes; ``sapnet``: what all of it takes.
        further: whether three further proposals are wanted, too.
        proposing: what makes the bags; the first proposal is the surest of the point alone.
        backbones: the segmenter, and but for ``sam_top1`` the selector.
        folder: of bags, which may be there.

    Raises:
        UsageError: the data set knows no objects, or the folder holds other bags.
        MissingAsset: a model cannot be loaded.
    """
    store = propose(data, backbones["segmenter"], proposing, folder, say)
    chosen: dict[str, list[Chosen]] = {}
    samples = {sample.id: sample for sample in data.samples()}
    for block in chunks([bags for bags in store if bags.bags], BLOCK):
        if source == "sam_top1":
            picked: list[list[tuple[int, Sequence[float]]]] = [
                [(0, bag.scores) for bag in image.bags] for image in block
            ]
        else:
            asked = [_request(image, data.load_image(samples[image.sample])) for image in block]
            answers = backbones["selector"].select(asked)
            picked = [[_picked(part, source) for part in answer] for answer in answers]
        for image, picks in zip(block, picked, strict=True):
            rows = zip(image.bags, picks, strict=True)
            chosen[image.sample] = [_chosen(bag, *pick, further) for bag, pick in rows]
    return chosen


def bags(
    data: Dataset, proposing: Proposing, segmenter: Any, folder: Path
) -> dict[str, list[Chosen]]:
    """The whole bag of each object in place of further proposals, by the id of an image's sample.

    The mask is the surest proposal that has a pixel; an object without one is left out.

    Args:
        data: of objects with points and classes.
        proposing: what makes the bags.
        segmenter: what proposes.
        folder: of bags, which may be there.

    Raises:
        UsageError: the data set knows no objects, or the folder holds other bags.
        MissingAsset: a model cannot be loaded.
    """
    stored = propose(data, segmenter, proposing, folder, say)
    kept: dict[str, list[Chosen]] = {}
    for image in stored:
        for bag in image.bags:
            make = [partial(decode_runs, runs) for runs in bag.runs]
            there = [index for index, runs in enumerate(bag.runs) if any(runs[1::2])]
            if there:
                chosen = Chosen(bag.category, bag.point, make[there[0]], tuple(make))
                kept.setdefault(image.sample, []).append(chosen)
    return kept


def _request(image: ImageBags, pixels: Any) -> SelectProposal:
    height, _ = image.size
    objects = [ObjectBag(bag.category, bag.point, tuple(bag.boxes(height))) for bag in image.bags]
    return SelectProposal(Picture(pixels), tuple(objects))


def _picked(selection: Selection, source: Source) -> tuple[int, Sequence[float]]:
    return (selection.psm if source == "mil_single" else selection.index), selection.scores


def _chosen(bag: StoredBag, index: int, scores: Sequence[float], further: bool) -> Chosen:
    order = np.argsort([-score for score in scores], kind="stable")
    more = [int(order[rank]) for rank in ranks(len(bag.runs))] if further else []
    make = [partial(decode_runs, bag.runs[which]) for which in (index, *more)]
    return Chosen(bag.category, bag.point, make[0], tuple(make[1:]))
