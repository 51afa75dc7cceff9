"""SAM with a PLM: the frozen model bit for bit at the start, and adapters that are refused."""

import json

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from int_bench.backbones.common.adapter import hash_of_weights, write
from int_bench.backbones.sam import Sam, SamPlm
from int_bench.backbones.sam.plm import PlmOptions, PmmOptions
from int_bench.backbones.sam.sam_plm import SamModules
from int_bench.core.requests import Point, Segment
from int_bench.errors import MissingAsset, UsageError
from tests.backbones.flops.test_counting import MORE
from tests.backbones.sam.tiny_sam import BOX, picture, randomise, write_tiny_sam

PLM = PlmOptions(heads=2)
PMM = PmmOptions(points=16, channels=8)
REQUESTS = [
    Segment(picture(48, 70), None, (Point(30.5, 20.5, True),), multimask=False),
    Segment(picture(48, 70), None, (Point(30.5, 20.5, True), Point(4.5, 4.5, False))),
    Segment(picture(90, 64, 1), BOX, (), multimask=True),
    Segment(picture(90, 64, 1), BOX, (Point(30.5, 20.5, True),)),
]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return str(write_tiny_sam(tmp_path_factory.mktemp("sam")))


def modules_for(checkpoint, plm=PLM, pmm=PMM, trained="plm"):
    return SamModules(Sam(checkpoint, device="cpu").read(), plm, pmm, trained)


def saved(folder, checkpoint, modules, **words):
    folder.mkdir(exist_ok=True)
    sizes = {**modules.sizes, **words.pop("sizes", {})}
    frozen = hash_of_weights(Sam(checkpoint, device="cpu").read())
    write(folder, SamPlm.ADAPTER, words.get("frozen", frozen), sizes, modules.state_dict())
    return str(folder)


def adapted(checkpoint, folder, **words):
    return SamPlm(checkpoint, device="cpu", adapter=folder, **words)


@pytest.mark.parametrize("trained", ["plm", "plm_upscaling", "plm_decoder"])
@pytest.mark.parametrize("refine", [False, True])
def test_modules_that_learned_nothing_are_sam_bit_for_bit(tmp_path, checkpoint, trained, refine):
    folder = saved(tmp_path / "a", checkpoint, modules_for(checkpoint, trained=trained))
    plain = Sam(checkpoint, device="cpu").segment(REQUESTS)
    answers = adapted(checkpoint, folder, refine=refine).segment(REQUESTS)
    for answer, expected in zip(answers, plain, strict=True):
        assert np.array_equal(answer.logits, expected.logits)
        assert answer.iou == expected.iou


@pytest.mark.parametrize("trained", ["plm", "plm_upscaling", "plm_decoder"])
def test_what_was_trained_comes_back(tmp_path, checkpoint, trained):
    modules = randomise(modules_for(checkpoint, trained=trained), seed=3)
    folder = saved(tmp_path / "a", checkpoint, modules)
    sam = adapted(checkpoint, folder)
    plain = Sam(checkpoint, device="cpu").segment(REQUESTS)
    answers = sam.segment(REQUESTS)
    assert all((a.logits != p.logits).any() for a, p in zip(answers, plain, strict=True))
    state = sam.loaded.task_modules.state_dict()
    assert all(torch.equal(state[name], t) for name, t in modules.state_dict().items())
    untouched = Sam(checkpoint, device="cpu").segment(REQUESTS)
    assert all(np.array_equal(a.logits, p.logits) for a, p in zip(untouched, plain, strict=True))


def test_the_operations_of_its_modules_are_counted(tmp_path, checkpoint):
    folder = saved(tmp_path / "a", checkpoint, randomise(modules_for(checkpoint), seed=3))
    plain, sam = (adapted(checkpoint, folder, refine=refine) for refine in (False, True))
    totals = []
    for model in (Sam(checkpoint, device="cpu"), plain, sam):
        counted = []
        for _ in range(2):  # while shapes are new, and when they are known
            model.forget()
            before = model.flops.total
            with FlopCounterMode(display=False, custom_mapping=MORE) as torchs:
                model.segment(REQUESTS)
            counted.append(model.flops.total - before)
        assert counted[0] == counted[1] == pytest.approx(torchs.get_total_flops(), rel=0.01)
        totals.append(counted[0])
    assert totals == sorted(set(totals))


@pytest.mark.parametrize("features", ["upscaled", "embedding"])
def test_a_refined_mask_is_the_moved_one(tmp_path, checkpoint, features):
    """With all points moved right by 4 pixels, the largest component goes there."""
    modules = modules_for(checkpoint, pmm=PmmOptions(points=16, channels=8, features=features))
    with torch.no_grad():
        modules.pmm.leave.bias.copy_(torch.tensor([4 / 70, 0.0]))
    folder = saved(tmp_path / "a", checkpoint, modules)
    (plain,) = adapted(checkpoint, folder).segment(REQUESTS[:1])
    (moved,) = adapted(checkpoint, folder, refine=True).segment(REQUESTS[:1])
    before, after = plain.logits > 0, moved.logits > 0
    assert before.any() and (before != after).any()
    assert np.array_equal(np.abs(plain.logits), np.abs(moved.logits))
    centres = [np.nonzero(mask)[1].mean() for mask in (before, after)]
    assert centres[1] > centres[0]


def test_a_decoder_of_ones_own_is_part_of_the_frozen_model(tmp_path, checkpoint):
    sam = Sam(checkpoint, device="cpu").read()
    decoder, frozen = tmp_path / "decoder", hash_of_weights(sam)
    decoder.mkdir()
    weights = randomise(sam.mask_decoder, seed=5).state_dict()
    state = {f"mask_decoder.{name}": tensor for name, tensor in weights.items()}
    write(decoder, Sam.ADAPTER, frozen, {}, state)
    tuned = hash_of_weights(Sam(checkpoint, device="cpu", adapter=str(decoder)).adapted())
    folder = saved(tmp_path / "a", checkpoint, modules_for(checkpoint), frozen=tuned)
    answers = adapted(checkpoint, folder, decoder=str(decoder)).segment(REQUESTS)
    plain = Sam(checkpoint, device="cpu", adapter=str(decoder)).segment(REQUESTS)
    assert all(np.array_equal(a.logits, p.logits) for a, p in zip(answers, plain, strict=True))
    with pytest.raises(MissingAsset, match="belongs to other weights"):
        adapted(checkpoint, folder).segment(REQUESTS)


@pytest.mark.parametrize(
    ("sizes", "reason"),
    [
        ({"plm": {"blocks": 1}}, "heads"),
        ({"plm": {**vars(PLM), "heads": 5}}, "divide"),
        ({"plm": {**vars(PLM), "output": "other"}}, "output"),
        ({"trained": "all"}, "trained"),
        ({"pmm": 3}, "pmm"),
        ({"pmm": None}, "does not fit"),
    ],
)
def test_a_description_that_is_none_is_a_sentence(tmp_path, checkpoint, sizes, reason):
    folder = saved(tmp_path / "a", checkpoint, modules_for(checkpoint), sizes=sizes)
    with pytest.raises(MissingAsset, match=reason):
        adapted(checkpoint, folder).segment(REQUESTS)


def test_no_adapter_and_no_pmm_are_sentences(tmp_path, checkpoint):
    with pytest.raises(UsageError, match=r"backbone\.segmenter\.adapter"):
        SamPlm(checkpoint, device="cpu").segment(REQUESTS)
    folder = saved(tmp_path / "a", checkpoint, modules_for(checkpoint, pmm=None))
    assert json.loads((tmp_path / "a" / "config.json").read_text())["sizes"]["pmm"] is None
    with pytest.raises(MissingAsset, match="point matching"):
        adapted(checkpoint, folder, refine=True).segment(REQUESTS)
