"""keep=trace: what a method saw is stored beside its results, decides nothing, and is checked."""

from __future__ import annotations

import importlib.resources
import io
import json
import typing
from dataclasses import replace

import jsonschema
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from int_bench.core import details as shapes
from int_bench.core.geometry import Grid
from int_bench.core.protocols import Backbone
from int_bench.engine.broker import Broker
from int_bench.methods.trivial import trivial_mask
from int_bench.runs.check import check
from int_bench.runs.execute import Variant
from int_bench.runs.execute import run as execute
from int_bench.runs.kept.details import checked
from int_bench.runs.kept.encoding import places, sheet
from int_bench.runs.kept.standing import Standing
from int_bench.runs.prefixes import derive
from int_bench.runs.reader import Run
from tests.fakes import all_fakes, scene
from tests.methods import running
from tests.methods.test_direct import Instances, Objects
from tests.methods.test_promac import Biased
from tests.runs.test_store import opened, prediction, record

SCHEMA = json.loads(
    (importlib.resources.files("int_bench.runs") / "schemas" / "details.json").read_text()
)
METHODS = ["int", "gensam", "promac", "grounding_sam", "clip_surgery_sam", "llava_sam", "sam3",
           "sapnet", "oracle_box_sam", "oracle_name", "int-patch", "int-sampled",
           "int-no_smg"]  # fmt: skip
WORDS = {
    "int-patch": ("method.prompter.selection.erasure.scope=patch",),
    "int-sampled": ("method.prompter.selection.reading=sampled",),
    "int-no_smg": ("ablation=no_smg",),
}


class Scene:
    """A data set of one image."""

    name = "scene"

    def samples(self):
        from int_bench.data.dataset import SampleFile

        return (SampleFile("a", truth_name="frog"),)

    def load_image(self, sample):
        return scene()

    def load_mask(self, sample):
        return trivial_mask("centre_box", scene().shape[:2])


class Plan:
    dataset, task_prompt, seed, trials = Scene(), "camouflaged animal", 7, 1
    samples = dataset.samples()

    def __init__(self, traced):
        self.traced = traced


def stored(path, name, keep):
    """The run of a method on hand-made models."""
    vlm = {"vlm": Biased()} if name == "promac" else {}
    models: dict[str, Backbone] = {**all_fakes(), "concept_segmenter": Instances(), **vlm}
    models["instance_segmenter"] = Objects()
    method = running.method(name.partition("-")[0], "task.iterations=3", *WORDS.get(name, ()))
    with opened(path, keep) as folder:
        execute(
            Plan(keep == "trace"), [Variant(name, method, folder)], Broker(models, max_batch=64)
        )
    return Run(path)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_fills_what_it_has_and_nothing_depends_on_it(tmp_path, name):
    plain, traced = (stored(tmp_path / keep, name, keep) for keep in ("soft", "trace"))
    before, after = plain.records[0, "a"], traced.records[0, "a"]
    assert before.status == "ok", before.error
    assert (before.chosen, before.prompt, before.box) == (after.chosen, after.prompt, after.box)
    assert before.counters == after.counters and dict(before.marks) == dict(after.marks)
    assert not before.files and len(after.traces) == len(after.iterations)
    assert not traced.verify(thorough=True) and not list(check(traced, True))[1:]
    for step, less in zip(after.iterations, before.iterations, strict=True):
        jsonschema.validate(step.details, SCHEMA)
        jsonschema.validate(less.details, SCHEMA)
        assert checked(step.details) == step.details
        assert set(step.details) - {"pictures", "patches"} == set(less.details)
        assert "view" in step.details["pictures"]


def test_the_story_of_int_is_whole(tmp_path):
    run = stored(tmp_path, "int", "trace")
    first, second, _ = run.records[0, "a"].iterations
    names = [patch["patch"] for patch in first.details["patches"]]
    assert names == [patch.name for patch in Grid().cut((40, 60))]
    frog = next(c for c in first.details["candidates"] if c["name"] == "frog")
    falls = np.array(frog["before"]) - np.array(frog["after"])
    assert falls.max() == pytest.approx(frog["difference"])
    assert names[int(falls.argmax())] == first.details["winning_patch"]
    assert first.details["answers"][0]["said"][0]["answer"]
    assert not any("said" in answer for answer in second.details["answers"])  # nothing was asked
    assert {"view", "erased", "hole", "mask_original"} <= set(first.details["pictures"])
    given_points = [p for m in first.details["masks"] for p in m["points_image"]]
    assert given_points and all(
        0 <= x < 60 and 0 <= y < 40 and o in (0, 1) for x, y, o in given_points
    )
    # The sheet shows what the record says: the second view is dimmed where the first mask is not.
    views = []
    for number, step in ((1, first), (2, second)):
        x, y, width, height = step.details["pictures"]["view"]
        with Image.open(run.trace(0, "a", number)) as file:
            views.append(np.asarray(file.convert("RGB"))[y : y + height, x : x + width].astype(int))
    assert np.abs(views[0] - scene()).mean() < 6
    assert views[0][30, 50, 1] - views[1][30, 50, 1] > 20
    assert np.abs(views[0][10:18, 14:22] - views[1][10:18, 14:22]).mean() < 6


def test_costs_say_by_how_much_the_final_mask_was_chosen(tmp_path):
    run = stored(tmp_path / "long", "int", "trace")
    found = run.records[0, "a"]
    costs = [step.details["costs"][-1] for step in found.iterations]
    assert costs.index(min(costs)) == found.chosen[-1]
    with opened(tmp_path / "short", "trace") as folder:
        derive(run, folder, 2, [(0, "a")])
    short = Run(tmp_path / "short")
    cut = short.records[0, "a"]
    assert sorted(cut.traces) == ["traces/0/a/1.webp", "traces/0/a/2.webp"]
    assert [len(step.details["costs"]) for step in cut.iterations] == [2, 1]
    assert not short.verify(thorough=True)


HARMS = {
    "gone": (lambda path: path.unlink(), "is gone"),
    "cut": (lambda path: path.write_bytes(path.read_bytes()[:-9]), "bytes, not"),
    "other": (lambda path: path.write_bytes(b"\0" * path.stat().st_size), "other bytes"),
}


@pytest.mark.parametrize("name", HARMS)
def test_broken_traces_are_named_and_made_again_only_if_asked(tmp_path, name):
    with opened(tmp_path, "trace") as folder:
        folder.commit(record("a"), prediction())
    harm, said = HARMS[name]
    harm(Run(tmp_path).trace(0, "a", 2))
    assert any(said in damage.what for damage in check(Run(tmp_path), thorough=True))
    with opened(tmp_path, "trace") as folder:
        assert folder.finished((0, "a")) and not folder.damages
    with opened(tmp_path, "trace", refill=True) as folder:
        assert not folder.finished((0, "a")) and folder.damages
        folder.commit(record("a"), prediction())
    assert not Run(tmp_path).verify(thorough=True)


def test_what_was_finished_with_less_is_counted_and_made_again_only_if_asked(tmp_path):
    with opened(tmp_path, "iterations") as folder:
        folder.commit(record("a"), prediction())
    with opened(tmp_path, "trace") as folder:
        assert folder.finished((0, "a"))
        folder.commit(record("b"), prediction())
    keys = [(0, "a"), (0, "b"), (0, "c")]
    assert Standing.of(tmp_path, keys, "trace")[:3] == (2, False, 1)
    assert Standing.of(tmp_path, keys, "trace", refill=True)[:3] == (1, False, 1)
    assert Standing.of(tmp_path, keys, "iterations")[:3] == (2, False, 0)
    with opened(tmp_path, "trace", refill=True) as folder:
        assert [folder.finished(key) for key in keys] == [False, True, False]
    old = replace(Run(tmp_path).records[0, "a"], keep=None)
    assert old.lacks("soft") and not old.lacks("iterations")


def test_a_kill_while_a_sheet_is_written_leaves_no_half(tmp_path):
    with opened(tmp_path, "trace") as folder:
        folder.commit(record("a"), prediction())
    aside = tmp_path / "traces/0/b/.1.webp.0011.part"
    aside.parent.mkdir()
    aside.write_bytes(b"RIFF")
    assert [d.path for d in check(Run(tmp_path)) if "half" in d.what] == [aside]
    with opened(tmp_path, "trace") as folder:
        assert folder.finished((0, "a")) and not folder.finished((0, "b"))
    assert not aside.exists()


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.integers(1, 400), st.integers(1, 400)), min_size=1, max_size=12))
def test_pictures_on_a_sheet_never_meet(sizes):
    pictures = {str(i): np.zeros(size, dtype=np.uint8) for i, size in enumerate(sizes)}
    taken = np.zeros((8000, 700), dtype=int)
    for x, y, width, height in places(pictures).values():
        taken[y : y + height, x : x + width] += 1
    assert taken.max() == 1 and taken.sum() == sum(h * w for h, w in sizes)


def test_a_sheet_shows_grey_and_colour():
    colour = np.zeros((32, 32, 3), dtype=np.uint8)
    colour[..., 0] = 200
    pictures = {"view": colour, "hole": np.full((32, 32), 120, dtype=np.uint8)}
    with Image.open(io.BytesIO(sheet(pictures))) as file:
        shown = np.asarray(file.convert("RGB")).astype(int)
    for name, expected in (("view", (200, 0, 0)), ("hole", (120, 120, 120))):
        x, y, width, height = places(pictures)[name]
        part = np.abs(shown[y : y + height, x : x + width] - expected)
        assert part.mean() < 2 and part[2:-2, 2:-2].max() < 12


def required(kind) -> set[str]:
    """The keys that must be there; under postponed annotations the class does not know."""
    hints = typing.get_type_hints(kind, include_extras=True) if kind.__total__ else {}
    return {key for key, hint in hints.items() if typing.get_origin(hint) is not typing.NotRequired}


def test_the_schema_says_what_the_types_say():
    for name, kind in (
        ("", shapes.Details),
        ("patches", shapes.PatchDetails),
        ("answers", shapes.AnswerDetails),
        ("candidates", shapes.CandidateDetails),
        ("masks", shapes.MaskDetails),
        ("detections", shapes.DetectionDetails),
    ):
        node = SCHEMA["properties"][name]["items"] if name else SCHEMA
        assert set(node["properties"]) == set(typing.get_type_hints(kind)), name
        assert set(node.get("required", ())) == required(kind), name
    said = SCHEMA["properties"]["answers"]["items"]["properties"]["said"]["items"]
    assert set(said["required"]) == required(shapes.SaidDetails)
    assert SCHEMA["$id"] == f"int-bench/details/{shapes.VERSION}"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from([*SCHEMA["properties"], "patch", "names", "box_image",
                                       "environment", "boxes_image", "score"]), inner, max_size=4),
    max_leaves=10,
)  # fmt: skip


@settings(max_examples=60, deadline=None, derandomize=True)
@given(JSON)
def test_whatever_a_record_holds_becomes_details(value):
    jsonschema.validate(checked(value), SCHEMA)


def test_what_was_written_before_details_were_typed_is_left_out():
    old = {"answers": ["a frog"], "names": ["frog"], "confidences": [0.5], "costs": [float("nan")]}
    assert checked(old) == {"answers": []}
