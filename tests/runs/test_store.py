"""The run folder: what is there is whole, what is torn is cut, and one process writes."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from int_bench.core.types import Iteration, Prediction
from int_bench.errors import MissingAsset, UsageError
from int_bench.runs import folder as store
from int_bench.runs.folder import Record, RunFolder


def prediction(levels=(0.2, 0.8)):
    iterations = []
    for level in levels:
        soft = np.full((4, 6), level, dtype=np.float32)
        soft[0, 0] = 1.0
        iterations.append(Iteration(soft >= 0.5, soft, "frog", (0.0, 0.0, 3.0, 2.0), {"d": 1}))
    return Prediction(tuple(iterations), (0, 0))


def record(name="a", trial=0, status="ok"):
    return Record(name, trial, status, prompt="frog", box=(0.0, 1.5, 2.0, 3.0), chosen=(0, 0))


def png(path):
    return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)


def test_a_committed_sample_is_read_back(tmp_path):
    with RunFolder(tmp_path / "run", {"name": "int"}) as folder:
        folder.commit(record(), prediction())
        assert folder.finished((0, "a")) and not folder.finished((1, "a"))
    found = store.read_records(tmp_path / "run")[0, "a"]
    assert (found.prompt, tuple(found.box)) == ("frog", (0.0, 1.5, 2.0, 3.0))
    assert store.read_manifest(tmp_path / "run") == {"name": "int"}
    final = png(store.final_masks(tmp_path / "run") / "a.png")
    assert final.dtype == np.uint8 and final.shape == (4, 6)
    assert sorted(np.unique(final)) == [0, 255] and final[0, 0] == 255 and final.sum() == 255


@pytest.mark.parametrize(
    ("keep", "folders"),
    [
        ("final", {"final"}),
        ("iterations", {"final", "1", "2"}),
        ("soft", {"final", "1", "2", "soft_1", "soft_2"}),
    ],
)
def test_keep_says_which_masks_are_stored(tmp_path, keep, folders):
    with RunFolder(tmp_path, {}, keep) as folder:
        folder.commit(record(), prediction())
    assert {path.name for path in (tmp_path / "masks" / "0").iterdir()} == folders
    if keep == "soft":
        assert png(tmp_path / "masks/0/soft_2/a.png")[1, 1] == 204  # round(0.8 * 255)


def test_numpy_values_in_details_become_plain_json(tmp_path):
    details = {"scores": np.array([0.5, 1.0]), "n": np.int64(3), "deep": [{"x": np.float32(0.25)}]}
    with RunFolder(tmp_path, {}) as folder:
        folder.commit(Record("a", 0, "ok", iterations=({"details": details},)))
    stored = json.loads((tmp_path / "records.jsonl").read_text())["iterations"][0]["details"]
    assert stored == {"scores": [0.5, 1.0], "n": 3, "deep": [{"x": 0.25}]}


def test_a_line_torn_at_any_byte_is_cut_and_written_again(tmp_path):
    with RunFolder(tmp_path, {}) as folder:
        folder.commit(record("a"))
        folder.commit(record("b"))
    whole = (tmp_path / "records.jsonl").read_bytes()
    first = whole.index(b"\n") + 1
    for cut in range(first, len(whole)):
        (tmp_path / "records.jsonl").write_bytes(whole[:cut])
        assert list(store.read_records(tmp_path)) == [(0, "a")]
        with RunFolder(tmp_path, {}) as folder:
            assert not folder.finished((0, "b"))
            folder.commit(record("b"))
        assert (tmp_path / "records.jsonl").read_bytes() == whole


def test_a_failed_sample_is_tried_again_and_its_last_line_counts(tmp_path):
    with RunFolder(tmp_path, {}) as folder:
        folder.commit(record(status="failed"))
        assert not folder.finished((0, "a"))
        folder.commit(record())
    assert store.read_records(tmp_path)[0, "a"].status == "ok"


def test_a_second_driver_is_refused_while_the_first_one_writes(tmp_path):
    first = RunFolder(tmp_path, {})
    with first, pytest.raises(UsageError, match="is being written by process"):
        RunFolder(tmp_path, {})
    with RunFolder(tmp_path, {}):
        pass


def test_no_part_of_a_file_is_left(tmp_path):
    with RunFolder(tmp_path, {}) as folder:
        folder.commit(record(), prediction())
    assert not list(tmp_path.rglob("*.part"))


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"Cannot write to .*file/run.*--out"):
        RunFolder(tmp_path / "file" / "run", {})


def test_a_full_disk_is_one_sentence(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    with RunFolder(tmp_path, {}) as folder:
        monkeypatch.setattr(store, "_write_whole", full)
        with pytest.raises(UsageError, match="No space left on device"):
            folder.commit(record(), prediction())
        assert not folder.finished((0, "a"))


def test_a_folder_without_records_and_a_broken_line_are_named(tmp_path):
    with pytest.raises(MissingAsset, match="is not a run folder"):
        store.read_records(tmp_path)
    with pytest.raises(MissingAsset, match="is not a run folder"):
        store.read_manifest(tmp_path)
    (tmp_path / "records.jsonl").write_text('{"id": 1}\n')
    with pytest.raises(UsageError, match="line 1, is not a record"):
        store.read_records(tmp_path)


SEPARATORS = ("\u2028", "\u2029", "\u0085", "\x0b", "\x0c", "\x1c")


@pytest.mark.parametrize("letter", SEPARATORS)
def test_line_separators_in_names_and_answers_are_text(tmp_path, letter):
    name, answer = f"a{letter}b", f"a frog{letter}on a leaf"
    with RunFolder(tmp_path, {}) as folder:
        folder.commit(Record(name, 0, "ok", prompt=answer))
        folder.commit(record("c"))
    with RunFolder(tmp_path, {}) as folder:
        assert folder.finished((0, name)) and folder.finished((0, "c"))
    assert store.read_records(tmp_path)[0, name].prompt == answer


def test_bytes_that_are_no_text_are_named_with_their_line(tmp_path):
    (tmp_path / "records.jsonl").write_bytes(b'{"id": "a", "trial": 0, "status": "ok"}\n\xff\n')
    with pytest.raises(UsageError, match="line 2, is not a record"):
        store.read_records(tmp_path)


def test_half_a_letter_fails_its_sample_alone(tmp_path):
    with RunFolder(tmp_path, {}) as folder:
        for name, answer in (("a", "a frog \ud83d"), ("b\udcff", "frog"), ("c", "frog")):
            kept = folder.commit(Record(name, 0, "ok", prompt=answer), prediction())
            assert kept.status == ("ok" if name == "c" else "failed")
    found = store.read_records(tmp_path)
    assert {key: r.status for key, r in found.items()} == {
        (0, "a"): "failed",
        (0, "b\udcff"): "failed",
        (0, "c"): "ok",
    }
    assert "no Unicode text" in (found[0, "a"].error or "")
    assert [path.name for path in store.final_masks(tmp_path).iterdir()] == ["c.png"]
