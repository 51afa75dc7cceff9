"""Weights & Biases, MLflow and Trackio themselves, offline, in environments of their own."""

from __future__ import annotations

import json
import os
import subprocess

import pytest

from scripts.trackers import NAMES, python_of

pytestmark = pytest.mark.services

READ = {
    "wandb": """
import json
from pathlib import Path
from wandb.proto.wandb_internal_pb2 import Record
def records(data, at=7):
    "LevelDB's log: blocks of 32 KiB, records of a checksum, a length and a type, whole or in parts"
    part = b""
    while at + 7 <= len(data):
        length, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        if kind:
            part += data[at + 7 : at + 7 + length]
            if kind in (1, 4):
                record = Record()
                record.ParseFromString(part)
                yield record
                part = b""
            at += 7 + length
        if not kind or 32768 - at % 32768 < 7:
            at += -at % 32768
files, runs, kept = Path("wandb").glob("offline-run-*/run-*.wandb"), [], {}
for file in sorted(files, key=lambda file: file.stat().st_mtime_ns):
    kept = {"history": [], "summary": {}, "config": {}}
    for record in records(file.read_bytes()):
        if record.HasField("run"):
            kept["id"], kept["name"] = record.run.run_id, record.run.display_name
            kept["config"] |= {i.key: json.loads(i.value_json) for i in record.run.config.update}
        for item in record.summary.update:
            kept["summary"][item.key or item.nested_key[0]] = json.loads(item.value_json)
        if record.HasField("history"):
            row = {i.key or i.nested_key[0]: json.loads(i.value_json) for i in record.history.item}
            kept["history"].append(row["samples"])
        if record.HasField("exit"):
            kept["whole"] = record.exit.exit_code == 0
    runs.append(kept)
steps = [step for run in runs for step in run["history"]]
seed, score = kept["config"]["seed"], kept["summary"]["native.S"]
print(json.dumps([kept["id"], kept["name"], seed, steps, score, kept["whole"]]))
""",
    "mlflow": """
import json, os
os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"
from pathlib import Path
from mlflow import MlflowClient
client = MlflowClient(Path("mlruns").absolute().as_uri())
(run,) = client.search_runs([client.get_experiment_by_name("int-bench").experiment_id])
steps = [metric.step for metric in client.get_metric_history(run.info.run_id, "seconds")]
digest, seed = run.data.tags["digest"], run.data.params["seed"]
score, whole = run.data.metrics["native.S"], run.info.status == "FINISHED"
print(json.dumps([digest, run.info.run_name, int(seed), steps, score, whole]))
""",
    "trackio": """
import json
from trackio.sqlite_storage import SQLiteStorage
(name,) = SQLiteStorage.get_runs("int-bench")
rows = SQLiteStorage.get_logs("int-bench", name)
config = SQLiteStorage.get_run_config("int-bench", name)
label, _, digest = name.rpartition(" ")
steps = [row["samples"] for row in rows if "samples" in row]
score, whole = rows[-1]["native.S"], bool(rows[-1]["whole"])
print(json.dumps([digest, label, config["seed"], steps, score, whole]))
""",
}
"""What lies there after the runs, as the tracker itself reads it: digest, name, seed, the steps,
the score, and whether the run is said to have ended well."""


@pytest.fixture(params=NAMES)
def tracker(request, tmp_path):
    """Its name, and how to run a program in its environment: the result's last line."""
    python = python_of(request.param)
    if not python.exists():
        reason = f"{request.param} has no environment; make it with `python -m scripts.trackers`"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    own = ("WANDB_", "MLFLOW_", "TRACKIO_", "PYTHONPATH")
    environment = {key: v for key, v in os.environ.items() if not key.startswith(own)}
    environment |= {"TRACKIO_DIR": str(tmp_path / "trackio"), "HOME": str(tmp_path)}

    def call(*words: str, **more: str) -> tuple[str, str]:
        done = subprocess.run(
            [python, *words], cwd=tmp_path, capture_output=True, text=True, env=environment | more
        )
        assert done.returncode == 0, done.stderr
        return done.stdout, done.stderr

    return request.param, call


def words(pairs, name, *more):
    places = [f"dataset.images={pairs / 'images'}", f"dataset.masks={pairs / 'masks'}"]
    box = ["method=centre_box", "dataset=folder", *places]
    return ["-m", "int_bench", "run", f"sink={name}", *box, "--json", *more]


def test_a_run_and_its_continuation(tracker, pairs):
    name, call = tracker
    call(*words(pairs, name, "--limit", "2"))
    out, err = call(*words(pairs, name, "--limit", "5"))
    assert "is told no more" not in err
    result = json.loads(out)
    digest, label, seed, steps, score, whole = json.loads(call("-c", READ[name])[0])
    assert result["run_dir"].endswith(digest)
    assert (label, seed, steps, whole) == ("centre_box", 0, [1, 2, 3, 4, 5], True)
    assert score == pytest.approx(result["metrics"]["native"]["S"], abs=1e-12)


def test_runs_side_by_side(tracker, pairs):
    name, call = tracker
    out, err = call(*words(pairs, name, "seed=1,2"))
    assert "is told no more" not in err and len(json.loads(out)["runs"]) == 2


def test_a_tracker_that_cannot_be_reached_ends_nothing(tracker, pairs, tmp_path):
    name, call = tracker
    nowhere = {
        "wandb": {"WANDB_BASE_URL": "http://127.0.0.1:9", "WANDB_API_KEY": "a" * 40},
        "mlflow": {
            "MLFLOW_TRACKING_URI": "http://127.0.0.1:9",
            "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
        },
        "trackio": {"TRACKIO_SERVER_URL": "http://127.0.0.1:9"},
    }[name]
    out, err = call(*words(pairs, name), **nowhere)
    assert json.loads(out)["scored"] == 6
    assert f"{name} is told no more, and the run goes on: " in err
