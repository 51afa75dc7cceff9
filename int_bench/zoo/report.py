"""Measure the shipped models on the drawn world's test split and write the card's tables.

    python -m int_bench.zoo.report                    # n = 512 for models, 256 end to end: hours
    python -m int_bench.zoo.report --n 64 --n-int 16 --no-write  # a quick look
    python -m int_bench.zoo.report --only sam,int     # some parts; the others keep their rows
    python -m int_bench.zoo.report --only inpainter --no-write backbone/inpainter=telea

Writes the numbers between the markers of ``int_bench/zoo/README.md`` and, unrounded with their
intervals, to ``results/zoo.json``. The test split is read by this script alone.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

import int_bench.zoo.measures as zoo
import int_bench.zoo.vision_measures as vision
from int_bench.config import build_backbones, load_config
from int_bench.zoo import bars

ROOT = Path(__file__).parents[2]
CARD = ROOT / "int_bench" / "zoo" / "README.md"
NUMBERS = ROOT / "results" / "zoo.json"
KEPT = ROOT / "results" / "mechanism"
"""Values of the scenes that were measured end to end, not committed."""
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
MODEL_PARTS: Mapping[str, Callable[..., list[zoo.Measure]]] = {
    "vlm": zoo.measure_vlm,
    "mining": zoo.measure_mining,
    "sam": vision.measure_sam,
    "clip": vision.measure_clip,
    "detector": vision.measure_detector,
    "inpainter": zoo.measure_inpainter,
}
PARTS = (*MODEL_PARTS, "int")


def main(
    overrides: Annotated[list[str] | None, typer.Argument(help="KEY=VALUE of the models")] = None,
    n: Annotated[int, typer.Option(help="scenes for the single models")] = 512,
    n_int: Annotated[int, typer.Option(help="scenes end to end")] = bars.WHOLE,
    split: Annotated[str, typer.Option(help="test or validation")] = "test",
    only: Annotated[str, typer.Option(help="parts, comma-separated")] = ",".join(PARTS),
    write: Annotated[bool, typer.Option(help="update the card and results/zoo.json")] = True,
) -> None:
    """Measure, print, and write the card; parts that are not measured again keep their rows."""
    models = build_backbones(load_config(["models=tiny", *(overrides or [])]))
    cases = zoo.Cases.of(split, n)
    kept: dict[str, Any] = {}
    for part in only.split(","):
        started = time.monotonic()
        rows = (
            bars.measures(split, n_int, KEPT) if part == "int" else MODEL_PARTS[part](models, cases)
        )
        if write and NUMBERS.exists():  # read again: another part may have been measured beside
            kept = json.loads(NUMBERS.read_text(encoding="utf-8"))
        kept[part] = [as_json(row, split) for row in rows]
        print(f"{part}: {time.monotonic() - started:.0f} s", file=sys.stderr)
        if write:
            NUMBERS.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    table = markdown([row for part in PARTS for row in kept.get(part, [])])
    print(table)
    if write:
        card = CARD.read_text(encoding="utf-8")
        before, after = card.split(BEGIN)[0], card.split(END)[1]
        CARD.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}", encoding="utf-8")


def as_json(row: zoo.Measure, split: str) -> dict[str, Any]:
    """One row of the card, unrounded."""
    return {
        "model": row.role,
        "what": row.name,
        "value": row.mean,
        "half_width": row.half_width,
        "n": len(row.values),
        "must": row.must,
        "aim": row.aim,
        "split": split,
    }


def markdown(rows: list[dict[str, Any]]) -> str:
    """The card's table: value, half width of its 95 % interval, number of cases, bars."""
    lines = [
        "| model | what | value | ± | n | must | aim | split |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        lines.append(
            f"| {row['model']} | {row['what']} | {row['value']:.3f} | {row['half_width']:.3f} "
            f"| {row['n']} | {row['must']} | {row['aim']} | {row['split']} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    typer.run(main)
