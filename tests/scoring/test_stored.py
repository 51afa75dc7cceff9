"""Files of scores are tied to records, masks and ground truth; others are refused by name."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from int_bench.cli.results import load_run
from int_bench.core.files import write_file
from int_bench.errors import MissingAsset, UsageError
from int_bench.metrics.metrics import METRICS
from int_bench.metrics.rules import PROTOCOLS
from int_bench.runs.reader import Run
from int_bench.scoring.former import COLUMNS


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """The family's rules at a size that is quick to score."""
    monkeypatch.setitem(PROTOCOLS, "family", replace(PROTOCOLS["family"], size=(32, 32)))


@pytest.fixture
def finished(command, pairs) -> Path:
    """A scored run of ``centre_box`` on six pairs."""
    words = ["dataset=folder", f"dataset.images={pairs / 'images'}"]
    words += [f"dataset.masks={pairs / 'masks'}", "dataset.name=mine", "method=centre_box"]
    code, out, err = command("run", *words, "--json")
    assert code == 0, err
    return Path(json.loads(out)["run_dir"])


def native(run: Path) -> Path:
    return run / "scores" / "native.0.csv"


def rewrite(path: Path, change) -> None:
    path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")


def without_last(text: str) -> str:
    return "".join(text.splitlines(keepends=True)[:-1])


def with_the_last_twice(text: str) -> str:
    return text + text.splitlines(keepends=True)[-1]


def with_nan(text: str) -> str:
    lines = text.splitlines(keepends=True)
    cells = lines[3].split(",")
    return "".join([*lines[:3], ",".join([*cells[:2], "nan", *cells[3:]]), *lines[4:]])


def with_a_better_number(text: str) -> str:
    return re.sub(r"(a0,scored,)[^,]+", r"\g<1>0.001", text)


def with_other_rules(text: str) -> str:
    return re.sub(r'"rules": "[0-9a-f]+"', f'"rules": "{"0" * 64}"', text)


def with_another_policy(text: str) -> str:
    return text.replace('"policy": "error"', '"policy": "skip"')


FILES = {
    "cut": (without_last, "holds 5 of 6 rows"),
    "a row twice": (with_the_last_twice, "holds a5 twice"),
    "nan": (with_nan, "holds 'nan' for MAE of a1"),
    "edited": (with_a_better_number, "was changed after it was written"),
    "cut within a row": (lambda text: text[:-120], "holds"),
    "other rules": (with_other_rules, "made by other rules"),
    "another policy": (with_another_policy, "another evaluation"),
    "no first line": (lambda text: text.partition("\n")[2], "holds no scores"),
    "another format": (lambda text: text.replace('"format": 2', '"format": 3'), "of format 3"),
    "nothing": (lambda text: "", "holds no scores"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_not_as_it_was_written_is_refused_and_mended(command, finished, name):
    change, said = FILES[name]
    rewrite(native(finished), change)
    for words in (("table", "--runs", finished), ("compare", finished, finished)):
        code, out, err = command(*words)
        assert (code, out) == (2, "") and said in err and str(native(finished)) in err
        assert len(err.splitlines()) == 1 and f"`int-bench eval {finished}`" in err
    assert command("eval", finished)[0] == 0
    assert command("table", "--runs", finished)[0] == 0


def masks_deleted(run: Path, pairs: Path) -> None:
    (run / "masks/0/final/a3.png").unlink()


def masks_swapped(run: Path, pairs: Path) -> None:
    folder = run / "masks/0/final"
    Image.fromarray(np.full((24, 32), 255, np.uint8)).save(folder / "a3.png")


def masks_of_another_size(run: Path, pairs: Path) -> None:
    Image.new("L", (16, 12), 255).save(run / "masks/0/final/a3.png")


def truth_changed(run: Path, pairs: Path) -> None:
    Image.new("L", (32, 24), 255).save(pairs / "masks/a3.png")


def a_failed_sample_retried(run: Path, pairs: Path) -> None:
    """The record of a3 was written anew, and the run was killed before it was scored."""
    (path,) = (p for p in (run / "records").iterdir() if b'"a3"' in p.read_bytes())
    line = next(line for line in path.read_bytes().splitlines(True) if b'"a3"' in line)
    record = json.loads(line)
    record["final"]["mask"]["hash"] = "0" * 64
    with path.open("ab") as file:
        file.write(json.dumps(record).encode() + b"\n")


STALE = {
    "masks deleted": (masks_deleted, "mask of a3 than there is now (it is gone)", 4),
    "masks swapped": (masks_swapped, "another mask of a3", 4),
    "masks of another size": (masks_of_another_size, "another mask of a3", 4),
    "ground truth changed": (truth_changed, "another ground truth of a3", 0),
    "a failed sample retried": (a_failed_sample_retried, "other records", 0),
}


@pytest.mark.parametrize("name", STALE)
def test_scores_of_something_else_than_lies_there_are_refused(command, finished, pairs, name):
    """``table`` says what is stale; ``eval`` scores what is whole, and names what is not."""
    change, said, code_of_eval = STALE[name]
    change(finished, pairs)
    code, out, err = command("table", "--runs", finished)
    assert (code, out) == (2, "") and said in err and len(err.splitlines()) == 1
    assert f"`int-bench eval {finished}`" in err
    code, out, err = command("eval", finished)
    assert code == code_of_eval, err
    assert ("a3" in err and "run the same command again" in err) == (code == 4)
    code, out, _ = command("table", "--runs", finished, "--format", "md")
    assert code == 0 and ("INCOMPLETE" in out) == (code_of_eval == 4)


def test_a_mask_of_equal_size_and_time_is_found_by_verify(command, finished):
    path = finished / "masks/0/final/a3.png"
    state, content = path.stat(), bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    code, _, err = command("table", "--runs", finished, "--verify")
    assert code == 2 and "another mask of a3" in err


def replaced_unseen(path: Path, place: int = -20) -> None:
    """Another byte in a file of the same size and time."""
    state, content = path.stat(), bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))


def assert_found_by_verify(command, run: Path, said: str) -> None:
    """``table`` and ``compare`` look at sizes and times, and at every byte where they are told."""
    for words in (("table", "--runs", run), ("compare", run, run)):
        assert command(*words)[0] == 0
        code, out, err = command(*words, "--verify")
        assert (code, out) == (2, "") and said in err and len(err.splitlines()) == 1, err
    assert "else sizes and dates" in " ".join(command("compare", "--help")[1].split())


def test_images_of_equal_size_and_time_are_found_by_verify_and_said(command, finished, pairs):
    replaced_unseen(pairs / "images/a3.png", -5)
    assert_found_by_verify(command, finished, "The images of mine are not those")
    code, _, err = command("eval", finished)
    assert code == 0 and "The images of mine changed since" in err


def test_ground_truth_of_equal_size_and_time_is_found_by_verify(command, finished, pairs):
    path = pairs / "masks/a3.png"
    former = path.stat()
    with Image.open(path) as mask:
        turned = np.asarray(mask)[::-1]
    Image.fromarray(np.ascontiguousarray(turned)).save(path)
    content = path.read_bytes().ljust(former.st_size, b"\0")
    path.write_bytes(content)
    os.utime(path, ns=(former.st_atime_ns, former.st_mtime_ns))
    assert path.stat().st_size == former.st_size
    assert_found_by_verify(command, finished, "another ground truth of a3")
    assert command("eval", finished)[0] == 0
    assert command("table", "--runs", finished, "--verify")[0] == 0


def test_a_record_that_was_edited_is_found_by_verify(command, finished):
    (path,) = (p for p in (finished / "records").iterdir() if b'"a3"' in p.read_bytes())
    state, line = path.stat(), path.read_bytes()
    path.write_bytes(re.sub(rb'("mask": {"hash": ")....', rb"\g<1>0000", line))
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert_found_by_verify(command, finished, "of other records than the run folder holds now")


def test_what_a_killed_writer_left_is_said_and_the_next_one_removes_it(command, finished):
    left = finished / "scores/.native.0.csv.0123456789abcdef.part"
    other = finished / "scores/.family.0.csv.0123456789abcdef.part"
    for path in (left, other):
        path.write_bytes(b"half")
    os.utime(left, (0, 0))  # its writer is long gone; the other one may be at work
    code, out, _ = command("check", finished)
    assert code == 4 and out.count("is half of a file") == 2
    assert command("eval", finished)[0] == 0
    assert not left.exists() and other.exists()


def test_a_copied_run_is_as_good(command, finished):
    shutil.copytree(finished, "copy")
    assert command("table", "--runs", "copy")[0] == 0


def test_an_edited_run_json_is_refused(command, finished):
    rewrite(finished / "run.json", lambda text: text.replace('"mine"', '"better"'))
    for verb in (("table", "--runs"), ("eval",)):
        code, out, err = command(*verb, finished)
        assert code == 3 and "was changed after it was written" in err and not out


def test_a_limit_after_a_full_run_leaves_the_scores_of_all(command, finished, pairs):
    words = ["dataset=folder", f"dataset.images={pairs / 'images'}"]
    words += [f"dataset.masks={pairs / 'masks'}", "dataset.name=mine", "method=centre_box"]
    code, out, _ = command("run", *words, "--limit", "4", "--json")
    assert code == 0 and json.loads(out)["n"] == 4
    assert len(load_run(finished).ids) == 6
    command("eval", finished)
    assert len(load_run(finished).ids) == 6


def test_a_data_set_that_is_not_here_is_said_and_the_numbers_stand(command, finished, pairs):
    pairs.rename(pairs.with_name("elsewhere"))
    code, out, err = command("table", "--runs", finished, "--format", "md")
    assert code == 0 and "not held against its ground truth" in out, err


def test_rows_are_unrounded_and_say_what_they_are_of(finished):
    first, head, *rows = native(finished).read_text().splitlines()
    header = json.loads(first.removeprefix("# int-bench scores "))
    wanted = {"records", "truths", "maps", "rules", "limit", "policy", "rows", "protocol", "trial"}
    assert wanted <= header.keys() and (header["rows"], header["limit"]) == (6, None)
    assert head.split(",") == ["id", "status", *METRICS, "map", "truth", "note"]
    cells = dict(zip(head.split(","), rows[0].split(","), strict=True))
    assert all(repr(float(cells[name])) == cells[name] for name in METRICS)
    assert Run(finished).masks()["a0"].is_file() and re.fullmatch("[0-9a-f]{16}", cells["map"])


def write_often(path: Path, letter: bytes) -> None:
    for _ in range(100):
        write_file(path, letter * 1000)


def test_of_many_writers_at_once_each_writes_whole(tmp_path):
    path = tmp_path / "scores" / "native.0.csv"
    context = multiprocessing.get_context("fork")
    writers = [
        context.Process(target=write_often, args=(path, letter)) for letter in (b"a", b"b", b"c")
    ]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        content = path.read_bytes() if path.exists() else b"a" * 1000
        assert len(content) == 1000 and len(set(content)) == 1
    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    assert list(path.parent.iterdir()) == [path]


def test_scores_that_cannot_be_written_are_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"file/scores\.csv cannot be written"):
        write_file(tmp_path / "file" / "scores.csv", b"")


def test_no_scores_are_written_through_a_link(command, finished, tmp_path):
    shutil.move(finished / "scores", tmp_path / "elsewhere")
    before = {path.name: path.stat() for path in (tmp_path / "elsewhere").iterdir()}
    (finished / "scores").symlink_to(tmp_path / "elsewhere")
    code, out, err = command("eval", finished)
    assert code == 2 and not out and "scores is a link" in err and err.count("\n") == 1
    assert {path.name: path.stat() for path in (tmp_path / "elsewhere").iterdir()} == before


def test_a_run_that_was_not_scored_is_said(command, finished):
    shutil.rmtree(finished / "scores")
    with pytest.raises(MissingAsset, match="int-bench eval"):
        load_run(finished)


FORMER = Path(__file__).parents[1] / "runs" / "format1"


def test_former_scores_are_read_and_refused_where_rows_are_lacking(command, here):
    shutil.copytree(FORMER, here / "old")
    path = here / "old" / "scores.csv"
    rows = [[f"test-0000{n}", "scored", *["0.5"] * len(COLUMNS), ""] for n in range(2)]
    path.write_text(
        "".join(f"{','.join(row)}\n" for row in [["id", "status", *COLUMNS, "note"], *rows])
    )
    before = load_run(here / "old")
    text = path.read_text()
    last = before.ids[-1]
    for change, said in (
        (without_last, f"no row of {last}"),
        (with_the_last_twice, f"holds {last} twice"),
        (lambda text: text[:-40], "for a score of"),
        (lambda text: re.sub(r"(\nt[^,]+,scored,)[^,]+", r"\g<1>nan", text), "'nan' for a score"),
    ):
        path.write_text(change(text))
        with pytest.raises(UsageError, match=said):
            load_run(here / "old")
    path.write_text(text)
    assert load_run(here / "old").mean("native.S") == before.mean("native.S")


def test_runs_are_given_by_path_root_and_hash(command, finished):
    code, out, err = command("eval", finished.parent, "--json")
    assert code == 0 and json.loads(out)["run_dir"] == str(finished), err
    code, out, _ = command("eval", finished.name[:6], "--json")
    assert code == 0 and json.loads(out)["run_dir"] == str(finished)
    code, out, _ = command("compare", finished.name, finished.name[:4], "--json")
    assert code == 0 and json.loads(out)["n"] == 6
    code, _, err = command("compare", "results", "results")
    assert code == 0, err
    shutil.copytree(finished, finished.with_name("0" * 12))
    code, _, err = command("compare", "results", finished)
    assert code == 2 and "holds 2 runs" in err and len(err.splitlines()) == 1
    code, _, err = command("table", "1", "--format", "md")
    assert code == 0, err
    assert command("eval", "abcd")[0] == 3
