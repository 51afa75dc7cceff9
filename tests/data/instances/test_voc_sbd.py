"""VOC 2012 and SBD: both layouts, the lists, what is wrong, and that the rest goes on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import io as matlab

from int_bench.config import build, load_config
from int_bench.data.instances.voc_files import CATEGORIES, read_sbd, read_voc
from int_bench.data.instances.voc_sbd import VocSbd
from int_bench.errors import MissingAsset, SampleError

LABELS = np.zeros((6, 9), dtype=np.uint8)
LABELS[1:3, 1:4], LABELS[3:5, 5:8] = 1, 2


def write_png(path: Path, indices: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(indices.astype(np.uint8), mode="P")
    picture.putpalette([value for i in range(256) for value in (i, 0, 255 - i)])
    picture.save(path)


def write_voc(voc: Path, name: str, classes: tuple[int, int] = (15, 3)) -> None:
    """Two objects with a void pixel each; one of the first's pixels is of another class."""
    objects = LABELS.copy()
    objects[1, 1] = objects[3, 5] = 255
    kinds = np.array([0, *classes])[LABELS]
    kinds[objects == 255] = 255
    kinds[2, 2] = 9
    write_png(voc / "SegmentationObject" / f"{name}.png", objects)
    write_png(voc / "SegmentationClass" / f"{name}.png", kinds)


def write_sbd(sbd: Path, name: str, labels=LABELS, categories=(1, 20)) -> None:
    (sbd / "inst").mkdir(parents=True, exist_ok=True)
    truth = {
        "Segmentation": labels,
        "Boundaries": np.zeros(1),
        "Categories": np.array(categories, dtype=np.uint8)[:, None],
    }
    matlab.savemat(sbd / "inst" / f"{name}.mat", {"GTinst": truth}, do_compression=True)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Of seven images: a of both lists, b of VOC's alone, c of SBD's alone, v of all, as val."""
    voc, sbd = tmp_path / "VOCdevkit" / "VOC2012", tmp_path / "benchmark_RELEASE" / "dataset"
    lists = voc / "ImageSets" / "Segmentation"
    for folder in (lists, sbd, voc / "JPEGImages"):
        folder.mkdir(parents=True)
    (lists / "train.txt").write_text("b\na\n")
    (lists / "val.txt").write_text("v\n")
    (sbd / "train.txt").write_text("a\nc\n")
    (sbd / "val.txt").write_text("v\n")
    for name in "abcv":
        Image.new("RGB", (9, 6), (90, 10, 200)).save(voc / "JPEGImages" / f"{name}.jpg")
    for name in "abv":
        write_voc(voc, name)
    for name in "ac":
        write_sbd(sbd, name)
    return tmp_path


def opened(root: Path, split: str, *words: str) -> VocSbd:
    typed = ["dataset=voc_sbd", f"data_root={root}", f"dataset.split={split}"]
    counted = [f"dataset.published.{split}={3 if split == 'train' else 1}"]
    counted = [] if any("published" in word for word in words) else counted
    dataset = build(load_config([*typed, *counted, *words]).dataset, "dataset")
    assert isinstance(dataset, VocSbd)
    return dataset


def test_train_is_both_lists_without_validation_and_takes_vocs_own_where_it_is(root):
    dataset = opened(root, "train")
    named = [(sample.id, sample.truth_name) for sample in dataset.samples()]
    own, theirs = ("person", "bird"), ("aeroplane", "tv monitor")
    assert named == [
        (f"{name}-{number}", category)
        for name, categories in (("a", own), ("b", own), ("c", theirs))
        for number, category in enumerate(categories, start=1)
    ]
    assert [sample.id for sample in opened(root, "val").samples()] == ["v-1", "v-2"]
    assert dataset.categories == CATEGORIES and len(CATEGORIES) == 20


def test_masks_are_the_labels_without_void(root):
    dataset = opened(root, "train")
    first, second, *_, third, _ = dataset.samples()
    mask = dataset.load_mask(first)
    assert mask.sum() == 5 and not mask[1, 1] and mask.shape == (6, 9)
    assert np.array_equal(dataset.load_mask(third), LABELS == 1)
    own, other = dataset.objects(second)
    assert (own.id, own.box, other.id) == ("a-2", (5, 3, 8, 5), "a-1")
    assert dataset.load_image(first).shape == (6, 9, 3)
    (image,) = opened(root, "val", "dataset.unit=image").samples()
    assert opened(root, "val", "dataset.unit=image").load_mask(image).sum() == 10
    assert image.truth_name == "person and bird"


def test_validation_needs_no_sbd_and_what_is_missing_is_told(root, tmp_path, command):
    (root / "benchmark_RELEASE").rename(tmp_path / "away")
    assert len(opened(root, "val").samples()) == 2
    with pytest.raises(MissingAsset, match=r"folder of SBD not found: .*benchmark\.tgz"):
        opened(root, "train").samples()
    words = ["dataset=voc_sbd", f"data_root={tmp_path / 'nowhere'}"]
    for verb in (["run", "method=empty"], ["data", "fetch"], ["data", "check"]):
        code, out, err = command(*verb, *words)
        told = "".join((out + err).split())
        assert code == 3 and "VOCtrainval_11-May-2012.tar" in told and "Traceback" not in told
        assert f"{tmp_path / 'nowhere'}/VOCdevkit/VOC2012" in told


def test_the_published_counts_are_expected(root):
    with pytest.raises(MissingAsset, match=r"3 images in .*, 10582 expected"):
        opened(root, "train", "dataset.published.train=10582").samples()
    assert opened(root, "train", "dataset.published.train=10582", "dataset.whole=false").samples()


def test_a_broken_annotation_is_named_and_can_be_left_out(root, command):
    (root / "benchmark_RELEASE" / "dataset" / "inst" / "c.mat").write_bytes(b"MATLAB 5.0 nothing")
    with pytest.raises(MissingAsset, match=r"annotation of c: .*c\.mat is damaged"):
        opened(root, "train").samples()
    assert len(opened(root, "train", "dataset.whole=false").samples()) == 4
    words = ["dataset=voc_sbd", f"data_root={root}", "dataset.split=train", "dataset.whole=false"]
    code, out, _ = command("data", "check", "--json", *words)
    told = json.loads(out)
    kinds = {group["kind"] for group in told["findings"]}
    assert code == 4 and {"bad_annotation", "no_objects", "unused_category"} <= kinds
    assert (told["images"], told["objects"], told["categories"]) == (3, 4, 20)
    (root / "VOCdevkit" / "VOC2012" / "ImageSets" / "Segmentation" / "val.txt").write_text("../v")
    with pytest.raises(MissingAsset, match="holds what is no name"):
        opened(root, "val").samples()


def test_numbers_that_vocs_objects_skip_are_skipped(tmp_path):
    paths = [tmp_path / "objects.png", tmp_path / "classes.png"]
    for path, values in zip(paths, ([0, 2, 5, 255], [0, 7, 1, 255]), strict=True):
        write_png(path, np.array([values]))
    read = read_voc(*paths, 9)
    assert read.labels.tolist() == [[0, 1, 2, 0]] and read.categories == ("car", "aeroplane")


def test_files_that_do_not_fit_are_sentences(tmp_path):
    write_voc(tmp_path, "a", (15, 21))
    paths = [tmp_path / part / "a.png" for part in ("SegmentationObject", "SegmentationClass")]
    with pytest.raises(SampleError, match="object 2 is of class 21, which VOC has not"):
        read_voc(*paths, 100)
    with pytest.raises(SampleError, match="million"):
        read_voc(*paths, 10)
    write_png(paths[1], np.zeros((6, 8)))
    with pytest.raises(SampleError, match="differ in size"):
        read_voc(*paths, 100)
    Image.new("RGB", (9, 6)).save(paths[1])
    with pytest.raises(SampleError, match="no PNG of indices"):
        read_voc(*paths, 100)
    for labels, categories, sentence in (
        (LABELS, (1,), "2 objects and 1 categories"),
        (LABELS, (1, 0), "object 2 is of class 0"),
        (LABELS.astype(float), (1, 2), "something else"),
    ):
        write_sbd(tmp_path, "b", labels, categories)
        with pytest.raises(SampleError, match=sentence):
            read_sbd(tmp_path / "inst" / "b.mat", 100)
    matlab.savemat(tmp_path / "inst" / "b.mat", {"other": 1})
    with pytest.raises(SampleError, match=r"b\.mat is damaged or cannot be decoded"):
        read_sbd(tmp_path / "inst" / "b.mat", 100)


def test_an_empty_object_is_lost_alone(root):
    labels = np.where(LABELS == 2, 3, LABELS).astype(np.uint8)
    write_sbd(root / "benchmark_RELEASE" / "dataset", "c", labels, (5, 6, 7))
    dataset = opened(root, "train")
    *_, first, second, third = dataset.samples()
    assert dataset.load_mask(first).any() and len(dataset.objects(third)) == 2
    with pytest.raises(SampleError, match="Object c-2 of data set voc_sbd has an empty mask"):
        dataset.load_mask(second)


def test_the_manifest_is_of_the_annotations(root):
    hashes = {
        opened(root, "train").manifest(),
        opened(root, "train", "dataset.points=uniform").manifest(),
    }
    write_sbd(root / "benchmark_RELEASE" / "dataset", "c", LABELS, (2, 3))
    assert opened(root, "train").manifest() not in hashes and len(hashes) == 2
