"""Which mask is the final one, by each rule, on areas small enough to count."""

from __future__ import annotations

import numpy as np
import pytest

from int_bench.core.types import Masks
from int_bench.methods.cycle import Cycle, Proposal
from int_bench.methods.final_choice import COSTS, cheapest
from tests.methods.running import method, run, sample


def vote(*rows: str, logits: float | None = None) -> Masks:
    hard = np.array([[cell == "#" for cell in row] for row in rows])
    soft = hard.astype(np.float32)
    return Masks(hard, soft, None if logits is None else np.where(hard, logits, -1).astype("f4"))


TYPICAL, LARGER, SPECK = vote("##.", "##."), vote("###", "##."), vote("#..", "...")


@pytest.mark.parametrize(
    ("rule", "index"), [("closest", 1), ("closest_hard", 1), ("smallest", 2), ("last", 2)]
)
def test_each_rule_on_the_same_three_masks(rule: str, index: int) -> None:
    """The mean is 1 on one pixel, 2/3 on three, 1/3 on one: distance 2, 4/3 and 7/3."""
    assert cheapest(COSTS[rule]([LARGER, TYPICAL, SPECK])) == index


def test_an_empty_mask_wins_as_released_and_nowhere_else() -> None:
    votes = [TYPICAL, LARGER, vote("...", "...")]
    assert cheapest(COSTS["smallest"](votes)) == 2
    assert cheapest(COSTS["closest"](votes)) == 0 and cheapest(COSTS["closest_hard"](votes)) == 0


def test_the_smallest_mask_is_what_the_released_arithmetic_gives() -> None:
    """An all-ones map against 8-bit masks: the squared difference wraps around at 256."""
    rng = np.random.default_rng(3)
    for _ in range(20):
        masks = rng.random((4, 6, 7)) < rng.random((4, 1, 1))
        ones = np.ones((6, 7), dtype=np.uint8)
        images = [np.where(mask, 255, 0).astype(np.uint8) for mask in masks]
        costs = [int(((image - ones) ** 2).astype(np.uint8).sum()) for image in images]
        votes = [Masks(mask, mask.astype(np.float32)) for mask in masks]
        assert cheapest(COSTS["smallest"](votes)) == int(np.argmin(costs))


def test_votes_are_weighed_by_their_logits() -> None:
    """One confident mask outvotes two hesitant ones."""
    strong, weak = vote("#.", logits=9.0), vote("..", logits=1.0)
    assert cheapest(COSTS["closest_hard"]([weak, strong, weak])) == 1


class Scripted:
    """A prompter and masker that play back given masks."""

    def __init__(self, votes: list[Masks]) -> None:
        self.votes = votes

    async def propose(self, state, ask):
        return Proposal("frog")

    async def segment(self, state, proposal, ask):
        return self.votes[state.iteration]


def test_deviation_promac_released_ends_with_the_smallest_mask() -> None:
    for name, index in (("promac", 1), ("promac_released", 2)):
        part = Scripted([LARGER, TYPICAL, SPECK])
        pixels = np.zeros((2, 3, 3), dtype=np.uint8)
        cycle = Cycle(part, part, 3, final=method(name).final)
        assert run(cycle, one=sample(pixels))[0].chosen[-1] == index
