"""All methods and all ablations on the drawn world's three tasks: results/tables/camoworld.md.

    make tables                                              # two hours of one core
    python -m scripts.experiments.field --n 8 --split validation --out /tmp/x   # a quick look
    python -m scripts.experiments.field --part 3/12 --runs parts/03  # one process of several, ...
    python -m scripts.experiments.field --join parts                 # ... and then all together

Every data set is run over one broker, so that all methods and variants share their common model
calls; runs are kept under results/runs and resumed. Beside the page, <task>.csv and <task>.json
hold the same numbers unrounded. What is said about them stands in field_remarks.md. What was asked
of the mechanism beforehand is taken from the same runs (``int_bench.zoo.report --only int``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
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
from int_bench.runs.prepare import Prepared
from int_bench.runs.reader import Run
from int_bench.runs.variants import RunRequest
from int_bench.zoo.bars import scenes_in
from int_bench.zoo.report import KEPT
from scripts.experiments.field_parts import join, keep_bars, prepared_runs
from scripts.experiments.field_runs import GROUPS, N, Scope

ROOT = Path(__file__).parents[2]
REMARKS = Path(__file__).with_name("field_remarks.md")
TASKS = ("camoworld", "camoworld_polyp", "camoworld_skin")
"""The data sets of the page."""
FURTHER = {"camoworld": ("sampled",)}
"""Row groups that stand below a data set's own."""
_SECTIONS = {
    "int-no_": "modules", "int-freeze_first": "modules", "int-patches_": "patches",
    "int-printed": "readings", "int-lineage": "readings", "oracle_": "upper bounds",
}  # fmt: skip
_ORDER = (
    "methods", "modules", "patches", "iterations", "readings", "sampled", "upper bounds", "floor",
)  # fmt: skip
HEAD = """# First results: the field on the drawn world

Made by `make tables` (`python -m scripts.experiments.field{n}`): every method that runs on the
shipped tiny models, the ablations of the paper's Table 3 and the readings of its equations, on
{split} scenes of the three drawn tasks ({scenes}), `exactness=E1`, seed 0, one trial, and three
where answers are sampled. {drawn}The scenes are drawn and the models are small
(`int_bench/zoo/README.md`): the numbers compare methods under equal conditions and say nothing
about photographs. Not here: `sam3` has no small weights, `vlm_api_sam` needs an endpoint.
"""
DRAWN = """Models, readings and thresholds were fixed on validation scenes before any test scene was
drawn. The same scenes were drawn before, with a detector that was not told where a half patch is
padded, so that its boxes there were half as wide or high as they should be; that was found by
reading, not by looking at results, and nothing else that moves a mask was changed. """


def main(
    n: Annotated[int, typer.Option(help="Scenes of animals; other sets in proportion.")] = N,
    out: Annotated[Path, typer.Option(help="Folder of the page.")] = ROOT / "results" / "tables",
    runs: Annotated[Path, typer.Option(help="Root of the runs.")] = ROOT / "results" / "runs",
    split: Annotated[str, typer.Option(help="test, or validation to try.")] = "test",
    part: Annotated[str, typer.Option(help="I/N: only run the Ith of N parts.")] = "",
    parts: Annotated[Path | None, typer.Option("--join", help="Take what parts have done.")] = None,
) -> None:
    """Run what is not finished, then write the page."""
    scope = Scope(split, n, runs.absolute())
    if part:
        index, _, number = part.partition("/")
        run_part(replace(scope, part=(int(index) - 1, int(number))))
        return
    if parts is not None:
        join(parts.absolute(), scope)
    write_page(scope, out)
    keep_bars(scope, KEPT)


def run_part(scope: Scope) -> None:
    """Compute a part of all scenes; shorter runs are taken from longer ones when all is there."""
    for group in GROUPS.values():
        if not scope.empty(group.scenes):
            _run([request for request in group.requests(scope) if request.longer is None])


def write_page(scope: Scope, out: Path) -> None:
    """Run what is not finished and write the page and its files."""
    out.mkdir(parents=True, exist_ok=True)
    shown = [name for task in TASKS for name in (task, *FURTHER.get(task, ()))]
    scenes = ", ".join(f"{name} {scenes_in(GROUPS[name].scenes, scope.n)}" for name in shown)
    by_hand = "" if scope.n == N else f" --n {scope.n}"
    drawn = DRAWN if scope.split == "test" else ""
    text = [HEAD.format(n=by_hand, split=scope.split, scenes=scenes, drawn=drawn)]
    for group in GROUPS.values():
        _run(group.requests(scope))
    for task in TASKS:
        rows = [row for name in (task, *FURTHER.get(task, ())) for row in _entries(name, scope)]
        rows.sort(key=lambda entry: _ORDER.index(entry.section))
        measured = Field(task, rows, rows[0].run)
        tables = [field_table(measured), claims_table(measured)]
        (out / f"{task}.csv").write_text(tables[0].to_csv(), encoding="utf-8")
        (out / f"{task}.json").write_text(tables[0].to_json() + "\n", encoding="utf-8")
        text += map(Table.to_markdown, tables)
    page = "\n".join([*text, REMARKS.read_text(encoding="utf-8")])
    (out / "camoworld.md").write_text(page, encoding="utf-8")
    print(out / "camoworld.md")


def _run(requests: Sequence[RunRequest]) -> None:
    code = run_all(Command("run", ()), requests)
    if code not in (0, 4):
        raise typer.Exit(code)


def _entries(name: str, scope: Scope) -> list[Entry]:
    """The rows of a group, INT itself first."""
    group = GROUPS[name]
    return [_entry(run) for run in prepared_runs(group.page(scope.options(group.scenes)))]


def _entry(prepared: Prepared) -> Entry:
    run, name = load_run(prepared.path), prepared.config.method_name
    section = next((kind for start, kind in _SECTIONS.items() if name.startswith(start)), "methods")
    if name in KINDS:
        section = "floor"
    elif prepared.label.startswith("sampled"):
        section = "sampled"
    elif prepared.label != name:
        section = "iterations"
    return Entry(section, prepared.label, run, _named(prepared))


def _named(prepared: Prepared) -> float | None:
    """The share of prompts, over samples and trials, of which all is there; None without names."""
    prompts = [(record.id, record.prompt or "") for record in Run(prepared.path).records.values()]
    if {prompt for _, prompt in prompts} <= {"", prepared.config.task.prompt}:
        return None
    there = {
        sample.id: {canonical(name) for name in (sample.truth_name or "").split(" and ")}
        for sample in prepared.samples
    }
    right = [
        {canonical(part) for part in prompt.split(" and ")} <= there[sample]
        for sample, prompt in prompts
    ]
    return sum(right) / len(right)


if __name__ == "__main__":
    typer.run(main)
