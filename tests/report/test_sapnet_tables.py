"""SAPNet's tables: the published rows, ours beside them, and what AP is computed from."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from int_bench.core.details import Details
from int_bench.core.geometry import run_lengths
from int_bench.core.types import Iteration, Masks, Prediction
from int_bench.data.world.crowd_dataset import CrowdScenes
from int_bench.errors import MissingAsset, UsageError
from int_bench.metrics.selection import filling
from int_bench.report.sapnet.scores import Facts, InstanceScores, instance_scores
from int_bench.report.sapnet.tables import NAMES, published_lines, sapnet_table
from int_bench.report.statistics import Interval
from int_bench.runs.folder import RunFolder
from int_bench.runs.records import Record, Step
from tests.runs.test_store import CONTENT

FULL = {
    "psm": {"pdg": "paper"},
    "prm": {"enabled": True},
    "bms": {"after": "prm", "t_min": [0.6, 0.3]},
    "pnpg": {"ppg": "paper", "npg": "random3", "t_neg": [0.3, 0.5]},
}
BARE = {
    **FULL,
    "psm": {"pdg": "off"},
    "prm": {"enabled": False},
    "bms": {"after": "off", "t_min": [0.6, 0.3]},
}


def scores(**facts):
    return InstanceScores(
        Path("run"),
        "sapnet",
        "coco",
        5000,
        True,
        {"AP": 31.0, "AP50": 51.0, "AP75": 30.0},
        {"AP": Interval(30.8, 31.4), "AP50": Interval(49, 53), "AP75": Interval(29, 31)},
        Facts(**{"labels": "sapnet", "trunk": "resnet50", "mps": True, "selector": FULL, **facts}),
    )


def rows_of(name, *runs):
    return [row.cells for row in sapnet_table(name, runs).rows]


@pytest.mark.parametrize("name", NAMES)
def test_every_table_has_its_published_rows(name):
    lines = published_lines(name[-1])
    assert lines and all(line.numbers for line in lines)
    assert [row["row"] for row in rows_of(name)] == ["published"] * len(lines)


def test_components_add_up_as_the_text_says():
    steps = np.diff([float(line.numbers["AP"]) for line in published_lines("4")])
    assert steps == pytest.approx([0.7, 0.2, 2.0, 1.1, 0.4])


def test_ours_stands_behind_its_row_with_difference_and_verdict():
    rows = rows_of("sapnet:1", scores())
    place = next(n for n, row in enumerate(rows) if row.get("method") == "SAPNet")
    ours, difference, verdict = rows[place + 1 : place + 4]
    assert ours["row"] == "ours: SAPNet" and ours["AP"] == 31.0
    assert difference["AP"] == pytest.approx(-0.2)
    assert (verdict["AP"], verdict["AP50"], verdict["AP75"]) == (
        "reproduced", "undecidable", "differs")  # fmt: skip
    part = rows_of("sapnet:1", replace(scores(), complete=False))[place + 3]
    assert part["AP"] == "undecidable"


@pytest.mark.parametrize(
    ("name", "facts", "published"),
    [
        ("sapnet:1", {"labels": "sam_top1"}, "24.6"),
        ("sapnet:1", {"labels": "truth"}, "34.8"),
        ("sapnet:1", {"trunk": "resnet101", "mps": False}, "34.6"),
        ("sapnet:1", {"shared": True}, "31.2"),
        ("sapnet:3", {}, "30.18"),
        ("sapnet:3", {"shared": True}, "31.2"),
        ("sapnet:4", {}, "31.2"),
        ("sapnet:4", {"mps": False}, "30.8"),
        ("sapnet:4", {"mps": False, "selector": {**FULL, "bms": {"after": "off"}}}, "29.7"),
        ("sapnet:5", {"selector": {**FULL, "bms": {"after": "prm", "t_min": [0.7, 0.4]}}}, "30.7"),
        ("sapnet:6", {"selector": {**FULL, "pnpg": {"ppg": "paper", "npg": "none"}}}, "29.8"),
        ("sapnet:8", {}, "31.2"),
        ("sapnet:4", {"selector": None}, None),
        ("sapnet:4", {"labels": "mil_single", "mps": False, "selector": BARE}, "26.8"),
        ("sapnet:1", {"selector": None}, "31.2"),
        ("sapnet:1", {"selector": BARE}, None),
        ("sapnet:1", {"trunk": "small"}, None),
        ("sapnet:5", {"selector": BARE}, None),
        ("sapnet:6", {"selector": {**FULL, "pnpg": {"ppg": "paper", "npg": "off"}}}, None),
    ],
)
def test_what_a_network_learnt_from_decides_its_row(name, facts, published):
    table = sapnet_table(name, [scores(**facts)])
    ours = next(n for n, row in enumerate(table.rows) if str(row.cells["row"])[:4] == "ours")
    if published is None:
        assert ours == len(table.rows) - 1
    else:
        assert table.rows[ours - 1].shown["AP"] == published
        assert table.rows[ours + 2].cells["row"] == "verdict"


def test_another_world_has_nothing_to_be_held_against():
    table = sapnet_table("sapnet:1", [replace(scores(), dataset="camoworld_crowd")])
    assert table.rows[-1].cells["row"] == "ours: SAPNet"
    assert "1 run of ours at the end" in table.notes[-1]
    with pytest.raises(UsageError, match="choose sapnet:1"):
        sapnet_table("sapnet:10", [])


def stored(path, name, config, answers):
    """A run folder with one iteration of each answer: a box and details."""
    data = CrowdScenes(**config)
    content = {
        **CONTENT,
        "name": name,
        "label": name,
        "config": {
            **CONTENT["config"],
            "dataset": {"_target_": "int_bench.data.world.crowd_dataset.CrowdScenes", **config},
            "backbone": {"instance_segmenter": {"adapter": str(path.parent / "trained" / "final")}},
        },
    }
    with RunFolder(path, content, "final") as folder:
        for sample in data.samples():
            box, details = answers(data, sample)
            mask = data.load_mask(sample)
            step = Iteration(Masks(mask, mask.astype(np.float32)), "animal", box, details)
            kept = Record(
                sample.id,
                0,
                "ok",
                prompt="animal",
                box=box,
                chosen=(0,),
                iterations=(Step("animal", box, details),),
            )
            folder.commit(kept, Prediction((step,), (0,)))
    return path


CONFIG = {"name": "camoworld_crowd", "split": "val", "count": 3, "size": 64, "unit": "image"}


def perfect(data, sample):
    found = [
        {"category": part.category, "score": 0.9, "counts": run_lengths(part.mask)}
        for part in data.objects(sample)
    ]
    return None, Details(instances=found)


def test_true_masks_have_full_precision_and_facts_are_the_trainings(tmp_path):
    pytest.importorskip("faster_coco_eval")
    (tmp_path / "trained").mkdir()
    method = {"labels": "truth", "mps": True, "architecture": {"trunk": "small"}}
    told = {"config": {"method": method, "backbone": {}}}
    (tmp_path / "trained" / "run.json").write_text(json.dumps(told))
    made = instance_scores(stored(tmp_path / "run", "sapnet", CONFIG, perfect))
    assert made.numbers["AP"] == made.numbers["AP50"] == 100.0 and made.complete
    assert made.intervals["AP"] == Interval(100.0, 100.0) and made.images == 3
    assert made.facts == Facts("truth", "small", False, None)


def test_a_training_end_to_end_has_a_selector_of_its_own(tmp_path):
    pytest.importorskip("faster_coco_eval")
    (tmp_path / "trained").mkdir()
    method = {"labels": "end_to_end", "mps": True, "architecture": {"trunk": "resnet50"}, **FULL}
    (tmp_path / "trained" / "run.json").write_text(json.dumps({"config": {"method": method}}))
    made = instance_scores(stored(tmp_path / "run", "sapnet", CONFIG, perfect))
    assert made.facts == Facts("sapnet", "resnet50", True, method, shared=True)
    assert sapnet_table("sapnet:3", [made]).rows[-1].cells["row"] == "ours: SAPNet, end to end"


def test_boxes_of_masks_have_a_precision_of_their_own(tmp_path):
    """Table 9: a mask without its middle has half the IoU, and its box all of it."""
    pytest.importorskip("faster_coco_eval")

    def hollow(data, sample):
        found = []
        for part in data.objects(sample):
            rows, columns = np.nonzero(part.mask)
            border = (rows == rows.min()) | (rows == rows.max())
            border |= (columns == columns.min()) | (columns == columns.max())
            mask = np.zeros_like(part.mask)
            mask[rows[border], columns[border]] = True
            counts = run_lengths(mask)
            found.append({"category": part.category, "score": 0.9, "counts": counts})
        return None, Details(instances=found)

    folder = stored(tmp_path / "run", "sapnet", CONFIG, hollow)
    assert instance_scores(folder).numbers["AP25"] == 0.0
    made = instance_scores(folder, "boxes")
    assert made.numbers == {"box_AP": 100.0, "box_AP50": 100.0}
    assert made.intervals["box_AP"] == Interval(100.0, 100.0)
    published = replace(made, facts=scores().facts)
    for dataset, column in (("coco", "COCO17_AP"), ("voc_sbd", "VOC12_AP50")):
        table = sapnet_table("sapnet:9", [replace(published, dataset=dataset)])
        ours = next(n for n, row in enumerate(table.rows) if row.cells["row"] == "ours: SAPNet")
        assert table.rows[ours - 1].cells["method"] == "SAPNet"
        assert table.rows[ours].cells[column] == 100.0
        assert table.rows[ours + 2].cells[column] == "differs"
    table = sapnet_table("sapnet:9", [made])
    assert table.rows[-1].cells["box_AP50"] == 100.0
    assert [c.title for c in table.columns][-5:-2] == ["VOC12 AP50", "box AP", "box AP50"]


def test_precision_is_of_images(tmp_path):
    folder = stored(tmp_path / "run", "sapnet", {**CONFIG, "unit": "object"}, perfect)
    with pytest.raises(MissingAsset, match=r"run it again with dataset\.unit=image"):
        instance_scores(folder)


OBJECTS = {**CONFIG, "unit": "object"}


def halved(data, sample):
    """The upper half of the box; a bag of the mask and of its full box."""
    own = data.objects(sample)[0]
    x0, y0, x1, y1 = own.box
    proposals = [
        {"box_image": list(own.box), "score": 0.5, "area": own.mask.sum() * factor}
        for factor in (1.0, 1.1)
    ]
    return (x0, y0, x1, y0 + (y1 - y0) / 2), Details(detections=proposals)


def test_what_was_selected_is_held_against_the_objects(tmp_path):
    made = instance_scores(stored(tmp_path / "run", "mil_single", OBJECTS, halved), "selection")
    # The selected masks are the true ones: those that are fuller than most differ by nothing.
    data = CrowdScenes(**OBJECTS)
    shares = [filling(data.load_mask(sample)) for sample in data.samples()]
    assert max(shares) > 1.1 * np.mean(shares)
    assert made.numbers == {"mIoU_box": pytest.approx(50.0), "gap": 0.0}
    rows = rows_of("sapnet:7", replace(made, dataset="coco"))
    assert [row["row"] for row in rows[:3]] == ["published", "ours: Single-MIL", "ours - published"]
    assert rows[2]["gap"] == pytest.approx(-0.199) and rows[3]["gap"] == "differs"


def test_records_of_earlier_versions_have_no_gap(tmp_path):
    def without_areas(data, sample):
        box, details = halved(data, sample)
        kept = [{**part} for part in details["detections"]]
        for part in kept:
            del part["area"]
        return box, Details(detections=kept)

    made = instance_scores(
        stored(tmp_path / "run", "oracle_of_bag", OBJECTS, without_areas), "selection"
    )
    assert set(made.numbers) == {"mIoU_box"}
    assert rows_of("sapnet:7", made)[-1]["row"] == "ours: best of the bag"


@pytest.mark.parametrize("name", NAMES)
def test_a_table_without_ours_says_what_makes_some(name):
    said = sapnet_table(name, []).notes[-1]
    assert said.startswith("Nothing of ours stands beside a row.")
    assert "int-bench train method=sapnet" in said and "int-bench run method=sapnet" in said


def test_a_run_is_refused_by_tables_that_are_not_of_it(tmp_path):
    folder = stored(tmp_path / "run", "mil_single", OBJECTS, halved)
    with pytest.raises(
        MissingAsset, match="is a run of mil_single; this table is of method=sapnet"
    ):
        instance_scores(folder)
    other = stored(tmp_path / "other", "int", CONFIG, lambda data, sample: (None, Details()))
    with pytest.raises(MissingAsset, match="recorded no instances"):
        instance_scores(other)
    with pytest.raises(MissingAsset, match="this table is of method=sam_top1_point, mil_single"):
        instance_scores(other, "selection")
