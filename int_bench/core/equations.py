"""The model-free equations of INT's Section 3, one pure function each.

Arrays of evidence are indexed (patch k, candidate c), float64. Equations that are a model call
belong to the protocol or the method part that makes the call. Soft masks are float32 in 0..1, in
the image frame.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from int_bench.core.geometry import Window
from int_bench.core.requests import TokenLogProbs
from int_bench.core.types import HardMask, Image, Logits, SoftMask
from int_bench.errors import UsageError

Evidence = NDArray[np.float64]
_NUMBERS_AT_ONCE = 2**15
_CERTAIN = 105.0
"""Logits farther from 0 have, in float32, the probability 0 or 1."""
Base = Literal["once", "original", "recursive"]
ProbabilityReading = Literal["seq_geo", "first_token", "seq_prob", "cand_softmax"]
Clamp = Literal["relu", "abs", "none"]
Over = Literal["category", "patch"]
SimilarityMode = Literal["softmax_minmax", "minmax", "sum", "none"]


def name_probabilities(
    log_probs: TokenLogProbs, reading: ProbabilityReading = "seq_geo"
) -> Evidence:
    """Probability of each candidate name, (C,), from the log-probabilities of its tokens.

    Reading: the paper does not say which token of a name its softmax is taken at. Default
    ``seq_geo``: the geometric mean over the name's tokens, which is fair to long names and equals
    the literal formula for one token. ``first_token`` is the closest literal form, ``seq_prob`` the
    product, ``cand_softmax`` the product renormalised over the candidates.

    >>> name_probabilities(((-1.0, -3.0), (-2.0,))).round(4).tolist()
    [0.1353, 0.1353]
    """
    if reading == "seq_geo":
        return _exp([float(np.mean(tokens)) for tokens in log_probs])
    if reading == "first_token":
        return _exp([tokens[0] for tokens in log_probs])
    totals = [sum(tokens) for tokens in log_probs]
    if reading == "seq_prob":
        return _exp(totals)
    if reading == "cand_softmax":
        return _softmax(np.array(totals, dtype=np.float64))
    raise UsageError(
        f"Unknown reading {reading!r} of p(c|X); choose from {get_args(ProbabilityReading)}."
    )


def differences(before: Evidence, after: Evidence, clamp: Clamp = "relu") -> Evidence:
    """Eq. (3): how far each candidate's probability falls in each patch when the object is erased.

    Args:
        before: p(c | X_k), (K, C).
        after: p(c | X'_k), (K, C).
        clamp: ``relu``, ``abs`` or ``none``. Reading: Eq. (6) divides by a sum, so terms must not
            be negative; a probability that rises is no evidence.

    >>> differences(np.array([[0.7, 0.2]]), np.array([[0.1, 0.5]])).tolist()
    [[0.6, 0.0]]
    """
    fall = before - after
    if clamp == "relu":
        return np.maximum(fall, 0.0)
    if clamp == "abs":
        return np.abs(fall)
    if clamp == "none":
        return fall
    raise UsageError(f"Unknown clamp {clamp!r}; choose from {get_args(Clamp)}.")


def select(evidence: Evidence) -> tuple[int, int] | None:
    """Eq. (5): the patch and the candidate with the largest evidence.

    None if no evidence is positive. Ties go to the first patch, then to the first candidate.

    >>> select(np.array([[0.1, 0.2], [0.5, 0.0]]))
    (1, 0)
    """
    if evidence.size == 0 or evidence.max() <= 0.0:
        return None
    patch, candidate = np.unravel_index(int(np.argmax(evidence)), evidence.shape)
    return int(patch), int(candidate)


def normalise(evidence: Evidence, over: Over = "category") -> Evidence:
    """Eq. (6): the weights of the next iteration, which sum to 1.

    Reading: each patch contributes one winner, so the paper's index is a patch and a category at
    once. ``category`` (default) takes each candidate's best patch, then its share over the
    candidates, (1, C). ``patch`` is the literal index: each patch's best candidate, then its share
    over the patches, (K, 1). Without any evidence all shares are equal.

    >>> normalise(np.array([[0.375, 0.125], [0.125, 0.125]])).tolist()
    [[0.75, 0.25]]
    >>> normalise(np.array([[0.375, 0.125], [0.125, 0.125]]), over="patch").tolist()
    [[0.75], [0.25]]
    """
    if over not in get_args(Over):
        raise UsageError(f"Unknown normalisation {over!r}; choose from {get_args(Over)}.")
    best: Evidence = evidence.max(axis=0 if over == "category" else 1, keepdims=True)
    total = best.sum()
    return best / total if total > 0 else np.full_like(best, 1.0 / best.size)


def accumulate(difference: Evidence, weights: Evidence, floor: float = 0.01) -> Evidence:
    """Eq. (7): this iteration's differences times the normalised evidence of all earlier ones.

    Args:
        difference: D_i, (K, C).
        weights: the weights of Eq. (6), broadcastable to (K, C); ones in the first iteration.
        floor: added to each difference first. Reading: with 0 (the literal form) a candidate whose
            difference is 0 once is out for good.

    >>> accumulate(np.array([[0.5, 0.0]]), np.array([[0.6, 0.4]]), floor=0.01).round(3).tolist()
    [[0.306, 0.004]]
    """
    return (difference + floor) * weights


def normalise_similarities(
    similarities: Sequence[float], mode: SimilarityMode = "softmax_minmax", scale: float = 100.0
) -> NDArray[np.float64]:
    """Weights of the patch masks, (K,), the best match near 1, from the cosines of Eq. (10).

    Reading: the paper says that the scores are normalised so that about 1 means a better match. The
    default is the predecessor's: softmax over patches, then min-max. Equal similarities give equal
    weights of 1.

    Args:
        similarities: cosines.
        mode: ``softmax_minmax``, ``minmax``, ``sum`` or ``none``.
        scale: what the softmax multiplies cosines with: the CLIP model's own logit scale, 100 for
            the published ones.

    >>> normalise_similarities([0.265, 0.250, 0.228], mode="minmax").round(2).tolist()
    [1.0, 0.59, 0.0]
    """
    cosines = np.asarray(similarities, dtype=np.float64)
    if mode not in get_args(SimilarityMode):
        raise UsageError(f"Unknown normalisation {mode!r}; choose from {get_args(SimilarityMode)}.")
    if mode == "none" or cosines.size == 0:
        return cosines
    if mode == "sum":
        shares: NDArray[np.float64] = cosines / cosines.sum()
        return shares
    scores = _softmax(scale * cosines) if mode == "softmax_minmax" else cosines
    spread = scores.max() - scores.min()
    if spread <= 1e-9:
        return np.ones_like(scores)
    weights: NDArray[np.float64] = (scores - scores.min()) / spread
    return weights


def weighted_mask(
    masks: Sequence[SoftMask],
    weights: NDArray[np.float64],
    windows: Sequence[Window],
    size: tuple[int, int],
) -> SoftMask:
    """Eq. (11): the similarity-weighted sum of the patch masks, scaled to 0..1.

    Args:
        masks: one per patch, (h, w) in 0..1.
        weights: one per patch, not negative.
        windows: the rows and columns of each patch in the image; beyond them its mask is zero.
        size: (H, W) of the image.

    Returns:
        (H, W) in 0..1. Reading: as in the predecessor's code the sum is divided by the sum of the
        weights and min-max scaled; a constant sum is left as it is.
    """
    total = max(float(weights.sum()), 1e-12)
    mixed = np.empty(size, dtype=np.float32)
    for top in range(0, size[0], step := max(1, _NUMBERS_AT_ONCE // size[1])):
        rows = np.zeros((min(step, size[0] - top), size[1]), dtype=np.float64)
        for mask, weight, (high, wide) in zip(masks, weights, windows, strict=True):
            first, last = max(top, high.start), min(top + step, high.stop)
            if first < last and weight:
                part = mask[first - high.start : last - high.start]
                rows[first - top : last - top, wide] += (weight / total) * part
        mixed[top : top + step] = rows
    return min_max(mixed)


def reweight(
    image: Image,
    view: NDArray[np.float32],
    mask: SoftMask,
    w: float = 0.3,
    base: Base = "once",
) -> NDArray[np.float32]:
    """Eq. (12): the next view, dimmed outside the mask.

    X_{i+1} = w (X . M_i) + (1 - w) X_i, as printed.

    Args:
        image: the original X, (H, W, 3) in 0..255.
        view: X_i, (H, W, 3) float in 0..255; kept in float, rounded only where a model looks at it.
        mask: M_i, (H, W) in 0..1.
        w: the paper's 0.3.
        base: Reading: paper and code disagree. ``once``, w (X . M_i) + (1 - w) X: Section 3.2 and
            the introduction apply the mask to the original image, so nothing is dimmed twice.
            ``original``, w (X . M_i) + (1 - w) X_i: the predecessors' code; what one mask leaves
            out stays dimmed until later masks bring it back. ``recursive``, w (X_i . M_i) + (1 - w)
            X_i: as printed; nothing ever recovers.
    """
    if base not in get_args(Base):
        raise UsageError(f"Unknown base {base!r} of Eq. (12); choose {', '.join(get_args(Base))}.")
    lit = view if base == "recursive" else image
    background = image if base == "once" else view
    dimmed = np.empty(view.shape, dtype=np.float32)
    # Some rows at a time: what is computed on the way stays in the processor's cache.
    for top in range(0, len(view), step := max(1, _NUMBERS_AT_ONCE // view[0].size)):
        rows = slice(top, top + step)
        dimmed[rows] = w * lit[rows] * mask[rows, :, None] + (1.0 - w) * background[rows]
    return dimmed


def distances_to_mean(masks: Sequence[SoftMask]) -> list[float]:
    """Eq. (13): how far each mask is from the mean of all, in pixels.

    Reading: the norm is not stated; L1 on soft masks.

    >>> ones = np.ones((1, 4), dtype=np.float32)
    >>> distances_to_mean([0 * ones, 0.5 * ones, ones])
    [2.0, 0.0, 2.0]
    """
    if len(masks) == 1:
        return [0.0]
    mean = np.mean(masks, axis=0, dtype=np.float64)
    return [float(np.abs(mask - mean).sum()) for mask in masks]


def sigmoid(logits: Logits) -> SoftMask:
    """The probabilities of logits, float32 in 0..1."""
    if np.abs(logits).min(initial=np.inf) > _CERTAIN:  # as in a rehearsal: nothing to compute
        return (logits > 0).astype(np.float32)
    from scipy.special import expit  # slow to import

    return np.asarray(expit(logits), dtype=np.float32)


def min_max(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scale to 0..1; a constant array is clipped to 0..1 instead."""
    low, high = float(values.min()), float(values.max())
    if high - low < 1e-9:
        return np.clip(values, 0.0, 1.0)
    return ((values - low) / (high - low)).astype(np.float32)


def keep_inside(image: Image, mask: HardMask) -> Image:
    """The image with everything outside the mask black, (H, W, 3)."""
    import cv2  # slow to import, and a dry run computes nothing

    kept: Image = np.zeros(image.shape, dtype=np.uint8)
    cv2.copyTo(image, mask.view(np.uint8), kept)
    return kept


def _exp(values: Sequence[float]) -> Evidence:
    return np.array([math.exp(value) for value in values], dtype=np.float64)


def _softmax(values: NDArray[np.float64]) -> NDArray[np.float64]:
    powers = np.exp(values - values.max())
    shares: NDArray[np.float64] = powers / powers.sum()
    return shares
