"""Picture files from anywhere: names that differ, order, what is missing."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from int_bench.config.building import build
from int_bench.data.pictures import Pictures, distinct_names, pictures_in
from int_bench.errors import MissingAsset, SampleError

PATHS = st.lists(
    st.builds(
        "{}/{}.{}".format,
        st.sampled_from(["a", "b", "A", "a_x"]),
        st.sampled_from(["x", "X", "a_x", "x_png", "a_x_png", "y.1"]),
        st.sampled_from(["png", "jpg"]),
    ),
    unique=True,
    max_size=12,
)


@given(PATHS)
def test_every_file_has_a_name_of_its_own_whatever_the_case(paths):
    names = distinct_names([Path(path) for path in paths])
    assert len({name.casefold() for name in names}) == len(paths)


def test_a_name_is_the_stem_where_that_says_enough():
    paths = [Path("/here/pond.jpg"), Path("/here/moss.v2.png")]
    assert distinct_names(paths) == ["pond", "moss.v2"]


def test_a_folder_is_listed_in_natural_order_without_what_is_hidden_or_no_picture(pairs):
    folder = pairs / "images"
    (folder / "a10.png").write_bytes((folder / "a1.png").read_bytes())
    for name in (".a3.png", "notes.txt"):
        (folder / name).write_text("no picture")
    (folder / "below.png").mkdir()
    names = [path.name for path in pictures_in(folder)]
    assert names == ["a0.png", "a1.png", "a2.png", "a3.png", "a4.png", "a5.png", "a10.png"]


def test_there_is_no_ground_truth_and_the_files_decide_the_manifest(pairs):
    files = [str(pairs / "images" / f"a{index}.png") for index in range(2)]
    pictures = Pictures(files)
    assert [sample.id for sample in pictures.samples()] == ["a0", "a1"]
    assert pictures.load_image(pictures.samples()[0]).shape == (24, 32, 3)
    with pytest.raises(SampleError, match="no ground truth"):
        pictures.load_mask(pictures.samples()[0])
    assert pictures.manifest() != Pictures(files[:1]).manifest()


def test_a_picture_that_is_not_there_is_named(tmp_path):
    with pytest.raises(MissingAsset, match=r"gone\.png: there is no such picture"):
        Pictures([str(tmp_path / "gone.png")]).samples()
    with pytest.raises(MissingAsset, match=r"dataset\.files"):
        build({"_target_": "int_bench.data.pictures.Pictures", "files": []}, "dataset").samples()
