"""Which overrides are several values, and which are one."""

from __future__ import annotations

import pytest

from int_bench.config.sweeps import combinations, values_of
from int_bench.errors import UsageError


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("seed=1,2,3", ["seed=1", "seed=2", "seed=3"]),
        ("seed=range(1,4)", ["seed=1", "seed=2", "seed=3"]),
        ("seed=choice(5,7)", ["seed=5", "seed=7"]),
        ("seed=1,1,2", ["seed=1", "seed=2"]),
        ("backbone/inpainter=telea,blur", ["backbone/inpainter=telea", "backbone/inpainter=blur"]),
        ("method.w=0,0.3", ["method.w=0", "method.w=0.3"]),
        ("ids=[a,b],[c]", ["ids=[a,b]", "ids=[c]"]),
        ("task.prompt='a, b',c", ["task.prompt='a, b'", "task.prompt=c"]),
        # One value each: a list, a mapping, quotes, what the grammar cannot read.
        ("ids=[a,b]", ["ids=[a,b]"]),
        ("x={a:1,b:2}", ["x={a:1,b:2}"]),
        ("task.prompt='a, b'", ["task.prompt='a, b'"]),
        ("dataset.images=/x,y/(z)", ["dataset.images=/x,y/(z)"]),
        ("task.prompt=shadow (dark)", ["task.prompt=shadow (dark)"]),
        ("seed=1", ["seed=1"]),
        ("seed", ["seed"]),
    ],
)
def test_hydras_grammar_decides(text, values):
    assert values_of(text) == values


def test_a_path_with_a_comma_is_one_value_where_it_is_there(here):
    assert values_of("dataset.images=a,b") == ["dataset.images=a", "dataset.images=b"]
    (here / "a,b").mkdir()
    assert values_of("dataset.images=a,b") == ["dataset.images=a,b"]


def test_every_combination_is_made_the_first_key_varying_slowest():
    runs = combinations(["seed=1,2", "--x", "method.w=0,1"])
    assert runs == [
        ["seed=1", "--x", "method.w=0"],
        ["seed=1", "--x", "method.w=1"],
        ["seed=2", "--x", "method.w=0"],
        ["seed=2", "--x", "method.w=1"],
    ]


def test_all_methods_begin_with_int_and_leave_out_what_needs_an_endpoint():
    names = [text.removeprefix("method=") for text in values_of("method=all")]
    assert names[0] == "int" and "promac" in names and "vlm_api_sam" not in names


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["seed=range(0,300)"], "300 runs"),
        (["method.w=interval(0,1)"], "range"),
    ],
)
def test_what_cannot_be_listed_is_refused(words, said):
    with pytest.raises(UsageError, match=said):
        combinations(words)
