"""Bags on disk: run lengths, resuming, damage."""

from array import array

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from int_bench.core.geometry import encode_runs, tight_box
from int_bench.data.instances.bags import (
    BLOCK,
    BagStore,
    ImageBags,
    StoredBag,
    box_of_runs,
    decode_runs,
    read_bags,
)
from int_bench.errors import MissingAsset, UsageError

ABOUT = {"dataset": "d"}


@given(arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=9)))
def test_a_mask_comes_back_from_its_runs(mask):
    runs = encode_runs(mask)
    assert sum(runs) == mask.size
    assert np.array_equal(decode_runs(runs, mask.shape), mask)
    assert box_of_runs(runs, len(mask)) == tight_box(mask)


def test_runs_go_column_by_column_and_begin_with_background():
    mask = np.array([[True, False], [True, True]])
    assert encode_runs(mask) == (0, 2, 1, 1)


@pytest.mark.parametrize("runs", [(3,), (1, 9), ()])
def test_runs_of_another_size_are_refused(runs):
    with pytest.raises(ValueError, match="reshape"):
        decode_runs(runs, (2, 2))


def _image(number: int) -> ImageBags:
    mask = np.zeros((4, 6), dtype=bool)
    mask[1 : 2 + number % 3, 2:] = True
    runs = array("I", encode_runs(mask))
    bag = StoredBag("a", "frog", (2.5, 1.5), (2.0, 1.0, 6.0, 3.0), (runs,), (0.25,))
    return ImageBags(f"image{number}", (4, 6), (bag,))


def test_what_is_added_is_read(tmp_path):
    images = [_image(n) for n in range(BLOCK)]
    store = BagStore(tmp_path / "bags", ABOUT)
    store.add(images)
    store.add([ImageBags("torn", (1, 1), (), "it is torn")])
    assert list(read_bags(tmp_path / "bags")) == [*images, *list(store)[BLOCK:]]
    assert list(store)[-1].problem == "it is torn"
    assert np.count_nonzero(images[0].bags[0].masks((4, 6))[0]) == 4


@given(cut=st.integers(0, 10_000))
def test_cut_anywhere_it_goes_on_with_whole_blocks_to_the_same_bytes(tmp_path_factory, cut):
    folder = tmp_path_factory.mktemp("bags")
    images = [_image(n) for n in range(3 * BLOCK - 2)]

    def fill(store: BagStore) -> bytes:
        for start in range(store.count, len(images), BLOCK):
            store.add(images[start : start + BLOCK])
        return (folder / "bags.jsonl").read_bytes()

    whole = fill(BagStore(folder, ABOUT))
    with (folder / "bags.jsonl").open("r+b") as file:
        file.truncate(cut % len(whole))
    again = BagStore(folder, ABOUT)
    assert again.count < len(images)
    assert fill(again) == whole


def test_bags_of_something_else_are_refused(tmp_path):
    BagStore(tmp_path, ABOUT)
    with pytest.raises(UsageError, match="holds bags of another data set"):
        BagStore(tmp_path, {"dataset": "e"})


def test_no_bags_and_damaged_bags_are_sentences(tmp_path):
    with pytest.raises(MissingAsset, match=r"no bags in .*int-bench propose"):
        list(read_bags(tmp_path))
    BagStore(tmp_path, ABOUT).add([_image(0)])
    whole = (tmp_path / "bags.jsonl").read_bytes()
    for damaged in (b'{"sample": 1}\n', whole.replace(b'"size":[4,6]', b'"size":[4,7]')):
        (tmp_path / "bags.jsonl").write_bytes(whole + damaged)
        with pytest.raises(MissingAsset, match="line 2 is damaged"):
            list(read_bags(tmp_path))
