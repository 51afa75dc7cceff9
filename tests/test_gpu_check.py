"""The script for a machine with a GPU: on the CPU, on a phantom, and when a step fails."""

from __future__ import annotations

import json

import pytest
import torch

from scripts import gpu_check
from scripts.bench.untrained import library, llava
from scripts.gpu_check import Step
from tests import phantom


@pytest.fixture
def drawn_on_host(monkeypatch):
    """A phantom has no generators: weights are drawn on the host."""

    def randomise(model, seed=0):
        generator = torch.Generator().manual_seed(seed)
        for name, parameter in model.named_parameters():
            numbers = torch.randn(parameter.shape, generator=generator, device="cpu")
            scale = parameter[0].numel() ** -0.5 if parameter.ndim > 1 else 0.0
            gain = 1.0 if parameter.ndim == 1 and name.endswith("weight") else 0.0
            parameter.data.copy_(scale * numbers + gain)
        return model.eval().requires_grad_(False)

    for module in (library, llava):
        monkeypatch.setattr(module, "randomise", randomise)


def written(folder):
    return json.loads((folder / gpu_check.FILE).read_text())


def run(monkeypatch, tmp_path, *steps, words=()):
    monkeypatch.setattr(gpu_check, "STEPS", steps)
    return gpu_check.main(["--device", "cpu", "--out", str(tmp_path), *words])


def test_what_is_known_is_written_after_every_step(monkeypatch, tmp_path):
    seen = []

    def look(bench):
        seen.append(sorted(written(tmp_path)))
        return {"found": 1}

    assert run(monkeypatch, tmp_path, Step("a", 1, look), Step("b", 1, look)) == 0
    assert seen == [["elapsed_s", "machine"], ["a", "elapsed_s", "machine"]]
    assert written(tmp_path)["b"]["found"] == 1


def test_a_step_that_fails_is_said_and_the_others_run(monkeypatch, tmp_path, capsys):
    def fail(bench):
        raise RuntimeError("CUDNN_STATUS_NOT_SUPPORTED")

    steps = (
        Step("broken", 1, fail),
        Step("wrong", 1, lambda bench: {"gates": {"masks": False}}),
        Step("good", 1, lambda bench: {"gates": {"masks": True}}),
    )
    assert run(monkeypatch, tmp_path, *steps) == 1
    assert "CUDNN_STATUS_NOT_SUPPORTED" in written(tmp_path)["broken"]["error"]
    assert "Failed: broken, wrong;" in capsys.readouterr().out


def test_a_step_that_the_budget_cannot_hold_is_skipped_by_name(monkeypatch, tmp_path):
    steps = (Step("long", 900, lambda bench: {}), Step("short", 1, lambda bench: {"x": 1}))
    assert run(monkeypatch, tmp_path, *steps, words=("--budget", "60")) == 0
    assert "wanted" in written(tmp_path)["long"]["skipped"]
    assert written(tmp_path)["short"]["x"] == 1


def test_only_some_steps_and_unknown_names(monkeypatch, tmp_path, capsys):
    steps = (Step("a", 1, lambda bench: {}), Step("b", 1, lambda bench: {}))
    assert run(monkeypatch, tmp_path, *steps, words=("--only", "b")) == 0
    assert set(written(tmp_path)) == {"machine", "elapsed_s", "b"}
    assert run(monkeypatch, tmp_path, *steps, words=("--only", "a, b")) == 0
    (tmp_path / "file").touch()
    for words, sentence in (
        (("--only", "c"), "unknown steps ['c']; choose from a, b"),
        (("--only", "a,"), "unknown steps ['']"),
        (("--images", "0"), "--images must be at least 1, not 0"),
        (("--device", "gpu"), "Unknown device 'gpu'"),
        (("--device", "cuda:70"), "--device: Device 'cuda:70' is not here"),
        (("--out", str(tmp_path / "file")), "--out: [Errno 17] File exists"),
    ):
        with pytest.raises(SystemExit) as ended:
            run(monkeypatch, tmp_path, *steps, words=words)
        assert ended.value.code == 2
        assert sentence in capsys.readouterr().err


def test_a_card_is_told_and_a_step_runs_on_a_phantom(tmp_path, drawn_on_host):
    with phantom.cuda():
        words = ["--device", "cuda", "--reduced", "--only", "attention,detector"]
        assert gpu_check.main([*words, "--out", str(tmp_path)]) == 0
    found = written(tmp_path)
    assert found["machine"]["card"] == "phantom"
    assert found["detector"]["float16: ms an image"] > 0


@pytest.mark.services
def test_all_steps_run_on_a_phantom(tmp_path, drawn_on_host):
    with phantom.cuda():
        words = ["--device", "cuda", "--reduced", "--out", str(tmp_path), "--budget", "3000"]
        code = gpu_check.main(words)
    found = written(tmp_path)
    assert not [name for name, step in found.items() if name != "elapsed_s" and "error" in step]
    assert code == 0
