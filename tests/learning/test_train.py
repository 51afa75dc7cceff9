"""``int-bench train``: a folder that resumes bit for bit, an adapter that runs take, refusals."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from int_bench.backbones.sam import Sam
from int_bench.errors import MissingAsset, OutOfMemory
from int_bench.learning import loop, sam_decoder

SMALL = ("dataset=camoworld_crowd", "dataset.count=4", "train.validated=4", "train.batch=4")
TRAIN = ("train", "method=sam_decoder", *SMALL, "train.steps=4", "train.report_every=2")
RUN = ("run", "method=oracle_box_sam", "dataset=camoworld_crowd", "--limit", "2")


def only_folder(root: Path) -> Path:
    (folder,) = root.glob("camoworld_crowd/sam_decoder/*")
    return folder


def lines_of(folder: Path) -> list[dict]:
    lines = [json.loads(line) for line in (folder / "train.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A training that was never stopped."""
    from int_bench.cli import app

    root = tmp_path_factory.mktemp("whole")
    assert app.exit_code([*TRAIN, "--out", str(root)]) == 0
    return only_folder(root)


def test_the_folder_says_how_it_came_about(whole):
    described = json.loads((whole / "run.json").read_text())
    assert described["kind"] == "train" and described["data"]["name"] == "camoworld_crowd"
    assert described["config"]["method"]["steps"] == 4
    assert [line["step"] for line in lines_of(whole)] == [2, 4]
    card = json.loads((whole / "final" / "card.json").read_text())["trained_on"]
    assert card["n"] == len(card["ids"]) > 4 and card["ids"][0] == "train-00000-0"
    assert not list(whole.glob("*.ckpt"))


def test_a_stopped_training_goes_on_bit_for_bit(whole, command, here, monkeypatch):
    step, calls = loop._step, []

    def stopping(*given):
        if len(calls) == 3:
            raise KeyboardInterrupt
        calls.append(given)
        return step(*given)

    monkeypatch.setattr(loop, "_step", stopping)
    code, _, err = command(*TRAIN, "train.save_every=0", "--out", here)
    assert code == 130 and "Resume with: int-bench train method=sam_decoder" in err
    folder = only_folder(here)
    assert torch.load(folder / "last.ckpt", weights_only=True)["step"] == 3
    with (folder / "train.jsonl").open("ab") as log:
        log.write(b'{"step": 4, "lo')  # as a kill leaves it
    monkeypatch.setattr(loop, "_step", step)
    code, out, err = command(*TRAIN, "train.save_every=0", "--out", here)
    assert code == 0 and out.strip() == str(folder / "final") and "Going on after step 3" in err
    assert "pictures ready" not in err  # the frozen features were there
    for name in ("model.safetensors", "config.json"):
        assert (folder / "final" / name).read_bytes() == (whole / "final" / name).read_bytes()
    assert lines_of(folder) == lines_of(whole)


def test_the_status_of_a_training_is_its_last_report(whole, command):
    code, out, _ = command("status", whole)
    assert code == 0 and out == f"{whole}: done\n"
    code, out, _ = command("status", whole, "--json")
    assert code == 0 and json.loads(out)["step"] == json.loads(out)["steps"] == 4


def test_what_is_done_is_not_done_again(whole, command, monkeypatch):
    monkeypatch.setattr(loop, "_step", None)
    code, out, _ = command(*TRAIN, "--out", whole.parents[2])
    assert code == 0 and out.strip() == str(whole / "final")


def test_a_batch_that_does_not_fit_is_cut_into_parts(command, here, monkeypatch):
    step, sizes = loop._step, []

    def short(model, optimizers, recipe, loss, number):
        sizes.append((loss.options.batch, recipe.parts))
        if loss.options.batch > 1:
            raise OutOfMemory("8 GB")
        return step(model, optimizers, recipe, loss, number)

    monkeypatch.setattr(loop, "_step", short)
    code, _, err = command(*TRAIN, "--out", here)
    assert code == 0 and sizes == [(4, 1), (2, 2), *[(1, 4)] * 4]
    assert "from now on 2 at a time, 2 times a step" in err
    assert [line.get("parts") for line in lines_of(only_folder(here))] == [2, 4, None, None]


def test_an_adapter_is_part_of_a_run(whole, command, here):
    digests = set()
    for adapter in ([], [f"backbone.segmenter.adapter={whole / 'final'}"]):
        code, out, _ = command(*RUN, "dataset.split=test", *adapter)
        assert code == 0
        digests.add(out.strip().splitlines()[-1].rpartition("/")[2])
    assert len(digests) == 2


def test_samples_that_were_trained_on_are_refused_or_marked(whole, command, here):
    words = (*RUN, "dataset.split=train", f"backbone.segmenter.adapter={whole / 'final'}")
    code, _, err = command(*words)
    assert code == 2 and "was trained on 2 samples of the 2" in err and len(err.splitlines()) == 1
    code, out, err = command(*words, "allow_train=true")
    assert code == 0 and "TRAINED ON THESE SAMPLES" in err
    code, out, _ = command("table", "--runs", "results/runs", "--format", "md")
    assert code == 0 and "TRAINED ON THESE SAMPLES" in out


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["dataset.name=other"], 2),  # the same scenes
        (["dataset.unit=image"], 2),
        (["dataset.points=uniform", "dataset.truth=group"], 2),
        (["dataset.seed=1"], 0),  # others, of the same ids
    ],
)
def test_an_image_is_known_whatever_its_data_set_is_called(words, code, whole, command):
    adapter = f"backbone.segmenter.adapter={whole / 'final'}"
    got, _, err = command(*RUN, "dataset.split=train", adapter, *words, "--dry-run")
    assert got == code and ("was trained on" in err) == (code == 2)


def test_files_are_known_by_their_content(pairs, command, here):
    from tests.conftest import write_pairs

    def folder(name: str, path: Path) -> list[str]:
        shown = (f"dataset.images={path}/images", f"dataset.masks={path}/masks")
        return ["dataset=folder", f"dataset.name={name}", *shown, "task=cod", "models=tiny"]

    few = ("train.steps=1", "train.batch=2")
    code, out, err = command("train", "method=sam_decoder", *folder("mine", pairs), *few)
    assert code == 0, err
    copied = shutil.copytree(pairs, here / "copied")
    (copied / "images" / "a1.png").rename(copied / "images" / "z1.png")
    (copied / "masks" / "a1.png").rename(copied / "masks" / "z1.png")
    run = ("run", "method=oracle_box_sam", f"backbone.segmenter.adapter={out.strip()}", "--dry-run")
    code, _, err = command(*run, *folder("another", copied))
    assert code == 2 and "was trained on 5 samples of the 6 of another, 'a2' first" in err
    others = write_pairs(here / "others", 6, (30, 30))
    assert command(*run, *folder("mine", others))[0] == 0


def test_a_card_without_images_is_of_names(whole, adapter, command):
    card = json.loads((adapter / "card.json").read_text())
    del card["trained_on"]["images"]
    (adapter / "card.json").write_text(json.dumps(card))
    words = (*RUN, "dataset.split=train", f"backbone.segmenter.adapter={adapter}", "--dry-run")
    assert command(*words)[0] == 2
    assert command(*words, "dataset.name=other")[0] == 0


@pytest.fixture
def adapter(whole, here) -> Path:
    """A copy that may be spoiled."""
    return Path(shutil.copytree(whole / "final", here / "adapter"))


def spoil_config(folder: Path, **values: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def spoil_weights(folder: Path, change) -> None:
    weights = load_file(folder / "model.safetensors")
    name = sorted(weights)[0]
    change(weights, name)
    save_file(weights, folder / "model.safetensors")


SPOILED = {
    "belongs to other weights": lambda f: spoil_config(f, frozen="xxh3:00"),
    "is of format 9": lambda f: spoil_config(f, format=9),
    "is a sam_plm": lambda f: spoil_config(f, kind="sam_plm"),
    "is no adapter's description": lambda f: (f / "config.json").write_text("[]"),
    "holds no readable config.json": lambda f: (f / "config.json").unlink(),
    "does not fit": lambda f: spoil_weights(f, lambda w, n: w.pop(n)),
    "holds no finite numbers": lambda f: spoil_weights(f, lambda w, n: w[n].fill_(np.nan)),
    "is damaged": lambda f: (f / "model.safetensors").write_bytes(b"\x00" * 20),
}


@pytest.mark.parametrize("sentence", SPOILED)
def test_a_spoiled_adapter_is_one_sentence(sentence, adapter):
    SPOILED[sentence](adapter)
    with pytest.raises(MissingAsset, match=sentence) as refused:
        Sam(adapter=str(adapter)).adapted()
    assert "\n" not in str(refused.value)


SPOILED_FOR_A_RUN = {
    "has no readable card.json": lambda f: (f / "card.json").unlink(),
    "is no card of a training": lambda f: (f / "card.json").write_text('{"trained_on": 1}'),
    "is of format 9": SPOILED["is of format 9"],
    "is not there": shutil.rmtree,
}


@pytest.mark.parametrize("sentence", SPOILED_FOR_A_RUN)
def test_a_run_on_a_spoiled_adapter_ends_with_one_sentence(sentence, adapter, command):
    SPOILED_FOR_A_RUN[sentence](adapter)
    code, _, err = command(*RUN, "dataset.split=test", f"backbone.segmenter.adapter={adapter}")
    said = [line for line in err.splitlines() if sentence in line]
    assert code == 3 and len(said) == 1 and "Traceback" not in err


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (("method=int",), 2, "method=int is not trained; choose one of"),
        ((), 2, "Say what to train, once: method="),
        (("method=sam_decoder", "train.stps=3"), 2, "train.stps"),
        (("method=sam_decoder", "train.batch=0"), 2, "train.batch"),
        (("method=sam_decoder", "method.steps=3"), 2, "train.KEY=VALUE"),
        (("method=sam_decoder", "dataset.split=validation"), 2, "is what a training is looked at"),
        ((*TRAIN[1:3], "backbone/segmenter=sam_vit_h", "dataset.count=4"), 3, "_vit_h_4b8939.pth"),
    ],
)
def test_what_cannot_be_trained_is_one_sentence(words, code, sentence, command):
    got, _, err = command("train", *words, "models_dir=nowhere")
    assert (got, sentence in err, "Traceback" in err) == (code, True, False), err


def test_of_a_data_set_without_splits_every_tenth_sample_is_held_out(pairs, command, here):
    words = ("dataset=folder", f"dataset.images={pairs}/images", f"dataset.masks={pairs}/masks")
    few = ("task=cod", "models=tiny", "train.steps=1", "train.batch=2")
    code, out, err = command("train", "method=sam_decoder", *words, *few)
    assert code == 0, err
    card = json.loads((Path(out.strip()) / "card.json").read_text())["trained_on"]
    assert card["ids"] == ["a1", "a2", "a3", "a4", "a5"]


def test_a_run_takes_no_training(command):
    code, _, err = command("run", "training=sam_decoder")
    assert code == 2 and "int-bench train method=sam_decoder" in err


def test_two_trainings_of_one_folder_are_refused(whole, command, here):
    from int_bench.runs.folder import locked

    command(*TRAIN, "--dry-run", "--out", here)
    folder = here / whole.relative_to(whole.parents[2])
    folder.mkdir(parents=True)
    with locked(folder):
        code, _, err = command(*TRAIN, "--out", here)
    assert code == 2 and "is being written by process" in err


def test_a_dry_run_says_what_would_be_trained_and_makes_nothing(command, here):
    code, out, _ = command(*TRAIN, "--dry-run", "--out", here / "out")
    assert code == 0 and "zoo:sam (frozen)" in out and "not begun" in out
    assert not (here / "out").exists()


@pytest.mark.parametrize("supervision", ["point", "scribble"])
def test_marks_teach_as_well(supervision, command, here):
    words = (*TRAIN[:-2], "train.steps=2", f"train.supervision={supervision}", "--out", here)
    assert command(*words)[0] == 0
    assert (only_folder(here) / "final" / "model.safetensors").is_file()


def test_marks_are_an_annotation_and_lie_where_they_say():
    from int_bench.learning.marks import marks_of

    masks = torch.zeros(2, 32, 32)
    masks[:, 4:20, 6:30] = 1.0
    marks = marks_of(["a", "b"], masks, "scribble", 0)
    cells = ((marks.places + 1.0) / 2.0 * 32 - 0.5).round().long()
    for row in range(2):
        on = masks[row][cells[row, :, 1], cells[row, :, 0]]
        assert torch.equal(on, marks.inside[row])
    again = marks_of(["b"], masks[:1], "scribble", 0)
    assert torch.equal(again.places[0], marks.places[1])
    assert not torch.equal(marks.places[0], marks.places[1])


def test_the_partial_entropy_reads_marked_pixels_alone():
    from int_bench.learning.mask_losses import Marks, partial_entropy

    logits = torch.full((1, 1, 4, 4), 3.0)
    marks = Marks(torch.tensor([[[-0.75, -0.75], [0.75, 0.75]]]), torch.tensor([[1.0, 0.0]]))
    at_3 = np.log1p(np.exp(-3.0))
    assert partial_entropy(logits, marks).item() == pytest.approx((at_3 + at_3 + 3.0) / 2)
    logits[0, 0, 1:3, 1:3] = 99.0  # nothing is known there
    assert partial_entropy(logits, marks).item() == pytest.approx((at_3 + at_3 + 3.0) / 2)


def test_the_decoder_is_trained_and_nothing_else(whole):
    plain, tuned = Sam(), Sam(adapter=str(whole / "final"))
    assert (
        tuned.frozen
        == plain.frozen
        == json.loads((whole / "final" / "config.json").read_text())["frozen"]
    )
    before, after = plain.loaded.state_dict(), tuned.loaded.state_dict()
    changed = {name.partition(".")[0] for name in before if not before[name].equal(after[name])}
    assert changed == {"mask_decoder"}
    assert sam_decoder.SamDecoder().roles == {"segmenter"}


def test_a_mask_decoder_stands_for_a_model_with_a_shipped_base_only(whole, adapter):
    tuned, same = Sam(adapter=str(whole / "final")), Sam(checkpoint=str(whole / "final"))
    ours, theirs = tuned.loaded.state_dict(), same.loaded.state_dict()
    assert all(ours[name].equal(theirs[name]) for name in ours)
    spoil_config(adapter, sizes={"base": "/somewhere/sam.pth"})
    with pytest.raises(MissingAsset, match=r"backbone\.segmenter\.adapter="):
        assert Sam(checkpoint=str(adapter)).loaded


def test_each_granularity_has_a_mask_of_its_own(command, here):
    words = [word.replace("sam_decoder", "sam_granular") for word in TRAIN]
    code, out, err = command(*words, "train.favour=0.1", "--out", here)
    assert code == 0 and "val group_rate" in err
    assert (Path(out.strip()) / "model.safetensors").stat().st_size < 1e6
    code, _, err = command("train", "method=sam_granular", "dataset=camoworld", "dataset.count=2")
    assert code == 2 and "learns from objects, and camoworld has none" in err


def test_each_picture_is_encoded_once_whatever_its_objects(tmp_path):
    from int_bench.data.world.crowd_dataset import CrowdScenes
    from int_bench.learning.features import embeddings

    data, sam = CrowdScenes(split="train", count=3), Sam()
    features = embeddings(sam, data, tmp_path, "train")
    assert len(features.rows) == len(data.samples()) > sam.counters["images_encoded"] == 3
    again = embeddings(sam, data, tmp_path, "train")
    assert sam.counters["images_encoded"] == 3
    ids = [sample.id for sample in data.samples()]
    assert features.take(ids, sam.place).equal(again.take(ids, sam.place))
