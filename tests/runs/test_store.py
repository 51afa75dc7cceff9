"""The run folder: what is there is whole, what is torn is mended, and one process writes."""

from __future__ import annotations

import json
import os

import cv2
import numpy as np
import pytest

from int_bench.core.types import Iteration, Masks, Prediction
from int_bench.errors import UsageError
from int_bench.runs import folder as store
from int_bench.runs.folder import RunFolder
from int_bench.runs.layout import shard_of
from int_bench.runs.reader import Run
from int_bench.runs.records import Record, Step

CONTENT = {
    "kind": "run",
    "name": "int",
    "label": "int",
    "digest": "0123456789ab",
    "identity": {},
    "config": {"dataset": {"name": "tiny"}, "trials": 1, "limit": None},
}


PICTURES = {"view": np.full((4, 6, 3), 9, dtype=np.uint8), "hole": np.zeros((4, 6), np.uint8)}


def opened(path, keep="iterations", **more):
    return RunFolder(path, CONTENT, keep, **more)


def prediction(levels=(0.2, 0.8)):
    iterations = []
    for level in levels:
        soft = np.full((4, 6), level, dtype=np.float32)
        soft[0, 0] = 1.0
        iterations.append(
            Iteration(
                Masks(soft >= 0.5, soft), "frog", (0.0, 0.0, 3.0, 2.0), {"costs": [1.0]}, PICTURES
            )
        )
    return Prediction(tuple(iterations), (0, 0))


def record(name="a", trial=0, status="ok", **more):
    steps = tuple(Step("frog", (0.0, 0.0, 3.0, 2.0), {"costs": [1.0]}) for _ in range(2))
    fields = {"prompt": "frog", "box": (0.0, 1.5, 2.0, 3.0), "chosen": (0, 0), "iterations": steps}
    return Record(name, trial, status, **{**fields, **more})


def png(path):
    return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)


def shard(path, name="a", trial=0):
    return path / "records" / f"{shard_of((trial, name)):02d}.jsonl"


def test_a_committed_sample_is_read_back(tmp_path):
    with opened(tmp_path / "run", host={"name": "here", "device": "cpu"}) as folder:
        kept = folder.commit(record(size=(4, 6), seconds={"vlm": 0.5}, counters={"n": 3}),
                             prediction())  # fmt: skip
        assert folder.finished((0, "a")) and not folder.finished((1, "a"))
    run = Run(tmp_path / "run")
    found = run.records[0, "a"]
    assert found == kept and found.host == {"name": "here", "device": "cpu"}
    assert (found.prompt, found.box, found.size) == ("frog", (0.0, 1.5, 2.0, 3.0), (4, 6))
    assert (run.name, run.dataset, run.trials, run.manifest.format) == ("int", "tiny", 1, 2)
    final = png(run.mask(0, "a"))
    assert final.dtype == np.uint8 and final.shape == (4, 6)
    assert sorted(np.unique(final)) == [0, 255] and final[0, 0] == 255 and final.sum() == 255
    assert run.masks() == {"a": tmp_path / "run/masks/0/final/a.png"} and not run.verify(True)


@pytest.mark.parametrize(
    ("keep", "folders"),
    [
        ("final", {"final"}),
        ("iterations", {"final", "1", "2"}),
        ("soft", {"final", "1", "2", "soft_1", "soft_2"}),
        ("trace", {"final", "1", "2", "soft_1", "soft_2"}),
    ],
)
def test_keep_says_which_masks_are_stored_and_each_is_marked(tmp_path, keep, folders):
    with opened(tmp_path, keep) as folder:
        kept = folder.commit(record(), prediction())
    assert {path.name for path in (tmp_path / "masks" / "0").iterdir()} == folders
    assert {which for which, _ in kept.marks} == folders
    assert sorted(kept.traces) == ["traces/0/a/1.webp", "traces/0/a/2.webp"] * (keep == "trace")
    assert kept.keep == keep and not Run(tmp_path).verify(thorough=True)
    if keep == "soft":
        assert png(tmp_path / "masks/0/soft_2/a.png")[1, 1] == 204  # round(0.8 * 255)


def test_numpy_values_in_details_become_plain_json(tmp_path):
    details = {"scores": np.array([0.5, 1.0]), "n": np.int64(3), "deep": [{"x": np.float32(0.25)}]}
    with opened(tmp_path) as folder:
        folder.commit(Record("a", 0, "ok", iterations=(Step("frog", details=details),)))
    stored = json.loads(shard(tmp_path).read_text())["iterations"][0]["details"]
    assert stored == {"scores": [0.5, 1.0], "n": 3, "deep": [{"x": 0.25}]}


def test_a_line_torn_at_any_byte_is_cut_and_written_again(tmp_path):
    with opened(tmp_path) as folder:
        folder.commit(record(), prediction())
    whole = shard(tmp_path).read_bytes()
    for cut in range(0, len(whole), 41):
        shard(tmp_path).write_bytes(whole[:cut])
        assert len(Run(tmp_path).records) == 0
        with opened(tmp_path) as folder:
            assert not folder.finished((0, "a"))
            folder.commit(record(), prediction())
        assert shard(tmp_path).read_bytes() == whole


def test_a_failed_sample_is_tried_again_and_its_last_line_counts(tmp_path):
    with opened(tmp_path) as folder:
        folder.commit(record(status="failed", error="too dark"))
        assert not folder.finished((0, "a"))
        assert Run(tmp_path).failures == {(0, "a"): "too dark"}
        folder.commit(record(), prediction())
    assert Run(tmp_path).records[0, "a"].status == "ok" and not Run(tmp_path).failures


def test_a_sample_that_was_begun_is_counted_until_it_ends(tmp_path):
    with opened(tmp_path) as folder:
        folder.begin((0, "a"))
    with opened(tmp_path) as folder:
        folder.begin((0, "a"))
        assert folder.begun((0, "a")) == 2 and not folder.finished((0, "a"))
    assert Run(tmp_path).records.intents == {(0, "a"): 2} and len(Run(tmp_path).records) == 0
    with opened(tmp_path) as folder:
        folder.commit(record(), prediction())
        assert folder.begun((0, "a")) == 0


def test_a_second_driver_is_refused_while_the_first_one_writes(tmp_path):
    first = opened(tmp_path)
    with first, pytest.raises(UsageError, match="is being written by process"):
        opened(tmp_path)
    with opened(tmp_path):
        pass


def test_no_part_of_a_file_is_left(tmp_path):
    with opened(tmp_path) as folder:
        folder.commit(record(), prediction())
    (tmp_path / "masks/0/final/.a.png.0123456789abcdef.part").write_text("half")
    with opened(tmp_path):
        assert not list(tmp_path.rglob("*.part"))


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"Cannot write to .*file/run.*--out"):
        opened(tmp_path / "file" / "run")


@pytest.mark.parametrize("call", range(1, 8))
def test_a_full_disk_is_one_sentence_and_leaves_no_half(tmp_path, monkeypatch, call):
    """Whatever cannot be flushed: a mask, a folder, or the line itself."""
    left, real = [call], os.fsync

    def fsync(handle):
        left[0] -= 1
        if left[0] == 0:
            raise OSError(28, "No space left on device")
        real(handle)

    with opened(tmp_path, "final") as folder:
        folder.commit(record("b"), prediction())
        monkeypatch.setattr(os, "fsync", fsync)
        if call <= 4:  # mask, its folder, line, folder of the new shard
            with pytest.raises(UsageError, match="No space left on device"):
                folder.commit(record(), prediction())
            assert not folder.finished((0, "a"))
        monkeypatch.setattr(os, "fsync", real)
        folder.commit(record(), prediction())
    assert not list(tmp_path.rglob("*.part")) and not Run(tmp_path).verify(thorough=True)
    assert len(Run(tmp_path).records) == 2


def test_a_line_that_is_no_record_is_dropped_and_its_sample_done_again(tmp_path):
    with opened(tmp_path) as folder:
        folder.commit(record(), prediction())
    good = shard(tmp_path).read_bytes()
    for bad in (b"\xff\n", b"[]\n", b'{"id": 1}\n', b"[" * 100_000 + b"\n"):
        shard(tmp_path).write_bytes(bad + good)
        with opened(tmp_path) as folder:
            assert folder.finished((0, "a"))
            assert [damage.what for damage in folder.damages] == ["held no record in line 1"]
        assert shard(tmp_path).read_bytes() == good


def cut_mask(path):
    path.write_bytes(path.read_bytes()[:-1])


def same_size(path):
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


@pytest.mark.parametrize("harm", [os.unlink, cut_mask, same_size])
@pytest.mark.parametrize("which", ["final", "2"])
def test_a_mask_that_is_gone_or_changed_is_computed_again(tmp_path, harm, which):
    with opened(tmp_path) as folder:
        folder.commit(record(), prediction())
    before = (tmp_path / f"masks/0/{which}/a.png").read_bytes()
    harm(tmp_path / f"masks/0/{which}/a.png")
    assert [damage.key for damage in Run(tmp_path).verify()] == [(0, "a")]
    with opened(tmp_path) as folder:
        assert not folder.finished((0, "a")) and len(folder.damages) == 1
        folder.commit(record(), prediction())
    with opened(tmp_path) as folder:
        assert folder.finished((0, "a")) and not folder.damages
    assert (tmp_path / f"masks/0/{which}/a.png").read_bytes() == before


def test_masks_that_are_swapped_with_their_dates_are_noticed(tmp_path):
    with opened(tmp_path, "final") as folder:
        for name, levels in (("a", (0.2,)), ("b", (0.8,))):
            folder.commit(record(name, iterations=(), chosen=(0,)), prediction(levels))
    one, two = (tmp_path / f"masks/0/final/{name}.png" for name in "ab")
    one.rename(tmp_path / "x")
    two.rename(one)
    (tmp_path / "x").rename(two)
    assert {damage.key for damage in Run(tmp_path).verify(thorough=True)} == {(0, "a"), (0, "b")}
    with opened(tmp_path) as folder:
        assert not folder.finished((0, "a")) and not folder.finished((0, "b"))


ODD = [
    *(f"a{letter}b" for letter in "\u2028\u2029\u0085\x0b\x0c\x1c\n/\\"),
    *(".a", "a.", "a ", "%2F", "b\udcff", "\ud83d", "é" * 150, "COM:1", "*?", "'\"<b>", "=1+1"),
]


@pytest.mark.parametrize("name", ODD)
def test_any_name_of_a_sample_has_its_file_and_its_record(tmp_path, name):
    with opened(tmp_path) as folder:
        folder.commit(record(name, prompt=f"a frog{name}"), prediction())
    with opened(tmp_path) as folder:
        assert folder.finished((0, name))
    run = Run(tmp_path)
    mask = run.mask(0, name)
    assert mask.is_file() and mask.parent == tmp_path / "masks/0/final"
    assert len(os.fsencode(mask.name)) <= 204 and not run.verify(thorough=True)
    lines = shard(tmp_path, name).read_bytes()
    assert lines.isascii() and lines.count(b"\n") == 1
    assert len((run.records[0, name].prompt or "").splitlines()) == 1


def test_half_a_letter_of_an_answer_is_written_as_an_escape_and_said(tmp_path):
    with opened(tmp_path) as folder:
        kept = folder.commit(record(prompt="a frog \ud83d"), prediction())
    assert kept.prompt == "a frog \\ud83d" and "no Unicode text" in kept.notes[0]
    assert Run(tmp_path).records[0, "a"] == kept


def test_the_hash_of_records_is_of_what_is_scored(tmp_path):
    def made(path, order="ab", levels=(0.2, 0.8), **more):
        with opened(tmp_path / path) as folder:
            for name in order:
                folder.commit(record(name, **more), prediction(levels))
        return Run(tmp_path / path)

    first = made("first")
    assert first.records_hash() == made("second", "ba", seconds={"vlm": 3.0}).records_hash()
    assert first.records_hash() != made("third", "a").records_hash()
    assert first.records_hash([(0, "a")]) == made("third", "").records_hash([(0, "a")])
    assert first.records_hash() != made("fourth", levels=(0.8, 0.8)).records_hash()


def test_records_are_sorted_and_read_one_by_one(tmp_path):
    with opened(tmp_path, "final") as folder:
        for trial in (1, 0):
            for name in ("c", "a", "b"):
                folder.commit(record(name, trial), prediction())
    records = Run(tmp_path).records
    assert list(records) == [(trial, name) for trial in (0, 1) for name in "abc"]
    assert records[1, "b"].key == (1, "b") and (2, "a") not in records


def test_folders_are_made_with_whole_names(tmp_path):
    store.describe(tmp_path / "a" / "b", CONTENT)
    assert Run(tmp_path / "a" / "b").label == "int"
