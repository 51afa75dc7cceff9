"""What can be known to fail, all at once, before anything is loaded or made."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from int_bench.config import build_method, load_config
from int_bench.config.contents import ZOO
from int_bench.config.needs import memory
from int_bench.config.needs.hardware import Memory, _visible
from int_bench.config.needs.weights import weights_of
from int_bench.engine.rehearsal import rehearse
from int_bench.runs.preflight import checks
from tests.cli.test_cli import folder_of

OF_PAPER = ("llava-1.5-13b", "stable-diffusion-2", "grounding-dino-tiny", "sam_vit_h", "patch16")


@pytest.fixture
def bare(monkeypatch, tmp_path):
    """A machine without weights, with 25 GB of memory and no CUDA device."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "nothing"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(checks, "cuda_devices", lambda: ())
    monkeypatch.setattr(checks, "host_memory", lambda: Memory("host", 25 * 10**9, 20 * 10**9))


@pytest.mark.parametrize("dry", [True, False])
def test_everything_missing_is_named_at_once_with_its_command(command, bare, here, dry):
    words = ["run", "models=paper", "dataset=kvasir", *(["--dry-run"] if dry else [])]
    code, _, err = command(*words)
    assert code == 3
    for name in (*OF_PAPER, "ataset kvasir", "int-bench data fetch dataset=kvasir"):
        assert name in err
    for role in ("vlm", "inpainter", "detector", "segmenter", "aligner"):
        assert f"int-bench models fetch backbone/{role}=" in err
    assert "All weights at once: int-bench models fetch models=paper" in err
    assert "do not fit into host" in err and "nothing was loaded or made" in err
    assert not (here / "results").exists()


CROWD = ("run", "dataset=camoworld_crowd", "dataset.split=test")
SEGMENTER, SELECTOR = "backbone.instance_segmenter.adapter", "backbone.selector.checkpoint"


@pytest.mark.parametrize("dry", [["--dry-run"], []])
@pytest.mark.parametrize(
    ("words", "lack", "training", "key"),
    [
        (("method=sapnet", f"{SEGMENTER}=no"), "no is not there", "sapnet", SEGMENTER),
        (("method=sapnet",), "the folder of its training is not named", "sapnet", SEGMENTER),
        (("method=sapnet_select", f"{SELECTOR}=no"), "no is not", "sapnet_select", SELECTOR),
        (("method=plm_point",), "is not named", "plm", "backbone.segmenter.adapter"),
        (("method=plm_point", "backbone.segmenter.adapter=there"), "no readable config.json",
         "plm", "backbone.segmenter.adapter"),
        (("method=sam_point", "backbone.segmenter.adapter=/no/final"), "/no/final is not there",
         "sam_decoder", "backbone.segmenter.adapter"),
    ],
)  # fmt: skip
def test_what_was_not_trained_is_said_before_models_are_loaded(
    words, lack, training, key, dry, command, here
):
    (here / "there").mkdir()
    (here / "there" / "card.json").write_text(
        '{"trained_on": {"dataset": "x", "ids": [], "images": []}}'
    )
    code, _, err = command(*CROWD, *words, *dry)
    assert code == 3 and lack in err and "loading the models" not in err
    assert f"int-bench train method={training} dataset=NAME" in err and f"{key}=" in err
    assert not (here / "results").exists()


def test_a_device_that_is_not_here_is_one_sentence(command, bare):
    code, _, err = command("run", "device=cuda:1", "--dry-run")
    assert code == 2 and len(err.splitlines()) == 1
    assert "cuda:1 is asked for and this machine has no CUDA device" in err


def test_an_executor_whose_library_is_not_here_is_refused_before_it_is_asked(command, monkeypatch):
    find = checks.sources.find
    monkeypatch.setattr(checks.sources, "find", lambda name: None if name == "ray" else find(name))
    code, _, err = command("run", "method=empty", "executor=ray", "--dry-run")
    assert code == 3 and "pip install 'int-bench[ray]', or executor=inline" in err


def test_int_on_an_endpoint_is_refused_with_what_can_be_done(command, bare):
    code, _, err = command("run", "backbone/vlm=openai", "--dry-run")
    assert code == 2 and len(err.splitlines()) == 1
    assert "needs probabilities" in err and "reading=sampled" in err
    code, out, err = command("run", "backbone/vlm=openai", "reading=sampled", "--dry-run")
    assert code == 0 and "int-sampled" in out and "SAMPLED PROBABILITIES" in out


def test_masks_that_no_disk_holds_are_refused(command, monkeypatch, pairs):
    usage = type("Usage", (), {"free": 100})
    monkeypatch.setattr(checks.shutil, "disk_usage", lambda _: usage)
    code, _, err = command("run", *folder_of(pairs), "--dry-run")
    assert code == 3 and "100 bytes are free" in err


def test_what_is_finished_needs_no_weights(command, bare, pairs):
    words = ("run", *folder_of(pairs), "method=centre_box")
    assert command(*words)[0] == 0
    assert command(*words, "device=cuda")[0] == 0


def test_a_dry_run_estimates_calls_bytes_and_the_time_of_earlier_runs(command):
    words = ("run", "method=grounding_sam", "--limit", "1")
    assert "about 2 model calls, time known after the first" in command(*words, "--dry-run")[1]
    assert command(*words)[0] == 0
    code, out, _ = command("run", "method=grounding_sam", "--limit", "3", "--dry-run")
    assert code == 0 and "2 images, about 4 model calls" in out
    assert "as 1 image before took" in out and "of masks at most" in out


def test_the_rehearsal_counts_what_a_run_asks():
    config = load_config(["ablation=patches_original"])
    found = rehearse([build_method(config)], "camouflaged animal", trials=2)
    assert {key.partition(".")[0] for key in found.first} == set(config.backbone)
    assert found.first["inpainter.inpaint"] == 5 and found.further["vlm.answer"] == 0
    assert found.calls(10, trials=3)["inpainter.inpaint"] == 150


def test_a_method_that_raises_is_no_reason_to_refuse():
    class Odd:
        roles = frozenset({"vlm"})

        async def segment(self, sample, ask):
            raise RuntimeError

    assert rehearse([Odd()], "cat").requests == (None,)


def test_a_repository_in_parts_and_a_cut_file_are_not_taken_for_whole(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "models--a--b"
    snapshot = folder / "snapshots" / "c0"
    snapshot.mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("c0")
    config = load_config(["backbone.vlm.checkpoint=a/b"])

    def lacks() -> str:
        return next(part.lacks for part in weights_of(config) if part.role == "vlm")

    assert "neither weights" in lacks()
    shards = {"weight_map": {"x": "model-1.safetensors", "y": "model-2.safetensors"}}
    (snapshot / "model.safetensors.index.json").write_text(json.dumps(shards))
    whole = (ZOO / "llava" / "model.safetensors").read_bytes()
    (snapshot / "model-1.safetensors").write_bytes(whole)
    assert lacks() == "is here without model-2.safetensors"
    (snapshot / "model-2.safetensors").write_bytes(whole[:-1])
    assert "model-2.safetensors is cut short" in lacks()
    (snapshot / "model-2.safetensors").write_bytes(whole)
    assert lacks() == ""
    others = (ZOO / "sam" / "model.safetensors").read_bytes()
    for number in (1, 2):
        (snapshot / f"model-{number}.safetensors").write_bytes(others)
    assert lacks().startswith("holds the weights of another model")
    quantised = whole.replace(b'"dtype":"F16"', b'"dtype":"I8" ', 1)
    (snapshot / "model-2.safetensors").write_bytes(quantised)
    assert lacks() == (
        "is quantised (I8 in model-2.safetensors), and models compute in 32 or 16 bit"
    )
    part = next(part for part in weights_of(config) if part.role == "vlm")
    assert not part.fetchable and part.remedy == "backbone.vlm.checkpoint=PATH"


def test_memory_is_counted_in_the_precision_that_is_computed_in():
    small = {need.role: need for need in memory.demands(load_config(["models=paper"]))}
    half = load_config(["models=paper", "backbone.vlm.dtype=float16", "exactness=E1"])
    large = {need.role: need for need in memory.demands(half)}
    head = 4 * 32_064 * 5120  # held in 32 bit beside the model of 16 bit
    assert small["vlm"].weights == 2 * (large["vlm"].weights - head)
    assert large["vlm"].weights == pytest.approx(26.7e9 + head, rel=0.001)
    # Keys and values of 2 images of 9 pictures of 704 tokens, 0.8 MiB a token.
    assert large["vlm"].prefixes == 18 * 704 * 819_200


@pytest.mark.parametrize(
    ("total", "free", "sentence"),
    [
        (30, 30, "of weights do not fit into T's 30.0 GB; models=small, or another device"),
        (36.8, 36.8, "needs 2.3 GB for one request, and the weights leave "),
        (80, 20, "do not fit into the 20.0 GB that are free of T's 80.0 GB; end what else comput"),
        (80, 80, ""),
    ],
)
def test_a_gpu_that_is_too_small_is_said_before_weights_are_read(
    monkeypatch, total, free, sentence
):
    card = Memory("T", int(total * 1e9), int(free * 1e9))
    monkeypatch.setattr(checks, "cuda_devices", lambda: (card,))
    needs = memory.demands(load_config(["models=paper", "device=cuda", "exactness=E1"]))
    faults = list(checks._of_memory(needs))
    assert [fault.code for fault in faults] == [2] * bool(sentence)
    assert all(sentence in fault.sentence for fault in faults)


def test_visible_devices_are_those_that_cuda_shows():
    a, b = Memory("a", 1, 1), Memory("b", 2, 2)
    assert _visible((a, b), None) == (a, b) and _visible((a, b), "1,0") == (b, a)
    assert _visible((a, b), "") == () and _visible((a, b), "0,7,1") == (a,)
    assert _visible((a, b), "GPU-1234") is None


def test_photographs_under_tiny_models_are_said_aloud_and_stamped(command, pairs):
    words = ("run", *folder_of(pairs), "method=llava_sam", "--limit", "1")
    code, out, err = command(*words, "--json")
    assert code == 0 and "TINY MODELS ON PHOTOGRAPHS" in err
    run = json.loads(out)
    assert "TINY MODELS" in run["stamps"][0]
    assert json.loads((Path(run["run_dir"]) / "run.json").read_text())["stamps"] == run["stamps"]
    folded = " ".join(command("table", "--runs", run["run_dir"], "--format", "md")[1].split())
    assert "TINY MODELS ON PHOTOGRAPHS" in folded


def test_drawn_scenes_in_files_are_known_as_drawn(command, here):
    assert command("data", "make", "camoworld", "--out", "drawn", "-n", "1")[0] == 0
    words = ("run", *folder_of(here / "drawn"), "method=llava_sam", "--dry-run")
    assert "TINY" not in command(*words)[1]
    image = here / "drawn" / "images" / "demo-00000.png"
    Image.fromarray(np.asarray(Image.open(image))).save(image)  # as another program would
    assert "TINY" in command(*words)[1]


def test_a_dry_run_stays_within_its_seconds_and_imports_no_torch(here):
    code = (
        "import sys, time\n"
        "from int_bench.cli.app import exit_code\n"
        "assert exit_code(['run', 'models=paper', '--dry-run']) == 3\n"
        "assert not {'torch', 'huggingface_hub', 'transformers'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
