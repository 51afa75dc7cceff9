"""The six published sets: every layout of their releases is found, and what is lacking is said."""

import os
from pathlib import Path

import pytest
import yaml

import int_bench
from int_bench.data.folders import PairedFolders
from int_bench.errors import MissingAsset
from tests.data.test_folders import folders, ids, write

CONF = Path(int_bench.__file__).parent / "conf" / "dataset"
SIX = {
    "cod10k": ("COD10K-CAM-1-Aquatic-7-Flounder-{}.jpg", "COD10K-CAM-1-Aquatic-7-Flounder-{}.png"),
    "camo": ("camourflage_{}.jpg", "camourflage_{}.png"),
    "chameleon": ("animal-{}.jpg", "animal-{}.png"),
    "kvasir": ("cju{}a.jpg", "cju{}a.jpg"),
    "colondb": ("{}.png", "{}.png"),
    "isic": ("ISIC_{}.jpg", "ISIC_{}_segmentation.png"),
}
COUNTS = {
    "cod10k": 2026,
    "camo": 250,
    "chameleon": 76,
    "kvasir": 1000,
    "colondb": 380,
    "isic": 1000,
}


def settings_of(name, root):
    node = yaml.safe_load((CONF / f"{name}.yaml").read_text())
    assert node.pop("_target_") == "int_bench.data.folders.PairedFolders"
    return {**node, "root": str(root)}


def layouts():
    for name in SIX:
        node = settings_of(name, ".")
        for images in node["images"]:
            masks = [m for m in node["masks"] if Path(m).parts[0] == Path(images).parts[0]]
            yield name, images, (masks or node["masks"])[0]


@pytest.mark.parametrize("name, images, masks", list(layouts()))
def test_every_layout_of_the_six_sets_is_found(tmp_path, name, images, masks):
    image_name, mask_name = SIX[name]
    write(tmp_path / images, [image_name.format(i) for i in (10, 9)])
    write(tmp_path / masks, [mask_name.format(i) for i in (9, 10)])
    (tmp_path / images / "Thumbs.db").write_bytes(b"")
    data = PairedFolders(**{**settings_of(name, tmp_path), "expected": None})
    assert ids(data) == [Path(image_name.format(i)).stem for i in (9, 10)]
    assert data.load_mask(data.samples()[0]).any()


@pytest.mark.parametrize("name", SIX)
def test_the_six_sets_expect_the_published_number_and_say_how_to_get_them(tmp_path, name):
    settings = settings_of(name, tmp_path)
    assert settings["expected"] == COUNTS[name]
    assert settings["licence"] and settings["source"]
    with pytest.raises(MissingAsset) as caught:
        PairedFolders(**settings).samples()
    assert str(tmp_path) in str(caught.value)
    assert "set data_root" in str(caught.value)


def test_the_full_release_of_cod10k_is_cut_to_camouflaged_images(tmp_path):
    names = ["COD10K-CAM-1-Aquatic-7-Flounder-1", "COD10K-NonCAM-5-Other-69-Other-2"]
    write(tmp_path / "COD10K-v3/Test/Image", [f"{name}.jpg" for name in names])
    write(tmp_path / "COD10K-v3/Test/GT_Object", [f"{name}.png" for name in names])
    data = PairedFolders(**{**settings_of("cod10k", tmp_path), "expected": 1})
    assert ids(data) == names[:1]


def test_the_release_of_camo_keeps_the_masks_of_both_splits_together(tmp_path):
    write(tmp_path / "CAMO-V.1.0-CVIU2019/Images/Test", ["camourflage_00012.jpg"])
    masks = ["camourflage_00012.png", "camourflage_00001.png"]
    write(tmp_path / "CAMO-V.1.0-CVIU2019/GT", masks)
    data = PairedFolders(**{**settings_of("camo", tmp_path), "expected": 1})
    assert ids(data) == ["camourflage_00012"]


REAL = Path(os.environ.get("INT_BENCH_REAL", Path(__file__).parents[3] / "shared" / "real"))


@pytest.mark.skipif(not REAL.is_dir(), reason="INT_BENCH_REAL names no real pairs")
@pytest.mark.parametrize(
    "name, count", [("camo", 4), ("kvasir", 10), ("cvc-colondb", 19), ("isic2017", 8)]
)
def test_real_pairs(name, count):
    data = folders(REAL / name, images="images", masks="masks", expected=count)
    for sample in data.samples():
        mask = data.load_mask(sample)
        assert 0.003 < mask.mean() < 0.96
        if name != "isic2017":  # large: seconds to decode
            assert data.load_image(sample).shape == (*mask.shape, 3)
