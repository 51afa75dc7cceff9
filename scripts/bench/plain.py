"""The predecessor's order of work: one call per request, one after the other, nothing kept.

A method is a coroutine that asks for model calls. Here every call is made at once and alone, patch
after patch, image after image. Nothing is remembered: neither answers nor what the backbones keep
between calls (prefixes, image features, text features).
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any, TypeVar

from int_bench.backbones.common.model import LocalModel
from int_bench.core.protocols import Ask, Backbone
from int_bench.core.requests import Request

A = TypeVar("A")
R = TypeVar("R")


def drive(coroutine: Coroutine[Any, Any, R]) -> R:
    """Run a coroutine whose requests are answered at once; what it gathers runs one by one."""
    value: Any = None
    while True:
        try:
            gathered = coroutine.send(value)
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]
        value = [drive(child) for child in gathered.awaitables]


def one_by_one(
    backbones: Mapping[str, Backbone],
    forgetful: bool = True,
    watch: Callable[[Request[Any], Any], None] = lambda *_: None,
) -> Ask:
    """An ``ask`` that makes every call at once and alone.

    Args:
        backbones: the models by role.
        forgetful: drop what the backbone kept before every call.
        watch: is given every request and its answer.
    """

    async def ask(request: Request[A]) -> A:
        backbone = backbones[request.role]
        if forgetful:
            forget(backbone)
        answer: A = getattr(backbone, request.verb)([request])[0]
        watch(request, answer)
        return answer

    return ask


def run_plain(starts: Iterable[Callable[[Ask], Coroutine[Any, Any, R]]], ask: Ask) -> list[R]:
    """The values of some jobs, one after the other."""
    return [drive(start(ask)) for start in starts]


def forget(backbone: Backbone) -> None:
    """Drop everything that a backbone keeps between calls, except its weights."""
    backbone = getattr(backbone, "wrapped", backbone)
    if isinstance(backbone, LocalModel):
        backbone.forget()
