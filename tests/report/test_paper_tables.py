"""The paper's tables with ours beside them, in every format, and ``int-bench table``."""

import csv
import io
import json
import re

import pytest

from int_bench.cli.results import load_run
from int_bench.report.latex import escaped, to_latex
from int_bench.report.paper_tables import paper_table, runs_table
from int_bench.report.rows import Settings
from int_bench.report.tables import Column, Row, Table, absent_samples
from tests.scored import around, write_run


def rows(table, **where):
    return [row for row in table.rows if all(row.cells.get(k) == v for k, v in where.items())]


def one(table, **where):
    (row,) = rows(table, **where)
    return row.cells


@pytest.fixture
def runs(tmp_path):
    """INT with two trials, ProMaC, a method of nobody's, and a run on another set."""
    int_scores = around(0.842, 0.02, 76)
    return [
        load_run(folder)
        for folder in (
            write_run(tmp_path, "int", [int_scores, [s + 0.002 for s in int_scores]]),
            write_run(tmp_path, "promac", [around(0.80, 0.01, 76)]),
            write_run(tmp_path, "mine", [around(0.5, 0.01, 76)]),
            write_run(tmp_path, "int", [around(0.5, 0.01, 8)], dataset="camoworld"),
        )
    ]


def test_ours_stand_beneath_the_published_row(runs):
    table = paper_table("1", runs)
    block = rows(table, dataset="CHAMELEON", method="INT")
    names = ["published", "ours", "sd over trials", "ours - published", "verdict"]
    assert [row.cells["row"] for row in block] == names
    printed, ours, spread, difference, verdicts = (row.cells for row in block)
    assert printed["S"] == 0.842 and printed["N"] == 76
    assert ours["S"] == pytest.approx(0.843) and ours["protocol"] == "family"
    assert ours["S_low"] < ours["S"] < ours["S_high"]
    assert (ours["n"], ours["N"], ours["failed"], ours["missing"]) == (76, 76, 0, 0)
    assert any("int on chameleon: 2 trials of 76 images" in note for note in table.notes)
    assert spread["S"] == pytest.approx(0.002 / 2**0.5)
    assert difference["S"] == pytest.approx(0.001)
    assert difference["S_low"] == pytest.approx(ours["S_low"] - 0.842)
    assert (verdicts["S"], verdicts["MAE"]) == ("reproduced", "differs")


def test_a_method_of_nobodys_stands_at_the_end_and_other_sets_are_named(runs):
    table = paper_table("1", runs)
    here = rows(table, dataset="CHAMELEON")
    assert here[-1].cells["method"] == "mine" and here[-1].cells["row"] == "ours"
    assert "not in this table: int on camoworld" in table.notes


def test_f_is_the_weighted_f_of_the_family_and_the_caption_says_so(tmp_path):
    folder = write_run(tmp_path, "int", [[0.5] * 76])
    text = (folder / "scores.csv").read_text().splitlines()
    at = text[0].split(",").index("family.wF")
    lines = [
        ",".join([*line.split(",")[:at], "0.25", *line.split(",")[at + 1 :]]) for line in text[1:]
    ]
    (folder / "scores.csv").write_text("\n".join([text[0], *lines]) + "\n")
    table = paper_table("1", [load_run(folder)])
    cells = one(table, dataset="CHAMELEON", method="INT", row="ours")
    assert (cells["F"], cells["F_variant"], cells["S"]) == (0.25, "wF", 0.5)
    assert any("weighted F, beta^2=0.3" in note for note in table.notes)


@pytest.mark.parametrize("status, count", [("failed", 76), ("missing", 76), (0.842, 75)])
def test_no_verdict_unless_every_image_was_scored(tmp_path, status, count):
    scores = [*around(0.842, 0.001, count - 1), status]
    table = paper_table("1", [load_run(write_run(tmp_path, "int", [scores]))])
    assert one(table, dataset="CHAMELEON", method="INT", row="verdict")["S"] == "undecidable"
    cells = one(table, dataset="CHAMELEON", method="INT", row="ours")
    assert cells["N"] == count and cells["n"] == (count if count == 75 else 75)
    assert any("INCOMPLETE" in note or "75 of 76" in note for note in table.notes)


@pytest.mark.parametrize(
    "status, score, policy",
    [("failed", "", "error"), ("missing", "", "skip"), ("missing", "0.1", "empty")],
)
def test_what_the_means_do_about_absent_samples_is_stamped_on_every_format(
    tmp_path, status, score, policy
):
    folder = write_run(tmp_path, "int", [[0.5, 0.6, status]], dataset="camoworld")
    if score:
        *others, last = (folder / "scores.csv").read_text().splitlines()
        filled = ",".join(score if cell == "" else cell for cell in last.split(",")[:-1]) + ","
        (folder / "scores.csv").write_text("\n".join([*others, filled]) + "\n")
    table = runs_table([load_run(folder)])
    for text in (table.to_markdown(), to_latex(table), table.to_json()):
        assert absent_samples(policy) in text.replace("\\_", "_")
    (cells, _) = csv.DictReader(io.StringIO(table.to_csv()))
    in_the_mean = "3" if policy == "empty" else "2"
    assert (cells["policy"], cells["n"], cells["N"]) == (policy, in_the_mean, "3")
    whole = load_run(write_run(tmp_path, "whole", [[0.5, 0.6]], dataset="camoworld"))
    assert "INCOMPLETE" not in runs_table([whole]).to_markdown()


def test_no_verdict_against_a_doubtful_cell(tmp_path):
    run = load_run(write_run(tmp_path, "seem", [around(0.3, 0.01, 1000)], dataset="isic"))
    table = paper_table("2", [run])
    cells = one(table, dataset="ISIC", method="SEEM", row="verdict")
    assert (cells["F"], cells["meanE"], cells["S"]) == ("none†", "none†", "differs")
    assert one(table, dataset="ISIC", method="SEEM", row="published")["doubtful"] == "F meanE"
    assert "0.002†" in table.to_markdown() and "0.002$^\\dagger$" in to_latex(table)
    assert any(note.startswith("†SEEM") for note in table.notes)
    assert any("ISIC: the paper gives no number" in note for note in table.notes)


def test_table_3_takes_the_variants(tmp_path):
    sets = {"prompter": {"generation": {"grid": {"sets": ["original", "halves", "quarters"]}}}}
    config = {"task": {"iterations": 5}, "method": sets}
    run = load_run(write_run(tmp_path, "int", [around(0.8, 0.01, 76)], config=config))
    without = load_run(write_run(tmp_path, "int-no_smg", [around(0.8, 0.01, 76)], config=config))
    for which, name in (("3a", "5"), ("3b", "original+halves+quarters"), ("3c", "full")):
        assert rows(paper_table(which, [run]), method=name, row="ours")
    table = paper_table("3c", [run, without])
    assert rows(table, method="without SMG", row="verdict")
    assert not rows(table, method="without PNM", row="ours")


def test_table_3_takes_the_iterations_of_the_method_and_tells_runs_apart(tmp_path):
    """The task's number is the default only."""
    found = []
    for number in (1, 3):
        config = {"task": {"iterations": 5}, "method": {"iterations": number}}
        place = tmp_path / str(number)
        found.append(load_run(write_run(place, "int", [around(0.8, 0.01, 76)], config=config)))
    assert [run.iterations for run in found] == [1, 3]
    table = paper_table("3a", found)
    assert rows(table, method="1", row="ours") and rows(table, method="3", row="ours")
    assert not rows(table, method="5", row="ours")
    labels = [row.cells["row"] for row in paper_table("3c", found).rows]
    assert sum(str(label).endswith("iterations=3)") for label in labels) == 1


def test_table_3b_takes_fewer_patches(tmp_path):
    grid = {"prompter": {"generation": {"grid": {"sets": ["halves"]}}}}
    config = {"task": {"iterations": 5}, "method": grid}
    scores = [around(0.8, 0.01, 76)]
    run = load_run(write_run(tmp_path, "int-patches_halves", scores, config=config))
    assert rows(paper_table("3b", [run]), method="halves", row="verdict")


def test_printed_digits_stay_and_supervision_is_told():
    text = paper_table("2", []).to_markdown()
    assert "| 0.5739 |" in text and "0.574" not in text
    first = paper_table("1", []).to_markdown()
    assert "WS-SAM (scribble)" in first and "WS-SAM (point)" in first


def test_every_format_has_the_same_numbers_rounded_once(runs):
    table = paper_table("1", runs)
    stored = list(csv.DictReader(io.StringIO(table.to_csv())))
    parsed = json.loads(table.to_json())["rows"]
    markdown = [line for line in table.to_markdown().splitlines() if line.startswith("|")][2:]
    latex = [line for line in to_latex(table).splitlines() if line.endswith("\\\\")][1:]
    assert len(stored) == len(parsed) == len(markdown) == len(latex) == len(table.rows)
    number = re.compile(r"-?\d\.\d+")
    for line, entry, md, tex in zip(stored, parsed, markdown, latex, strict=True):
        shown = number.findall(md)
        assert number.findall(tex) == shown
        if line["row"] not in ("published", "verdict"):
            kept = [line[k + e] for k in ("MAE", "F", "meanE", "S") for e in ("", "_low", "_high")]
            assert [f"{float(cell):.3f}" for cell in kept if cell] == shown
            assert float(line["S"]) == entry["S"]


def test_a_table_longer_than_a_page_is_broken_over_pages():
    long, short = (to_latex(paper_table(which, [])) for which in ("1", "3a"))
    assert long.count(r"\begin{longtable}") == long.count(r"\end{longtable}") == 1
    assert r"\endhead" in long and r"\begin{table}" not in long
    assert short.count(r"\begin{tabular}") == 1 and "longtable" not in short


def test_latex_from_the_csv_is_the_same_latex(runs):
    """What LaTeX shows is in the CSV: a table read back from it renders to the same text."""
    table = runs_table(runs[:3], Settings(against="int"))
    kinds = {"floor": lambda text: text == "1"}

    def read(key, text):
        if key in kinds:
            return kinds[key](text)
        try:
            return int(text) if text.isdigit() else float(text)
        except ValueError:
            return text or None

    lines = csv.DictReader(io.StringIO(table.to_csv()))
    back = [
        Row({k: read(k, v) for k, v in line.items()}, ranked=row.ranked, shown=row.shown)
        for line, row in zip(lines, table.rows, strict=True)
    ]
    again = Table(
        table.title, table.columns, tuple(back), table.notes, table.section, table.rank_within
    )
    assert to_latex(again) == to_latex(table)


def test_best_is_bold_and_second_best_underlined_as_shown():
    columns = (
        Column("method", "method", numeric=False),
        Column("MAE", "M ↓", 3, better="lower"),
        Column("S", "Sα ↑", 3, better="higher"),
    )
    numbers = {"a": (0.1, 0.80001), "b": (0.2, 0.80004), "c": (0.3, 0.7), "d_%": (0.4, 0.1)}
    body = [Row({"method": k, "MAE": m, "S": s}) for k, (m, s) in numbers.items()]
    body += [Row({"method": "empty", "MAE": 0.0, "S": 1.0}, floor=True)]
    body += [Row({"method": "difference", "MAE": -1.0, "S": 2.0}, ranked=False)]
    latex = to_latex(Table("t", columns, tuple(body)))
    assert r"a & \textbf{0.100} & \textbf{0.800} \\" in latex
    assert r"b & \underline{0.200} & \textbf{0.800} \\" in latex
    assert r"c & 0.300 & \underline{0.700} \\" in latex
    assert r"d\_\% & 0.400 & 0.100 \\" in latex
    assert r"empty & 0.000 & 1.000 \\" in latex
    assert latex.index(r"\toprule") < latex.index(r"\midrule") < latex.index(r"\bottomrule")


def test_latex_is_ascii_and_balanced(runs):
    for table in (paper_table("2", []), runs_table(runs)):
        latex = to_latex(table)
        plain = latex.replace("±", "")
        assert plain.isascii()
        assert plain.replace(r"\{", "").count("{") == plain.replace(r"\}", "").count("}")
        assert latex.count(r"\begin{") == latex.count(r"\end{") == 2
    assert escaped(r"a\b_c") == r"a\textbackslash{}b\_c"


def test_runs_beside_each_other_under_both_protocols(runs):
    table = runs_table(runs, Settings(against="int"))
    ours = rows(table, dataset="chameleon", row="ours")
    found = [(row.cells["protocol"], row.cells["method"]) for row in ours]
    assert found == [(p, m) for p in ("native", "family") for m in ("int", "promac", "mine")]
    assert len(rows(table, row="published", protocol="family")) == 2
    assert not rows(table, row="published", protocol="native")
    minus = one(table, row="minus int", method="promac", protocol="native")
    assert minus["S"] == pytest.approx(0.80 - 0.843) and minus["n"] == 76
    assert one(table, row="p of it", method="promac", protocol="native")["S"] < 0.001
    assert not rows(table, row="minus int", dataset="camoworld")


def test_the_command_prints_a_paper_table_without_any_run(command):
    code, out, err = command("table", "3c")
    assert code == 0, err
    assert "without HCG" in out and "0.842" in out


def test_the_command_takes_runs_and_writes_by_suffix(command, tmp_path):
    write_run(tmp_path / "here", "int", [around(0.842, 0.1, 76)])
    write_run(tmp_path / "there", "promac", [around(0.8, 0.1, 76)])
    places = [tmp_path / "here", tmp_path / "there"]
    code, out, _ = command("table", "1", "--runs", *places, "--format", "csv")
    assert code == 0
    ours = [line for line in csv.DictReader(io.StringIO(out)) if line["row"] == "ours"]
    assert [line["method"] for line in ours] == ["ProMaC", "INT"]
    target = tmp_path / "new" / "t.tex"
    code, out, err = command("table", "--runs", *places, "--against", "int", "--out", target)
    assert (code, out) == (0, "") and "wrote" in err
    assert "minus int" in target.read_text() and r"\toprule" in target.read_text()


def test_the_default_root_is_used_and_unscored_runs_are_named(command, here):
    write_run(here / "results" / "runs", "int", [around(0.842, 0.1, 76)])
    bare = write_run(here / "results" / "runs", "promac", [around(0.8, 0.1, 76)])
    (bare / "scores.csv").unlink()
    code, out, err = command("table", "1", "--format", "md")
    assert code == 0 and "| CHAMELEON | INT | ours |" in out
    assert "left out" in err and "int-bench eval" in err


@pytest.mark.parametrize(
    "words, code, text",
    [
        (["table"], 2, "Say which table"),
        (["table", "4"], 2, "There is no table '4'"),
        (["table", "1", "--runs", "nowhere"], 3, "nowhere: there is no such folder"),
        (["table", "1", "--format", "doc"], 2, "--format must be md, latex"),
        (["table", "1", "--against", "int"], 2, "--against compares runs"),
        (["table", "--runs", "results", "--against", "itn"], 2, "No run of --against itn"),
    ],
)
def test_mistakes_are_said_in_one_line(command, here, words, code, text):
    write_run(here / "results" / "runs", "int", [around(0.842, 0.1, 76)])
    found, _, err = command(*words)
    assert found == code and text in err and len(err.splitlines()) == 1


def test_anybodys_masks_get_into_the_same_tables(command, pairs):
    masks = pairs / "masks"
    words = ["eval", "--pred", masks, "--gt", masks, "--method", "camo/X-Decoder"]
    code, out, err = command(*words)
    assert code == 0 and "results/runs/camo/X-Decoder/" in out, err
    command(*words)  # again: the same folder
    code, out, _ = command("table", "1", "--format", "csv")
    found = [line for line in csv.DictReader(io.StringIO(out)) if line["row"] == "ours"]
    assert [(line["dataset"], line["method"]) for line in found] == [("CAMO", "X-Decoder")]
    assert (float(found[0]["F"]), found[0]["n"]) == (pytest.approx(1), "6")
    code, out, _ = command("eval")
    assert code == 0 and "X-Decoder" in out
    code, _, err = command(*words[:-1], "../x/..")
    assert code == 2 and "letters, digits" in err
    code, _, err = command("eval", "--method", "x")
    assert code == 2 and "--method names the masks of --pred" in err
