"""The details of an iteration as a reader may use them: whatever a file holds, typed and bounded.

Records are data that anybody may have written, in this version or before details were typed.
:func:`checked` keeps every entry that is what :mod:`int_bench.core.details` says and leaves out the
rest, so that who shows them asks no questions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

from int_bench.core.details import (
    AnswerDetails,
    CandidateDetails,
    Details,
    DetectionDetails,
    InstanceDetails,
    MaskDetails,
    Numbers,
    PatchDetails,
    SaidDetails,
)

T = TypeVar("T")
_MOST = 10_000
"""Entries of a list that are looked at."""


class _Unlike(Exception):
    """An entry is not what it should be."""


def checked(raw: Any) -> Details:
    """The entries that are as they should be.

    >>> checked({"winning_patch": "left", "answers": ["frog"], "costs": "low"})
    {'answers': [], 'winning_patch': 'left'}
    """
    if not isinstance(raw, Mapping):
        return Details()
    entries = {key: _tried(read, raw[key]) for key, read in _READERS.items() if key in raw}
    return cast(Details, {key: value for key, value in entries.items() if value is not None})


def _tried(read: Callable[[Any], T], value: Any) -> T | None:
    try:
        return read(value)
    except (_Unlike, KeyError, TypeError):
        return None


def _list(read: Callable[[Any], T]) -> Callable[[Any], list[T]]:
    """A list without the entries that are unlike."""

    def entries(value: Any) -> list[T]:
        if not isinstance(value, list):
            raise _Unlike
        tried = (_tried(read, item) for item in value[:_MOST])
        return [item for item in tried if item is not None]

    return entries


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise _Unlike
    return value


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 1e300:
        raise _Unlike
    if not math.isfinite(value):
        raise _Unlike
    return float(value)


def _numbers(count: int | None = None) -> Callable[[Any], Numbers]:
    def read(value: Any) -> Numbers:
        if not isinstance(value, list) or count not in (None, len(value)):
            raise _Unlike
        return [_number(item) for item in value[:_MOST]]

    return read


def _maybe(read: Callable[[Any], T], value: Any) -> T | None:
    return None if value is None else read(value)


def _said(value: Any) -> SaidDetails:
    return SaidDetails(question=_text(value["question"]), answer=_text(value["answer"]))


def _patch(value: Any) -> PatchDetails:
    return PatchDetails(patch=_text(value["patch"]), box_image=_BOX(value["box_image"]))


def _answer(value: Any) -> AnswerDetails:
    answer = AnswerDetails(
        patch=_text(value["patch"]),
        names=_list(_text)(value["names"]),
        environment=_text(value["environment"]),
        box_image=_maybe(_BOX, value["box_image"]),
    )
    if "task" in value:
        answer["task"] = _text(value["task"])
    if "said" in value:
        answer["said"] = _list(_said)(value["said"])
    return answer


def _candidate(value: Any) -> CandidateDetails:
    candidate = CandidateDetails(
        name=_text(value["name"]),
        patches=_list(_text)(value["patches"]),
        difference=_number(value["difference"]),
        weight=_number(value["weight"]),
    )
    if "before" in value:
        candidate["before"] = _numbers()(value["before"])
    if "after" in value:
        candidate["after"] = _numbers()(value["after"])
    return candidate


def _instance(value: Any) -> InstanceDetails:
    return InstanceDetails(
        category=_text(value["category"]),
        score=_number(value["score"]),
        counts=_text(value["counts"]),
    )


def _mask(value: Any) -> MaskDetails:
    mask = MaskDetails(
        patch=_text(value["patch"]),
        boxes_image=_list(_BOX)(value["boxes_image"]),
        similarity=_maybe(_number, value["similarity"]),
        weight=_maybe(_number, value["weight"]),
    )
    if "points_image" in value:
        mask["points_image"] = _list(_numbers(3))(value["points_image"])
    return mask


def _detection(value: Any) -> DetectionDetails:
    detection = DetectionDetails(
        box_image=_maybe(_BOX, value["box_image"]), score=_number(value["score"])
    )
    if "area" in value:
        detection["area"] = _number(value["area"])
    return detection


def _pictures(value: Any) -> dict[str, list[int]]:
    """Places within a sheet of a size that can be shown."""
    if not isinstance(value, Mapping):
        raise _Unlike
    places = {_text(name): _BOX(place) for name, place in list(value.items())[:_MOST]}
    if any(side < 0 or side > 2**14 for place in places.values() for side in place):
        raise _Unlike
    return {name: [int(side) for side in place] for name, place in places.items()}


_BOX = _numbers(4)
_READERS: Mapping[str, Callable[[Any], Any]] = {
    "patches": _list(_patch),
    "answers": _list(_answer),
    "candidates": _list(_candidate),
    "winning_patch": _text,
    "masks": _list(_mask),
    "detections": _list(_detection),
    "instances": _list(_instance),
    "costs": _numbers(),
    "pictures": _pictures,
}
