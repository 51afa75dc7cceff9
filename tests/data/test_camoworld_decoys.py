"""World 2 of the drawn world: decoys, sizes, several animals, levels, scenes without animals."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest

from int_bench.data.world.dataset import DrawnScenes
from int_bench.data.world.names import (
    ANIMALS,
    CLUTTER,
    ENVIRONMENTS,
    FAVOURITE,
    LOOKALIKE,
    NAMES,
    TARGETS,
)
from int_bench.data.world.scenes import LEVELS, Scenes, boxes, draw
from int_bench.errors import UsageError

TASKS = ("cod", "polyp", "skin")


@pytest.fixture(scope="module", params=TASKS)
def scenes(request: pytest.FixtureRequest) -> tuple[str, Scenes]:
    task = str(request.param)
    return task, draw("validation", range(48), task=task, animals="mixed", world=2)


def test_scenes_of_both_worlds_are_the_bytes_that_the_weights_were_trained_on() -> None:
    digest = hashlib.sha256()
    for split in ("train", "validation"):
        for task in TASKS:
            batch = draw(split, range(4), task=task, animals="mixed", world=2)
            for key in ("images", "clean", "masks", "names", "environments", "camouflage",
                        "decoys", "decoy_names"):  # fmt: skip
                digest.update(getattr(batch, key).tobytes())
    assert digest.hexdigest()[:16] == "7fd14411b95e3439"
    old = draw("validation", range(4)).images.tobytes()
    assert hashlib.sha256(old).hexdigest()[:16] == "5dfc35b06fc15852"


def test_what_hides_is_never_what_the_environment_suggests(scenes: tuple[str, Scenes]) -> None:
    task, batch = scenes
    suggested = np.array(LOOKALIKE)[batch.environments]
    assert (batch.names != suggested[:, None]).all()
    assert (batch.decoy_names[:, 0] == suggested).all()
    shown = {NAMES[name] for name in batch.names.ravel() if name >= 0}
    assert shown <= {NAMES[name] for name in TARGETS[task]}
    assert len(shown) >= 3
    kinds = set(batch.decoy_names[batch.decoy_names >= 0].tolist())
    assert kinds <= set(CLUTTER.get(task, LOOKALIKE[:8]))
    assert len(kinds) >= 3


def test_one_to_three_decoys_lie_apart_from_one_or_two_animals(scenes: tuple[str, Scenes]) -> None:
    _, batch = scenes
    layers = np.concatenate([batch.masks, batch.decoys], axis=1)
    assert layers.sum(axis=1).max() == 1
    count = (batch.decoy_names >= 0).sum(axis=1)
    assert set(count.tolist()) == {1, 2, 3}
    assert (batch.decoys.any((2, 3)).sum(axis=1) == count).all()
    two = batch.names[:, 1] >= 0
    assert 0.15 < two.mean() < 0.5  # 30 % are two
    assert batch.masks[two, 1].any((1, 2)).all()
    assert not batch.masks[~two, 1].any()


def test_animals_are_small() -> None:
    batch = draw("validation", range(96), world=2, animals="one")
    area = batch.masks[:, 0].mean((1, 2))
    assert 0.03 < np.median(area) < 0.055
    assert np.quantile(area, 0.05) > 0.013
    assert np.quantile(area, 0.95) < 0.105
    assert (boxes(batch.masks[:, 0])[:, 2:] <= 128).all()


def test_a_level_changes_the_decoys_alone_in_how_strongly_they_are_marked() -> None:
    contrast = []
    for level in LEVELS:
        batch = draw("validation", range(24), world=2, level=level)
        spread = [
            image.astype(float).mean(-1)[mask.any(0)].std()
            for image, mask in zip(batch.images, batch.decoys, strict=True)
        ]
        contrast.append(float(np.mean(spread)))
    assert contrast == sorted(contrast)


def test_erased_scenes_keep_their_decoys_and_lose_their_animals() -> None:
    whole = DrawnScenes(split="validation", count=4, animals="mixed", world=2)
    erased = DrawnScenes(split="validation", count=4, animals="mixed", world=2, erased=True)
    batch = draw("validation", range(4), animals="mixed", world=2)
    for i, (sample, bare) in enumerate(zip(whole.samples(), erased.samples(), strict=True)):
        assert sample.id == bare.id
        assert bare.truth_name is None
        assert not erased.load_mask(bare).any()
        assert erased.object_masks(bare) == ()
        decoys, animals = batch.decoys[i].any(0), batch.masks[i].any(0)
        seen, gone = whole.load_image(sample).astype(int), erased.load_image(bare).astype(int)
        assert (seen == gone)[decoys].mean() > 0.7  # an animal's shadow may touch a decoy
        assert (np.abs(seen - gone).max(-1)[animals] > 4).mean() > 0.6
        assert sum(mask.sum() for mask in whole.object_masks(sample)) == animals.sum()


def test_two_kinds_are_both_named_and_the_worlds_have_identities_of_their_own() -> None:
    scenes = DrawnScenes(split="demo", count=3, animals="two_different", world=2)
    assert all(len(sample.truth_name.split(" and ")) == 2 for sample in scenes.samples())
    assert scenes.samples()[0].id == "demo-00000"
    old = DrawnScenes()
    # The hash that the run folders of world 1 have always had.
    assert old.manifest() == hashlib.sha256(b"('cod', 'test', 0, 128, 'one')").hexdigest()
    others = [
        DrawnScenes(world=2),
        DrawnScenes(world=2, level="hard"),
        DrawnScenes(world=2, erased=True),
        DrawnScenes(world=2, named="decoys"),
    ]
    assert len({old.manifest(), *(other.manifest() for other in others)}) == 5


def test_the_true_name_may_be_the_decoys() -> None:
    hidden = DrawnScenes(split="demo", count=3, animals="mixed", world=2)
    decoys = replace(hidden, named="decoys")
    for place, (sample, other) in enumerate(zip(hidden.samples(), decoys.samples(), strict=True)):
        favourite = ANIMALS[FAVOURITE[ENVIRONMENTS.index(hidden.environment(sample))]]
        assert other.truth_name == favourite
        assert sample.truth_name is not None and favourite not in sample.truth_name.split(" and ")
        assert other.id == sample.id == f"demo-{place:05d}"
    assert DrawnScenes(named="decoys").samples()[0].truth_name is None  # world 1 has none


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ({"world": 3}, "1 or 2"),
        ({"world": 2, "level": "brutal"}, "easy, medium, hard"),
        ({"animals": "mixed"}, "World 1"),
        ({"world": 1, "task": "skin", "animals": "two_different"}, "two_same"),
        ({"split": "dev"}, "demo"),
    ],
)
def test_an_unknown_world_or_level_is_one_sentence(wrong: dict[str, object], word: str) -> None:
    with pytest.raises(UsageError, match=word) as caught:
        DrawnScenes(**wrong)  # type: ignore[arg-type]
    assert str(caught.value).count("\n") == 0
