"""Plans of memory: what fits into a card, and the same shares that a run takes."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest

from int_bench.backbones.common import budget
from int_bench.cli.assets import plan as printed
from int_bench.config import load_config
from int_bench.config.needs.hardware import Memory
from int_bench.config.needs.memory import Demand, demands
from int_bench.config.needs.plan import plan
from scripts.bench.untrained.llava import TINY, random_llava

GIB = 2**30
PAPER = ("models=paper", "device=cuda")


def of(total, *overrides):
    return plan(demands(load_config([*PAPER, *overrides], every_model=True)), int(total))


def test_a_larger_card_keeps_more_and_calls_more():
    cards = [of(size * 0.98 * GIB) for size in (40, 48, 80)]
    for smaller, larger in pairwise(cards):
        assert smaller.pictures < larger.pictures and smaller.rows < larger.rows
    assert all(shared.needed <= shared.total and not shared.lacks for shared in cards)


def test_the_plan_shares_out_as_the_run_does():
    shared = of(80 * GIB)
    shares = budget.shared_out(80 * GIB - budget.RESERVED - shared.weights, 32)
    assert (shared.prefixes, shared.batch) == (shares.prefixes, shares.batch)
    assert shared.pictures == shares.prefixes // (819_200 * 704)
    assert shared.rows == shares.batch // (819_200 * 768)


def test_an_engine_shares_out_as_the_plan_does():
    vlm = random_llava(TINY, "cpu")
    ready, need = vlm.ready.engine, 2 * 1 * 32 * 4  # bytes of a token: two of 32 float32 numbers
    shares = budget.Budget(1024 * 2**20, 1024 * 2**20, vlm.max_batch)
    assert ready.resident_pictures() == shares.pictures(need, 576)
    assert ready.rows_in_memory() == shares.rows_in_memory(need, 576)


def test_what_does_not_fit_is_said_with_its_numbers():
    assert of(30 * GIB).lacks == "the weights do not fit"
    assert "segmenter.segment needs 2.3 GB for one request" in of(34.3 * GIB, "exactness=E1").lacks


def test_a_call_that_is_too_large_is_halved_and_the_others_stay():
    roomy, tight = of(84 * GIB, "exactness=E1"), of(44 * GIB, "exactness=E1")
    assert [call.rows for call in tight.calls] < [call.rows for call in roomy.calls]
    assert tight.needed <= tight.total


def test_weights_are_in_the_precision_that_is_computed_in():
    by_class = {
        name: {need.role: need for need in demands(load_config([*PAPER, f"exactness={name}"]))}
        for name in ("E1", "E2")
    }
    whole, half = (by_class[name]["segmenter"].weights for name in ("E1", "E2"))
    assert 0 < half - whole / 2 < 0.1 * whole  # what stays in 32 bit, and room for positions
    # In half precision the head is there in 32 bit as well.
    assert by_class["E1"]["vlm"].weights == 2 * 13_351_494_656 + 4 * 32_064 * 5_120
    assert by_class["E1"]["inpainter"].weights == pytest.approx(2.58e9, rel=0.01)


def test_a_model_of_which_nothing_is_known_asks_for_nothing():
    (need,) = [Demand("vlm", "somebody/model", "cuda", "float16", 0)]
    assert plan([need], GIB * 8).calls == ()


def test_the_command_prints_cards_and_the_device_that_is_here(command, monkeypatch):
    code, out, err = command("models", "plan")
    assert code == 0 and not err and "40 GB" in out and "80 GB" in out and "27.4 GB" in out
    here = (Memory("NVIDIA H100 80GB HBM3", 85 * 10**9, 84 * 10**9),)
    monkeypatch.setattr(printed, "cuda_devices", lambda: here)
    told = json.loads(command("models", "plan", "models=small", "--json")[1])
    assert told["devices"]["NVIDIA H100 80GB HBM3, 84.0 GB free"]["total"] == 84 * 10**9
    assert told["models"][0]["role"] == "vlm"
    assert command("models", "plan", "modles=small")[0] == 2
    out = command("models", "plan", "backbone.vlm.checkpoint=/nowhere")[1]
    assert "Without weights that are known beforehand: vlm." in out


def test_in_flight_that_was_asked_for_is_said(command):
    out = command("models", "plan", "in_flight=3", "method=grounding_sam")[1]
    assert "llava" not in out and " 3 " in out
