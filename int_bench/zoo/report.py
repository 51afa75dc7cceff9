"""Measure the shipped models on the drawn world's test split and write the card's tables.

    python -m int_bench.zoo.report                    # n = 512 for models, 128 end to end
    python -m int_bench.zoo.report --n 64 --n-int 16 --no-write  # a quick look
    python -m int_bench.zoo.report --only sam,int     # some parts; the others keep their rows
    python -m int_bench.zoo.report --only inpainter --no-write backbone/inpainter=telea

Writes the numbers between the markers of ``int_bench/zoo/README.md`` and, unrounded with their
intervals, to ``results/zoo.json``. The test split is read by this script alone.
"""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

import int_bench.zoo.measures as zoo
from int_bench.config import build_backbones, load
from int_bench.core.parsing import canonical

ROOT = Path(__file__).parents[2]
CARD = ROOT / "int_bench" / "zoo" / "README.md"
NUMBERS = ROOT / "results" / "zoo.json"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
MODEL_PARTS: Mapping[str, Callable[..., list[zoo.Measure]]] = {
    "vlm": zoo.measure_vlm,
    "mining": zoo.measure_mining,
    "sam": zoo.measure_sam,
    "clip": zoo.measure_clip,
    "detector": zoo.measure_detector,
    "inpainter": zoo.measure_inpainter,
}
PARTS = (*MODEL_PARTS, "int")


def main(
    overrides: Annotated[list[str] | None, typer.Argument(help="KEY=VALUE of the models")] = None,
    n: Annotated[int, typer.Option(help="scenes for the single models")] = 512,
    n_int: Annotated[int, typer.Option(help="scenes end to end")] = 128,
    split: Annotated[str, typer.Option(help="test or validation")] = "test",
    only: Annotated[str, typer.Option(help="parts, comma-separated")] = ",".join(PARTS),
    write: Annotated[bool, typer.Option(help="update the card and results/zoo.json")] = True,
) -> None:
    """Measure, print, and write the card; parts that are not measured again keep their rows."""
    models = build_backbones(load(["models=tiny", *(overrides or [])]))
    cases = zoo.Cases.of(split, n)
    kept: dict[str, Any] = {}
    for part in only.split(","):
        started = time.monotonic()
        rows = end_to_end(n_int, split) if part == "int" else MODEL_PARTS[part](models, cases)
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


def end_to_end(n: int, split: str) -> list[zoo.Measure]:
    """INT by the command that a user types: scores, and names against the plain answer."""
    command = [sys.executable, "-m", "int_bench", "run", "dataset=camoworld", "--json"]
    options = [f"dataset.count={n}", f"dataset.split={split}", "exactness=E1", "in_flight=16"]
    done = subprocess.run([*command, *options], check=True, capture_output=True, text=True)
    folder = Path(json.loads(done.stdout.strip().splitlines()[-1])["run_dir"])
    with (folder / "scores.csv").open(encoding="utf-8") as file:
        scores = {row["id"]: row for row in csv.DictReader(file)}
    records = {}
    for path in sorted(folder.glob("records*.jsonl")):
        records.update({r["id"]: r for r in map(json.loads, path.read_text().split("\n")[:-1])})
    ids = sorted(scores)
    floors = {kind: _floor(kind, n, split) for kind in ("empty", "full", "centre_box")}
    best = max(floors.values(), key=lambda values: float(values.mean()))
    structure = _column(scores, ids, "native.S")
    truth = zoo.names_of(zoo.draw(split, range(n)))
    final = [canonical(records[i]["prompt"]) for i in ids]
    plain = [_plain_answer(records[i]) for i in ids]
    right, right_plain = zoo.equal(final, truth), zoo.equal(plain, truth)
    return [
        zoo.Measure("INT", "S, native", structure, ">= .70", ">= .82"),
        zoo.Measure(
            "INT", "adaptive F, native", _column(scores, ids, "native.adpF"), ">= .60", ">= .78"
        ),
        zoo.Measure("INT", "gain in S over the best floor", structure - best, ">= .15", ">= .25"),
        zoo.Measure("INT", "final prompt is the right name", right),
        zoo.Measure("INT", "plain full-image answer is the right name", right_plain),
        zoo.Measure("INT", "gain in names", right - right_plain, ">= .03", ">= .08"),
    ]


def _floor(kind: str, n: int, split: str) -> zoo.Values:
    from int_bench.data.world.dataset import DrawnScenes
    from int_bench.metrics.rules import NATIVE
    from int_bench.scoring.evaluate import baselines

    found = baselines(DrawnScenes(count=n, split=split), (NATIVE,))
    rows = sorted(found[kind].rows, key=lambda row: row.id)  # type: ignore[index]
    return np.array([row.scores["native"].measures.values["S"] for row in rows])


def _plain_answer(record: Mapping[str, Any]) -> str:
    names = record["iterations"][0]["details"]["answers"][0]["names"]
    return canonical(names[0]) if names else ""


def _column(scores: Mapping[str, Mapping[str, str]], ids: list[str], name: str) -> zoo.Values:
    return np.array([float(scores[i][name]) for i in ids])


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
