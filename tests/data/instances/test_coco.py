"""Data sets in COCO's format: what they say, what is wrong with them, and that all goes on."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from int_bench.config import build, load_config
from int_bench.core.typed import Malformed
from int_bench.data.instances.coco import CocoInstances
from int_bench.data.instances.long_json import items
from int_bench.data.instances.rle import mask_of, runs_of
from int_bench.data.instances.samples import untrained
from int_bench.errors import MissingAsset, SampleError, UsageError
from tests.data.instances.coco_files import SQUARE, annotation, content, write_set


def opened(root: Path, told: Any = None, *words: str) -> CocoInstances:
    typed = write_set(root, content() if told is None else told)
    dataset = build(load_config([*typed, *words]).dataset, "dataset")
    assert isinstance(dataset, CocoInstances)
    return dataset


def test_an_object_is_what_its_annotation_says(tmp_path):
    dataset = opened(tmp_path)
    assert dataset.categories == ("cat", "dog", "tooth brush")  # 3, 7, 90
    first, second = dataset.samples()
    assert (first.id, first.image_id) == ("000000000001-11", "000000000001")
    assert (first.truth_name, second.truth_name) == ("cat", "tooth brush")
    (instance,) = dataset.objects(first)
    square = np.zeros((8, 12), dtype=bool)
    square[1:5, 2:6] = True
    assert np.array_equal(instance.mask, square) and instance.box == (2, 1, 6, 5)
    assert np.array_equal(dataset.load_mask(first), square)
    assert square[int(instance.point[1]), int(instance.point[0])]
    assert dataset.load_image(first).shape == (8, 12, 3)


def test_polygons_are_united_and_run_lengths_go_down_the_columns(tmp_path):
    two = [*SQUARE, [8, 0, 10, 0, 10, 2, 8, 2]]
    runs = {"size": [8, 12], "counts": [9, 3, 84]}  # from pixel 9: column 1, rows 1 to 3
    dataset = opened(
        tmp_path, content(annotation(1, segmentation=two), annotation(2, segmentation=runs))
    )
    of_polygons, of_runs = map(dataset.load_mask, dataset.samples())
    assert of_polygons.sum() == 16 + 4 and of_polygons[0:2, 8:10].all()
    assert np.argwhere(of_runs).tolist() == [[1, 1], [2, 1], [3, 1]]
    coded = {**runs_of(of_runs), "size": [8, 12]}
    again = {**coded, "counts": coded["counts"].decode()}
    assert np.array_equal(mask_of(again, (8, 12)), of_runs)


def test_images_as_samples_hold_all_objects_and_crowds_are_apart(tmp_path):
    runs = {"size": [8, 12], "counts": [80, 16]}
    told = content(
        annotation(1), annotation(2, category=7, segmentation=[[8, 0, 10, 0, 10, 2, 8, 2]]),
        annotation(3, segmentation=runs, iscrowd=1),
    )  # fmt: skip
    dataset = opened(tmp_path, told, "dataset.unit=image")
    first, empty = dataset.samples()
    assert (first.id, first.truth_name, empty.truth_name) == ("000000000001", "cat and dog", None)
    assert [instance.category for instance in dataset.objects(first)] == ["cat", "dog"]
    assert dataset.load_mask(first).sum() == 20 and not dataset.load_mask(empty).any()
    ((name, region),) = dataset.crowds(first)
    assert name == "cat" and region.sum() == 16 and dataset.crowds(empty) == ()
    assert dataset.crowd_count == 1


def test_a_bad_object_is_lost_alone(tmp_path):
    told = content(
        annotation(1, segmentation=[]), annotation(2, segmentation=[[1, 1, 2, 2]]), annotation(3),
        annotation(4, segmentation={"size": [8, 12], "counts": [96]}),
        annotation(5, segmentation={"size": [12, 8], "counts": [0, 96]}),
        annotation(6, segmentation={"size": [8, 12], "counts": "99999999999"}),
        annotation(7, segmentation=[[0, 0, 1e30, 0, 0, 9]]), annotation(8, segmentation="a"),
        annotation(9, segmentation={"size": [8, 12], "counts": [0, 90]}),
        annotation(10, segmentation={"size": None}),
    )  # fmt: skip
    dataset = opened(tmp_path, told)
    wrong = {}
    for sample in dataset.samples():
        try:
            assert dataset.load_mask(sample).sum() == 16
            assert len(dataset.objects(sample)) == 1
        except SampleError as error:
            wrong[int(sample.id.rpartition("-")[2])] = str(error)
    assert set(wrong) == {1, 2, 4, 5, 6, 7, 8, 9, 10}
    assert (
        wrong[1]
        == "Object 000000000001-1 of data set coco: it has neither polygons nor run lengths."
    )
    assert "is no list of three or more points" in wrong[2] and "empty mask" in wrong[4]
    assert "its run lengths are of [12, 8]" in wrong[5] and "it is no mask" in wrong[6]
    assert "far behind" in wrong[7] and "do not sum up" in wrong[9]


BROKEN = {
    "[1, 2]": "it is no JSON",
    '{"images": [': "it is no JSON",
    '{"images": [{}, ]}': "it is no JSON",
    '{"images": NaN}': "NaN is no number",
    "{}": "it has no images",
    "{} x": "something follows its end",
    '{"images": ' + "[" * 100_000: "it is nested too deeply",
    json.dumps({**content(), "categories": []}): "it has no categories",
    json.dumps({**content(), "annotations": []}): "it has no annotations",
    json.dumps({**content(), "images": [{"id": 1}]}): "an image.file_name is missing",
}


@pytest.mark.parametrize("text", BROKEN)
def test_a_file_that_is_none_is_a_sentence(text, tmp_path):
    with pytest.raises(MissingAsset, match=BROKEN[text]) as caught:
        opened(tmp_path, text).samples()
    assert "instances_val2017.json cannot be used" in str(caught.value)


FAULTS = [
    (annotation(5, image=9), "annotation 5 is of image 9, which the file lacks"),
    (annotation(5, category=1), "annotation 5 is of category 1, which the file lacks"),
    (annotation(11), "two annotations have the id 11"),
    (annotation("x"), "id is not a whole number"),
]


@pytest.mark.parametrize(("entry", "sentence"), FAULTS)
def test_a_set_with_inconsistent_annotations_is_refused_by_name(entry, sentence, tmp_path):
    with pytest.raises(MissingAsset, match=sentence):
        opened(tmp_path, content(annotation(11), entry)).samples()


def test_what_is_not_there_is_told_with_what_to_do(tmp_path, command):
    words = ["dataset=coco", f"data_root={tmp_path}"]
    for verb in (["run", "method=empty"], ["data", "fetch"]):
        code, out, err = command(*verb, *words)
        assert code == 3 and "Traceback" not in out + err
        told = "".join((out + err).split())
        assert f"{tmp_path}/annotations/instances_val2017.json" in told
        assert "annotations_trainval2017.zip" in told
    code, out, _ = command("data", "check", *words)
    assert code == 3 and "missing_folder" in out and "annotations_trainval2017.zip" in out


def test_counts_missing_images_and_long_files_are_refused(tmp_path):
    words = write_set(tmp_path, content())
    with pytest.raises(MissingAsset, match=r"2 images in .*, 5000 expected"):
        build(load_config(["dataset=coco", f"data_root={tmp_path}"]).dataset, "dataset").samples()
    (tmp_path / "val2017" / "000000000002.png").unlink()
    dataset = build(load_config(words).dataset, "dataset")
    with pytest.raises(MissingAsset, match=r"000000000002\.png is missing"):
        dataset.samples()
    (tmp_path / "annotations" / "instances_val2017.json").write_text(" " * 1_000_001)
    with pytest.raises(MissingAsset, match=r"longer than 1 MB; raise dataset\.max_megabytes"):
        build(load_config([*words, "dataset.max_megabytes=1"]).dataset, "dataset").samples()


def test_an_image_of_another_size_is_lost_alone_and_exif_does_not_turn_it(tmp_path):
    dataset = opened(tmp_path)
    first, second = dataset.samples()
    path = tmp_path / "val2017" / "000000000002.png"
    exif = Image.Exif()
    exif[0x0112] = 6  # a viewer would turn it
    Image.new("RGB", (12, 8)).save(path, exif=exif)
    assert dataset.load_image(second).shape == (8, 12, 3)
    Image.new("RGB", (8, 12)).save(path)
    with pytest.raises(SampleError, match="is 8x12, its annotations are of 12x8"):
        dataset.load_image(second)
    assert dataset.load_image(first).shape == (8, 12, 3)


def test_an_image_that_is_said_to_be_huge_takes_no_memory(tmp_path):
    told = content(annotation(1, segmentation={"size": None}), annotation(2, iscrowd=1))
    told["images"][0] |= {"height": 10**9, "width": 10**9}
    for unit in ("object", "image"):
        dataset = opened(tmp_path, told, f"dataset.unit={unit}")
        for look in (dataset.load_mask, dataset.objects, dataset.crowds):
            with pytest.raises(SampleError, match="at most 100 million are decoded"):
                look(dataset.samples()[0])


def test_the_doctor_tells_all_of_it(tmp_path, command):
    told = content(annotation(1, segmentation=[]), annotation(2, iscrowd=1), annotation(3))
    words = write_set(tmp_path, told)
    code, out, _ = command("data", "check", "--json", *words)
    told = json.loads(out)
    kinds = {group["kind"]: group["count"] for group in told["findings"]}
    assert kinds == {"unusable_object": 1, "crowd": 1, "no_objects": 1, "unused_category": 2}
    assert (code, told["images"], told["objects"], told["categories"]) == (4, 2, 2, 3)
    (tmp_path / "val2017" / "000000000001.png").write_bytes(b"nothing")
    code, out, _ = command("data", "check", *words)
    assert code == 4 and "unreadable (1)" in out
    code, out, _ = command("data", "check", "dataset=camoworld_crowd", "dataset.count=2")
    assert code == 0 and out.startswith("camoworld_crowd: 2 images")


def test_points_come_from_a_file_for_all_objects_or_none(tmp_path):
    file = tmp_path / "points.json"
    words = ["dataset.points=file", f"dataset.points_file={file}"]
    file.write_text(json.dumps({"000000000001-11": [3.25, 2]}))
    with pytest.raises(
        MissingAsset, match="has no point for 1 of 2 objects, such as 000000000002-12"
    ):
        opened(tmp_path, None, *words).samples()
    file.write_text(json.dumps({"000000000001-11": [3.25, 2], "000000000002-12": [12, 2]}))
    dataset = opened(tmp_path, None, *words)
    first, second = dataset.samples()
    assert dataset.objects(first)[0].point == (3.25, 2.0)
    with pytest.raises(SampleError, match="outside its image of 12x8"):
        dataset.objects(second)
    for bad, sentence in (
        ("[]", "no object of"),
        ('{"a": [1]}', "point of a is no"),
        ("{", "no JSON"),
    ):
        file.write_text(bad)
        with pytest.raises(MissingAsset, match=sentence):
            opened(tmp_path, None, *words).samples()
    with pytest.raises(UsageError, match="go together"):
        opened(tmp_path, None, words[0]).samples()


def test_the_manifest_knows_what_decides_and_the_set_travels_light(tmp_path):
    dataset = opened(tmp_path)
    changed = [[], ["dataset.unit=image"], ["dataset.points=uniform"], ["dataset.points_seed=3"]]
    hashes = {opened(tmp_path, None, *words).manifest() for words in changed}
    hashes.add(opened(tmp_path, content(annotation(1))).manifest())
    assert len(hashes) == 5 and dataset.manifest() in hashes
    again = pickle.loads(pickle.dumps(dataset))
    assert "content" in vars(dataset) and "content" not in vars(again)


def test_without_the_library_the_set_is_refused_before_anything_is_loaded(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "faster_coco_eval", None)
    with pytest.raises(MissingAsset, match=r"pip install 'int-bench\[instances\]'"):
        opened(tmp_path).samples()


def test_a_class_that_was_never_trained_is_named(tmp_path):
    validation = opened(tmp_path / "a").samples()
    training = opened(tmp_path / "b", content(annotation(1))).samples()
    assert untrained(training, validation) == ("tooth brush",)
    assert untrained(validation, training) == ()


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=12,
)


@settings(max_examples=40)
@given(st.dictionaries(st.text(max_size=4), VALUES, max_size=4), st.sampled_from([None, 2]))
def test_items_are_what_a_parser_reads(told, indent):
    text = json.dumps(told, indent=indent)
    again: dict[str, Any] = {key: [] for key, value in told.items() if value == []}
    for key, value, source in items(text):
        assert json.loads(source) == value
        if isinstance(told[key], list):
            again.setdefault(key, []).append(value)
        else:
            again[key] = value
    assert again == told


@given(st.text(alphabet='{}[]",:1a ', max_size=14))
def test_what_no_parser_reads_is_malformed(text):
    try:
        whole = isinstance(json.loads(text), dict)
    except ValueError:
        whole = False
    if whole:
        list(items(text))
    else:
        with pytest.raises(Malformed):
            list(items(text))
