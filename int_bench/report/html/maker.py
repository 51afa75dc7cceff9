"""Makes what is costly of a page while there is room: pictures, stories, curves.

It is made for as many images as the budget holds, those that matter most first, and what was left
out is said.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from int_bench.core.types import HardMask
from int_bench.data.dataset import SampleFile
from int_bench.errors import SampleError
from int_bench.methods.trivial import KINDS, trivial_mask
from int_bench.metrics.metrics import Measures
from int_bench.report.html.measured import CurveSum, levels_of, map_measures, spread
from int_bench.report.html.pictures import FIRST, SECOND, Shot, hard, png, shot, webp
from int_bench.report.html.sides import Pictures, Side
from int_bench.report.html.story import story

MIB = 2**20
SHELL = 120_000
"""Bytes that a page takes without any image: style, script, charts."""
MEASURED = 500
"""Images that curves, floor and sizes of objects are of, at most."""


@dataclass
class Measured:
    """What was measured on the way.

    Attributes:
        curves: of each run.
        floor: measures of each trivial answer by image.
        areas: the share of the image that the object covers, by the image's number.
    """

    curves: list[CurveSum]
    floor: dict[str, dict[str, Measures]] = field(
        default_factory=lambda: {kind: {} for kind in KINDS}
    )
    areas: dict[int, float] = field(default_factory=dict)


class Maker:
    """Makes pictures, stories and measures while there is room.

    Args:
        sides: the runs.
        pictures: of the data set.
        entries: of the images; what is there of each is written into them.
        budget: bytes in all.
    """

    def __init__(
        self,
        sides: Sequence[Side],
        pictures: Pictures,
        entries: list[dict[str, Any]],
        budget: int,
    ) -> None:
        self._sides, self._pictures, self._entries = sides, pictures, entries
        self._budget, self._samples = budget, pictures.samples
        self._room = budget - SHELL - len(json.dumps(entries))
        self._told = [0, 0]
        self.measured = Measured([CurveSum() for _ in sides])

    def make(self, order: Sequence[int]) -> dict[int, dict[str, Any]]:
        """Stories by number: first pictures of all images, in order; then what happened to them.

        Pictures take about half of the room where they do not all fit.
        """
        count = len(self._samples)
        wanted, stories = set(spread(count, MEASURED)), dict[int, dict[str, Any]]()
        room = self._room * 0.55
        for number in order:
            if room <= 0:
                break
            stories[number] = self._picture(number, number in wanted)
            room -= _length(stories[number])
        for number in sorted(wanted - stories.keys()):
            self._picture(number, True)
        self._room -= sum(map(_length, stories.values()))
        self._tell(order, stories)
        return stories

    def _tell(self, order: Sequence[int], stories: dict[int, dict[str, Any]]) -> None:
        """Add what happened to the images: with all pictures, then without, then not at all."""
        sheets = True
        for number in (number for number in order if number in stories):
            for with_sheets in (True, False) if sheets else (False,):
                sample = self._samples[number]
                told = {"runs": [story(side, sample.id, with_sheets) for side in self._sides]}
                if _length(told) <= self._room:
                    break
                sheets = False
            else:
                return
            self._room -= _length(told)
            self._told[0] += 1
            self._told[1] += with_sheets
            stories[number] |= told

    def _picture(self, number: int, measure: bool) -> dict[str, Any]:
        sample, entry = self._samples[number], self._entries[number]
        image, truth = self._pictures.image(sample), self._pictures.truth(sample)
        masks = []
        for side in self._sides:
            try:
                masks.append(hard(side.mask(sample.id)))
            except SampleError:
                masks.append(None)
        if len(masks) == 1:  # how far the first iteration is from the end
            masks.append(self._first(sample.id))
        small = shot(image, truth, masks)
        entry["pic"] = 1
        if truth is not None:
            entry["area"] = self.measured.areas[number] = round(float(truth.mean()), 5)
        if len(masks) > 1 and all(mask is not None for mask in masks):
            entry["moved"] = _apart(small.labels, FIRST, SECOND)
        if truth is not None and measure:
            self._measure(sample, truth, masks[: len(self._sides)])
        return _shown(small)

    def _first(self, sample_id: str) -> HardMask | None:
        """The mask of the first of several iterations."""
        side = self._sides[0]
        record = side.records.get(sample_id)
        if record is None or len(record.iterations) < 2:
            return None
        mask = side.step_mask(record, 1)
        return None if mask is None else mask > 0.5

    def _measure(self, sample: SampleFile, truth: Any, masks: Sequence[Any]) -> None:
        size = (truth.shape[0], truth.shape[1])
        for side, mask, curve in zip(self._sides, masks, self.measured.curves, strict=True):
            record = side.records.get(sample.id)
            chosen = mask
            if record is not None and record.chosen and record.iterations:
                step = min(record.chosen[-1], len(record.iterations) - 1)
                if record.iterations[step].soft:
                    soft = side.step_mask(record, step + 1)
                    chosen = mask if soft is None else soft
            if chosen is not None:
                levels = levels_of(chosen, size)
                curve.add(map_measures(levels, truth), levels, truth)
        for kind in KINDS:
            levels = levels_of(trivial_mask(kind, size), size)
            self.measured.floor[kind][sample.id] = map_measures(levels, truth)

    def left_out(self) -> list[str]:
        """What there was no room for."""
        count, pictured = len(self._entries), sum("pic" in entry for entry in self._entries)
        told, traced = self._told
        scored = any(run["scores"] for entry in self._entries[:1] for run in entry["runs"])
        ranked = "those that changed most" if len(self._sides) > 1 else "the worst first"
        which = ranked if scored else "the first ones"
        limit = f"the page is held to {self._budget / MIB:g} MiB; --budget sets it"
        parts = [
            f"Pictures of {pictured} of {count} images ({which})" if pictured < count else "",
            f"the iterations of {told}" if told < pictured else "",
            f"what was seen on the way of {traced}" if traced < told and self._traced else "",
        ]
        texts = [", ".join(filter(None, parts))]
        said = [
            f"{text[:1].upper()}{text[1:]} are on this page: {limit}." for text in texts if text
        ]
        if count > MEASURED:
            said.append(
                f"Curves, floor and sizes of objects are of {MEASURED} of {count} images, evenly."
            )
        return said

    @property
    def _traced(self) -> bool:
        first = (next(iter(side.records.values()), None) for side in self._sides)
        return any(record is not None and record.traces for record in first)


def _shown(small: Shot) -> dict[str, Any]:
    return {
        "thumb": None if small.thumb is None else webp(small.thumb),
        "labels": png(small.labels),
        "truth": small.has_truth,
        "aspect": round(small.aspect, 4),
    }


def _apart(labels: Any, bit: int, other: int) -> float:
    """How far two masks are apart: 1 - IoU, 0 where both are empty."""
    first, second = (labels & bit) > 0, (labels & other) > 0
    union = int((first | second).sum())
    return round(1 - int((first & second).sum()) / union, 4) if union else 0.0


def _length(part: Mapping[str, Any]) -> int:
    """Bytes that it takes on the page; its strings are plain letters nearly throughout."""
    return len(json.dumps(part)) + 150
