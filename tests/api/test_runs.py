"""Runs from Python: the folder, masks and scores of the command line."""

from __future__ import annotations

import json

import numpy as np
import pytest

import int_bench
from int_bench.core.named_folders import name_folders
from int_bench.errors import MissingAsset, SampleError, UsageError


def test_a_run_is_the_command_lines(command, here):
    run = int_bench.run("method=centre_box", limit=3)
    code, out, _ = command("run", "method=centre_box", "--limit", "3", "--json")
    told = json.loads(out)
    assert code == 0 and (here / told["run_dir"]).samefile(run.path)
    assert told["metrics"] == run.scores.metrics and run.scores.counts.complete
    assert list(run.masks) == sorted(run.scores.samples) and len(run.masks) == 3
    assert all(mask.dtype == np.bool_ and mask.any() for mask in run.masks.values())
    assert run.scores.metrics == run.scores.floor["centre_box"]
    again = int_bench.read_run(run.path)
    assert again.scores == run.scores and again.name == "centre_box"
    assert [key for _, key in again.records] == list(run.masks) and not again.failures
    fewer = int_bench.run("method=centre_box", limit=1)
    assert len(fewer.masks) == fewer.scores.counts.n == 1 and len(again.records) == 3
    assert repr(run.masks) == "Masks(3 samples)"
    assert repr(again).startswith("Run('centre_box' on 'camoworld', 3 masks, ")


def test_the_scores_are_over_all_trials_as_the_command_lines(command, here):
    run = int_bench.run("method=centre_box", "trials=2", limit=3)
    assert [len(masks) for masks in run.trials] == [3, 3] and not run.failures
    assert run.scores.counts.n == 6 and run.scores.counts.trials == 2
    _, sample, _ = run.masks
    run.trials[1].paths[sample].unlink()
    run = int_bench.read_run(run.path)
    code, out, _ = command("eval", run.path, "--json")
    told = json.loads(out)
    assert code == 4 and run.scores.counts.as_json().items() <= told.items()
    assert run.scores.counts.failed == 1 and told["metrics"] == run.scores.metrics
    assert list(run.failures) == [(1, sample)] and len(run.scores.samples) == 3


def test_a_mask_that_is_gone_is_named_and_made_again(here):
    run = int_bench.run("method=full", limit=2)
    (first, path), *_ = run.masks.paths.items()
    path.write_bytes(b"")
    with pytest.raises(SampleError, match=path.name):
        run.masks[first]
    assert int_bench.run("method=full", limit=2).masks[first].all()


def test_what_is_no_run_is_one_sentence(here):
    with pytest.raises(MissingAsset, match=r"nowhere: there is no such run folder\."):
        int_bench.read_run("nowhere")
    with pytest.raises(UsageError, match="limit must be"):
        int_bench.run("method=full", limit=0)
    with pytest.raises(MissingAsset, match="no folder of images"):
        int_bench.run("dataset=camo", "method=full")


def test_all_that_is_missing_is_named_before_anything_is_made(here, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(here / "hub"))
    for call in (int_bench.load, int_bench.run):
        with pytest.raises(MissingAsset) as raised:
            call("models=small")
        said = str(raised.value)
        assert "fetch backbone/vlm=llava_onevision_0_5b" in said
        assert "fetch backbone/segmenter=sam_vit_b" in said
    assert not (here / "results").exists()


def test_files_of_ones_own(here, pairs):
    (here / "mine" / "dataset").mkdir(parents=True)
    text = f"name: pond\nimages: {pairs / 'images'}\nmasks: {pairs / 'masks'}\n"
    target = "# The pond.\n_target_: int_bench.data.folders.PairedFolders\n"
    (here / "mine" / "dataset" / "pond.yaml").write_text(target + text)
    for wrong, kind in ((here / "gone", MissingAsset), (here, UsageError)):
        with pytest.raises(kind):
            int_bench.load("method=full", config_dir=wrong)
    try:
        run = int_bench.run("dataset=pond", "method=full", config_dir=here / "mine")
        assert run.dataset == "pond" and run.scores.counts.scored == 6
        assert int_bench.load("dataset=pond", "method=full").config.dataset_name == "pond"
    finally:
        name_folders(())


def test_a_trace_and_its_page(here):
    run = int_bench.run("method.iterations=1", "keep=trace", limit=1)
    page = run.report(here / "page.html")
    text = page.read_text()
    (record,) = run.records.values()
    assert record.prompt in text and "data:image/webp;base64," in text
    box = int_bench.run("method=centre_box", limit=1)
    assert box.report("two.html", run).stat().st_size > 0
    sample = next(iter(run.masks))
    model = int_bench.load("method.iterations=1")
    image = model_image(run, sample)
    traced = model.segment(image, sample, trace=True)
    (iteration,) = traced.iterations
    assert {"view", "erased"} <= {name.partition(" ")[0] for name in iteration.pictures}
    assert np.array_equal(traced.mask, run.masks[sample])
    plain = model.segment(image, sample)
    assert not plain.iterations[0].pictures and np.array_equal(plain.mask, traced.mask)


def model_image(run, sample):
    """The image of a sample of the drawn world."""
    dataset = run._stored.truths()
    return dataset.load_image(next(s for s in dataset.samples() if s.id == sample))
