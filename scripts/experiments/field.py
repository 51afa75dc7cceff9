"""All methods and all ablations on the drawn world's three tasks: results/tables/camoworld.md.

    make tables                                  # n = 128 a task; an hour and a half of one core
    python -m scripts.experiments.field --n 4 --out /tmp/x   # a quick look

Every task is one command over one broker, so that all methods and variants share their common model
calls; runs are kept under results/runs and resumed. Beside the page, <task>.csv and <task>.json
hold the same numbers unrounded. What is said about them stands in field_remarks.md.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from int_bench.cli.results import load_run
from int_bench.cli.run import run_all
from int_bench.cli.screen import Command
from int_bench.core.parsing import canonical
from int_bench.methods.trivial import KINDS
from int_bench.report.field import Entry, Field, claims_table, field_table
from int_bench.report.tables import Table
from int_bench.runs.prepare import Prepared, prepare
from int_bench.runs.reader import Run
from int_bench.runs.variants import RunRequest, ablations, methods

ROOT = Path(__file__).parents[2]
REMARKS = Path(__file__).with_name("field_remarks.md")
TASKS = {"camoworld": 6, "camoworld_polyp": 7, "camoworld_skin": 6}
"""The data sets, and the longest run of INT on each; all shorter ones are its beginnings."""
_SECTIONS = {"int-no_": "modules", "int-patches_": "patches", "oracle_": "upper bounds"}
_ORDER = ("methods", "modules", "patches", "iterations", "upper bounds", "floor")
HEAD = """# First results: the field on the drawn world

Made by `make tables` (`python -m scripts.experiments.field --n {n}`): every method that runs on the
shipped tiny models and every ablation of the paper's Table 3, on {n} test scenes of each of the
three drawn tasks, `exactness=E1`, seed 0, one trial. The scenes are drawn and the models are small
(`int_bench/zoo/README.md`): the numbers compare methods under equal conditions and say nothing
about photographs. Not here: `sam3` has no small weights, `vlm_api_sam` needs an endpoint.
"""


def main(
    n: Annotated[int, typer.Option(help="Scenes of each task.")] = 128,
    out: Annotated[Path, typer.Option(help="Folder of the page.")] = ROOT / "results" / "tables",
    task: Annotated[list[str] | None, typer.Option(help="Only these tasks; no page.")] = None,
) -> None:
    """Run what is not finished, then write the page."""
    out.mkdir(parents=True, exist_ok=True)
    parts = [HEAD.format(n=n)]
    for dataset in task or TASKS:
        measured = _measure(dataset, n)
        tables = [field_table(measured), claims_table(measured)]
        (out / f"{dataset}.csv").write_text(tables[0].to_csv(), encoding="utf-8")
        (out / f"{dataset}.json").write_text(tables[0].to_json() + "\n", encoding="utf-8")
        parts += map(Table.to_markdown, tables)
    if not task:
        page = "\n".join([*parts, REMARKS.read_text(encoding="utf-8")])
        (out / "camoworld.md").write_text(page, encoding="utf-8")
        print(out / "camoworld.md")


def _measure(dataset: str, n: int) -> Field:
    """The entries of one task in the order of the page, INT itself first."""
    options = [f"dataset={dataset}", "dataset.split=test", f"dataset.count={n}", "exactness=E1"]
    options.append("in_flight=16")
    axes = ["module=all", "patches=all", f"iterations=1..{TASKS[dataset]}"]
    options.append(f"out={ROOT / 'results' / 'runs'}")
    requests: list[RunRequest] = [*methods([*options, "method=all"]), *ablations([*options, *axes])]
    code = run_all(Command("run", tuple(options)), requests)
    if code not in (0, 4):
        raise typer.Exit(code)
    entries = [_entry(run) for run in prepare(requests)]
    entries.sort(key=lambda entry: _ORDER.index(entry.section))
    return Field(dataset, entries, entries[0].run)


def _entry(prepared: Prepared) -> Entry:
    run, name = load_run(prepared.path), prepared.config.method_name
    section = next((kind for start, kind in _SECTIONS.items() if name.startswith(start)), "methods")
    if name in KINDS:
        section = "floor"
    elif prepared.label != name:
        section = "iterations"
    return Entry(section, prepared.label, run, _named(prepared))


def _named(run: Prepared) -> float | None:
    """The share of samples whose final prompt is a true name; None if no name was looked for."""
    prompts = {record.id: record.prompt or "" for record in Run(run.path).records.values()}
    if set(prompts.values()) <= {"", run.config.task.prompt}:
        return None
    right = [
        canonical(prompts[s.id]) in map(canonical, (s.truth_name or "").split(" and "))
        for s in run.samples
    ]
    return sum(right) / len(right)


if __name__ == "__main__":
    typer.run(main)
