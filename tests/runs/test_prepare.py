"""What is checked before a run begins or goes on."""

from __future__ import annotations

import os
import shutil

import pytest

from int_bench.config import load_config
from int_bench.config.contents import ZOO, content_of
from int_bench.errors import UsageError
from int_bench.runs.prepare import RunRequest, prepare


def test_a_run_never_goes_on_with_other_weights_of_the_same_name(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    refs = tmp_path / "hub" / "models--org--sam" / "refs"
    words = ["method=oracle_box_sam", "backbone.segmenter.checkpoint=org/sam", "limit=1"]
    config = load_config([*words, "device=cpu", f"out={tmp_path / 'runs'}"])

    def begin() -> None:
        [run] = prepare([RunRequest(config)])
        with run.open({"segmenter": {}}):
            pass

    begin()  # nothing is known of the weights before they are downloaded
    refs.mkdir(parents=True)
    (refs / "main").write_text("a" * 40)
    begin()
    begin()
    (refs / "main").write_text("b" * 40)
    with pytest.raises(UsageError, match=r"begun with commit aaaaaaaaaaaa of org/sam, and bbb"):
        begin()


def test_weights_that_were_overwritten_in_place_begin_another_run(tmp_path, monkeypatch):
    """Size and time are as they were; the command between the two is another process."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    shutil.copytree(ZOO / "sam", tmp_path / "sam")
    weights = tmp_path / "sam" / "model.safetensors"
    os.utime(weights, (1e9, 1e9))
    words = ["method=oracle_box_sam", f"backbone.segmenter.checkpoint={tmp_path / 'sam'}"]
    config = load_config([*words, "limit=1", "device=cpu", f"out={tmp_path / 'runs'}"])

    def begun():
        content_of.cache_clear()
        (run,) = prepare([RunRequest(config)])
        with run.open({"segmenter": {}}):
            return run.path

    first = begun()
    assert begun() == first
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    os.utime(weights, (1e9, 1e9))
    assert begun() != first
