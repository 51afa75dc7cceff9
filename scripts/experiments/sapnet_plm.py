"""SAPNet, PLM/PMM and what they stand on, trained and measured on the drawn world over seeds.

    python -m scripts.experiments.sapnet_plm --seeds 3
    python -m scripts.experiments.sapnet_plm --seeds 1 --only granular

Goes on where it was stopped. Writes ``results/tables/sapnet_plm.md``: the systems that were asked
for, in the place of what stood there of them.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from int_bench.core.files import write_file
from scripts.experiments.trained import decoder, granular, plm, segmentation, selection
from scripts.experiments.trained.frame import System, table

SYSTEMS: tuple[System, ...] = (
    granular.SYSTEM,
    decoder.SYSTEM,
    plm.SYSTEM,
    selection.SYSTEM,
    segmentation.SYSTEM,
    segmentation.FURTHER,
)
"""In the order of the page; a later one may stand on an earlier one's shipped adapter."""
_HEAD = """# First results: SAPNet and PLM/PMM on the drawn world

Made by `python -m scripts.experiments.sapnet_plm`. Scenes are drawn and models are small: the
numbers compare systems under equal conditions and say nothing about photographs. A mean is over
objects and seeds, its interval over objects (the mean of the seeds for each), bootstrapped.
"""


def main(
    seeds: Annotated[int, typer.Option(help="Trainings of each, from seed 0.", min=1)] = 3,
    only: Annotated[str | None, typer.Option(help="This system alone.")] = None,
    root: Annotated[Path, typer.Option(help="What the steps have printed.")] = Path(
        "results/sapnet_plm"
    ),
    out: Annotated[Path, typer.Option(help="The page.")] = Path("results/tables/sapnet_plm.md"),
) -> None:
    """Train, measure, and write the page."""
    chosen = [system for system in SYSTEMS if only in (None, system.name)]
    if not chosen:
        raise typer.BadParameter(f"--only is {', '.join(system.name for system in SYSTEMS)}")
    parts = _parts(out)
    for system in chosen:
        parts[system.title] = "\n".join(table(system, range(seeds), root))
        order = [s.title for s in SYSTEMS if s.title in parts]
        page = "\n".join([_HEAD, *(parts[title] for title in order)])
        write_file(out, page.encode())
        print(parts[system.title], flush=True)


def _parts(page: Path) -> dict[str, str]:
    """The parts of a page that is there, by their titles."""
    text = page.read_text(encoding="utf-8") if page.is_file() else ""
    titles = re.findall(r"^## (.*)$", text, re.MULTILINE)
    bodies = re.split(r"^## .*$", text, flags=re.MULTILINE)[1:]
    return {t: f"## {t}{body.rstrip()}\n" for t, body in zip(titles, bodies, strict=True)}


if __name__ == "__main__":
    typer.run(main)
