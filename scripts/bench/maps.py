"""Predictions and ground truths to measure: blobs with soft, wavy edges, as networks make."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import py_sod_metrics
from numpy.typing import NDArray
from PIL import Image

from int_bench.core.types import HardMask
from int_bench.data.images import Map, read_map, read_mask
from int_bench.metrics import histogram
from int_bench.metrics.maps import size_of
from int_bench.metrics.rules import NATIVE, Scorer

PAPER = ("MAE", "adpF", "meanE", "S")
"""The four metrics of the paper's tables."""
Codes = NDArray[np.uint8]
Case = tuple[Codes, Codes]
"""A prediction and its ground truth (0 and 255), both (H, W), as they come out of their files."""
Values = list[dict[str, float]]


@dataclass(frozen=True)
class Files:
    """One case on disk."""

    prediction: Path
    truth: Path

    def by_opencv(self) -> Case:
        """Decode both as PySODMetrics' documentation does."""
        prediction, truth = (
            cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in (self.prediction, self.truth)
        )
        assert prediction is not None and truth is not None
        return np.asarray(prediction, np.uint8), np.asarray(truth, np.uint8)

    def by_us(self) -> tuple[Map, HardMask]:
        """Decode both as ``int-bench eval`` does, with all of its checks."""
        return read_map(self.prediction), read_mask(self.truth)


def draw(count: int, size: tuple[int, int], seed: int = 0) -> list[Case]:
    """``count`` cases of ``size`` (height, width): an ellipse, and what a network says of it."""
    return [_case(size, np.random.default_rng((seed, index))) for index in range(count)]


def _case(size: tuple[int, int], draws: np.random.Generator) -> Case:
    rows, columns = np.mgrid[: size[0], : size[1]] / np.array(size).reshape(2, 1, 1)
    centre, radii = draws.uniform(0.3, 0.7, 2), draws.uniform(0.08, 0.3, 2)
    distance = np.hypot((rows - centre[0]) / radii[0], (columns - centre[1]) / radii[1])
    truth = distance < 1
    shift = np.hypot((rows - centre[0] - 0.03) / radii[0], (columns - centre[1]) / radii[1])
    waves = cv2.resize(draws.normal(0, 2.0, (20, 25)), size[::-1], interpolation=cv2.INTER_CUBIC)
    levels = 1 / (1 + np.exp(12 * (shift - 1) + waves))
    return np.rint(255 * levels).astype(np.uint8), truth.astype(np.uint8) * 255


def write(cases: Sequence[Case], folder: Path) -> list[Files]:
    """The cases as PNG files."""
    files = []
    for index, (prediction, truth) in enumerate(cases):
        pair = Files(folder / f"{index}.png", folder / f"{index}_truth.png")
        Image.fromarray(prediction).save(pair.prediction)
        Image.fromarray(truth).save(pair.truth)
        files.append(pair)
    return files


def library(cases: Iterable[Case]) -> Values:
    """The four metrics by PySODMetrics as its documentation uses it: levels in, one step each."""
    values = []
    for prediction, truth in cases:
        error, structure = py_sod_metrics.MAE(), py_sod_metrics.Smeasure()
        alignment = py_sod_metrics.Emeasure()
        handler = py_sod_metrics.FmeasureHandler(with_dynamic=False, with_adaptive=True, beta=0.3)
        f_measure = py_sod_metrics.FmeasureV2({"f": handler})
        for metric in (error, structure, alignment, f_measure):
            metric.step(pred=prediction, gt=truth)
        values.append(
            {
                "MAE": float(error.get_results()["mae"]),
                "adpF": float(f_measure.get_results()["f"]["adaptive"]),
                "meanE": float(alignment.get_results()["em"]["curve"].mean()),
                "S": float(structure.get_results()["sm"]),
            }
        )
    return values


def ours(cases: Iterable[tuple[Map, HardMask]]) -> Values:
    """The same as ``int-bench eval`` scores under ``native``, every ground truth prepared anew."""
    # The weighted F is no metric of the paper's tables; the library's side leaves it out as well.
    rows = []
    for prediction, truth in cases:
        measure = histogram.against(truth, weighted=False)
        scorer = Scorer(NATIVE, size_of(truth), size_of(truth), measure)
        values = scorer.score(prediction).measures.values
        rows.append({name: values[name] for name in PAPER})
    return rows


def gap(first: Values, second: Values) -> float:
    """The largest difference."""
    return max(abs(a[k] - b[k]) for a, b in zip(first, second, strict=True) for k in PAPER)
