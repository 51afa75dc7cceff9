"""Patches and frames, by hand and by property."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from int_bench.core import geometry as geo

SIZES = st.tuples(st.integers(2, 90), st.integers(2, 90))


@given(SIZES)
def test_nine_patches_cover_each_pixel_four_times(size: tuple[int, int]) -> None:
    cover = np.zeros(size, dtype=int)
    patches = geo.Grid().cut(size)
    for patch in patches:
        cover[patch.y0 : patch.y1, patch.x0 : patch.x1] += 1
    assert len(patches) == 9
    assert (cover == 4).all()


def test_patches_of_an_odd_image_by_hand() -> None:
    patches = {p.name: p.box_image for p in geo.Grid().cut((5, 7))}
    assert patches["original"] == (0, 0, 7, 5)
    assert patches["left"] == (0, 0, 3, 5)
    assert patches["bottom_right"] == (3, 2, 7, 5)


def test_sets_and_overlap_and_strips() -> None:
    assert [p.name for p in geo.Grid(["original"]).cut((4, 4))] == ["original"]
    assert len(geo.Grid(["original", "halves"]).cut((4, 4))) == 5
    grown = {p.name: p.box_image for p in geo.Grid(overlap=0.5).cut((8, 8))}
    assert grown["left"] == (0, 0, 6, 8)
    strips = geo.Grid(["quarters"], quarters="longest_side").cut((4, 20))
    assert [p.box_image for p in strips] == [
        (0, 0, 5, 4),
        (5, 0, 10, 4),
        (10, 0, 15, 4),
        (15, 0, 20, 4),
    ]


def test_a_one_pixel_image_has_no_empty_patch() -> None:
    assert all(min(p.size) >= 1 for p in geo.Grid().cut((1, 1)))


@given(
    SIZES,
    st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1)),
    st.sampled_from(geo.PREPROCESSINGS),
)
def test_square_boxes_map_into_the_patch(
    size: tuple[int, int], box: tuple[float, float, float, float], preprocess: str
) -> None:
    x0, y0, x1, y1 = geo.box_patch_from_square(box, size, preprocess)
    assert min(x0, x1) >= 0 and max(x0, x1) <= size[1]
    assert min(y0, y1) >= 0 and max(y0, y1) <= size[0]


def test_the_three_preprocessings_by_hand() -> None:
    """A 4:3 image, 80 wide and 60 high, and the box of its right half."""
    assert geo.box_patch_from_square((0.5, 0.125, 1.0, 0.875), (60, 80), "pad") == (40, 0, 80, 60)
    assert geo.box_patch_from_square((0.5, 0.0, 1.0, 1.0), (60, 80), "squash") == (40, 0, 80, 60)
    assert geo.box_patch_from_square((0.5, 0.0, 1.0, 1.0), (60, 80), "center_crop") == (
        40,
        0,
        70,
        60,
    )


def test_frames_round_trip_and_disjoint_is_none() -> None:
    patch = geo.Patch("right", 10, 0, 20, 8)
    assert geo.box_image_from_patch((1, 2, 5, 6), patch) == (11, 2, 15, 6)
    assert geo.box_patch_from_image((11, 2, 15, 6), patch) == (1, 2, 5, 6)
    assert geo.box_patch_from_image((0, 0, 9, 8), patch) is None
    assert geo.box_patch_from_image((5, 0, 15, 20), patch) == (0, 0, 5, 8)


@pytest.mark.parametrize("radius", [0.5, 1.0, 2**0.5, 2.0, 5**0.5, 7.2, 23.04, 50.0])
def test_dilation_is_that_of_exact_distances(radius: float) -> None:
    draw = np.random.default_rng(int(radius * 100))
    for share in (0.001, 0.05, 0.9):
        mask = draw.random((61, 83)) < share
        mask[30, 40] = True
        exact = ndimage.distance_transform_edt(~mask) <= radius
        assert np.array_equal(geo.dilate(mask, radius), exact)


def test_bounds_hold_all_of_a_mask() -> None:
    mask = np.zeros((6, 8), dtype=np.bool_)
    mask[2, 3] = mask[4, 5] = True
    assert geo.bounds(mask) == (slice(2, 5), slice(3, 6))


def test_fill_and_dilate() -> None:
    assert geo.fill_box((0.5, 0, 2.0, 1.0), (2, 3)).tolist() == [[True, True, False], [False] * 3]
    dot = np.zeros((5, 5), dtype=np.bool_)
    dot[2, 2] = True
    assert geo.dilate(dot, 1).sum() == 5
    assert geo.dilate(dot, 0) is dot


@pytest.mark.parametrize("frame", ["pad", "center_crop", "squash"])
def test_a_box_of_the_square_undoes_the_mapping_to_the_patch(frame: str) -> None:
    box = (0.25, 0.5, 0.5, 0.625)
    for size in ((40, 60), (60, 40), (50, 50)):
        mapped = geo.box_patch_from_square(box, size, frame)
        inside = min(mapped[:2]) > 0 and mapped[3] < size[0] and mapped[2] < size[1]
        if inside:
            assert geo.box_square_from_patch(mapped, size, frame) == pytest.approx(box)


def test_heat_enlarges_about_cell_centres() -> None:
    heat = np.array([[0.0, 1.0]], dtype=np.float32)
    assert geo.enlarge(heat, (1, 4))[0].tolist() == [0.0, 0.25, 0.75, 1.0]


def test_specks_of_the_annotation_get_no_box() -> None:
    truth = np.zeros((40, 60), dtype=bool)
    truth[8:20, 12:24] = True
    truth[0, 0:7] = True  # 7 of 144 pixels: 4.9 %
    assert geo.component_boxes(truth, 0.05) == ((12, 8, 24, 20),)
    truth[1, 0] = True
    assert len(geo.component_boxes(truth, 0.05)) == 2


def test_diagonal_neighbours_are_one_object() -> None:
    assert geo.component_boxes(np.eye(4, dtype=bool)) == ((0, 0, 4, 4),)


@given(
    st.integers(1, 12), st.integers(1, 12), st.integers(1, 40), st.integers(1, 40), st.integers()
)
def test_heat_enlarges_bit_for_bit_as_scipys_spline_of_order_one(
    rows: int, columns: int, height: int, width: int, seed: int
) -> None:
    heat = np.random.default_rng(seed % 2**32).normal(size=(rows, columns)).astype(np.float32)
    axes = [
        (np.arange(full) + 0.5) * cells / full - 0.5
        for full, cells in ((height, rows), (width, columns))
    ]
    grid = np.meshgrid(*axes, indexing="ij")
    expected = ndimage.map_coordinates(heat, grid, order=1, mode="nearest")
    enlarged = geo.enlarge(heat, (height, width))
    assert enlarged.dtype == np.float32
    assert enlarged.tobytes() == (heat if heat.shape == (height, width) else expected).tobytes()


@given(st.integers(1, 30), st.integers(1, 30), st.floats(0.05, 0.95), st.integers())
def test_objects_are_those_of_scipy_largest_first_then_by_their_first_pixel(
    height: int, width: int, share: float, seed: int
) -> None:
    mask = np.random.default_rng(seed % 2**32).random((height, width)) < share
    labels, count = ndimage.label(mask, structure=np.ones((3, 3), dtype=np.int64))
    sizes = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    spans = [ndimage.find_objects(labels)[i] for i in np.argsort(-sizes, kind="stable")]
    assert geo.component_boxes(mask) == tuple((x.start, y.start, x.stop, y.stop) for y, x in spans)


def test_run_lengths_are_those_of_cocos_library() -> None:
    library = pytest.importorskip("faster_coco_eval").mask
    rng = np.random.default_rng(0)
    for share in (0, 0.02, 0.5, 0.98, 1):
        for _ in range(20):
            mask = rng.random(rng.integers(1, 70, 2)) < share
            written = library.encode(np.asfortranarray(mask.view(np.uint8)))["counts"]
            assert geo.run_lengths(mask) == (
                written if isinstance(written, str) else written.decode()
            )
