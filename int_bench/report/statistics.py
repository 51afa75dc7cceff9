"""What the numbers of a finite set of images can show: intervals, paired tests, verdicts, power.

Two spreads exist and are never mixed: over images (what another draw of images would change; the
intervals) and over trials (what another seed would change; the standard deviation). All of it is
scipy: ``bootstrap``, ``permutation_test``, ``t`` and ``nct``.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import optimize, stats

from int_bench.core.types import Values
from int_bench.metrics.summary import mean, sample_means

Verdict = Literal["reproduced", "differs", "undecidable"]

CONFIDENCE = 0.95
POWER = 0.8
MARGIN = 0.01
"""Equivalence margin of verdicts. Reading: about the gain of one method over the next in the
paper's tables (0.003 to 0.011) and the effect of a protocol (0.003 to 0.02): two numbers that lie
closer than this are the same number for any conclusion that is drawn from them."""
RESAMPLES = 9999
_BATCH_VALUES = 2_000_000


@dataclass(frozen=True)
class Interval:
    """A 95 % interval, ends included."""

    low: float
    high: float

    def shifted(self, by: float) -> Interval:
        """The interval of the estimate plus a constant."""
        return Interval(self.low + by, self.high + by)


@dataclass(frozen=True)
class Estimate:
    """A mean over images with both spreads.

    Attributes:
        n: images that have a value.
        mean: over images; see :func:`int_bench.metrics.summary.mean`.
        interval: of the mean over draws of images; None for fewer than two images.
        trial_sd: standard deviation (n - 1) of the trials' means; None for one trial.
        image_sd: standard deviation (n - 1) over images; None for fewer than two.
    """

    n: int
    mean: float
    interval: Interval | None
    trial_sd: float | None
    image_sd: float | None


@dataclass(frozen=True)
class Paired:
    """Two methods on the same images; a difference is new minus base.

    Attributes:
        n: images in both.
        difference: mean of the images' differences.
        interval: of that mean; None for fewer than two images.
        p: two-sided, paired permutation test (signs of the differences flipped) of the mean
            difference, exact for few images; None for fewer than two images.
        wins: images on which the new method is better, losses, worse, ties, equal.
        losses: see ``wins``.
        ties: see ``wins``.
        sd: standard deviation (n - 1) of the differences; None for fewer than two images.
        detectable: the smallest true mean difference that so many images with this spread would
            show at 5 % in 80 % of the cases.
    """

    n: int
    difference: float
    interval: Interval | None
    p: float | None
    wins: int
    losses: int
    ties: int
    sd: float | None
    detectable: float | None


def bootstrap_bounds(
    values: Values, seed: int = 0, resamples: int = RESAMPLES, confidence: float = CONFIDENCE
) -> tuple[Values, Values]:
    """Ends of the bootstrap intervals of means over the last axis.

    The bias-corrected and accelerated interval (Efron, JASA 1987) of ``scipy.stats.bootstrap``.
    Where that is undefined (all values equal) it is the percentile interval.

    Args:
        values: (..., n) with n of at least two.
        seed: of the resampling; the same indices serve all leading axes.
        resamples: how many.
        confidence: covered share, 0..1.

    Returns:
        Lower and upper ends, each (...).
    """
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # of degenerate data, which is dealt with below
        result = stats.bootstrap(
            (values,),
            np.mean,
            axis=-1,
            n_resamples=resamples,
            batch=max(1, _BATCH_VALUES // values.size),
            confidence_level=confidence,
            method="BCa",
            rng=np.random.default_rng(seed),
        )
    tail = (1 - confidence) / 2
    plain = np.quantile(result.bootstrap_distribution, (tail, 1 - tail), axis=-1)
    low, high = (np.asarray(end) for end in result.confidence_interval)
    return np.where(np.isnan(low), plain[0], low), np.where(np.isnan(high), plain[1], high)


def bootstrap_interval(values: Values, seed: int = 0) -> Interval | None:
    """The interval of the mean of ``values``, (n,); None for fewer than two."""
    if values.size < 2:
        return None
    low, high = bootstrap_bounds(values, seed)
    return Interval(float(low), float(high))


def estimate(values: Values, seed: int = 0) -> Estimate | None:
    """Mean and spreads of the scores of a run.

    Args:
        values: (trials, n), NaN where a sample has no score.
        seed: of the bootstrap.

    Returns:
        None if nothing has a score.
    """
    means = sample_means(values)
    if means.size == 0:
        return None
    by_trial = [mean(trial[None]) for trial in values]
    return Estimate(
        n=means.size,
        mean=float(means.mean()),
        interval=bootstrap_interval(means, seed),
        trial_sd=standard_deviation(np.array([value for value in by_trial if value is not None])),
        image_sd=standard_deviation(means),
    )


def standard_deviation(values: Values) -> float | None:
    """With n - 1 in the denominator; None for fewer than two values."""
    return float(np.std(values, ddof=1)) if values.size > 1 else None


def paired(base: Values, new: Values, lower_is_better: bool = False, seed: int = 0) -> Paired:
    """Compare two methods image by image.

    The p value is of the mean difference, the number that tables print; a signed-rank test can
    call a mean difference significant that has the other sign.

    Args:
        base: (n,) scores of the method that is compared with.
        new: (n,) scores of the other method on the same images in the same order.
        lower_is_better: whether less is better (MAE).
        seed: of the bootstrap and the permutations.

    Raises:
        ValueError: the shapes differ, or there is nothing to compare.
    """
    if base.shape != new.shape or base.ndim != 1 or base.size == 0:
        raise ValueError(f"scores of shapes {base.shape} and {new.shape} are no pairs")
    change = new - base
    gain = -change if lower_is_better else change
    spread = standard_deviation(change)
    return Paired(
        n=change.size,
        difference=float(change.mean()),
        interval=bootstrap_interval(change, seed),
        p=_sign_flip_p(change, seed),
        wins=int((gain > 0).sum()),
        losses=int((gain < 0).sum()),
        ties=int((gain == 0).sum()),
        sd=spread,
        detectable=None if spread is None else detectable_difference(spread, change.size),
    )


def _sign_flip_p(change: Values, seed: int) -> float | None:
    if change.size < 2:
        return None
    result = stats.permutation_test(
        (change,),
        np.mean,
        permutation_type="samples",
        vectorized=True,
        n_resamples=RESAMPLES,
        batch=max(1, _BATCH_VALUES // change.size),
        axis=0,
        rng=np.random.default_rng(seed),
    )
    return float(result.pvalue)


def verdict(
    interval: Interval | None, published: float, half_unit: float = 0.0005, margin: float = MARGIN
) -> Verdict:
    """What an interval of ours says about a published number.

    * ``reproduced``: all of the interval lies within ``margin`` of the published number, so that
      whatever difference there is does not matter.
    * ``differs``: else, and the interval contains no number that is printed as the published one.
    * ``undecidable``: neither; too few images to say.

    The published number is taken as exact. Both are usually over the same images, which makes the
    interval wider than the question needs: ``differs`` is a cautious verdict.

    Args:
        interval: of our mean; None cannot decide.
        published: as printed.
        half_unit: half a unit of its last digit.
        margin: the largest difference that does not matter.
    """
    if interval is None:
        return "undecidable"
    if published - margin <= interval.low and interval.high <= published + margin:
        return "reproduced"
    if interval.low > published + half_unit or interval.high < published - half_unit:
        return "differs"
    return "undecidable"


def detectable_difference(
    sd: float, n: int, power: float = POWER, level: float = 1 - CONFIDENCE
) -> float | None:
    """The smallest mean difference that ``n`` images show in a share ``power`` of the cases.

    Two-sided t test of paired differences with standard deviation ``sd`` at ``level``: the
    noncentral t distribution with n - 1 degrees of freedom (Cohen 1988, ch. 2); the tail on the
    wrong side, less than one in 100,000 cases, is left out. None for fewer than two images.
    """
    if n < 2:
        return None
    critical = stats.t.ppf(1 - level / 2, n - 1)

    def lacking(shift: float) -> float:
        return float(stats.nct.sf(critical, n - 1, shift)) - power

    return float(optimize.brentq(lacking, 1e-6, 60.0, xtol=1e-12)) * sd / math.sqrt(n)


def images_needed(difference: float, sd: float, power: float = POWER) -> int:
    """The fewest images that show a mean difference in a share ``power`` of the cases.

    Raises:
        ValueError: no difference, which no number of images can show.
    """
    if difference == 0:
        raise ValueError("no number of images shows a difference of zero")

    def enough(n: int) -> bool:
        detectable = detectable_difference(sd, n, power)
        return detectable is not None and detectable <= abs(difference)

    high = 2
    while not enough(high):
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
