"""All methods and all ablations on the drawn world's three tasks: results/tables/camoworld.md.

    make tables                    # 256 scenes of animals, 128 of the others; hours of one core
    python -m scripts.experiments.field --n 4 --out /tmp/x   # a quick look

Every task is one command over one broker, so that all methods and variants share their common model
calls; runs are kept under results/runs and resumed. Beside the page, <task>.csv and <task>.json
hold the same numbers unrounded. What is said about them stands in field_remarks.md. What was asked
of the mechanism beforehand is measured by ``int_bench.zoo.report --only int``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from int_bench.cli.results import load_run
from int_bench.cli.run import run_all
from int_bench.cli.screen import Command
from int_bench.config import load_config
from int_bench.core.parsing import canonical
from int_bench.methods.trivial import KINDS
from int_bench.report.field import Entry, Field, claims_table, field_table
from int_bench.report.tables import Table
from int_bench.runs.prepare import Prepared, prepare
from int_bench.runs.reader import Run
from int_bench.runs.variants import RunRequest, ablations, sweep

ROOT = Path(__file__).parents[2]
REMARKS = Path(__file__).with_name("field_remarks.md")
TASKS = {"camoworld": 6, "camoworld_polyp": 7, "camoworld_skin": 6}
"""The data sets, and the longest run of INT on each; all shorter ones are its beginnings."""
SCENES = {"camoworld": 256, "camoworld_polyp": 128, "camoworld_skin": 128}
_SECTIONS = {
    "int-no_": "modules", "int-freeze_first": "modules", "int-patches_": "patches",
    "int-printed": "readings", "int-lineage": "readings", "oracle_": "upper bounds",
}  # fmt: skip
_ORDER = (
    "methods", "modules", "patches", "iterations", "readings", "sampled", "upper bounds", "floor",
)  # fmt: skip
_SAMPLED = (
    "method.prompter.selection.reading=sampled", "method.prompter.selection.samples=1", "trials=3",
)  # fmt: skip
"""A condition with noise: p(c|X) from one sampled answer a picture, drawn anew each iteration."""
HEAD = """# First results: the field on the drawn world

Made by `make tables` (`python -m scripts.experiments.field{n}`): every method that runs on the
shipped tiny models, every ablation of the paper's Table 3 and every reading of its equations, on
test scenes of the three drawn tasks ({scenes}), `exactness=E1`, seed 0, one trial, and three where
answers are sampled. The scenes are drawn and the models are small (`int_bench/zoo/README.md`): the
numbers compare methods under equal conditions and say nothing about photographs. Not here: `sam3`
has no small weights, `vlm_api_sam` needs an endpoint.
"""


def main(
    n: Annotated[int | None, typer.Option(help="Scenes of each task; see SCENES.")] = None,
    out: Annotated[Path, typer.Option(help="Folder of the page.")] = ROOT / "results" / "tables",
    task: Annotated[list[str] | None, typer.Option(help="Only these tasks; no page.")] = None,
) -> None:
    """Run what is not finished, then write the page."""
    out.mkdir(parents=True, exist_ok=True)
    scenes = ", ".join(f"{name} {n or count}" for name, count in SCENES.items())
    parts = [HEAD.format(n=f" --n {n}" if n else "", scenes=scenes)]
    for dataset in task or TASKS:
        measured = _measure(dataset, n or SCENES[dataset])
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
    axes = ["module=all", "patches=all", "reading=all", f"iterations=1..{TASKS[dataset]}"]
    options.append(f"out={ROOT / 'results' / 'runs'}")
    further = {
        "": ["ablation=freeze_first"],
        "sampled, k=1": _SAMPLED,
        "sampled, k=1, no_pnm": [*_SAMPLED, "ablation=no_pnm"],
    }
    requests = [
        *sweep([*options, "method=all"]),
        *ablations([*options, *axes]),
        *(RunRequest(load_config([*options, *more]), label) for label, more in further.items()),
    ]
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
