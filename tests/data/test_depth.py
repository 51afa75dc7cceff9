"""White of files of more than 8 bits: decided over the set, said once, never clipped silently."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import tifffile

from int_bench.data.depth import Depth, depth_of, depth_of_spans
from int_bench.data.folders import PairedFolders
from int_bench.data.images import read_map
from int_bench.data.remarks import heard
from int_bench.errors import SampleError
from int_bench.scoring.predictions import maps_in


@pytest.mark.parametrize(
    ("highest", "white"),
    [(1, 255), (255, 255), (256, 1023), (1000, 1023), (1024, 4095), (4096, 65535), (65535, 65535)],
)
def test_integers_have_the_fewest_bits_that_hold_the_highest_level(highest, white):
    depth = depth_of_spans([(True, 0.0, 1.0), (True, 0.0, float(highest))], "maps")
    assert depth.integer == white
    assert f"highest level {highest}, read as {white.bit_length()} bits" in depth.text


FLOATS = [
    ([1.0, 0.4], 1.0),
    ([1.0000001, 0.4], 1.0),
    ([255.0, 200.0, 31.0], 255.0),
    ([255.0] * 9 + [0.5], 255.0),  # one map that is almost empty
    ([255.0, 0.5], 1.0),  # a mixture: the first is refused
    ([1.7, 0.4], 1.0),
    ([6.3, 5.0], 1.0),  # scores that no sigmoid was applied to
    ([300.0, 299.0], 1.0),
]


@pytest.mark.parametrize(("highest", "white"), FLOATS)
def test_floats_are_0_to_255_only_if_the_whole_set_says_so(highest, white):
    assert depth_of_spans([(False, 0.0, top) for top in highest], "maps").real == white


def folder_of(tmp_path, arrays):
    for name, array in arrays.items():
        save = np.save if name.endswith(".npy") else tifffile.imwrite
        save(tmp_path / name, array)
    return tmp_path


def test_a_dim_map_is_measured_by_its_set(tmp_path):
    dim = np.array([[0, 100], [200, 250]], np.uint16)
    folder_of(tmp_path, {"dim.tif": dim, "full.tif": np.array([[0, 4000]], np.uint16)})
    depth = depth_of(sorted(tmp_path.iterdir()))
    assert np.allclose(read_map(tmp_path / "dim.tif", depth), dim / 4095)
    assert np.allclose(read_map(tmp_path / "dim.tif"), dim / 255)  # of no known set


def test_floats_outside_are_refused_with_what_was_found(tmp_path):
    folder_of(tmp_path, {"a.tif": np.array([[0.0, 0.9]]), "b.npy": np.array([[0.25, 1.5]])})
    depth = depth_of(sorted(tmp_path.iterdir()))
    with pytest.raises(SampleError, match=r"b\.npy is float with values 0\.25\.\.1\.5 in a set of"):
        read_map(tmp_path / "b.npy", depth)
    assert read_map(tmp_path / "a.tif", depth).max() == pytest.approx(0.9)


@pytest.mark.parametrize("over, accepted", [(1e-7, True), (9e-7, True), (1e-4, False)])
def test_rounding_above_one_is_one(tmp_path, over, accepted):
    np.save(tmp_path / "a.npy", np.array([[-over, 0.5, 1 + over]]))
    if accepted:
        assert read_map(tmp_path / "a.npy").tolist() == [[0.0, 0.5, 1.0]]
    else:
        with pytest.raises(SampleError, match=r"a\.npy is float with values -0\.0001\.\.1\.0001"):
            read_map(tmp_path / "a.npy")


@pytest.mark.parametrize(
    ("shape", "read"),
    [
        ((1, 7), (1, 7)),
        ((7, 1), (7, 1)),
        ((1, 5, 7), (5, 7)),
        ((5, 7, 1), (5, 7)),
        ((1, 1, 7), (1, 7)),
    ],
)
def test_arrays_keep_two_axes(tmp_path, shape, read):
    np.save(tmp_path / "a.npy", np.full(shape, 0.5))
    assert read_map(tmp_path / "a.npy").shape == read


def test_it_is_said_once_and_travels(tmp_path):
    levels = np.array([[0, 1023], [1023, 0]], np.uint16)
    for part in ("gt", "pred"):
        (tmp_path / part).mkdir()
        folder_of(tmp_path / part, {"a.tif": levels, "b.tif": levels})
    truths = PairedFolders("set", None, str(tmp_path / "gt"))
    with heard() as remarks:
        for sample in truths.samples():
            assert truths.load_mask(sample).sum() == 2
    (said,) = remarks
    assert said.text.endswith("gt: 2 files of 16 bits, highest level 1023, read as 10 bits")
    for original in (truths, maps_in(tmp_path / "pred")):
        copy = pickle.loads(pickle.dumps(original))
        decided = "mask_depth" if original is truths else "depth"
        assert vars(copy)[decided].integer == 1023  # not looked at again in every process


@pytest.mark.parametrize(("kind", "top"), [("u2", 1023), ("u2", 65535), ("i4", 4095), ("f4", 1.0)])
def test_whole_levels_row_by_row_are_those_of_all_at_once(kind, top):
    values = (np.random.default_rng(7).random((150, 9, 3)) * top).astype(kind)
    values[0, 0, 0] = top
    at_once = np.rint(Depth().scaled(values, Path("a.tif"))).astype(np.uint8)
    assert np.array_equal(Depth().rounded(values, Path("a.tif")), at_once)
    assert at_once.max() == 255
