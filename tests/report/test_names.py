"""Names that somebody else chose are text in every medium, and neither mark-up nor command."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from int_bench.cli.screen import print_scores, say
from int_bench.metrics.metrics import METRICS
from int_bench.metrics.rules import NATIVE
from int_bench.metrics.summary import Counts, Summary
from int_bench.report.latex import to_latex
from int_bench.report.scores import score_table
from int_bench.report.tables import Column, Row, Table
from int_bench.scoring.score import Scored

NAMES = [
    "a\nb",
    "a\r\nb",
    "<img src=x onerror=alert(1)>",
    "\x1b[31mred\x1b[0m",
    "\x1b]0;title\x07",
    "=cmd|' /C calc'!A0",
    "+1+1",
    "-2+3",
    "@SUM(A1)",
    "a|b|c",
    "*bold* `code` [link](http://x)",
    "[bold]rich[/bold]",
    r"\input{/etc/passwd} 50% $x$ #1 & ~^_",
    "a\u2028b\u2029c\u0085d",
    "\u202eright to left",
    "half \udcff a letter",
]


def scored(name: str) -> Scored:
    counts = Counts(2, 1, 1, 0)
    summary = Summary(NATIVE, counts, dict.fromkeys(METRICS, 0.5))
    return Scored(name, name, Path(f"runs/{name}"), counts, (summary,), {"empty": (summary,)})


def table_of(name: str) -> Table:
    return score_table(name, [scored(name), scored("int")])


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_table_keeps_its_shape_in_every_medium(name):
    table = table_of(name)
    markdown = table.to_markdown().splitlines()
    assert sum(line.startswith("|") for line in markdown) == 2 + len(table.rows)
    rows = [line.replace("\\|", "") for line in markdown if line.startswith("|")]
    assert {row.count("|") for row in rows} == {len(table.visible) + 1}
    assert "<" not in table.to_markdown() and "\x1b" not in table.to_markdown()

    lines = list(csv.reader(io.StringIO(table.to_csv(), newline="")))
    assert len(lines) == 1 + len(table.rows) and {len(line) for line in lines} == {len(lines[0])}
    assert not [cell for line in lines for cell in line if cell[:1] in tuple("=+-@")]

    latex = to_latex(table)
    assert sum(line.endswith("\\\\") for line in latex.splitlines()) == 1 + len(table.rows)
    assert "\\input{" not in latex and "\x1b" not in latex
    assert json.loads(table.to_json())["title"] == name
    table.to_json().encode("ascii")


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_terminal_gets_text_and_no_commands(name, capsys):
    print_scores([scored(name)])
    say(f"left out {name}: reason")
    out, err = capsys.readouterr()
    for text in (out, err):
        assert not set(text) & set("\x1b\x07\r\u2028\u2029\u0085\u202e\udcff")
    assert len(err.splitlines()) == 1
    if name.startswith("[bold]"):
        assert name in out


def test_numbers_stay_whole_at_eighty_columns():
    columns = (
        Column("metric", "metric", numeric=False),
        *(Column(key, key, 4, interval=key == "b") for key in "abcdefg"),
    )
    cells = {"metric": "native.meanE", **{key: 0.123456 for key in "abcdefg"}}
    rows = (Row({**cells, "b_low": -0.012345, "b_high": 0.112345}),)
    console = Console(width=80, file=io.StringIO(), color_system=None)
    console.print(*Table("B against A", columns, rows).to_rich(80), sep="\n")
    text = console.file.getvalue()
    assert "…" not in text and text.count("0.1235") == 7
    assert "[-0.0123," in text and "0.1123]" in text
