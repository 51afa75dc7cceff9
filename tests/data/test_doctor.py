"""The doctor: one seeded fault, one named finding."""

import numpy as np
import pytest
from PIL import Image

from int_bench.data.doctor import check, group, perceptual_hash
from int_bench.data.folders import PairedFolders


def picture(seed, size=(40, 60)):
    """Smooth structure, so that a recompressed copy looks alike and another seed does not."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (7, 9, 3)).astype(np.uint8))
    return np.asarray(coarse.resize(size[::-1], Image.Resampling.BICUBIC))


def truth(size=(40, 60)):
    mask = np.zeros(size, np.uint8)
    mask[10:20, 15:35] = 255
    return mask


@pytest.fixture
def root(tmp_path):
    for number in range(5):
        for folder, array in (("images", picture(number)), ("masks", truth())):
            (tmp_path / folder).mkdir(exist_ok=True)
            Image.fromarray(array).save(tmp_path / folder / f"s{number}.png")
    return tmp_path


def dataset(root, **changes):
    settings = {"name": "set", "images": "images", "masks": "masks", "root": str(root), **changes}
    return PairedFolders(**settings)


def found(root, **changes):
    return {(f.kind, f.subject) for f in check(dataset(root, **changes))}


def test_a_sound_set_has_no_findings(root):
    assert check(dataset(root, expected=5)) == ()


def oriented(array, path, value):
    exif = Image.Exif()
    exif[0x0112] = value
    Image.fromarray(array).save(path, exif=exif)


def mask_of(array, **options):
    return lambda root: Image.fromarray(array).save(root / "masks" / "s1.png", **options)


FAULTS = {
    "missing_mask": (lambda r: (r / "masks/s1.png").unlink(), "s1"),
    "extra_mask": (lambda r: (r / "images/s1.png").unlink(), "s1"),
    "duplicate_stem": (lambda r: Image.fromarray(truth()).save(r / "masks/s1.bmp"), "s1"),
    "junk_file": (lambda r: (r / "masks/Thumbs.db").write_bytes(b"x"), "masks/Thumbs.db"),
    "size_mismatch": (mask_of(truth((41, 60))), "s1"),
    "transposed": (mask_of(truth((60, 40))), "s1"),
    "mask_instances": (mask_of(np.minimum(truth(), 100) + np.roll(truth(), 18, 0)), "s1.png"),
    "mask_in_alpha": (
        mask_of(np.dstack([np.full((40, 60, 3), 255, np.uint8), truth()])),
        "s1.png",
    ),
    "image_alpha": (
        lambda r: Image.fromarray(np.dstack([picture(1), truth()])).save(r / "images/s1.png"),
        "s1.png",
    ),
    "pages": (
        lambda r: Image.fromarray(truth()).save(
            r / "masks/s1.png", "GIF", save_all=True, append_images=[Image.fromarray(~truth())]
        ),
        "s1.png",
    ),
    "exif_mismatch": (lambda r: oriented(picture(1), r / "images/s1.png", 3), "s1"),
    "mask_dim": (mask_of(truth() // 255), "s1.png"),
    "mask_empty": (mask_of(truth() * 0), "s1.png"),
    "mask_full": (mask_of(np.full((40, 60), 255, np.uint8)), "s1.png"),
    "mask_not_binary": (mask_of(np.maximum(truth(), 5)), "s1.png"),
    "mask_colour": (mask_of(np.stack([truth()] * 3, -1)), "s1.png"),
    "mask_deep": (mask_of(truth().astype(np.uint16) * 257), "s1.png"),
    "exact_duplicate": (lambda r: Image.fromarray(picture(0)).save(r / "images/s1.png"), "s1"),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_one_fault_one_finding(root, kind):
    damage, subject = FAULTS[kind]
    damage(root)
    expected = str(root / subject) if kind == "junk_file" else subject
    assert found(root) == {(kind, expected)}


UNREADABLE = {
    "truncated": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
    "pointer": lambda content: b"version https://git-lfs.github.com/spec/v1\n",
    "text": lambda content: b"hello, this is not an image",
}


@pytest.mark.parametrize("fault", UNREADABLE)
@pytest.mark.parametrize("folder", ["images", "masks"])
def test_an_unreadable_file_is_found(root, folder, fault):
    path = root / folder / "s1.png"
    path.write_bytes(UNREADABLE[fault](path.read_bytes()))
    assert found(root) == {("unreadable", "s1.png")}
    assert check(dataset(root))[0].severity == "error"


def test_a_matching_orientation_is_a_note(root):
    oriented(picture(1), root / "images/s1.png", 6)
    oriented(truth(), root / "masks/s1.png", 6)
    assert found(root) == {("exif_orientation", "s1")}


def test_a_recompressed_and_rescaled_copy_is_a_near_duplicate(root):
    copy = Image.fromarray(picture(0)).resize((90, 60), Image.Resampling.BICUBIC)
    copy.save(root / "images" / "s9.jpg", quality=80)
    Image.fromarray(truth((60, 90))).save(root / "masks" / "s9.png")
    assert found(root) == {("near_duplicate", "s9")}
    assert check(dataset(root), near_duplicates=False) == ()


def test_other_pictures_are_far_apart():
    distances = [
        int((perceptual_hash(picture(a)) ^ perceptual_hash(picture(b))).sum())
        for a in range(6)
        for b in range(a)
    ]
    assert min(distances) > 60


def test_count_and_missing_folder(root):
    assert found(root, expected=6) == {("count", "set")}
    assert found(root, masks="nothing") == {("missing_folder", "set")}


def test_masks_that_mark_most_of_every_image_may_be_inverted(root):
    for path in (root / "masks").iterdir():
        Image.fromarray(255 - truth()).save(path)
    assert found(root) == {("maybe_inverted", "set")}


def test_findings_are_grouped_errors_first(root):
    (root / "masks" / "Thumbs.db").write_bytes(b"x")
    for number in (3, 1):
        (root / "masks" / f"s{number}.png").unlink()
    groups = group(check(dataset(root)))
    assert [(one.kind, one.severity) for one in groups] == [
        ("missing_mask", "error"),
        ("junk_file", "note"),
    ]
    assert groups[0].subjects == ("s1", "s3")
    assert "s1.png has no mask" in groups[0].messages[0]
