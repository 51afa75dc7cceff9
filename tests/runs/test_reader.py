"""The one reader: format 1 and 2, what is refused, and that no bytes whatever crash it."""

from __future__ import annotations

import importlib.resources
import json
import shutil
from pathlib import Path

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from int_bench.errors import MissingAsset
from int_bench.runs.check import check
from int_bench.runs.folder import describe
from int_bench.runs.layout import file_name, file_names, is_file_name, shard_of
from int_bench.runs.manifest import sealed
from int_bench.runs.reader import Run
from int_bench.runs.upgrade import upgrade
from tests.cli.test_cli import result
from tests.runs.test_store import CONTENT, opened, prediction, record

OLD = Path(__file__).parent / "format1"


@pytest.fixture
def old(tmp_path) -> Path:
    """A run of two drawn scenes as version 0.1.0 wrote it."""
    return Path(shutil.copytree(OLD, tmp_path / "old"))


@pytest.fixture
def new(tmp_path) -> Path:
    """A folder of two samples, one of them failed."""
    with opened(tmp_path / "new") as folder:
        folder.commit(record("a"), prediction())
        folder.commit(record("b", status="failed", error="too dark"))
    return tmp_path / "new"


def schema(name: str) -> dict:
    text = importlib.resources.files("int_bench.runs") / "schemas" / f"{name}.json"
    return json.loads(text.read_text(encoding="utf-8"))


def assert_valid(folder: Path) -> None:
    """Every file of a run folder is as its schema says."""
    jsonschema.validate(json.loads((folder / "run.json").read_text()), schema("run"))
    lines = [line for path in (folder / "records").iterdir() for line in path.open()]
    for line in lines:
        jsonschema.validate(json.loads(line), schema("record"))
    assert lines


def test_format_1_is_read(old):
    run = Run(old)
    assert (run.name, run.dataset, run.trials, run.manifest.limit) == ("int", "camoworld", 1, 2)
    assert list(run.records) == [(0, "test-00000"), (0, "test-00001")]
    first = run.records[0, "test-00000"]
    assert (first.prompt, first.chosen, len(first.iterations)) == ("owl", (0, 0, 0, 2, 2), 5)
    assert first.iterations[2].details["candidates"][0]["name"] == "owl"
    assert run.mask(0, "test-00000", "3").is_file() and not run.verify() and not list(check(run))
    before = run.records_hash()
    run.mask(0, "test-00000").write_bytes(b"another")
    assert Run(old).records_hash() != before


def test_format_1_becomes_format_2_and_says_the_same(old, command):
    code, before, err = command("eval", old, "--json")
    assert code == 0, err
    first = {key: value for key, value in Run(old).records.items()}
    assert upgrade(old) == 2 and upgrade(old) is None
    run = Run(old)
    assert run.manifest.format == 2 and not list(check(run, thorough=True))
    for key, value in run.records.items():
        assert (value.prompt, value.box, value.chosen) == (
            first[key].prompt,
            first[key].box,
            first[key].chosen,
        )
        assert [step.details for step in value.iterations] == [
            step.details for step in first[key].iterations
        ]
        assert len(list(value.marks)) == 6
    assert_valid(old)
    assert not (old / "records.jsonl").exists()
    code, after, err = command("eval", old, "--json")
    assert code == 0 and result(after)["metrics"] == result(before)["metrics"], err


def test_a_run_folder_is_as_its_schemas_say(command):
    ran = result(command("run", "method=centre_box", "--limit", "2", "--json")[1])
    assert_valid(Path(ran["run_dir"]))


def edited(path: Path) -> None:
    text = path.read_text().replace('"trials": 1', '"trials": 2')
    path.write_text(text)


def with_format(form: str | None):
    line = "" if form is None else f'"format": {form},'
    return lambda path: path.write_text(path.read_text().replace('"format": 2,', line))


def without(*keys: str):
    def harm(path: Path) -> None:
        content = json.loads(path.read_text())
        path.write_text(json.dumps({key: content[key] for key in content if key not in keys}))

    return harm


REFUSED = {
    "newer": (lambda path: path.write_text('{"format": 3, "what": []}'), "format 3 and this"),
    "edited": (edited, "was changed after it was written"),
    "another format": (with_format("1"), "was changed after it was written"),
    "format gone": (with_format(None), "was changed after it was written"),
    "format and checksum gone": (without("format", "checksum"), "was changed after it was written"),
    "all of format 2 gone": (
        without("format", "checksum", "shards", "digest", "code", "machine", "kind"),
        "was changed after it was written",
    ),
    "no checksum": (without("checksum"), "was changed after it was written"),
    "another program's": (lambda path: path.write_text('{"job": 1}'), "config is missing"),
    "a list": (lambda path: path.write_text("[]"), "it is no object"),
    "deep": (lambda path: path.write_text("[" * 200_000), "nested too deeply"),
    "bytes": (lambda path: path.write_bytes(b"\xff\x00"), "is no JSON"),
    "a long number": (lambda path: path.write_text('{"format": ' + "9" * 9999 + "}"), "no JSON"),
    "not a number": (lambda path: path.write_text('{"format": NaN}'), "is no JSON"),
    "format of text": (lambda path: path.write_text('{"format": "2"}'), "format is not a whole"),
    "no trials": (
        lambda path: path.write_bytes(sealed({**CONTENT, "config": {**CONTENT["config"],
                                                                    "trials": 0}})),
        "config.trials is not a whole number",
    ),
    "gone": (lambda path: path.unlink(), "holds no readable run.json"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_run_is_one_sentence_and_stays_as_it_is(new, command, name):
    harm, said = REFUSED[name]
    harm(new / "run.json")
    before = {path: path.read_bytes() for path in new.rglob("*") if path.is_file()}
    for words in (("eval", new), ("check", new), ("upgrade", new), ("compare", new, new),
                  ("table", "--runs", new), ("picture", new)):  # fmt: skip
        code, _, err = command(*words)
        assert code == 3 and "Traceback" not in err and len(err.splitlines()) == 1, (words, err)
    assert said in command("check", new)[2]
    assert before == {path: path.read_bytes() for path in new.rglob("*") if path.is_file()}


def test_a_line_that_is_no_record_is_refused_by_its_number(new, command):
    path = new / "records" / f"{shard_of((0, 'a')):02d}.jsonl"
    path.write_bytes(path.read_bytes() + b'{"id": "c", "trial": -1, "status": "ok"}\n')
    with pytest.raises(MissingAsset, match="line 2, is not a record: trial is not a whole"):
        _ = Run(new).records
    code, out, _ = command("check", new)
    assert code == 4 and "line 2 is not a record" in out


def test_check_names_what_is_torn_and_gone(new, command):
    Run(new).mask(0, "a", "2").unlink()
    path = new / "records" / f"{shard_of((0, 'b')):02d}.jsonl"
    path.write_bytes(path.read_bytes()[:-3])
    code, out, _ = command("check", new)
    assert code == 4 and "masks/0/2/a.png, sample a, trial 0: is gone" in out
    assert "the last line is torn" in out


ANY_TEXT = st.text(st.characters(categories=None))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
FIELDS = [
    "id",
    "trial",
    "status",
    "final",
    "mask",
    "hash",
    "size",
    "iterations",
    "details",
    "box",
    "config",
    "dataset",
    "name",
    "trials",
    "limit",
    "format",
    "shards",
    "seconds",
    "files",
    "stamps",
    "models",
    "data",
    "identity",
    "created",
]


@settings(max_examples=80, deadline=None, derandomize=True,
          suppress_health_check=list(HealthCheck))  # fmt: skip
@given(data=st.data())
def test_no_content_crashes_the_reader(tmp_path_factory, data):
    """Random bytes, or a good file with one entry anywhere replaced by anything."""
    folder = tmp_path_factory.mktemp("fuzz") / "run"
    with opened(folder) as store:
        store.commit(record("a"), prediction())
    line = next((folder / "records").iterdir())
    target = data.draw(st.sampled_from([line, folder / "run.json"]))
    if data.draw(st.booleans()):
        target.write_bytes(data.draw(st.binary(max_size=60)) + b"\n")
    else:
        node = json.loads(target.read_text())
        place, key = node, data.draw(st.sampled_from(FIELDS))
        while data.draw(st.booleans()) and isinstance(place.get(key), dict) and place[key]:
            place, key = place[key], data.draw(st.sampled_from(sorted(place[key])))
        place[key] = data.draw(JSON)
        node.pop("checksum", None)
        whole = target.name == "run.json" and isinstance(node.get("format"), int)
        try:
            target.write_bytes(sealed(node) if whole else json.dumps(node).encode() + b"\n")
        except ValueError:  # not finite: as another program would write it
            target.write_bytes(json.dumps(node).encode() + b"\n")
    try:
        run = Run(folder)
        run.records_hash()
        run.verify(thorough=True)
        run.masks()
        _ = (run.label, run.manifest.stamps, run.manifest.data, run.failures)
    except MissingAsset as error:
        assert "Traceback" not in str(error)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.text(st.characters(categories=None), min_size=1))
def test_any_id_is_a_file_name(text):
    name = file_name(text)
    assert is_file_name(name) and len(name.encode()) <= 200


def test_names_differ_where_case_is_ignored():
    ids = ["Frog", "frog", "FROG", "É", "é", "toad", "Toad2"]
    names = file_names(ids)
    assert names["toad"] == "toad" and names["Toad2"] == "Toad2"
    assert len({name.casefold() for name in names.values()}) == len(ids)
    assert file_names(reversed(ids)) == names


def test_masks_of_others_are_described(tmp_path, command):
    describe(tmp_path / "m", {**CONTENT, "kind": "masks",
                              "identity": {"predictions": "/no/p", "truths": "/no/t"}})  # fmt: skip
    code, _, err = command("eval", tmp_path / "m")
    assert code == 3 and "/no/t" in err  # ground truth is looked for first
