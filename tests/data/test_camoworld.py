"""The drawn world: determinism, ground truth against pixels, splits and the broken correlation."""

import hashlib

import numpy as np
import pytest

from int_bench.data.world.scenes import ANIMALS, ENVIRONMENTS, FAVOURITE, NAMES, Scenes, boxes, draw
from int_bench.data.world.shapes import silhouette, skin_pattern
from int_bench.data.world.textures import PALETTES, Noise, colour
from int_bench.errors import UsageError

CASES = [
    ("cod", "one"),
    ("cod", "two_same"),
    ("cod", "two_different"),
    ("polyp", "one"),
    ("skin", "one"),
]


@pytest.fixture(scope="module")
def scenes() -> Scenes:
    return draw("train", range(24))


def test_the_same_index_gives_the_same_bytes(scenes: Scenes) -> None:
    again = draw("train", range(24))
    for key in ("images", "clean", "masks", "names", "environments", "camouflage"):
        assert np.array_equal(getattr(scenes, key), getattr(again, key)), key


def test_a_scene_does_not_depend_on_its_batch(scenes: Scenes) -> None:
    alone, shuffled = draw("train", [7]), draw("train", [19, 7, 3])
    assert np.array_equal(alone.images[0], scenes.images[7])
    assert np.array_equal(shuffled.images[1], scenes.images[7])
    assert np.array_equal(shuffled.masks[0], scenes.masks[19])


def test_seed_and_index_change_the_scene(scenes: Scenes) -> None:
    other = draw("train", [0, 1], seed=1)
    assert not np.array_equal(other.images[0], scenes.images[0])
    assert not np.array_equal(scenes.images[0], scenes.images[1])


@pytest.mark.parametrize(("task", "animals"), CASES)
def test_sizes_dtypes_and_ranges(task: str, animals: str) -> None:
    batch = draw("validation", range(3), task=task, animals=animals, size=96)
    assert batch.images.shape == batch.clean.shape == (3, 96, 96, 3)
    assert batch.images.dtype == batch.clean.dtype == np.uint8
    assert batch.masks.shape == (3, 2, 96, 96)
    assert batch.masks.dtype == np.bool_
    assert batch.names.shape == (3, 2)
    assert batch.names.dtype == batch.environments.dtype == np.int64
    assert batch.camouflage.dtype == np.float32
    assert ((batch.camouflage >= 0) & (batch.camouflage <= 1)).all()
    count = 1 if animals == "one" else 2
    assert (batch.names[:, :count] >= 0).all()
    assert (batch.names[:, count:] == -1).all()
    assert batch.masks[:, :count].any((2, 3)).all()
    assert not batch.masks[:, count:].any()


def test_an_empty_batch_has_the_right_shape() -> None:
    assert draw("test", []).images.shape == (0, 128, 128, 3)


@pytest.mark.parametrize(("task", "animals"), CASES)
def test_the_image_differs_from_the_clean_one_inside_the_mask_only(task: str, animals: str) -> None:
    batch = draw("train", range(8), task=task, animals=animals)
    change = np.abs(batch.images.astype(int) - batch.clean.astype(int)).max(-1)
    inside = batch.masks.any(1)
    for differs, mask in zip(change, inside, strict=True):
        assert (differs[mask] > 4).mean() > 0.6
        assert differs[_far_from(mask, 16)].max(initial=0) <= 3  # the last of the shadow


def _far_from(mask: np.ndarray, reach: int) -> np.ndarray:
    """Pixels whose square neighbourhood of the given reach misses the mask."""
    near = np.zeros_like(mask)
    for y, x in np.argwhere(mask):
        near[max(y - reach, 0) : y + reach + 1, max(x - reach, 0) : x + reach + 1] = True
    return ~near


def test_an_animal_wears_its_environments_colours() -> None:
    batch = draw("train", range(64))
    inside = np.stack([i[m].mean(0) for i, m in zip(batch.images, batch.masks[:, 0], strict=True)])
    around = batch.clean.mean((1, 2))
    own = np.abs(inside - around).mean()
    other = np.abs(inside - np.roll(around, 1, 0)).mean()
    assert own < 0.5 * other


@pytest.mark.parametrize("animals", ["two_same", "two_different"])
def test_two_animals_are_apart(animals: str) -> None:
    batch = draw("train", range(40), animals=animals)
    assert not (batch.masks[:, 0] & batch.masks[:, 1]).any()
    assert (batch.masks.sum((2, 3)) > 50).all()
    same = batch.names[:, 0] == batch.names[:, 1]
    assert same.all() if animals == "two_same" else not same.any()
    first, second = boxes(batch.masks[:, 0]), boxes(batch.masks[:, 1])
    low, high = np.maximum(first[:, :2], second[:, :2]), np.minimum(first[:, 2:], second[:, 2:])
    both = (high - low).clip(0).prod(1)
    area = [(box[:, 2:] - box[:, :2]).prod(1) for box in (first, second)]
    overlap = both / (area[0] + area[1] - both)
    assert overlap.mean() < 0.05
    assert np.quantile(overlap, 0.9) < 0.2


@pytest.mark.parametrize("split", ["validation", "test"])
@pytest.mark.parametrize("animals", ["one", "two_same", "two_different"])
def test_the_favourite_never_appears_outside_of_training(split: str, animals: str) -> None:
    batch = draw(split, range(60), animals=animals, size=32)
    best = np.array(FAVOURITE)[batch.environments]
    assert (batch.names != best[:, None]).all()
    assert len(np.unique(batch.environments)) == 8
    assert len(np.unique(batch.names[:, 0])) == 8


def test_the_favourite_is_as_frequent_as_asked() -> None:
    batch = draw("train", range(600), favourite=0.87, size=16)
    share = (batch.names[:, 0] == np.array(FAVOURITE)[batch.environments]).mean()
    assert abs(share - 0.87) < 0.04  # three standard errors
    fair = draw("train", range(600), size=16)
    share = (fair.names[:, 0] == np.array(FAVOURITE)[fair.environments]).mean()
    assert abs(share - 0.125) < 0.04
    counts = np.bincount(fair.names[:, 0], minlength=8)
    assert counts.min() > 50  # 75 expected, standard deviation 8.1
    assert not (fair.names[:, 0] >= len(ANIMALS)).any()


def test_medical_scenes_have_their_own_names_and_environments() -> None:
    for task, name, place in (("polyp", "polyp", "colon"), ("skin", "lesion", "skin")):
        batch = draw("test", range(4), task=task, size=32)
        assert (batch.names[:, 0] == NAMES.index(name)).all()
        assert (batch.environments == ENVIRONMENTS.index(place)).all()


def test_splits_share_no_scene() -> None:
    seen: set[bytes] = set()
    for split in ("train", "validation", "test"):
        for task, animals in CASES:
            batch = draw(split, range(10), task=task, animals=animals, size=32)
            for images in (batch.images, batch.clean):
                digests = {hashlib.sha256(image.tobytes()).digest() for image in images}
                assert len(digests) == 10
                assert not digests & seen
                seen |= digests


def test_boxes_by_hand() -> None:
    masks = np.zeros((2, 2, 6, 8), dtype=bool)
    masks[0, 0, 1:4, 2:7] = True
    masks[1, 0, 5, 0] = True
    masks[1, 1, :, 7] = True
    expected = [[[2, 1, 7, 4], [0, 0, 0, 0]], [[0, 5, 1, 6], [7, 0, 8, 6]]]
    found = boxes(masks)
    assert found.dtype == np.float32
    assert found.tolist() == expected


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ({"split": "dev"}, "validation"),
        ({"task": "birds"}, "polyp"),
        ({"animals": "three"}, "two_same"),
        ({"task": "skin", "animals": "two_different"}, "two_same"),
        ({"split": "test", "favourite": 0.5}, "train"),
        ({"favourite": 1.5}, "0 to 1"),
    ],
)
def test_a_wrong_argument_is_one_sentence_that_names_the_valid_ones(
    wrong: dict[str, object], word: str
) -> None:
    arguments = {"split": "train", **wrong}
    split = str(arguments.pop("split"))
    with pytest.raises(UsageError, match=word) as caught:
        draw(split, [0], **arguments)  # type: ignore[arg-type]
    assert str(caught.value).count("\n") == 0


def test_colour_runs_through_the_palette() -> None:
    lightness = np.array([[0.0, 0.25, 0.5, 1.0]], dtype=np.float32)
    dark, middle, light = PALETTES[1]
    expected = [dark, (dark + middle) / 2, middle, light]
    assert np.allclose(colour(lightness, PALETTES[1])[0], expected, atol=1e-6)


def test_noise_is_normalised_and_its_band_is_where_it_was_asked() -> None:
    field = Noise(np.random.default_rng(0), 64).band(10.0, 1.0)
    assert abs(field.mean()) < 1e-4
    assert abs(field.std() - 1.0) < 1e-3
    power = np.abs(np.fft.rfft2(field)) ** 2
    vertical, horizontal = np.meshgrid(
        np.fft.fftfreq(64) * 64, np.fft.rfftfreq(64) * 64, indexing="ij"
    )
    radius = np.hypot(vertical, horizontal)
    assert abs((power * radius).sum() / power.sum() - 10.0) < 0.3


def test_each_animal_has_its_own_outline_and_pattern() -> None:
    axis = np.linspace(-1.2, 1.2, 48, dtype=np.float32)
    x, y = np.meshgrid(axis, axis)
    outlines, patterns = [], []
    for name in range(len(NAMES)):
        figure = silhouette(name, x, y, np.random.default_rng(0))
        outlines.append(figure.distance < 0)
        patterns.append(skin_pattern(name, x, y))
    assert all(0.05 < outline.mean() < 0.5 for outline in outlines)
    for i in range(len(ANIMALS)):
        for j in range(i):
            union = (outlines[i] | outlines[j]).sum()
            assert (outlines[i] & outlines[j]).sum() / union < 0.9
            assert abs(np.corrcoef(patterns[i].ravel(), patterns[j].ravel())[0, 1]) < 0.8
    assert not patterns[NAMES.index("polyp")].any()
