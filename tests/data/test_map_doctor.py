"""The doctor for predictions: one seeded fault, one named finding."""

import numpy as np
import pytest
from PIL import Image

from int_bench.data.folders import PairedFolders
from int_bench.data.map_doctor import check_maps

MASK = np.zeros((12, 18), np.uint8)
MASK[3:8, 4:12] = 255


@pytest.fixture
def root(tmp_path):
    for folder in ("gt", "pred"):
        (tmp_path / folder).mkdir()
        for name in ("frame_01", "frame_02", "other"):
            Image.fromarray(MASK).save(tmp_path / folder / f"{name}.png")
    return tmp_path


def findings(root):
    return check_maps(PairedFolders("set", None, str(root / "gt")), root / "pred")


def saved(array, **options):
    return lambda root: Image.fromarray(array).save(root / "pred" / "other.png", **options)


def array(values):
    def replace(root):
        (root / "pred" / "other.png").unlink()
        np.save(root / "pred" / "other.npy", values)

    return replace


FAULTS = {
    "missing_map": (lambda r: (r / "pred/other.png").unlink(), "other"),
    "extra_map": (lambda r: Image.fromarray(MASK).save(r / "pred/zebra.png"), "zebra"),
    "duplicate_stem": (lambda r: np.save(r / "pred/other.npy", MASK), "other"),
    "size_mismatch": (saved(MASK[::2, ::2]), "other.png"),
    "transposed": (saved(MASK.T), "other.png"),
    "mask_in_alpha": (
        saved(np.dstack([np.full((12, 18, 3), 255, np.uint8), MASK])),
        "other.png",
    ),
    "zero_one": (saved(MASK // 255), "other.png"),
    "constant": (saved(MASK * 0), "other.png"),
    "part_range": (saved(MASK // 2), "other.png"),
    "colour": (saved(np.stack([MASK] * 3, -1)), "other.png"),
    "deep": (saved(MASK.astype(np.uint16) * 257), "other.png"),
    "unreadable": (lambda r: (r / "pred/other.png").write_bytes(b"\x89PNG\r\n"), "other.png"),
}


def test_a_sound_folder_has_no_findings(root):
    assert findings(root) == ()
    array(MASK > 0)(root)
    assert findings(root) == ()


@pytest.mark.parametrize("kind", FAULTS)
def test_one_fault_one_finding(root, kind):
    damage, subject = FAULTS[kind]
    damage(root)
    assert [(f.kind, f.subject) for f in findings(root)] == [(kind, subject)]


def test_a_misnamed_map_is_missing_and_extra_with_a_hint(root):
    (root / "pred" / "frame_01.png").rename(root / "pred" / "frame-01.png")
    missing, extra = findings(root)
    assert (missing.kind, extra.kind) == ("missing_map", "extra_map")
    assert "is it frame-01.png?" in missing.message


def test_arrays_out_of_range_are_unreadable(root):
    array(MASK * 3.0)(root)
    assert [f.kind for f in findings(root)] == ["unreadable"]


def test_a_missing_folder_is_a_finding(root):
    found = check_maps(PairedFolders("set", None, str(root / "gt")), root / "nowhere")
    assert [f.kind for f in found] == ["missing_folder"]
