"""Aliases that the classes of ``test_annotations`` bring in by a from-import."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, TypeAlias

from int_bench.core.limits import Within

Base = Literal["original", "recursive"]
Set: TypeAlias = Literal["original", "halves"]
Weight = Annotated[float, Within(0, 1)]


class Declares:
    """Declares what a model declares."""

    RUNTIME: ClassVar[tuple[str, ...]] = ("device", "max_batch")
    PRECISION: ClassVar[dict[str, str]] = {"E1": "float16"}
