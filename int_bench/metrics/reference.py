"""The measures themselves, computed by PySODMetrics: the reference backend.

PySODMetrics (github.com/lartpang/PySODMetrics) is what the field scores with; it agrees with the
MATLAB toolbox of the COD10K authors. It is called with ``normalize=False``, so that nothing is
stretched, thresholded or rescaled here: what goes in is what is measured.

Degenerate inputs keep the library's values, which are finite:

* empty prediction: the adaptive threshold, 2 * mean = 0, makes *everything* foreground, so adpF and
  maxF are those of the full mask, not 0; wF is 0 unless the object touches the border.
* empty ground truth: every F, IoU and Dice is 0, even for an empty prediction; S is 1 - mean of the
  prediction; E counts true background over H * W - 1, so a perfect answer's maxE is a bit above 1.
* full ground truth: S is the mean of the prediction; E counts true foreground.

One value is ours. The S-measure splits the map at the object's centroid; a centroid in the last row
or column leaves parts of no pixels, where the library returns NaN. Such a part has no weight, so it
counts as 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import py_sod_metrics
from numpy.typing import NDArray

from int_bench.core.types import HardMask
from int_bench.metrics.metrics import ADAPTIVE_BETA2, METRICS, Measurer, Measures


def against(truth: HardMask) -> Measurer:
    """Measures of maps against one ground truth; see :func:`measure`."""
    return lambda prediction, weighted_beta2: measure(prediction.levels(), truth, weighted_beta2)


def measure(prediction: NDArray[np.float64], truth: HardMask, weighted_beta2: float) -> Measures:
    """Measure one map against its ground truth.

    Args:
        prediction: (H, W) float64, 0..1.
        truth: (H, W) bool, the same size, of at least two pixels.
        weighted_beta2: beta^2 of the weighted F-measure (Margolin et al., CVPR 2014); 1 in the
            field's toolboxes, 0.3 in the predecessors' code.
    """
    threshold_measures = _threshold_measures(prediction, truth)
    f_curve = np.asarray(threshold_measures["f"]["dynamic"], dtype=np.float64)
    alignment = _measured(py_sod_metrics.Emeasure(), prediction, truth)["em"]
    e_curve = np.asarray(alignment["curve"], dtype=np.float64)
    weighted = py_sod_metrics.WeightedFmeasure(beta=weighted_beta2)
    values = {
        "MAE": _measured(py_sod_metrics.MAE(), prediction, truth)["mae"],
        "adpF": threshold_measures["f"]["adaptive"],
        "meanF": f_curve.mean(),
        "maxF": f_curve.max(),
        "wF": _measured(weighted, prediction, truth)["wfm"],
        "adpE": alignment["adp"],
        "meanE": e_curve.mean(),
        "maxE": e_curve.max(),
        "S": _measured(_StructureMeasure(alpha=0.5), prediction, truth)["sm"],
        "IoU": threshold_measures["iou"]["binary"],
        "Dice": threshold_measures["dice"]["binary"],
    }
    return Measures({name: float(values[name]) for name in METRICS}, f_curve, e_curve)


class _StructureMeasure(py_sod_metrics.Smeasure):  # type: ignore[misc]
    """The library's S-measure, defined where a quadrant has no pixels."""

    def ssim(self, pred: NDArray[np.float64], gt: HardMask) -> float:
        """Structural similarity of one quadrant, 0 for an empty one (its weight is 0)."""
        return 0.0 if pred.size == 0 else float(super().ssim(pred, gt))


def similarity(prediction: NDArray[np.float64], truth: HardMask) -> float:
    """The S-measure's structural similarity of one part, (h, w) each; 0 for a part of no pixels."""
    return _StructureMeasure().ssim(prediction, truth)


def _threshold_measures(prediction: NDArray[np.float64], truth: HardMask) -> Mapping[str, Any]:
    f_measure = py_sod_metrics.FmeasureHandler(
        with_dynamic=True, with_adaptive=True, beta=ADAPTIVE_BETA2
    )
    binary = {"with_dynamic": False, "with_adaptive": False, "with_binary": True}
    handlers = {
        "f": f_measure,
        "iou": py_sod_metrics.IOUHandler(**binary),
        "dice": py_sod_metrics.DICEHandler(**binary),
    }
    return _measured(py_sod_metrics.FmeasureV2(handlers), prediction, truth)


def _measured(metric: Any, prediction: NDArray[np.float64], truth: HardMask) -> Mapping[str, Any]:
    metric.step(prediction, truth, normalize=False)
    results: Mapping[str, Any] = metric.get_results()
    return results
