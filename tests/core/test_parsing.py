"""What real models write, and what is read from it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from int_bench.core.parsing import canonical, parse_box, parse_names


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[0.1, 0.2, 0.3, 0.4]", (0.1, 0.2, 0.3, 0.4)),
        ("The bounding box is (0, .7, 0.72, 1.0).", (0.0, 0.7, 0.72, 1.0)),
        ("[0.37, 0.35, 1, 0.75]", (0.37, 0.35, 1.0, 0.75)),
        ("[0.8, 0.9, 0.2, 0.1]", (0.2, 0.1, 0.8, 0.9)),
        ("[10, 20, 50, 80]", (0.1, 0.2, 0.5, 0.8)),
        ("[34, 0, 168, 336]", (34 / 336, 0.0, 0.5, 1.0)),
        ("box: 0.1 0.2 0.3 0.4", (0.1, 0.2, 0.3, 0.4)),
        ("I see 2 frogs at [0.5, 0.5, 0.9, 0.9]", (0.5, 0.5, 0.9, 0.9)),
        ("[ 0.22 , 0.10 , 0.64 , 0.46 ]", (0.22, 0.10, 0.64, 0.46)),
        ("[-0.1, 0.2, 0.5, 0.6]", (0.0, 0.2, 0.5, 0.6)),
        ("[0, 0, 0, 0]", None),
        ("[0.5, 0.5, 0.505, 0.505]", None),
        ("[0.1, 0.2, 0.3]", None),
        ("I cannot see it.", None),
        ("", None),
    ],
)
def test_boxes(text: str, expected: tuple[float, ...] | None) -> None:
    assert parse_box(text) == (pytest.approx(expected) if expected else None)


@given(st.text())
def test_any_text_is_read_without_an_error(text: str) -> None:
    box = parse_box(text)
    assert box is None or (0 <= box[0] < box[2] <= 1 and 0 <= box[1] < box[3] <= 1)
    assert all(parse_names(text))
    canonical(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Frog", ("Frog",)),
        ("frog.", ("frog",)),
        ("The camouflaged animal is a leaf insect.", ("leaf insect",)),
        ('The animal is called "Owl".', ("Owl",)),
        ("frog and snake", ("frog", "snake")),
        ("a frog, leaf; owl/moth", ("frog", "leaf", "owl", "moth")),
        ("", ()),
        ("...", ()),
    ],
)
def test_names(text: str, expected: tuple[str, ...]) -> None:
    assert parse_names(text) == expected


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("The Frogs", "frog"),
        ("sea horses!", "sea horse"),
        ("fish", "fish"),
        ("bus", "bus"),
        ("grass", "grass"),
        ("an Owl", "owl"),
        ("leaves", "leaf"),
        ("flies", "fly"),
        ("", ""),
    ],
)
def test_canonical_keys(name: str, key: str) -> None:
    assert canonical(name) == key
