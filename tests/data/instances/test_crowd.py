"""Crowds: prefixes, neighbours, skins, and objects as samples from a run to its scores."""

from __future__ import annotations

import pickle
from collections import Counter
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from int_bench.config import build, build_backbones, build_method, load_config
from int_bench.core.types import Picture
from int_bench.data.dataset import InstanceDataset, objects_of
from int_bench.data.subset import Part
from int_bench.data.world.crowd import CATEGORIES, PATTERNS, Animal, chimera_skin, crowd
from int_bench.data.world.crowd_dataset import CrowdScenes
from int_bench.data.world.dataset import DrawnScenes
from int_bench.data.world.painting import Place
from int_bench.engine.broker import Broker
from int_bench.errors import UsageError
from int_bench.runs.execute import Variant, run
from int_bench.runs.reader import Run
from tests.runs.test_run import Plan
from tests.runs.test_store import opened

MANY = [crowd("train", index) for index in range(600)]


def shares(animals):
    """Distances between centres, as shares of the sums of half sides."""
    for first, second in combinations([animal.place for animal in animals], 2):
        away = np.hypot(first.x - second.x, first.y - second.y)
        yield away / (first.scale + second.scale)


def test_crowds_of_all_sizes_whose_animals_touch_and_do_not_cover_each_other():
    assert set(Counter(len(scene.animals) for scene in MANY)) == {2, 3, 4, 5}
    for scene in MANY:
        apart = list(shares(scene.animals))
        assert min(apart) >= 0.72 - 1e-6
        # Each but the first was put beside an earlier one: they hang together.
        assert sum(share <= 0.95 + 1e-6 for share in apart) >= len(scene.animals) - 1


def test_three_quarters_of_the_neighbours_are_of_one_kind():
    pairs = [scene.animals for scene in MANY if len(scene.animals) == 2]
    same = np.mean([first.category == second.category for first, second in pairs])
    assert abs(same - 0.75) < 3 * np.sqrt(0.75 * 0.25 / len(pairs))
    counts = Counter(animal.category for scene in MANY for animal in scene.animals)
    assert min(counts[index] for index in range(6)) > 0.7 * max(counts.values())


def test_no_half_tells_the_class():
    pairs = [tuple(category.split()) for category in CATEGORIES]
    assert len(set(pairs)) == 6 and all(front != rear for front, rear in pairs)
    for half in (0, 1):
        assert Counter(pair[half] for pair in pairs) == dict.fromkeys(PATTERNS, 2)
    outlines = {(a.outline, a.category) for scene in MANY for a in scene.animals}
    assert len(outlines) == 8 * 6


@pytest.mark.parametrize("outline", [0, 1])  # a frog's head lies at y = -1, a snake's at x = 1
def test_a_half_looks_the_same_whatever_the_other_carries(outline):
    x, y = np.meshgrid(*[np.linspace(-1, 1, 41, dtype=np.float32)] * 2)
    front = (x if outline == 1 else -y) > 0
    skins = [chimera_skin(Animal(outline, i, Place(0.3, 0, 0)), x, y) for i in range(6)]
    pairs = [tuple(category.split()) for category in CATEGORIES]
    for first, second in combinations(range(6), 2):
        for half, pixels in enumerate((front, ~front)):
            same = np.array_equal(skins[first][pixels], skins[second][pixels])
            assert same == (pairs[first][half] == pairs[second][half])
    for skin, pair in zip(skins, pairs, strict=True):
        means = skin[front].mean(axis=0), skin[~front].mean(axis=0)
        assert means[0].mean() > means[1].mean() + 1.0  # lighter
        assert tuple(PATTERNS[int(mean.argmax())] for mean in means) == pair


def test_a_prefix_is_stable_and_splits_share_nothing():
    few, many = CrowdScenes(split="test", count=3), CrowdScenes(split="test", count=9)
    assert many.samples()[: len(few.samples())] == few.samples()
    assert few.manifest() == many.manifest()
    for sample in few.samples():
        assert np.array_equal(few.load_image(sample), many.load_image(sample))
    other = CrowdScenes(split="val", count=3)
    assert not np.array_equal(
        other.load_image(other.samples()[0]), few.load_image(few.samples()[0])
    )
    settings = ({}, {"unit": "image"}, {"points": "uniform"}, {"points_seed": 1}, {"seed": 1})
    assert len({CrowdScenes(split="test", **words).manifest() for words in settings}) == 5


@pytest.mark.parametrize("size", [64, 128])
def test_objects_and_images_are_two_views_of_the_same_scenes(size):
    objects = CrowdScenes(split="val", count=4, size=size)
    images = CrowdScenes(split="val", count=4, size=size, unit="image")
    assert isinstance(objects, InstanceDataset) and objects.categories == CATEGORIES
    for scene in images.samples():
        own = [sample for sample in objects.samples() if sample.image_id == scene.id]
        digests = {Picture(objects.load_image(sample)).digest for sample in own}
        assert digests == {Picture(images.load_image(scene)).digest}
        together = images.objects(scene)
        assert [instance.id for instance in together] == [sample.id for sample in own]
        assert scene.truth_name == " and ".join(dict.fromkeys(i.category for i in together))
        masks = np.array([objects.load_mask(sample) for sample in own])
        assert masks.any(axis=(1, 2)).all() and masks.sum(axis=0).max() == 1
        assert np.array_equal(masks.any(axis=0), images.load_mask(scene))
        for sample, mask in zip(own, masks, strict=True):
            first, *others = objects.objects(sample)
            assert first.id == sample.id and first.category == sample.truth_name
            assert np.array_equal(first.mask, mask)
            assert {instance.id for instance in others} == {s.id for s in own} - {sample.id}
            x0, y0, x1, y1 = map(int, first.box)
            assert mask[y0:y1, x0:x1].sum() == mask.sum()
            assert mask[[y0, y1 - 1]].any(axis=1).all() and mask[:, [x0, x1 - 1]].any(axis=0).all()
            assert mask[int(first.point[1]), int(first.point[0])]


def test_it_travels_without_what_it_has_drawn():
    scenes = CrowdScenes(count=2)
    names = [sample.id for sample in scenes.samples()]
    again = pickle.loads(pickle.dumps(scenes))
    assert len(pickle.dumps(scenes)) < 1000
    assert [sample.id for sample in again.samples()] == names


def test_a_part_knows_the_objects_and_other_sets_know_none():
    scenes = CrowdScenes(count=2)
    part = Part(scenes, 1)
    assert len(objects_of(part, part.samples()[0])) == len(scenes.objects(scenes.samples()[0]))
    drawn = Part(DrawnScenes(count=1))
    assert objects_of(drawn, drawn.samples()[0]) == () and drawn.categories == ()


def test_the_options_are_checked_and_crowds_are_not_written_as_folders(command, tmp_path):
    dataset = build(
        load_config(["dataset=camoworld_crowd", "dataset.split=val"]).dataset, "dataset"
    )
    assert isinstance(dataset, CrowdScenes) and dataset.samples()[0].id == "val-00000-0"
    with pytest.raises(UsageError, match=r"dataset\.points"):
        load_config(["dataset=camoworld_crowd", "dataset.points=file"])
    code, _, err = command("data", "make", "camoworld_crowd", "--out", str(tmp_path))
    assert code == 2 and "camoworld_crowd" in err


def test_a_category_that_is_not_trained_is_told_before_anything_is_loaded(command):
    # The one scene to train on shows two animals, the one of validation three of another kind.
    words = ("train", "method=sam_decoder", "dataset=camoworld_crowd", "--dry-run")
    code, _, err = command(*words, "dataset.count=1", "train.validated=1")
    assert code == 0 and "Validation shows red blue; no sample to train on does." in err
    code, _, err = command(*words, "dataset.count=40", "train.validated=1")
    assert code == 0 and "no sample to train on" not in err


def test_a_run_over_objects_encodes_every_image_once(tmp_path: Path):
    """The box of each object's own mask is the prompt, so that masks differ and pictures do not."""
    scenes = CrowdScenes(split="val", count=2)
    config = load_config(["models=tiny", "device=cpu", "method=oracle_box_sam"])
    models = build_backbones(config)
    with opened(tmp_path) as store:
        variant = Variant("oracle", build_method(config), store)
        run(Plan(scenes, scenes.samples(), config.task.prompt), [variant], Broker(models))
    finished = Run(tmp_path)
    assert not finished.failures and len(finished.records) == len(scenes.samples()) > 2
    assert models["segmenter"].counters["images_encoded"] == 2
    boxes = {finished.records[0, sample.id].box for sample in scenes.samples()}
    assert len(boxes) == len(scenes.samples())
