"""What a reader has to say about a file that it did read: heard by whoever listens.

A reader returns an array; that a mask was found in the alpha channel, or that half of an object
lies below the threshold, is no error and must not be silent either. :func:`remark` hands it to the
innermost :func:`heard` of this thread or task; without one it is dropped.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True)
class Remark:
    """``kind`` as in :mod:`int_bench.data.doctor`, ``text`` one sentence without its full stop."""

    kind: str
    text: str


_LISTENER: ContextVar[list[Remark] | None] = ContextVar("listener", default=None)


def remark(kind: str, text: str) -> None:
    """Say something about a file that is being read; the same thing is heard once."""
    listener, said = _LISTENER.get(), Remark(kind, text)
    if listener is not None and said not in listener:
        listener.append(said)


@contextmanager
def heard() -> Iterator[list[Remark]]:
    """The list in which the remarks of the block are gathered.

    >>> with heard() as remarks:
    ...     remark("mask_in_alpha", "a.png holds its mask in alpha")
    >>> [said.kind for said in remarks]
    ['mask_in_alpha']
    """
    said: list[Remark] = []
    token = _LISTENER.set(said)
    try:
        yield said
    finally:
        _LISTENER.reset(token)
