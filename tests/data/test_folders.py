"""Paired folders: what is paired, what is refused and how it is said."""

import numpy as np
import pytest
from PIL import Image

from int_bench.data.folders import PairedFolders
from int_bench.data.pairing import natural_key, nearest_id, sample_id
from int_bench.errors import MissingAsset, SampleError, UsageError


def write(folder, names, size=(4, 5), level=255):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        levels = np.full(size, level, np.uint8)
        levels[0, 0] = 0
        Image.fromarray(levels).save(folder / name)


@pytest.fixture
def root(tmp_path):
    write(tmp_path / "Imgs", ["b10.jpg", "b2.jpg", "a.PNG"])
    write(tmp_path / "GT", ["b2_segmentation.png", "b10_Segmentation.png", "a.bmp"])
    return tmp_path


def folders(root, **changes):
    settings = {"name": "set", "images": "Imgs", "masks": "GT", "root": str(root), **changes}
    return PairedFolders(**settings)


def ids(data):
    return [sample.id for sample in data.samples()]


def test_pairs_by_stem_in_natural_order(root):
    data = folders(root)
    assert ids(data) == ["a", "b2", "b10"]
    assert [s.mask_path.name for s in data.samples()] == [
        "a.bmp",
        "b2_segmentation.png",
        "b10_Segmentation.png",
    ]
    for sample in data.samples():
        assert data.load_image(sample).shape == (4, 5, 3)
        assert data.load_mask(sample).sum() == 19


@pytest.mark.parametrize(
    "name, stem",
    [
        ("x_segmentation.png", "x"),
        ("x_SEGMENTATION.PNG", "x"),
        ("segmentation.png", "segmentation"),
    ],
)
def test_the_suffix_is_stripped_in_any_case(tmp_path, name, stem):
    assert sample_id(tmp_path / name) == stem


def test_natural_order_mixes_letters_and_numbers():
    names = ["x10", "x9", "10", "9", "x09", "ISIC_2a", "ISIC_10", ""]
    assert sorted(names, key=natural_key) == [
        "",
        "9",
        "10",
        "ISIC_2a",
        "ISIC_10",
        "x09",
        "x9",
        "x10",
    ]


def test_files_that_are_no_images_cannot_shift_a_pair(root):
    for name in ("Thumbs.db", ".DS_Store", "._a.png", "LICENSE.txt", "CANARY_1.md"):
        (root / "GT" / name).write_bytes(b"x")
    (root / "Imgs" / "Edge.png").mkdir()
    data = folders(root)
    assert ids(data) == ["a", "b2", "b10"]
    junk = [f.subject for f in data.findings() if f.kind == "junk_file"]
    assert len(junk) == 5


def test_the_first_layout_that_exists_is_taken(root):
    data = folders(root, images=["TestDataset/X/Imgs", "Imgs"], masks=["TestDataset/X/GT", "GT"])
    assert data.image_folder == root / "Imgs"
    write(root / "TestDataset/X/Imgs", ["q.png"])
    write(root / "TestDataset/X/GT", ["q.png"])
    data = folders(root, images=["TestDataset/X/Imgs", "Imgs"], masks=["TestDataset/X/GT", "GT"])
    assert ids(data) == ["q"]


def test_absolute_folders_need_no_root(root):
    data = PairedFolders("set", images=str(root / "Imgs"), masks=str(root / "GT"))
    assert len(data.samples()) == 3


def test_a_missing_folder_says_where_it_was_looked_for_and_how_to_get_it(root):
    with pytest.raises(
        MissingAsset, match=r"no folder of images: .*/nothing not found; set dataset"
    ):
        folders(root, images="nothing").samples()
    many = folders(root, masks=["M1", "M2"], fetch="get it from example.org")
    with pytest.raises(MissingAsset) as caught:
        many.samples()
    for part in (str(root), "M1, M2 not found", "get it from example.org"):
        assert part in str(caught.value)


def test_an_empty_folder_is_refused(root):
    (root / "none").mkdir()
    (root / "none" / "Thumbs.db").write_bytes(b"")
    with pytest.raises(MissingAsset, match="holds no image"):
        folders(root, images="none").samples()


def test_a_missing_mask_is_named_with_the_file_that_it_may_be(root):
    (root / "GT" / "b10_Segmentation.png").rename(root / "GT" / "B_10.png")
    with pytest.raises(MissingAsset, match=r"b10\.jpg has no mask b10\.\* in .*is it B_10\.png"):
        folders(root).samples()
    kinds = {(f.kind, f.subject) for f in folders(root).findings()}
    assert {("missing_mask", "b10"), ("extra_mask", "B_10")} <= kinds


def test_an_extra_mask_is_refused_unless_the_set_is_known_to_have_them(root):
    write(root / "GT", ["zebra.png"])
    with pytest.raises(MissingAsset, match=r"zebra\.png has no image"):
        folders(root).samples()
    assert ids(folders(root, extra_masks=True)) == ["a", "b2", "b10"]


def test_two_files_of_one_id_are_refused(root):
    write(root / "Imgs", ["a.bmp"])
    with pytest.raises(MissingAsset, match=r"a\.PNG and a\.bmp|a\.bmp and a\.PNG"):
        folders(root).samples()


@pytest.mark.parametrize("expected", [2, 4])
def test_another_number_than_the_published_one_is_refused(root, expected):
    with pytest.raises(MissingAsset, match=f"3 samples in .*, {expected} expected"):
        folders(root, expected=expected).samples()
    assert len(folders(root, expected=3).samples()) == 3
    assert len(folders(root, expected=None).samples()) == 3


def test_include_selects_on_both_sides(root):
    write(root / "Imgs", ["NonCAM-1.jpg"])
    assert ids(folders(root, include="b*")) == ["b2", "b10"]
    with pytest.raises(MissingAsset, match=r"include=z\*"):
        folders(root, include="z*").samples()


def test_a_list_selects_and_what_it_lacks_is_named(root):
    listing = root / "split.txt"
    listing.write_text("# test split\nb2.png\n\na\n")
    assert ids(folders(root, list_file=str(listing))) == ["a", "b2"]
    listing.write_text("b2\nv1.5\n")
    with pytest.raises(MissingAsset, match=r"listed sample v1\.5 has no file"):
        folders(root, list_file=str(listing)).samples()
    listing.write_text("\n")
    with pytest.raises(MissingAsset, match="names no sample"):
        folders(root, list_file=str(listing)).samples()
    with pytest.raises(MissingAsset, match="not found"):
        folders(root, list_file=str(root / "gone.txt")).samples()


def test_images_alone_and_masks_alone(root):
    images = folders(root, masks=None)
    assert ids(images) == ["a", "b2", "b10"]
    with pytest.raises(SampleError, match="no ground truth"):
        images.load_mask(images.samples()[0])
    masks = folders(root, images=None)
    assert masks.load_mask(masks.samples()[0]).any()
    with pytest.raises(SampleError, match="no image"):
        masks.load_image(masks.samples()[0])
    with pytest.raises(UsageError, match="names no folder"):
        folders(root, images=None, masks=None)


def test_one_bad_file_fails_at_its_own_load_only(root):
    (root / "Imgs" / "b2.jpg").write_bytes(b"broken")
    data = folders(root)
    a, b2, _ = data.samples()
    assert data.load_image(a).any()
    with pytest.raises(SampleError, match=r"b2\.jpg"):
        data.load_image(b2)


def test_the_manifest_changes_with_the_set_and_not_with_its_place(root, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    for folder in ("Imgs", "GT"):
        (other / folder).mkdir()
        for path in (root / folder).iterdir():
            (other / folder / path.name).write_bytes(path.read_bytes())
    assert folders(root).manifest() == folders(other).manifest()
    assert folders(root).manifest(contents=True) == folders(other).manifest(contents=True)
    before = folders(other).manifest(), folders(other).manifest(contents=True)
    pixels = np.asarray(Image.open(other / "GT" / "a.bmp")).copy()
    pixels[2, 2] = 7  # a bitmap keeps its length: only a hash of the contents can see this
    Image.fromarray(pixels).save(other / "GT" / "a.bmp")
    assert folders(other).manifest() == before[0]
    assert folders(other).manifest(contents=True) != before[1]
    (other / "GT" / "a.bmp").unlink()
    (other / "Imgs" / "a.PNG").unlink()
    assert folders(other).manifest() != before[0]


def test_nearest_id_finds_misspelt_names_only():
    assert nearest_id("camouflage_012", ["camourflage_012", "zebra"]) == "camourflage_012"
    assert nearest_id("IMG_1", ["img_1"]) == "img_1"
    assert nearest_id("a", ["zebra"]) is None


ENDINGS = (
    "_mask", "_masks", "_Mask", "-mask", "_gt", "_GT", "_seg", "_segmentation", "_lesion", "_label",
    "_labels", "_groundtruth", "_ground_truth", "_gt_mask",
)  # fmt: skip


@pytest.mark.parametrize("ending", ENDINGS)
def test_common_endings_of_masks_pair_by_themselves(tmp_path, ending):
    write(tmp_path / "Imgs", ["a1.jpg", "a2.jpg"])
    write(tmp_path / "GT", [f"a1{ending}.png", f"a2{ending}.png"])
    assert ids(folders(tmp_path)) == ["a1", "a2"]
    masks = folders(tmp_path, images=None)
    assert ids(masks) == ["a1", "a2"]


@pytest.mark.parametrize("pattern", ["*_by_ann", "drawn_*", "s-*-t"])
def test_an_unknown_rule_of_names_is_proposed_and_then_taken(tmp_path, pattern):
    write(tmp_path / "Imgs", ["a1.jpg", "a2.jpg", "a10.jpg"])
    write(tmp_path / "GT", [f"{pattern.replace('*', key)}.png" for key in ("a1", "a2", "a10")])
    with pytest.raises(MissingAsset) as caught:
        folders(tmp_path).samples()
    assert f"set dataset.mask_name='{pattern}'" in str(caught.value)
    assert ids(folders(tmp_path, mask_name=pattern)) == ["a1", "a2", "a10"]


def test_names_without_a_common_rule_are_not_guessed(tmp_path):
    write(tmp_path / "Imgs", ["a1.jpg", "a2.jpg"])
    write(tmp_path / "GT", ["a1_x.png", "a2_y.png"])
    assert {f.kind for f in folders(tmp_path).findings()} == {"missing_mask", "extra_mask"}


@pytest.mark.parametrize("name", ["", "mask", "*_*", "?*", "sub/*"])
def test_a_rule_of_names_that_cannot_work_is_refused(root, name):
    with pytest.raises(UsageError, match=r"dataset\.mask_name is .*one \* for the id"):
        folders(root, mask_name=name)


def test_superpixels_are_left_out_counted_and_said_once(root):
    write(root / "Imgs", ["b2_superpixels.png", "b10_superpixels.png"])
    data = folders(root)
    assert ids(data) == ["a", "b2", "b10"]
    (finding,) = (f for f in data.findings() if f.kind == "left_out")
    assert finding.severity == "note" and finding.message.startswith("2 *_superpixels files")


def test_images_of_other_formats_come_with_those_that_are_read(root):
    (root / "Imgs" / "c.avif").write_bytes(b"x")
    (finding,) = folders(root).findings()
    assert "(accepted: .bmp, .gif, .jpeg" in finding.message and ".webp)" in finding.message


def test_a_picture_above_the_limit_fails_alone(root):
    write(root / "Imgs", ["b2.jpg"], size=(50, 50))
    write(root / "GT", ["b2_segmentation.png"], size=(50, 50))
    data = folders(root, max_pixels=2000)
    a, b2, _ = data.samples()
    assert data.load_image(a).any()
    for load in (data.load_image, data.load_mask):
        with pytest.raises(SampleError, match=r"b2.*50x50 pixels"):
            load(b2)
