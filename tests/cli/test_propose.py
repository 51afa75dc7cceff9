"""``int-bench propose`` as it is typed."""

import json

import pytest

from int_bench.cli.app import exit_code
from int_bench.errors import Exit
from tests.data.instances.coco_files import annotation, content, write_set


def test_it_prints_the_folder_of_the_bags_and_makes_none_twice(tmp_path, capsys):
    words = ["propose", "dataset=camoworld_crowd", "dataset.count=2", "--out", str(tmp_path)]
    assert exit_code(words) == Exit.DONE
    first = capsys.readouterr()
    folder = tmp_path / "camoworld_crowd" / first.out.split("/")[-1].strip()
    lines = [json.loads(line) for line in (folder / "bags.jsonl").read_text().splitlines()]
    assert [line["sample"] for line in lines] == ["demo-00000-0", "demo-00001-0"]
    assert all(len(bag["runs"]) == 6 for line in lines for bag in line["bags"])
    assert "Bags of 2 of 2 images are made." in first.err
    assert exit_code(words) == Exit.DONE
    again = capsys.readouterr()
    assert again.out == first.out
    assert "Bags of" not in again.err


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("method=int", "proposals are made for no method"),
        ("method.proposing.enhancer=none", "enhancer=jitter"),
    ],
)
def test_what_makes_no_bags_is_refused(tmp_path, capsys, word, said):
    words = ["propose", "dataset=camoworld_crowd", word, "--out", str(tmp_path)]
    assert exit_code(words) == Exit.USAGE
    assert said in capsys.readouterr().err


def test_an_object_that_cannot_be_used_costs_no_other(tmp_path, capsys):
    crowd, empty = annotation(3, iscrowd=1), annotation(1, segmentation=[])
    told = write_set(tmp_path, content(empty, annotation(2), crowd, annotation(4, 2, 7)))
    words = ["propose", *told, "models=tiny", "--out", str(tmp_path / "bags")]
    assert exit_code(words) == Exit.DONE
    said = capsys.readouterr()
    (stored,) = (tmp_path / "bags").glob("coco/*/bags.jsonl")
    lines = [json.loads(line) for line in stored.read_text().splitlines()]
    objects = [[bag["id"] for bag in line["bags"]] for line in lines]
    assert objects == [["000000000001-2"], ["000000000002-4"]]
    assert (
        "Of 1 image not every object has a bag: Object 000000000001-1 of data set coco" in said.err
    )
