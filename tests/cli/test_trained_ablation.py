"""``int-bench ablate`` of what is trained: the whole beside it without a part."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from int_bench.runs.training.parts import is_trained, trained_ablations

WORLD = ("dataset=camoworld_crowd", "backbone/segmenter=zoo_sam_granular", "dataset.count=2")
SIZES = ("pyramid=16", "hidden=16", "mask_hidden=16", "kernel=8", "convolutions=1")
SMALL = (
    *(*WORLD, "train.steps=2", "train.batch=2", "train.width=16", "train.validated=1"),
    *(f"train.architecture.{size}" for size in SIZES),
)


def words_of(variant) -> tuple[list[str], list[str]]:
    """What a variant's trainings are told of what they learn."""
    told = [variant.selector, variant.segmenter or ()]
    return tuple([w for w in words if w.startswith("train.")] for words in told)


def test_parts_of_the_selection_and_of_the_network_are_measured_apart():
    selection, network = trained_ablations(["module=PDG,PNPG,MPS,BMS", *WORLD])
    assert [variant.part for variant in selection.variants] == ["", "PDG", "PNPG", "BMS"]
    assert [words_of(variant)[0] for variant in selection.variants] == [
        [],
        ["train.psm.pdg=off"],
        ["train.pnpg.ppg=off", "train.pnpg.npg=none"],
        ["train.bms.after=off"],
    ]
    assert [words_of(variant) for variant in network.variants] == [
        ([], []),
        ([], ["train.mps=false"]),
    ]
    assert {"dataset.split=train", "allow_train=true", "dataset.count=2"} <= {*selection.words}
    assert {"dataset.split=test", "dataset.unit=image"} <= {*network.words}
    assert all(variant.segmenter is None for variant in selection.variants)


def test_with_a_method_every_part_is_measured_by_what_it_makes():
    words = ("module=all", "method=sapnet_r50", "dataset=coco", "train.steps=9", "train.width=8")
    (network,) = trained_ablations([*words, "out=there"])
    assert [variant.part for variant in network.variants] == [
        "", "PDG", "PNPG", "PPG", "NPG", "BMS", "MPS"]  # fmt: skip
    assert words_of(network.variants[5]) == (
        ["train.steps=9", "train.width=8", "train.bms.after=off"],
        ["train.steps=9"],
    )
    assert network.variants[0].segmenter[0] == "method=sapnet_r50"
    assert {"dataset.split=val", "out=there/runs"} <= {*network.words}
    assert "out=there/train" in network.variants[0].selector


def test_end_to_end_every_part_is_of_the_one_training():
    (ablation,) = trained_ablations(["module=BMS,MPS", "method=sapnet_e2e", *WORLD])
    assert ablation.method == "sapnet" and "dataset.unit=image" in ablation.words
    assert [words_of(variant)[0] for variant in ablation.variants] == [
        [],
        ["train.bms.after=off"],
        ["train.mps=false"],
    ]
    assert all(variant.segmenter is None for variant in ablation.variants)
    assert ablation.variants[0].selector[0] == "method=sapnet_e2e"


@pytest.mark.parametrize(
    ("words", "trained"),
    [
        (["module=PDG"], True),
        (["module=HCG"], False),
        (["module=all"], False),
        (["module=all", "method=sapnet"], True),
        (["module=all", "method=sapnet_e2e_r50"], True),
        (["module=PDG", "method=int"], False),
        (["patches=all", "method=sapnet"], False),
    ],
)
def test_a_module_says_whether_something_is_trained(words, trained):
    assert is_trained(words) == trained


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["module=PGD", "method=sapnet"], "Unknown module 'PGD' of method=sapnet; choose PDG, "),
        (["module=PDG,HCG"], "Unknown module 'HCG' of method=sapnet; choose PDG, PNPG"),
        (["module=MPS", "method=sapnet_select"], "choose PDG, PNPG, PPG, NPG, BMS or all"),
        (["module=PDG", "method=mil_single"], "method=mil_single has no PDG"),
        (["module=MPS", "method=sapnet_r101"], "method=sapnet_r101 has no MPS"),
        (["module=PDG", "module=BMS"], "once each"),
        (["module=PDG", "train.psm.pdg=paper"], "chooses train.psm.pdg itself"),
        (["module=PDG", "train.stps=3", *WORLD], "train.stps"),
    ],
)
def test_what_cannot_be_left_out_is_one_sentence(words, said, command):
    code, _, err = command("ablate", *words)
    assert code == 2 and said in err and len(err.splitlines()) == 1


def test_at_full_size_all_that_is_missing_is_said_before_anything_is_made(command, here):
    words = ("ablate", "module=PDG,PNPG,BMS,MPS", "dataset=coco", "models_dir=nowhere")
    code, _, err = command(*words)
    assert code == 3 and "nothing was loaded or made" in err
    for lack in ("instances_train2017.json", "instances_val2017.json", "sam_vit_h_4b8939.pth"):
        assert lack in err
    assert "int-bench models fetch backbone/segmenter=sam_vit_h" in err
    assert not list(here.iterdir())


def test_a_dry_run_names_what_is_trained_and_run(command, here):
    code, out, _ = command("ablate", "module=BMS,MPS", *SMALL, "--dry-run")
    lines = out.splitlines()
    assert code == 0 and not list(here.iterdir())
    assert [line.split(":")[0] for line in lines] == [
        "data set   camoworld_crowd",
        "train      sapnet_select",
        "train      sapnet_select train.bms.after=off",
        "run        sapnet_select on 4 samples",
        "train      sapnet",
        "train      sapnet train.mps=false",
        "run        sapnet on 2 samples",
    ]
    assert "(not begun)" in lines[1] and lines[-1].endswith("whole, without MPS")


def test_trainings_runs_and_tables_of_one_command(command, here, monkeypatch):
    from int_bench.learning import loop

    words = ("ablate", "module=BMS,MPS", *SMALL, "--json")
    code, out, err = command(*words)
    assert code == 0, err
    made = json.loads(out)
    labels = [run["method"] for run in made["variants"]]
    assert labels == ["sapnet_select", "without BMS", "sapnet", "without MPS"]
    selection, network = (table["rows"] for table in made["tables"])
    assert [row["n"] for row in (*selection, *network)] == [4, 4, 2, 2]
    change = selection[1]["mIoU_box"] - selection[0]["mIoU_box"]
    assert selection[1]["change"] == pytest.approx(change) and "change" not in selection[0]
    assert "AP50" in network[1]
    assert err.count("Bags of 2 of 2 images are made.") == 1
    finals = sorted(Path("results/train").glob("*/*/*/final/card.json"))
    assert len(finals) == 4
    monkeypatch.setattr(loop, "fit", None)  # all is there
    code, out, err = command(*words[:-1])
    assert code == 0 and "Training:" not in err
    assert "sapnet without each of its parts" in out and "mIoU_box - whole" in out
