"""How fast a run was, and on what: kept beside it, added up over sittings, no part of it."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from int_bench.backbones.common.model import LocalModel
from int_bench.backbones.flops.counting import Flops
from int_bench.config import load_config
from int_bench.config.needs.hardware import Memory
from int_bench.engine.serving import Server
from int_bench.report.columns import speed_cells
from int_bench.report.html.facts import facts
from int_bench.report.html.sides import Side
from int_bench.runs.executors.worker import Order, Worker
from int_bench.runs.kept import work
from int_bench.runs.kept.ceiling import AtCeiling
from int_bench.runs.kept.work import Clock, Sitting, Spent, spent_of, together
from int_bench.runs.prepare import prepare
from int_bench.runs.records import FAILED, OK, Record
from int_bench.runs.variants import RunRequest
from tests.backbones.flops.test_counting import MORE
from tests.runs.executors.bench import pictures

ON_GPU = Spent("NVIDIA H100 80GB HBM3", 1, "E1", 24, 120.0, 300.0, 36_000.0)
ON_CPU = Spent("AMD EPYC", 0, "E0", 6, 90.0, 60.0)


def test_an_hour_is_that_of_a_gpu_or_of_a_core():
    assert ON_GPU.per_hour == 24 / 120 * 3600 and ON_GPU.joules_per_image == 1500
    assert ON_CPU.per_hour == 6 / 60 * 3600 and ON_CPU.joules_per_image is None
    assert replace(ON_GPU, gpus=2).per_hour == 360
    assert ON_GPU.text == (
        "720 images per GPU-hour on NVIDIA H100 80GB HBM3 (E1), 1,500 J an image: 24 images in 120"
        " GPU-seconds, loading included"
    )
    assert ON_CPU.text.startswith("360 images per CPU-hour on AMD EPYC (E0): 6 images in 60 CPU-")
    assert ", 25 % of its ceiling, 1,500 J" in replace(ON_GPU, ceiling_seconds=30.0).text
    assert replace(ON_CPU, ceiling_seconds=3.0).share_of_ceiling == 0.05
    assert ON_GPU.share_of_ceiling is None is replace(ON_GPU, ceiling_seconds=0.0).share_of_ceiling
    for seconds in (121.0, -1.0, 1e200):  # more than there is, or less than nothing
        assert "ceiling" not in replace(ON_GPU, ceiling_seconds=seconds).text
    assert replace(ON_GPU, images=0).text == "" == replace(ON_CPU, cpu_seconds=0.3).text


def test_sums_are_of_one_kind_and_joules_and_ceilings_of_all_or_none():
    other = replace(ON_GPU, device="Tesla T4", ceiling_seconds=12.0)
    first, second = together(
        [ON_GPU, other, replace(other, device=ON_GPU.device, joules=None), other]
    )
    assert first.images == second.images == 48
    assert {first.joules, second.joules} == {None, 72_000}
    assert {first.share_of_ceiling, second.share_of_ceiling} == {None, 0.1}


class Model:
    """A backbone that counts operations, as far as a run looks at it."""

    def __init__(self, rate=1e9, place="cuda:0", **counters):
        self.counters, self.place, self.flops, self.rate = (
            counters,
            torch.device(place),
            Flops(),
            rate,
        )

    def ceiling(self, name):
        return self.rate


def test_each_model_has_the_ceiling_of_its_precision_and_what_is_unknown_leaves_none():
    half, single = Model(4e9, images=3), Model(1e9, rows=2)
    half.flops.total = single.flops.total = 10**12  # of a run before
    at_ceiling = AtCeiling([half, single], "cuda", "T4")
    assert at_ceiling.seconds() == 0
    half.flops.total += 8 * 10**9
    single.flops.total += 3 * 10**9
    assert at_ceiling.seconds() == 5
    idle, silent = SimpleNamespace(counters={}), SimpleNamespace(counters={"requests_sent": 1})
    for model, known in ((idle, True), (silent, False), (Model(), True), (Model(rows=1), False)):
        assert (AtCeiling([model], "cuda", "T4").seconds() == 0) is known
    for model in (Model(place="cpu"), Model(None)):
        at_ceiling = AtCeiling([model], "cuda", "T4")
        model.flops.total += 1
        assert at_ceiling.seconds() is None


class Ticking:
    """The clocks of a process and the counter of a device, as a test sets them."""

    def __init__(self, monkeypatch):
        self.now = 0.0
        monkeypatch.setattr(work.time, "perf_counter", lambda: self.now)
        monkeypatch.setattr(work.time, "process_time", lambda: 3 * self.now)
        monkeypatch.setattr(work.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(work, "joules", lambda device: 1000 + 400 * self.now)
        monkeypatch.setattr(work, "used", lambda nodes: {"cuda:0"})
        monkeypatch.setattr(work, "computing", lambda nodes: (Memory("T4", 16, 16),))


@pytest.fixture
def config():
    return load_config(["method=centre_box"])


def test_a_sitting_is_kept_as_it_goes_and_what_was_killed_has_lost_both(
    monkeypatch, config, tmp_path
):
    ticking = Ticking(monkeypatch)
    clock = Clock(config)
    sitting = Sitting([tmp_path], lambda images: [clock.read(images)])
    for second, status in ((10, OK), (50, FAILED), (70, OK), (80, OK)):
        ticking.now = second
        sitting.count(0, Record("a", 0, status))
    # Killed here: of the last image neither the image nor the time is known.
    (spent,) = spent_of(tmp_path)
    assert (spent.images, spent.seconds, spent.cpu_seconds, spent.joules) == (2, 70, 210, 28_000)
    with Sitting([tmp_path], lambda images: [replace(ON_GPU, device="T4", exactness="E0")]) as more:
        more.count(0, Record("b", 0, OK))
    (spent,) = spent_of(tmp_path)
    assert (spent.images, spent.seconds) == (26, 190)


def test_of_methods_together_none_has_a_speed_of_its_own(tmp_path):
    runs = [tmp_path / "a", tmp_path / "b"]
    with Sitting(runs, lambda images: [replace(ON_GPU, methods=2, images=images)]) as sitting:
        for variant in (0, 0, 0, 1):
            sitting.count(variant, Record("x", 0, OK))
    assert [spent_of(run)[0].images for run in runs] == [3, 1]
    assert sum(spent_of(run)[0].seconds for run in runs) == pytest.approx(120)
    assert speed_cells(runs[0]) == {}
    assert "4 images of 2 methods together" in sitting.spent[0].text


def test_what_somebody_else_wrote_is_passed_over(tmp_path):
    (tmp_path / "work").mkdir()
    for number, text in enumerate(("", "[]", '{"spent": [{"device": 3}]}', '{"spent": 1}')):
        (tmp_path / "work" / f"{number}.json").write_text(text)
    assert spent_of(tmp_path) == [] and speed_cells(tmp_path) == {}


def test_a_run_of_models_is_held_to_the_ceiling_by_what_torch_counts(command, monkeypatch):
    counted, plain = [], Server._call

    def call(self, role, verb, requests):
        with FlopCounterMode(display=False, custom_mapping=MORE) as flops:
            answers = plain(self, role, verb, requests)
        counted.append(flops.get_total_flops())
        return answers

    monkeypatch.setattr(Server, "_call", call)
    monkeypatch.setattr(work, "_LEAST", 0)
    monkeypatch.setattr(LocalModel, "ceiling", lambda model, name: 2e10)
    words = ("models=tiny", "exactness=E0", "method.iterations=1", "ablation=patches_original")
    code, out, err = command("run", *words, "--limit", "1", "--json")
    assert code == 0 and " % of its ceiling" in err
    told = json.loads(out)
    (spent,) = told["work"]["spent"]
    assert spent["ceiling_seconds"] == pytest.approx(sum(counted) / 2e10, rel=0.01)
    code, out, _ = command("table", "--runs", told["run_dir"], "--format", "json")
    shares = {row["share_of_ceiling"] for row in json.loads(out)["rows"] if row.get("hour_of")}
    assert list(shares) == [pytest.approx(spent["share_of_ceiling"], rel=0.01)]
    (stored,) = spent_of(work.Path(told["run_dir"]))
    assert stored.ceiling_seconds == pytest.approx(spent["ceiling_seconds"], rel=0.01)


def test_a_worker_hands_in_the_ceiling_of_its_own_batch_and_a_task_keeps_it(tmp_path, monkeypatch):
    monkeypatch.setattr(LocalModel, "ceiling", lambda model, name: 1e9)
    root = pictures(tmp_path / "scenes", 3)
    data = ("dataset=folder", f"dataset.images={root}/images", f"dataset.masks={root}/masks")
    models = ("models=tiny", "device=cpu", "method=oracle_box_sam", "task=cod")
    config = load_config([*data, *models, f"out={tmp_path}"])
    runs = prepare([RunRequest(config)])
    worker = Worker(Order.of(runs, config, profile=False).sealed())
    flops, parts = worker._backbones["segmenter"].flops, []
    for names in (("p000",), ("p001", "p002")):
        before = flops.total
        batch = pickle.loads(pickle.dumps(worker.work([(0, 0, name) for name in names])))
        assert batch.spent[0].ceiling_seconds == pytest.approx((flops.total - before) / 1e9) != 0
        parts += batch.spent
    with Sitting([runs[0].path], lambda _: together(parts)) as sitting:
        sitting.count(0, Record("p000", 0, OK))
    (kept,) = spent_of(runs[0].path)
    assert kept.images == 3 and kept.ceiling_seconds == pytest.approx(flops.total / 1e9, abs=1e-3)


def test_a_run_says_how_fast_it_was_and_resumes_add_up(command, monkeypatch):
    monkeypatch.setattr(work, "_LEAST", 0)
    words = ("run", "method=centre_box", "--limit")
    code, out, err = command(*words, "2", "--json")
    assert code == 0 and "centre_box: " in err and " images per CPU-hour on " in err
    told = json.loads(out)
    assert told["work"]["spent"][0]["images"] == 2
    assert "2 images in " in err
    code, _, err = command(*words, "5")
    assert "5 images in " in err
    assert command(*words, "5")[2].count("CPU-hour") == 0  # nothing was computed
    code, out, _ = command("table", "--runs", told["run_dir"], "--format", "json")
    rows = [row for row in json.loads(out)["rows"] if row.get("images_per_hour")]
    assert rows and rows[0]["hour_of"].endswith("(E0)")
    told_of = {fact.name: fact.values for fact in facts([Side(work.Path(told["run_dir"]))])}
    assert "5 images in " in told_of["Speed"][0]
    assert "work" not in json.loads((work.Path(told["run_dir"]) / "run.json").read_text())
