"""Section 3's equations against numbers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit

from int_bench.core import equations as eq
from int_bench.errors import UsageError


@pytest.mark.parametrize(
    ("reading", "expected"),
    [
        ("seq_geo", [math.exp(-2.0), math.exp(-2.0)]),
        ("first_token", [math.exp(-1.0), math.exp(-2.0)]),
        ("seq_prob", [math.exp(-4.0), math.exp(-2.0)]),
        ("cand_softmax", [1 / (1 + math.exp(2)), math.exp(2) / (1 + math.exp(2))]),
    ],
)
def test_readings_of_a_names_probability(reading: str, expected: list[float]) -> None:
    assert eq.name_probabilities(((-1.0, -3.0), (-2.0,)), reading) == pytest.approx(expected)


def test_eq03_differences() -> None:
    before = np.array([[0.7, 0.2], [0.1, 0.4]])
    after = np.array([[0.1, 0.5], [0.1, 0.1]])
    assert eq.differences(before, after) == pytest.approx(np.array([[0.6, 0.0], [0.0, 0.3]]))
    assert eq.differences(before, after, "abs")[0, 1] == pytest.approx(0.3)
    assert eq.differences(before, after, "none")[0, 1] == pytest.approx(-0.3)


def test_eq05_selects_the_largest_and_the_first_of_ties() -> None:
    assert eq.select(np.array([[0.0, 0.2], [0.6, 0.1]])) == (1, 0)
    assert eq.select(np.array([[0.3, 0.3], [0.3, 0.0]])) == (0, 0)
    assert eq.select(np.zeros((2, 3))) is None


def test_eq06_shares_by_category_and_by_patch() -> None:
    evidence = np.array([[0.6, 0.2], [0.1, 0.2]])
    assert eq.normalise(evidence) == pytest.approx(np.array([[0.75, 0.25]]))
    assert eq.normalise(evidence, "patch") == pytest.approx(np.array([[0.75], [0.25]]))
    assert eq.normalise(np.zeros((3, 2))) == pytest.approx(np.array([[0.5, 0.5]]))


def test_eq07_products_weed_out_a_lucky_winner() -> None:
    """A toy of three iterations: "snake" wins the second by luck, "frog" wins the product."""
    rounds = [np.array([[0.5, 0.2]]), np.array([[0.3, 0.4]]), np.array([[0.4, 0.1]])]
    weights = np.ones((1, 2))
    winners = []
    for difference in rounds:
        evidence = eq.accumulate(difference, weights, floor=0.0)
        winners.append(eq.select(evidence))
        weights = eq.normalise(evidence)
    assert winners == [(0, 0), (0, 0), (0, 0)]
    assert weights == pytest.approx(np.array([[60 / 68, 8 / 68]]))  # .5*.3*.4 against .2*.4*.1


def test_eq07_one_zero_ends_a_candidate_unless_there_is_a_floor() -> None:
    def last_weight(floor: float) -> float:
        weights = np.ones((1, 2))
        for frog in (0.5, 0.0, 0.5, 0.5):
            weights = eq.normalise(eq.accumulate(np.array([[frog, 0.1]]), weights, floor))
        return float(weights[0, 0])

    assert last_weight(0.0) == 0.0
    assert last_weight(0.01) > 0.85


@given(st.lists(st.lists(st.floats(0.001, 1.0), min_size=3, max_size=3), min_size=1, max_size=5))
def test_eq06_is_a_common_factor_with_a_fixed_pool(rounds: list[list[float]]) -> None:
    """With a fixed pool and no floor the selections equal those of the plain product."""
    weights, product = np.ones((1, 3)), np.ones((1, 3))
    for row in rounds:
        evidence = eq.accumulate(np.array([row]), weights, floor=0.0)
        product = product * np.array([row])
        weights = eq.normalise(evidence)
        assert weights == pytest.approx(product / product.sum(), rel=1e-6)


def test_similarity_weights() -> None:
    cosines = (0.265, 0.250, 0.228, 0.259, 0.240)
    raw = eq.normalise_similarities(cosines, "minmax")
    assert raw == pytest.approx([1.0, 0.5946, 0.0, 0.8378, 0.3243], abs=1e-4)
    sharp = eq.normalise_similarities(cosines)
    assert sharp / sharp.sum() == pytest.approx([0.56, 0.11, 0.0, 0.30, 0.03], abs=0.01)
    assert eq.normalise_similarities([0.3]).tolist() == [1.0]
    assert eq.normalise_similarities([0.2, 0.2]).tolist() == [1.0, 1.0]


def test_eq11_weighted_mask_by_hand() -> None:
    one = np.array([[1.0, 1.0, 0.0]], dtype=np.float32)
    two = np.array([[1.0, 0.0]], dtype=np.float32)  # of the patch without the first column
    windows = [(slice(0, 1), slice(0, 3)), (slice(0, 1), slice(1, 3))]
    mixed = eq.weighted_mask([one, two], np.array([1.0, 0.5]), windows, (1, 3))
    assert mixed == pytest.approx(np.array([[2 / 3, 1.0, 0.0]]))


def test_eq12_by_hand_and_identity_under_a_full_mask() -> None:
    image = np.full((1, 2, 3), 100, dtype=np.uint8)
    view = image.astype(np.float32)
    mask = np.array([[1.0, 0.0]], dtype=np.float32)
    dimmed = eq.reweight(image, view, mask)
    assert dimmed[0, :, 0] == pytest.approx([100.0, 70.0])
    flipped = 1.0 - mask
    # The second pass, with the same mask and with the other one, as each reading has it.
    for base, same, other in (
        ("once", [100.0, 70.0], [70.0, 100.0]),
        ("original", [100.0, 49.0], [70.0, 0.3 * 100 + 0.7 * 70]),
        ("recursive", [100.0, 49.0], [70.0, 70.0]),
    ):
        assert eq.reweight(image, dimmed, mask, base=base)[0, :, 0] == pytest.approx(same)
        assert eq.reweight(image, dimmed, flipped, base=base)[0, :, 0] == pytest.approx(other)
    assert np.array_equal(eq.reweight(image, dimmed, mask), dimmed)  # "once" is the default


def test_eq13_closest_to_the_mean_not_the_smallest() -> None:
    full = np.ones((4, 4), dtype=np.float32)
    empty = np.zeros((4, 4), dtype=np.float32)
    half = full.copy()
    half[:2] = 0
    # The mean of the three is 1/3 above and 2/3 below.
    assert eq.distances_to_mean([full, half, empty]) == pytest.approx([8, 16 / 3, 8])
    assert eq.distances_to_mean([full, full, empty]) == pytest.approx([16 / 3, 16 / 3, 32 / 3])
    assert eq.distances_to_mean([half, half]) == [0, 0]


@pytest.mark.parametrize(
    "call",
    [
        lambda: eq.name_probabilities(((-1.0,),), "loud"),
        lambda: eq.differences(np.ones((1, 1)), np.ones((1, 1)), "loud"),
        lambda: eq.normalise(np.ones((1, 1)), "loud"),
        lambda: eq.normalise_similarities([0.1], "loud"),
        lambda: eq.reweight(
            np.ones((1, 1, 3), np.uint8),
            np.ones((1, 1, 3), np.float32),
            np.ones((1, 1), np.float32),
            base="loud",
        ),
    ],
)
def test_unknown_options_are_named(call: object) -> None:
    with pytest.raises(UsageError, match="loud"):
        call()  # type: ignore[operator]


@pytest.mark.parametrize("least", [0.0, 104.9, 105.1, 200.0])
def test_probabilities_of_certain_logits_need_no_exponential_and_are_the_same(least: float) -> None:
    signs = np.array([[-1, 1, -1], [1, 1, -1]], dtype=np.float32)
    logits = (signs * np.linspace(least, 3 * least + 1, 6).reshape(2, 3)).astype(np.float32)
    assert eq.sigmoid(logits).tobytes() == expit(logits).tobytes()
    assert eq.sigmoid(np.full((2, 2), -np.inf, dtype=np.float32)).tolist() == [[0, 0], [0, 0]]
