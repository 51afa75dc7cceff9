"""``int-bench train method=sapnet`` as it is typed: its selector is trained first."""

import pytest

from int_bench.cli.app import exit_code
from int_bench.errors import Exit, MissingAsset
from int_bench.runs.training.parts import trained_ablations
from int_bench.runs.training.request import selector_first

WORLD = ["dataset=camoworld_crowd", "dataset.count=2"]


@pytest.mark.parametrize(
    ("words", "first", "own"),
    [
        (["method=sapnet", *WORLD, "train.steps=9", "train.mps=false", "train.psm.pdg=off"],
         ["method=sapnet_select", *WORLD, "train.steps=9", "train.psm.pdg=off"],
         ["method=sapnet", *WORLD, "train.steps=9", "train.mps=false"]),
        (["method=sapnet_r50", *WORLD, "train.labels=mil_single", "train.bags=b"],
         ["method=mil_single", *WORLD, "train.bags=b"],
         ["method=sapnet_r50", *WORLD, "train.labels=mil_single", "train.bags=b"]),
    ],
)  # fmt: skip
def test_a_selector_is_trained_first_and_each_is_told_what_it_takes(words, first, own):
    assert selector_first(words) == (first, own)


@pytest.mark.parametrize(
    "words",
    [
        ["method=sapnet", *WORLD, "train.labels=truth"],
        ["method=sapnet", *WORLD, "backbone/selector=sapnet"],
        ["method=plm", *WORLD],
    ],
)
def test_no_selector_is_trained_where_none_is_needed_or_one_is_given(words):
    assert selector_first(words) is None


def test_the_selector_is_that_of_an_ablation_with_the_same_words():
    words = ["method=sapnet", *WORLD, "train.steps=9", "train.width=8"]
    (ablation,) = trained_ablations([*words, "module=MPS"])
    first, own = selector_first(words)
    whole = ablation.variants[0]
    assert (first, own) == (list(whole.selector), list(whole.segmenter))


def test_a_dry_run_describes_the_selector(tmp_path, capsys):
    words = ["train", "method=sapnet", *WORLD, "--dry-run", "--out", str(tmp_path)]
    assert exit_code(words) == Exit.DONE
    said = capsys.readouterr()
    assert "method     sapnet_select" in said.out
    assert "A selector is trained first: int-bench train method=sapnet_select" in said.err


@pytest.mark.parametrize("labels", ["truth", "sapnet"])
def test_weights_to_begin_with_are_looked_for_before_anything_else(labels, tmp_path, capsys):
    words = ["method=sapnet_r50", *WORLD, f"train.labels={labels}", "train.pretrained=x.pth"]
    assert exit_code(["train", *words, "--out", str(tmp_path / "out")]) == Exit.MISSING
    assert "Of train.pretrained=x.pth there is no such file; torch" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    if labels == "sapnet":
        with pytest.raises(MissingAsset):
            selector_first(words)


_VIT_H = "backbone/segmenter=sam_vit_h"
_LACKS = "sam_vit_h_4b8939.pth (2.6 GB) is not there"


@pytest.mark.parametrize(
    ("words", "lack"),
    [
        ("propose dataset=coco dataset.split=train", _LACKS),
        ("train method=sapnet_select dataset=coco", _LACKS),
        ("train method=sapnet_r50 dataset=voc_sbd", _LACKS),
        ("train method=plm dataset=coco", _LACKS),
        ("train method=sam_decoder dataset=voc_sbd", _LACKS),
        ("run method=sapnet_select dataset=coco backbone.selector.checkpoint=/no/final",
         "/no/final is not there"),
        ("run method=sapnet dataset=coco dataset.unit=image "
         "backbone.instance_segmenter.adapter=/no/final", "/no/final is not there"),
    ],
)  # fmt: skip
def test_full_size_lacks_data_and_weights_alone(words, lack, here, capsys):
    segmenter = [] if "method=sapnet " in words else [_VIT_H]
    assert exit_code([*words.split(), *segmenter, "models_dir=models"]) == Exit.MISSING
    said = capsys.readouterr().err
    name, file = ("coco", "annotations/instances_") if "coco" in words else (
        "voc_sbd", "VOCdevkit/VOC2012")  # fmt: skip
    assert f"{here}/data/{file}" in said and f"`int-bench data check dataset={name}`" in said
    assert lack in said and "next step: " in said
    assert "nothing was loaded or made" in said and not list(here.iterdir())
