"""How much work a run must take, from its sizes alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Work:
    """Passes of pictures through the vision tower, and prompt positions through the model."""

    vision_passes: int
    prefill_tokens: int


def predecessor(lengths: Sequence[Sequence[int]], iterations: int) -> Work:
    """Every turn of every stream starts anew: one stream first, two from then on.

    Args:
        lengths: for each of K patches the tokens of the prompt of each turn.
        iterations: T.
    """
    streams = 2 * iterations - 1
    turns = sum(len(chat) for chat in lengths)
    return Work(streams * turns, streams * sum(sum(chat) for chat in lengths))


def engine(lengths: Sequence[Sequence[int]], iterations: int) -> Work:
    """Every distinct picture once (K originals, K erased ones per further iteration).

    A prompt begins with the one before it, so the last turn's is all that a chat computes.
    """
    return Work(iterations * len(lengths), iterations * sum(chat[-1] for chat in lengths))
