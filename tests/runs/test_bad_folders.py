"""Run folders with one wrong entry: refused by every verb in one sentence, never a traceback."""

from __future__ import annotations

import json

import pytest

from int_bench.errors import MissingAsset
from int_bench.runs.manifest import sealed
from int_bench.runs.reader import Run
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
