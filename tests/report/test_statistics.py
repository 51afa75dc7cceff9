"""Statistics: scipy's numbers, textbook numbers, and intervals that cover what they promise."""

import math

import numpy as np
import pytest
from scipy import stats

from int_bench.report.statistics import (
    RESAMPLES,
    Interval,
    bootstrap_bounds,
    bootstrap_interval,
    detectable_difference,
    estimate,
    images_needed,
    paired,
    verdict,
)


def skewed(n, seed=3):
    return np.random.default_rng(seed).beta(6, 2, n)


def test_the_interval_is_scipys():
    values = skewed(76)
    expected = stats.bootstrap(
        (values,), np.mean, n_resamples=RESAMPLES, rng=np.random.default_rng(5)
    ).confidence_interval
    ours = bootstrap_interval(values, seed=5)
    assert ours.low == pytest.approx(expected.low, abs=1e-9)
    assert ours.high == pytest.approx(expected.high, abs=1e-9)


def test_one_seed_one_interval():
    values = skewed(50)
    assert bootstrap_interval(values, 1) == bootstrap_interval(values, 1)
    assert bootstrap_interval(values, 1) != bootstrap_interval(values, 2)


@pytest.mark.parametrize("draw", ["normal", "beta"])
def test_the_interval_covers_the_truth_in_95_of_100_cases(draw):
    rng = np.random.default_rng(11)
    shape = (1000, 100)
    values = rng.normal(0.7, 0.1, shape) if draw == "normal" else rng.beta(6, 2, shape)
    truth = 0.7 if draw == "normal" else 0.75
    low, high = bootstrap_bounds(values, resamples=999)
    assert 0.93 <= np.mean((low <= truth) & (truth <= high)) <= 0.97


def test_equal_values_have_an_interval_without_width():
    interval = bootstrap_interval(np.full(12, 0.3))
    assert interval.low == pytest.approx(0.3, abs=1e-12) == interval.high


def test_one_image_has_no_interval():
    only = estimate(np.array([[0.4]]))
    assert (only.n, only.mean, only.interval, only.image_sd) == (1, 0.4, None, None)


def test_both_spreads_are_recovered_and_not_mixed():
    rng = np.random.default_rng(0)
    images, shifts = rng.normal(0, 0.2, 4000), rng.normal(0, 0.05, 3000)
    found = estimate(0.5 + shifts[:, None] + images[None, :], seed=1)
    assert found.image_sd == pytest.approx(0.2, rel=0.02)
    assert found.trial_sd == pytest.approx(0.05, rel=0.02)
    half_width = (found.interval.high - found.interval.low) / 2
    assert half_width == pytest.approx(1.96 * 0.2 / math.sqrt(4000), rel=0.05)


def test_the_mean_over_trials_of_an_image_comes_first():
    nan = math.nan
    found = estimate(np.array([[0.2, 0.4, nan], [0.4, nan, nan]]))
    assert found.n == 2
    assert found.mean == pytest.approx(0.35)
    assert found.trial_sd == pytest.approx(np.std([0.3, 0.4], ddof=1))
    assert estimate(np.full((2, 3), nan)) is None


def test_paired_is_scipys():
    base, new = skewed(60), skewed(60, seed=4)
    ours = paired(base, new, seed=9)
    change = new - base
    interval = stats.bootstrap(
        (change,), np.mean, n_resamples=RESAMPLES, rng=np.random.default_rng(9)
    ).confidence_interval
    test = stats.permutation_test(
        (change,),
        lambda x: np.mean(x),
        permutation_type="samples",
        vectorized=False,
        n_resamples=RESAMPLES,
        rng=np.random.default_rng(9),
    )
    assert ours.difference == pytest.approx(change.mean(), abs=1e-12)
    assert ours.interval.low == pytest.approx(interval.low, abs=1e-9)
    assert ours.interval.high == pytest.approx(interval.high, abs=1e-9)
    assert ours.p == pytest.approx(test.pvalue, abs=1e-9)


def test_few_pairs_are_tested_exactly():
    found = paired(np.zeros(5), np.array([0.1, 0.2, 0.3, 0.1, 0.2]))
    assert found.p == pytest.approx(2 / 2**5)
    assert (found.wins, found.losses, found.ties) == (5, 0, 0)


def test_wins_follow_the_direction_of_the_metric():
    base, new = np.array([0.1, 0.2, 0.3, 0.4]), np.array([0.2, 0.1, 0.3, 0.5])
    higher, lower = paired(base, new), paired(base, new, lower_is_better=True)
    assert (higher.wins, higher.losses, higher.ties) == (2, 1, 1)
    assert (lower.wins, lower.losses, lower.ties) == (1, 2, 1)
    assert higher.difference == lower.difference == pytest.approx(0.025)


def test_no_difference_at_all_is_certain_and_not_significant():
    found = paired(skewed(20), skewed(20))
    assert (found.difference, found.p, found.ties) == (0, 1, 20)
    assert found.interval == Interval(0, 0)


def test_pairs_must_be_pairs():
    with pytest.raises(ValueError, match="no pairs"):
        paired(np.zeros(3), np.zeros(4))


@pytest.mark.parametrize(
    "low, high, expected",
    [
        (0.797, 0.806, "reproduced"),
        (0.803, 0.809, "reproduced"),  # excludes the number, by less than matters
        (0.820, 0.860, "differs"),
        (0.8004, 0.840, "undecidable"),  # 0.8004 is printed as 0.800
        (0.8006, 0.840, "differs"),
        (0.700, 0.7994, "differs"),
        (0.700, 0.850, "undecidable"),
    ],
)
def test_verdicts_against_a_published_0_800(low, high, expected):
    assert verdict(Interval(low, high), 0.800) == expected
    assert verdict(None, 0.800) == "undecidable"


def test_power_is_the_textbooks():
    # G*Power, one-sample t test, d = 0.5, two-sided 5 %, power 0.8: 34 images.
    assert images_needed(0.5, 1.0) == 34
    assert detectable_difference(1.0, 34) < 0.5 < detectable_difference(1.0, 33)
    # Many images: the normal limit, 1.95996 + 0.84162.
    assert detectable_difference(0.1, 40000) == pytest.approx(2.80159 * 0.1 / 200, rel=1e-4)
    assert detectable_difference(1.0, 1) is None


def test_power_is_met_in_simulation():
    rng = np.random.default_rng(2)
    size = detectable_difference(0.15, 76)
    found = stats.ttest_1samp(rng.normal(size, 0.15, (4000, 76)), 0, axis=1).pvalue < 0.05
    assert found.mean() == pytest.approx(0.8, abs=0.02)


def test_nothing_shows_a_difference_of_zero():
    with pytest.raises(ValueError, match="zero"):
        images_needed(0.0, 1.0)
