"""How a device's memory is shared out, in numbers alone: what a run does and ``models plan`` says.

CUDA and its libraries take something for themselves. Of what the weights leave, the five models of
the paper compute with a part; the rest is for the keys and values of a vision-language model: 16
parts of 25 for those that stay between calls, 9 for those that one call computes with. On 80 GB
that is four images of nine patches, of which two are computed together.
"""

from __future__ import annotations

from dataclasses import dataclass

RESERVED = 2**30
"""Bytes of CUDA's context and of its libraries' workspaces."""
WORK_BYTES = 16 * 2**30
"""Of a device, beside weights, keys and values: what the five models of the paper compute with."""
QUESTION, ANSWER, ROOM = 128, 64, 256
"""Tokens of a question and the words around a picture, of an answer behind it, and of all that may
stand behind a picture."""
PICTURES = 9
"""Patches of one image in the paper; their keys and values are used in every iteration."""


@dataclass(frozen=True)
class Budget:
    """Memory of keys and values, in bytes.

    Attributes:
        prefixes: of those that stay between calls.
        batch: of those that one call computes with, ...
        rows: ... at most so many prompts.
    """

    prefixes: int
    batch: int
    rows: int

    def batch_bytes(self, token_bytes: int, picture_tokens: int) -> int:
        """Of a batch of the most rows, ``token_bytes`` each token, of pictures of so many."""
        return min(self.batch, self.rows * (picture_tokens + ROOM) * token_bytes)

    def pictures(self, token_bytes: int, picture_tokens: int) -> int:
        """Pictures with a question each that stay between calls, about."""
        return self.prefixes // (token_bytes * (picture_tokens + QUESTION))

    def rows_in_memory(self, token_bytes: int, picture_tokens: int) -> int:
        """Prompts whose keys and values may be held for one call: those that would stay."""
        held = min(self.prefixes, self.batch_bytes(token_bytes, picture_tokens))
        return max(1, held // (token_bytes * (picture_tokens + QUESTION + ANSWER)))


def shared_out(free: int, rows: int) -> Budget:
    """The memory for keys and values on a device.

    Args:
        free: bytes of it once all models are loaded.
        rows: of the largest batch.

    >>> shared_out(50 * 2**30, 32).prefixes // 2**30
    21
    """
    spare = max(free - WORK_BYTES, free // 2)
    return Budget(spare * 16 // 25, spare * 9 // 25, rows)
