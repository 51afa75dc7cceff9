"""Decoding: every encoding of a mask that occurs ends in the same array, every fault has a name."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from int_bench.data.images import fault_of, read_header, read_image, read_map, read_mask
from int_bench.errors import SampleError

MASK = np.zeros((6, 9), bool)
MASK[1:4, 2:8] = True
LEVELS = np.where(MASK, 255, 0).astype(np.uint8)


def noisy_jpeg(path):
    big = np.kron(LEVELS, np.ones((13, 13), np.uint8))
    Image.fromarray(np.stack([big] * 3, -1)).save(path, quality=85)
    return np.kron(MASK, np.ones((13, 13), bool)).astype(bool)


ENCODINGS = {
    "grey.png": lambda p: Image.fromarray(LEVELS).save(p),
    "rgb.png": lambda p: Image.fromarray(np.stack([LEVELS] * 3, -1)).save(p),
    "alpha.png": lambda p: Image.fromarray(
        np.stack([LEVELS, LEVELS, LEVELS, np.full_like(LEVELS, 7)], -1)
    ).save(p),
    "one_bit.bmp": lambda p: Image.fromarray(LEVELS).convert("1").save(p),
    "one_bit.png": lambda p: Image.fromarray(LEVELS).convert("1").save(p),
    "palette.png": lambda p: Image.fromarray(LEVELS).convert("P").save(p),
    "sixteen.png": lambda p: Image.fromarray(LEVELS.astype(np.uint16) * 257).save(p),
    "sixteen.tif": lambda p: Image.fromarray(LEVELS.astype(np.uint16) * 257).save(p),
    "float.tif": lambda p: Image.fromarray(MASK.astype(np.float32)).save(p),
    "UPPER.PNG": lambda p: Image.fromarray(LEVELS).save(p),
}


@pytest.mark.parametrize("name", ENCODINGS)
def test_every_encoding_gives_the_same_mask(tmp_path, name):
    ENCODINGS[name](tmp_path / name)
    mask = read_mask(tmp_path / name)
    assert mask.dtype == bool
    assert np.array_equal(mask, MASK)
    prediction = read_map(tmp_path / name)
    assert np.array_equal(
        np.asarray(prediction, float) / (255 if prediction.dtype == np.uint8 else 1), MASK
    )


def test_a_noisy_jpeg_mask_is_cut_at_128(tmp_path):
    truth = noisy_jpeg(tmp_path / "a.jpg")
    levels = np.asarray(Image.open(tmp_path / "a.jpg").convert("L"))
    assert np.unique(levels).size > 2  # it really is noisy
    assert np.array_equal(read_mask(tmp_path / "a.jpg"), truth)
    assert (read_mask(tmp_path / "a.jpg", threshold=0) != truth).any()


def test_the_threshold_is_strict(tmp_path):
    Image.fromarray(np.array([[127, 128, 129, 255]], np.uint8)).save(tmp_path / "a.png")
    assert read_mask(tmp_path / "a.png").tolist() == [[False, False, True, True]]


@pytest.mark.parametrize("level", [1, 38, 128])
def test_a_mask_that_the_threshold_would_empty_is_refused_by_name(tmp_path, level):
    Image.fromarray((MASK * level).astype(np.uint8)).save(tmp_path / "dim.png")
    with pytest.raises(SampleError, match=rf"dim\.png.*brightest level is {level}.*gt_threshold=0"):
        read_mask(tmp_path / "dim.png")
    assert np.array_equal(read_mask(tmp_path / "dim.png", threshold=0), MASK)


def test_an_empty_mask_with_jpeg_noise_is_empty(tmp_path):
    noise = np.random.default_rng(0).integers(0, 8, (20, 20)).astype(np.uint8)
    Image.fromarray(noise).save(tmp_path / "empty.png")
    assert not read_mask(tmp_path / "empty.png").any()


def with_orientation(array, path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(array).save(path, exif=exif)


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_exif_orientation_is_applied_to_image_and_mask(tmp_path, orientation):
    turned = {3: lambda a: a[::-1, ::-1], 6: lambda a: np.rot90(a, -1), 8: lambda a: np.rot90(a, 1)}
    rgb = np.stack([LEVELS] * 3, -1)
    with_orientation(rgb, tmp_path / "i.png", orientation)
    with_orientation(LEVELS, tmp_path / "m.png", orientation)
    image = read_image(tmp_path / "i.png", tmp_path / "m.png")
    assert np.array_equal(image[..., 0] > 128, turned[orientation](MASK))
    assert np.array_equal(read_mask(tmp_path / "m.png"), turned[orientation](MASK))


TURNS = [
    lambda a: a,
    lambda a: a[:, ::-1],
    lambda a: a[::-1, ::-1],
    lambda a: a[::-1],
    lambda a: a.T,
    lambda a: np.rot90(a, -1),
    lambda a: a[::-1, ::-1].T,
    lambda a: np.rot90(a, 1),
]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "jpg", "tif"])
def test_every_orientation_of_every_format_is_undone(tmp_path, suffix, orientation):
    path, plain = tmp_path / f"m.{suffix}", tmp_path / f"plain.{suffix}"
    corner = np.kron(np.eye(6, 9), np.full((8, 8), 255)).astype(np.uint8)
    corner[:8] = 255
    with_orientation(corner, path, orientation)
    Image.fromarray(corner).save(plain)
    shown = TURNS[orientation - 1](read_map(plain))
    assert np.array_equal(read_map(path), shown)
    assert np.array_equal(read_image(path)[..., 0], shown)
    assert read_header(path).displayed_size == shown.shape


@pytest.mark.parametrize("read", [read_image, read_mask, read_map])
def test_a_file_is_opened_once(tmp_path, monkeypatch, read):
    Image.fromarray(LEVELS).save(tmp_path / "a.png")
    opened, plain = [], Path.open

    def counting(path, *words, **options):
        opened.append(path.name)
        return plain(path, *words, **options)

    monkeypatch.setattr(Path, "open", counting)
    read(tmp_path / "a.png")
    assert opened == ["a.png"]


def test_a_mask_drawn_on_the_stored_pixels_keeps_the_image_unturned(tmp_path):
    with_orientation(np.stack([LEVELS] * 3, -1), tmp_path / "i.png", 6)
    Image.fromarray(LEVELS).save(tmp_path / "stored.png")
    Image.fromarray(np.rot90(LEVELS, -1)).save(tmp_path / "shown.png")
    assert read_image(tmp_path / "i.png", tmp_path / "stored.png").shape == (6, 9, 3)
    assert read_image(tmp_path / "i.png", tmp_path / "shown.png").shape == (9, 6, 3)
    assert read_image(tmp_path / "i.png").shape == (9, 6, 3)
    assert read_header(tmp_path / "i.png").displayed_size == (9, 6)


def test_grey_palette_and_deep_images_become_rgb(tmp_path):
    Image.fromarray(LEVELS).save(tmp_path / "grey.png")
    Image.fromarray(LEVELS).convert("P").save(tmp_path / "palette.png")
    Image.fromarray(LEVELS.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    for name in ("grey", "palette", "deep"):
        image = read_image(tmp_path / f"{name}.png")
        assert image.dtype == np.uint8
        assert np.array_equal(image, np.stack([LEVELS] * 3, -1)), name


def png_bytes():
    out = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (50, 60)).astype(np.uint8)
    Image.fromarray(noise).save(out, "PNG", pnginfo=PngImagePlugin.PngInfo())
    return out.getvalue()


FAULTS = {
    "truncated": (png_bytes()[:1500], "is damaged"),
    "empty": (b"", "is empty"),
    "text": (b"not an image at all", "not an image"),
    "pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS pointer"),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("read", [read_image, read_mask, read_map])
def test_an_unreadable_file_is_named_with_its_fault(tmp_path, read, fault):
    content, words = FAULTS[fault]
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(SampleError, match=words) as caught:
        read(tmp_path / "a.png")
    assert "a.png" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    assert fault_of(tmp_path / "gone.png") == "is missing"
    with pytest.raises(SampleError, match=r"gone\.png is missing"):
        read_image(tmp_path / "gone.png")


@pytest.mark.parametrize("read", [read_image, read_mask, read_map, read_header])
def test_a_folder_in_the_place_of_a_file_is_no_file(tmp_path, read):
    (tmp_path / "a.png").mkdir()
    with pytest.raises(SampleError, match=r"a\.png is missing"):
        read(tmp_path / "a.png")


def test_truncated_jpeg(tmp_path):
    rgb = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    Image.fromarray(rgb).save(tmp_path / "a.jpg")
    content = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(content[: len(content) // 2])
    with pytest.raises(SampleError, match="damaged"):
        read_image(tmp_path / "a.jpg")


def test_a_sixteen_bit_file_of_no_known_set_has_the_bits_that_it_uses(tmp_path):
    Image.fromarray(LEVELS.astype(np.uint16)).save(tmp_path / "a.png")
    assert np.array_equal(read_mask(tmp_path / "a.png"), MASK)
    assert np.array_equal(read_map(tmp_path / "a.png"), MASK.astype(float))


def test_maps_keep_levels_and_zero_one_files_are_hard_masks(tmp_path):
    soft = np.arange(54, dtype=np.uint8).reshape(6, 9)
    Image.fromarray(soft).save(tmp_path / "soft.png")
    Image.fromarray(MASK.astype(np.uint8)).save(tmp_path / "coded.png")
    Image.fromarray(np.ones((4, 4), np.uint8)).save(tmp_path / "full.png")
    assert np.array_equal(read_map(tmp_path / "soft.png"), soft)
    assert read_map(tmp_path / "coded.png").dtype == bool
    assert np.array_equal(read_map(tmp_path / "coded.png"), MASK)
    assert read_map(tmp_path / "full.png").all()


def test_arrays_as_maps(tmp_path):
    arrays = {
        "b": MASK,
        "u": LEVELS,
        "f": MASK.astype(np.float32)[None],
        "i": MASK.astype(np.int64),
    }
    for name, array in arrays.items():
        np.save(tmp_path / f"{name}.npy", array)
        found = np.asarray(read_map(tmp_path / f"{name}.npy"), float)
        assert np.array_equal(found / found.max(), MASK), name


BAD_ARRAYS = {
    "three": (np.zeros((2, 4, 5)), "shape"),
    "nan": (np.full((4, 5), np.nan), "NaN"),
    "range": (np.full((4, 5), 3.5), "0..1"),
    "levels": (np.full((4, 5), 300), "0..255"),
    "complex": (np.zeros((4, 5), complex), "type"),
    "pickled": (np.array([{"a": 1}], dtype=object), "plain"),
}


@pytest.mark.parametrize("name", BAD_ARRAYS)
def test_a_bad_array_is_refused(tmp_path, name):
    array, words = BAD_ARRAYS[name]
    np.save(tmp_path / "bad.npy", array, allow_pickle=True)
    with pytest.raises(SampleError, match=words):
        read_map(tmp_path / "bad.npy")
