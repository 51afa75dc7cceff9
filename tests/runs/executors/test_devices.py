"""Kinds of device: named in every record, not mixed unaware, and said in tables where they are."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace

import pytest

from int_bench.backbones.common import precision
from int_bench.config import load_config
from int_bench.config.building import build
from int_bench.config.exactness import pinned
from int_bench.errors import UsageError
from int_bench.runs import prepare as prepare_module
from int_bench.runs.executors import array_task, compute
from int_bench.runs.executors.compute import UNHEARD
from int_bench.runs.executors.slurm import keep_order
from int_bench.runs.preflight.checks import preflight
from int_bench.runs.prepare import prepare
from int_bench.runs.provenance import device
from int_bench.runs.reader import Run
from int_bench.runs.scorable import StoredRun, scorable
from int_bench.runs.variants import RunRequest
from int_bench.scoring.score import Rules, score_runs
from tests.runs.executors.bench import build_method, go, pictures, request


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    return pictures(tmp_path_factory.mktemp("scenes"), 4)


def on(monkeypatch, name):
    """This process computes on a device of a name."""
    for module in (prepare_module, compute):
        monkeypatch.setattr(module, "device", lambda nodes: name)


def in_e1(scenes, out, *words):
    asked = request(scenes, out, "method.iterations=1", *words)
    return replace(asked, config=replace(asked.config, exactness="E1"))


def test_the_gpu_is_named_that_torch_takes(monkeypatch):
    names = ["NVIDIA H100", "NVIDIA A100"]
    monkeypatch.setattr(precision.torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(precision.torch.cuda, "get_device_name", lambda number: names[number])
    target = {"_target_": "int_bench.backbones.sam.Sam", "checkpoint": "zoo:sam"}
    nodes = {"segmenter": {**target, "device": "cuda:1"}}
    assert device(nodes) == "NVIDIA A100"
    assert device({**nodes, "vlm": {**target, "device": "cuda"}}) == "NVIDIA A100, NVIDIA H100"
    assert "NVIDIA" not in device({"segmenter": {**target, "device": "cpu"}})
    monkeypatch.setattr(precision.torch.cuda, "device_count", lambda: 0)
    assert "NVIDIA" not in device(nodes)  # of workers elsewhere nothing is known here


def test_a_run_goes_on_on_another_kind_of_device_only_if_told_and_tables_say_so(
    command, scenes, tmp_path, monkeypatch
):
    on(monkeypatch, "NVIDIA A100")
    folder, _ = go(in_e1(scenes, tmp_path, "limit=2"))
    on(monkeypatch, "NVIDIA H100")
    with pytest.raises(UsageError, match=r"computes on NVIDIA H100.* on NVIDIA A100; .*mixed=true"):
        go(in_e1(scenes, tmp_path))
    assert len(Run(folder).records) == 2
    mixed, _ = go(in_e1(scenes, tmp_path, "executor.mixed=true"))
    assert mixed == folder
    devices = [record.host["device"] for record in Run(folder).records.values()]
    assert sorted(devices) == 2 * ["NVIDIA A100"] + 2 * ["NVIDIA H100"]
    stamp = "MIXED DEVICES: NVIDIA A100 and NVIDIA H100, which agree up to rounding only"
    assert Run(folder).manifest.stamps == (stamp,)
    (run,) = prepare([in_e1(scenes, tmp_path)])
    score_runs(run.dataset, [scorable(Run(folder), "int", 1)], Rules())
    assert StoredRun(folder).scores().stamps == (stamp,)
    code, out, _ = command("table", "--runs", folder)
    assert code == 0 and stamp in " ".join(out.split())
    go(in_e1(scenes, tmp_path))  # nothing is left: it stays so
    assert Run(folder).manifest.stamps == (stamp,)


def test_in_e0_any_machine_goes_on(scenes, tmp_path, monkeypatch):
    on(monkeypatch, "x86_64")
    go(request(scenes, tmp_path, "method.iterations=1", "limit=2"))
    on(monkeypatch, "aarch64")
    folder, _ = go(request(scenes, tmp_path, "method.iterations=1"))
    assert len(Run(folder).records) == 4 and not Run(folder).manifest.stamps


def test_a_task_on_another_kind_of_device_than_before_gives_up(scenes, tmp_path, monkeypatch):
    asked = in_e1(scenes, tmp_path, "executor=slurm")
    (run,) = prepare([asked])
    listeners = replace(UNHEARD, devices=frozenset({"NVIDIA A100"}))
    executor = build(asked.config.executor, "executor")
    order, _ = executor.order([run], [build_method(asked.config)], asked.config, listeners)
    digest = keep_order(run.path / "parts" / "a", order)
    on(monkeypatch, "NVIDIA H100")
    assert array_task.main([str(run.path / "parts" / "a"), "0", digest], 2) == 2
    _, sentence = json.loads((run.path / "parts" / "a" / "error.0").read_bytes())
    assert "computes on NVIDIA H100" in sentence and "on NVIDIA A100" in sentence


def test_what_auto_is_was_decided_where_the_command_was_given():
    nodes = load_config(["device=auto"]).backbone
    assert {node["device"] for node in pinned(nodes).values() if "device" in node} == {"cpu"}
    cuda = load_config(["device=cuda"]).backbone
    assert pinned(cuda) == {role: dict(node) for role, node in cuda.items()}


def test_an_array_for_gpus_is_ordered_where_there_is_none(tmp_path):
    """As on a login node: models are neither built nor looked for there."""
    words = ["executor=slurm", "device=cuda", "limit=2", f"out={tmp_path}"]
    asked = RunRequest(load_config(words))
    runs, methods = prepare([asked]), [build_method(asked.config)]
    faults = preflight([asked], runs, methods).faults
    assert {fault.subject for fault in faults} <= {"executor"}  # its library need not be here
    inline = RunRequest(load_config(words[1:]))
    (fault,) = preflight([inline], prepare([inline]), methods).faults
    assert "no CUDA device" in fault.what
    executor = build(asked.config.executor, "executor")
    order, _ = executor.order(runs, methods, asked.config, UNHEARD)
    inside = pickle.loads(order.sealed.content)
    assert inside.config.exactness != "E0" and len(order.wanted) == 2
    assert executor._parameters(cuda=True)["gpus_per_node"] == 1
