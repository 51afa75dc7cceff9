"""Labels that tell runs apart, and groups of seeds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from int_bench.runs.labels import Labelled, distinct, of_datasets, seeds_of

CONFIGS = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 2),
        "method": st.fixed_dictionaries({"w": st.sampled_from([0.0, 0.3]), "t": st.integers(0, 1)}),
        "choices": st.fixed_dictionaries({"models": st.sampled_from(["tiny", "small"])}),
        "limit": st.sampled_from([None, 3]),
    }
)


def run(
    name: str = "int", dataset: str = "camo", folder: str = "abcdef012345", **config
) -> Labelled:
    return Labelled(name, dataset, config, Path(folder))


@given(st.lists(st.tuples(st.sampled_from(["int", "promac"]), CONFIGS), max_size=8))
def test_no_two_rows_of_a_data_set_have_one_label(rows):
    runs = [
        Labelled(name, "camo", config, Path(f"{index:06d}aaaaaa"))
        for index, (name, config) in enumerate(rows)
    ]
    labels = distinct(runs)
    assert len(set(labels)) == len(runs)
    assert all(label.startswith(of.name) for label, of in zip(labels, runs, strict=True))


def test_a_label_says_what_differs_and_no_more():
    runs = [
        run(seed=0, method={"w": 0.3, "a": {"t": 1}}),
        run(seed=0, method={"w": 0.0, "a": {"t": 1}}),
        run("promac", seed=0, method={"w": 0.5}),
    ]
    assert distinct(runs) == ["int, w=0.3", "int, w=0.0", "promac"]


def test_a_choice_stands_for_all_that_it_brings():
    runs = [
        run(choices={"backbone/inpainter": "telea"}, backbone={"inpainter": {"fill": "telea"}}),
        run(choices={"backbone/inpainter": "blur"}, backbone={"inpainter": {"fill": "blur"}}),
    ]
    assert distinct(runs) == ["int, inpainter=telea", "int, inpainter=blur"]


def test_keys_that_end_alike_are_written_out():
    runs = [run(method={"a": {"t": a}, "b": {"t": b}}) for a in (0, 1) for b in (0, 1)]
    assert distinct(runs)[1] == "int, method.a.t=0, method.b.t=1"


def test_runs_of_one_configuration_are_told_apart_by_their_folders():
    runs = [
        run(folder="a/111111111111"),
        run(folder="b/222222222222"),
        run(folder="c/222222222222"),
    ]
    assert distinct(runs) == [
        "int (111111)",
        "int (222222) (b/222222222222)",
        "int (222222) (c/222222222222)",
    ]


def test_data_sets_of_one_name_are_told_apart_by_their_options():
    nodes = [{"images": "/x/one/images"}, {"images": "/x/two/images"}]
    runs = of_datasets([Labelled("int", "folder", {"dataset": node}, Path("f")) for node in nodes])
    assert [of.dataset for of in runs] == [
        "folder, images=one/images",
        "folder, images=two/images",
    ]
    assert distinct(runs) == ["int", "int"]


def test_seeds_of_one_configuration_are_a_group():
    runs = [run(seed=seed, method={"w": w}) for w in (0, 1) for seed in (1, 2, 3)]
    runs.append(run("promac", seed=1))
    groups = seeds_of(runs)
    assert [(group.label, group.members) for group in groups] == [
        ("int, w=0", (0, 1, 2)),
        ("int, w=1", (3, 4, 5)),
    ]
    assert seeds_of(runs[:1]) == []
    some = [replace(run, images=2 if index == 2 else 8) for index, run in enumerate(runs)]
    assert [group.members for group in seeds_of(some)] == [(0, 1), (3, 4, 5)]
    assert seeds_of([run(seed=1), run(seed=1)]) == []


def test_a_class_is_named_last_and_by_what_it_is():
    def with_vlm(target, **more):
        return run(backbone={"vlm": {"_target_": target, **more}})

    runs = [with_vlm("mine.a.Liar", checkpoint="x"), with_vlm("mine.b.Sage", checkpoint="y")]
    assert distinct(runs) == ["int, checkpoint=x", "int, checkpoint=y"]
    assert distinct([with_vlm("a.Liar"), with_vlm("b.Sage")]) == ["int, vlm=Liar", "int, vlm=Sage"]


def test_who_computes_and_who_is_told_differ_last():
    runs = [
        run(method={"w": w}, choices={"executor": executor, "sink": executor})
        for w, executor in ((0.0, "inline"), (0.3, "ray"))
    ]
    assert distinct(runs) == ["int, w=0.0", "int, w=0.3"]
