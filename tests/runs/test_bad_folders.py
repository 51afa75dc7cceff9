"""Run folders with one wrong entry: refused by every verb in one sentence, never a traceback."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from int_bench.core.files import hash_of
from int_bench.errors import MissingAsset, UsageError
from int_bench.runs.executors.arrays import Array, absorb
from int_bench.runs.executors.claims import myself, place
from int_bench.runs.kept.work import spent_of
from int_bench.runs.layout import LOCK, PROGRESS
from int_bench.runs.manifest import sealed
from int_bench.runs.reader import Run
from int_bench.runs.upgrade import upgrade
from tests.runs.test_store import CONTENT, opened, prediction, record, shard

MARK = {"hash": "0" * 64, "size": 5}
RECORDS = [
    *(("id", value) for value in (None, 5, [], {}, True)),
    *(("trial", value) for value in (None, -1, 0.5, "0", True, [0], 10**400)),
    *(("status", value) for value in (None, "done", 1, [], "OK")),
    *(("error", value) for value in (1, [], {})),
    *(("size", value) for value in ([1], "4x6", [4, "6"], {}, [4, 6, 3])),
    *(("file", value) for value in (5, "", "../../etc/passwd", "/abs", "a/b", "..", "\0")),
    *(("final", value) for value in (5, [], "frog", {"chosen": "no"}, {"chosen": [-1]})),
    *(("final", {"chosen": [0], "box": value}) for value in ("0,0,1,1", [0, 0, 1], [0, 0, 1, "1"])),
    *(("final", {"chosen": [0], "prompt": value}) for value in (5, ["frog"])),
    *(
        ("final", {"chosen": [0], "mask": value})
        for value in (5, {}, {**MARK, "hash": "x"}, {**MARK, "size": -1}, {**MARK, "size": "5"})
    ),
    *(("iterations", value) for value in (5, "frog", {}, [5], [{}], [{"prompt": 5}])),
    *(("iterations", [{"prompt": "frog", "details": value}]) for value in (5, [], "d")),
    *(("iterations", [{"prompt": "frog", "mask": value}]) for value in (5, {"hash": "x"})),
    *(("files", value) for value in (5, [], {"a": 5}, {"../../up": MARK}, {"/abs": MARK})),
    *(("seconds", value) for value in (5, [], {"vlm": "long"})),
    *(("counters", value) for value in (5, {"rows": "many"})),
]
MANIFESTS = [
    *(("name", value) for value in (5, None, [])),
    *(("config", value) for value in (None, 5, [])),
    *(
        ("config", {**CONTENT["config"], "trials": value})
        for value in ("1", 0, -1, 0.5, None, 10**400, True)
    ),
    *(("config", {**CONTENT["config"], "limit": value}) for value in ("4", -1, 0, 1.5, True)),
    *(("config", {"dataset": value, "trials": 1}) for value in (None, {}, {"name": ""})),
    *(("kind", value) for value in (5, "job", None)),
    *(("shards", value) for value in ("16", 0, -1, [])),
]
"""The entry and what stands in its place."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("bad") / "run"
    with opened(path) as store:
        store.commit(record("a"), prediction())
    return path


def assert_said(command, folder, where):
    """The reader refuses it by the name of the file; each verb with its code and one line."""
    with pytest.raises(MissingAsset, match=where):
        _ = Run(folder).records
    code, out, err = command("check", folder)
    assert code in (3, 4) and "Traceback" not in err and str(where) in out + err, (code, out, err)
    for words in (("table", "--runs", folder), ("eval", folder)):
        code, out, err = command(*words)
        assert code in (2, 3) and not out and err.startswith("int-bench: "), (words, code, out, err)
        assert len(err.splitlines()) == 1 and len(err) < 1000


@pytest.mark.parametrize(("key", "value"), RECORDS, ids=lambda value: str(value)[:30])
def test_a_wrong_record_is_one_sentence(command, folder, key, value):
    path = shard(folder)
    before = path.read_bytes()
    path.write_text(json.dumps({**json.loads(before), key: value}) + "\n")
    try:
        assert_said(command, folder, path.name)
    finally:
        path.write_bytes(before)


@pytest.mark.parametrize(("key", "value"), MANIFESTS, ids=lambda value: str(value)[:30])
def test_a_wrong_description_is_one_sentence(command, folder, key, value):
    path = folder / "run.json"
    before = path.read_bytes()
    path.write_bytes(sealed({**CONTENT, key: value}))
    try:
        assert_said(command, folder, "run.json")
    finally:
        path.write_bytes(before)


DEEP = "[" * 100_000
STRANGE = [
    *(("lock", text) for text in ("5", "[1]", DEEP, "Infinity", "\xff")),
    ("lock", json.dumps({"pid": 10**30, "place": place()})),
    *(("progress", text) for text in ("5", DEEP, '{"running": [[0, []], ["a", 1], 5]}')),
    ("progress", json.dumps({"running": [], "pace": 10**400})),
    *(("parts/a/00.0.begun", f"{text}\n") for text in ("5", "[]", DEEP, '["begin", [], {}]')),
]
"""What a stranger may have left of those that work on a run, and what it holds."""
JOBS = ("5", DEEP, '{"runs": ["."], "job": 1e999, "tasks": 1}', '{"runs": ["."], "job": Infinity}')
ERRORS = ("5", "garbage", DEEP, '["UsageError"]', '["Exit", "x"]', '["__builtins__", "x"]')


@pytest.fixture
def own(folder, tmp_path):
    return Path(shutil.copytree(folder, tmp_path / "run"))


def put(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize(("name", "text"), STRANGE, ids=lambda value: str(value)[:30])
def test_status_passes_over_what_nobody_at_work_would_write(command, own, name, text):
    if name == "progress":
        put(own / LOCK, json.dumps(myself()) + "\n")
    put(own / {"lock": LOCK, "progress": PROGRESS}.get(name, name), text)
    code, out, err = command("status", own)
    assert code == 4 and "1 done, 0 running" in out and not err


@pytest.mark.parametrize("text", JOBS, ids=lambda value: value[:30])
def test_a_strange_job_is_one_sentence(command, own, text):
    put(own / "parts" / "a" / "job.json", text)
    code, out, err = command("status", own)
    assert code == 3 and not out and "does not say which job" in err and err.count("\n") == 1


@pytest.mark.parametrize("text", ERRORS, ids=lambda value: value[:30])
def test_what_a_task_has_met_is_a_sentence_of_ours(own, text):
    array = Array("a", "7", 1, (own,), 1, own)
    array.write()
    put(array.folder / "error.0", text)
    with pytest.raises(UsageError):
        array.check(print)


@pytest.mark.parametrize(
    ("name", "word"),
    [("run.json", "check"), ("records/00.jsonl", "check"), (LOCK, "status"), ("work/a.json", "")],
)
def test_a_pipe_in_place_of_a_file_is_not_waited_for(command, own, name, word):
    path = own / name
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    if word:
        code, _, err = command(word, own)
        assert code in (3, 4) and "Traceback" not in err
    assert spent_of(own) == [] and hash_of(path) is None


@pytest.mark.parametrize(
    "inside",
    ["records", "records/77.jsonl", "masks/0/final", "logs", "logs/ray-0.log", "work", "parts"],
)
def test_nothing_is_written_through_a_link(own, tmp_path, inside):
    (own / "logs").mkdir()
    (own / "logs" / ".submission_file_0.sh").symlink_to("7_submission.sh")  # as submitit does
    with opened(own):
        pass
    mine = tmp_path / "mine"
    victim = mine if Path(inside).suffix else mine / "letter.txt"
    put(victim, "first\nlast")
    place = own / inside
    if place.is_dir():
        shutil.rmtree(place)
    place.symlink_to(mine)
    with pytest.raises(UsageError, match="is a link"), opened(own) as store:
        store.commit(record("letter"), prediction())
    old = Path(shutil.copytree(Path(__file__).parent / "format1", tmp_path / "old"))
    (old / "records").symlink_to(mine)
    with pytest.raises(UsageError, match="is a link"):
        upgrade(old)
    assert victim.read_text() == "first\nlast" and not (mine / "letter.png").exists()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("records/00.jsonl", ("check", "table --runs", "status")),
        ("lock", ("status",)),
        ("progress.json", ("status",)),
        ("scores/native.0.csv", ("check", "table --runs")),
        ("parts/a/job.json", ("status",)),
    ],
)
def test_a_file_that_claims_a_huge_size_is_not_read(command, own, name, words):
    put(own / "records" / "00.jsonl", "")
    path = own / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.truncate(2**40)  # without a block on the disk
    for word in words:
        code, _, err = command(*word.split(), own)
        assert code in (2, 3, 4) and "Traceback" not in err and err.count("\n") <= 2


def test_a_pipe_among_what_an_array_left_is_passed_over(own):
    pipe = own / "parts" / "a" / "00.0.jsonl"
    pipe.parent.mkdir(parents=True)
    os.mkfifo(pipe)
    absorb(own, True, [own], print)
    assert not (own / "parts").exists()
