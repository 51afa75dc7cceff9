"""The story of one image, ready for the page: iteration by iteration, numbers and pictures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from int_bench.core.text import shown
from int_bench.report.html.pictures import soft_picture, uri
from int_bench.report.html.sides import Side
from int_bench.runs.kept.details import checked
from int_bench.runs.records import OK, Record, Step

RULES = {
    "closest": "Eq. 13: the mask nearest to the mean of all (L1, pixels)",
    "closest_hard": "the mask that differs in the fewest pixels from the mean's sign (GenSAM)",
    "smallest": "the smallest mask (ProMaC as released)",
    "last": "the last mask",
}


def story(side: Side, sample_id: str, sheets: bool) -> dict[str, Any] | None:
    """What a run did with an image; None without a record of it.

    Args:
        side: the run.
        sample_id: the image.
        sheets: whether the pictures of what it saw go with it.
    """
    record = side.records.get(sample_id)
    if record is None:
        return None
    told: dict[str, Any] = {
        "size": record.size,
        "chosen": record.chosen[-1] if record.chosen else None,
        "box": record.box,
        "seconds": dict(record.seconds),
        "steps": [],
    }
    if record.status == OK:
        told["steps"] = [
            _step(side, record, number, step, sheets)
            for number, step in enumerate(record.iterations, start=1)
        ]
    return plain(told)  # type: ignore[no-any-return]


def _step(side: Side, record: Record, number: int, step: Step, sheets: bool) -> dict[str, Any]:
    details = checked(step.details)
    mask = side.step_mask(record, number)
    sheet = side.sheet(record, number) if sheets else None
    costs = details.pop("costs", [])
    return {
        "prompt": step.prompt,
        "box": step.box,
        **details,
        **({"cost": costs[-1]} if costs else {}),
        "mask": None if mask is None else soft_picture(mask),
        "soft": step.soft is not None,
        "sheet": None if sheet is None else uri(sheet, "webp"),
    }


def plain(value: Any) -> Any:
    """JSON-ready: texts as a page shows them, numbers with four figures."""
    if isinstance(value, str):
        return value if value.startswith("data:image/") else shown(value)
    if isinstance(value, bool | int) or value is None:
        return value
    if isinstance(value, float):
        return round(value, 1) if abs(value) >= 1000 else float(f"{value:.4g}")
    if isinstance(value, Mapping):
        return {shown(str(key)): plain(part) for key, part in value.items()}
    return [plain(part) for part in value]
