"""``models fetch`` against a hub and a file server on this machine."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from int_bench.config.contents import ZOO, hub_folder
from int_bench.config.needs import checkpoints
from tests.conftest import HANGING
from tests.file_host import hosting
from tests.hub_host import COMMIT, hub

DETECTOR = "backbone.detector.checkpoint=tiny/dino"
WEIGHTS = "model.safetensors"


@pytest.fixture
def models(monkeypatch, tmp_path):
    """A hub that has the shipped detector as ``tiny/dino``, beside files that nobody loads."""
    with hub() as host:
        folder = ZOO / "grounding_dino"
        files = {path.name: path.read_bytes() for path in folder.iterdir()}
        host.repositories["tiny/dino"] = {**files, "huge.ckpt": b"x" * 1000, "README.md": b"# it"}
        monkeypatch.setenv("HF_ENDPOINT", host.url.rstrip("/"))
        monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
        monkeypatch.setenv("HF_HUB_OFFLINE", "0")
        monkeypatch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")
        yield host


def fetch(*words: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own: the hub's library reads its settings when it is imported."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    line = [sys.executable, "-m", "int_bench", "models", "fetch", *words]
    return subprocess.run(line, capture_output=True, text=True, env=environment)


@pytest.mark.services
def test_what_is_loaded_arrives_verified_and_a_run_finds_it_offline(models, tmp_path):
    models.break_after.append(50_000)  # the first file breaks off
    done = fetch(DETECTOR)
    assert done.returncode == 0, done.stderr
    assert "detector: tiny/dino" in done.stdout and "verified" in done.stdout
    snapshot = hub_folder("tiny/dino") / "snapshots" / COMMIT
    names = {path.name for path in snapshot.iterdir()}
    assert WEIGHTS in names and not names & {"huge.ckpt", "README.md"}
    run = [sys.executable, "-m", "int_bench", "run", "method=grounding_sam", DETECTOR, "-n", "1"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    environment |= {"HF_HUB_OFFLINE": "1", "HF_ENDPOINT": "http://127.0.0.1:9"}
    ran = subprocess.run(
        [*run, "--json"], capture_output=True, text=True, env=environment, cwd=tmp_path
    )
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["scored"] == 1


def test_a_damaged_file_is_fetched_again_and_what_is_here_is_verified(models):
    models.damaged[WEIGHTS] = 1
    done = fetch(DETECTOR)
    assert done.returncode == 0, done.stderr
    blob = (hub_folder("tiny/dino") / "snapshots" / COMMIT / WEIGHTS).resolve()
    content = blob.read_bytes()
    assert hashlib.sha256(content).hexdigest() == blob.name
    blob.write_bytes(content[:-1] + b"?")  # later, on this disk
    assert fetch(DETECTOR).returncode == 0 and blob.read_bytes() == content


def test_a_file_that_always_arrives_damaged_is_refused(models):
    models.damaged[WEIGHTS] = 99
    done = fetch(DETECTOR)
    assert done.returncode == 3 and f"{WEIGHTS} arrives damaged" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_download_that_was_interrupted_loses_nothing_and_resumes(models, number):
    models.repositories["tiny/dino"][WEIGHTS] = content = os.urandom(2**20) * 24
    models.stall_after = 16 * 2**20  # more than sockets hold
    line = [sys.executable, "-m", "int_bench", "models", "fetch", DETECTOR]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(line, stdout=-1, stderr=-1, text=True, env=environment) as process:
        assert models.stalled.wait(HANGING)
        process.send_signal(number)
        _, err = process.communicate(timeout=HANGING)  # the host would wait for ever
    models.go_on.set()
    assert process.returncode == 130 and "Traceback" not in err, err
    assert "What has arrived is kept; the same command resumes." in err and len(err) < 1000
    begun = [path.stat().st_size for path in hub_folder("tiny/dino").rglob("*.incomplete")]
    assert len(begun) == 1 and 2**20 <= begun[0] <= 16 * 2**20
    models.stall_after = None
    done = fetch(DETECTOR)
    assert done.returncode == 0, done.stderr
    assert f"bytes={begun[0]}-" in [asked for _, _, asked in models.log]
    snapshot = hub_folder("tiny/dino") / "snapshots" / COMMIT
    assert (snapshot / WEIGHTS).read_bytes() == content


def test_what_the_hub_does_not_have_is_a_sentence(models):
    done = fetch("backbone.detector.checkpoint=no/where")
    assert done.returncode == 3 and "Traceback" not in done.stderr
    assert "no/where is not to be found at http://127.0.0.1" in done.stderr


def test_a_single_file_resumes_and_is_compared_with_its_published_hash(
    command, monkeypatch, tmp_path
):
    content = os.urandom(300_000)
    name = "sam_vit_b_01ec64.pth"
    monkeypatch.delenv("HF_HUB_OFFLINE")
    with hosting() as host:
        host.files[name] = content
        here = {"url": host.url + name, "bytes": len(content)}
        right = replace(checkpoints.KNOWN[name], **here, sha256=hashlib.sha256(content).hexdigest())
        monkeypatch.setitem(checkpoints.KNOWN, name, right)
        place = tmp_path / "models" / name
        place.parent.mkdir()
        place.with_name(f"{name}.part").write_bytes(content[:1000])
        words = ("models", "fetch", "backbone/segmenter=sam_vit_b", f"models_dir={place.parent}")
        code, out, err = command(*words)
        assert code == 0 and "verified" in out, err
        assert place.read_bytes() == content and host.log == ["bytes=1000-"]
        monkeypatch.setitem(checkpoints.KNOWN, name, replace(right, sha256="0" * 64))
        code, _, err = command(*words)
        assert code == 3 and "not the file that was published" in err and not place.exists()


def test_without_a_network_by_choice_nothing_is_tried(command):
    code, _, err = command("models", "fetch", "models=paper")
    assert code == 2 and "HF_HUB_OFFLINE forbids downloads" in err
