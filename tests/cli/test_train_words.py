"""``int-bench train method=sapnet`` as it is typed: its selector is trained first."""

import pytest

from int_bench.cli.app import exit_code
from int_bench.errors import Exit
from int_bench.runs.training.request import selector_first

WORLD = ["dataset=camoworld_crowd", "dataset.count=2"]


@pytest.mark.parametrize(
    ("words", "first"),
    [
        (["method=sapnet", *WORLD, "train.steps=9", "train.bags=b"],
         ["method=sapnet_select", *WORLD, "train.bags=b"]),
        (["method=sapnet_r50", *WORLD, "train.labels=mil_single"],
         ["method=mil_single", *WORLD]),
        (["method=sapnet", *WORLD, "train.labels=truth"], None),
        (["method=sapnet", *WORLD, "backbone/selector=sapnet"], None),
        (["method=plm", *WORLD], None),
    ],
)  # fmt: skip
def test_a_selector_is_trained_first_where_labels_need_one_that_is_not_given(words, first):
    assert selector_first(words) == first


def test_a_dry_run_describes_the_selector(tmp_path, capsys):
    words = ["train", "method=sapnet", *WORLD, "--dry-run", "--out", str(tmp_path)]
    assert exit_code(words) == Exit.DONE
    said = capsys.readouterr()
    assert "method     sapnet_select" in said.out
    assert "A selector is trained first: int-bench train method=sapnet_select" in said.err
