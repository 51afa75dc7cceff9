"""The doors for kept and shown text: no secret, no control, no command; else as it was."""

from __future__ import annotations

import csv
import html
import io
import json
import unicodedata
from urllib.parse import quote

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from int_bench.core import text as door
from int_bench.core.text import kept, kept_value, redact, shown, whole

ANY = st.text(st.characters(categories=None), max_size=60)


@pytest.fixture(autouse=True)
def no_secrets(monkeypatch):
    monkeypatch.setattr(door, "_secrets", set())


@settings(max_examples=200, deadline=None, derandomize=True)
@given(ANY)
def test_a_kept_text_is_one_line_of_unicode_and_passes_again_unchanged(text):
    line = kept(text)
    assert line.encode() and len(line.splitlines()) == 1 if line else text == ""
    assert not any(unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") for letter in line)
    assert kept(line) == line


@pytest.mark.parametrize("text", ["a frog", "naïve Frösche", "蛙", "🐸 on a leaf", "a\\nb", "שלום"])
def test_what_is_text_stays_as_it_is(text):
    assert kept(text) == text == shown(text)


def test_a_long_text_is_cut_and_says_by_how_much():
    line = kept("x" * 10_000)
    assert len(line) <= door.LONGEST and line.endswith("(6040 more characters)")
    assert kept(line) == line


SECRET = 'sk-a/b+c"d-0123456789'
SPELT = [SECRET, json.dumps(SECRET)[1:-1], quote(SECRET, safe=""), SECRET.replace("/", "\\/")]


@pytest.mark.parametrize("spelt", SPELT)
def test_a_secret_is_replaced_in_every_spelling(spelt):
    door.keep_secret(SECRET)
    assert kept(f"Bearer {spelt}!").startswith("Bearer [key]")
    assert kept_value({"error": [f"a {spelt}"]})["error"][0].startswith("a [key]")


def test_a_short_word_is_no_secret():
    door.keep_secret("EMPTY")
    assert kept("EMPTY") == "EMPTY"
    assert redact("EMPTY", "EMPTY") == "EMPTY" and redact("a frog", None) == "a frog"
    assert redact("?k=sk-%2Fsecret&", "sk-/secret") == "?k=[key]&"


def test_values_become_plain_and_finite():
    value = {"a": np.array([1.0, np.nan]), 3: (np.float32(0.25), True, None), "n": float("inf")}
    assert kept_value(value) == {"a": [1.0, None], "3": [0.25, True, None], "n": None}
    json.dumps(kept_value(value), allow_nan=False)
    with pytest.raises(TypeError, match="object cannot be part of a record"):
        kept_value({"a": object()})


def test_half_a_letter_is_no_whole_text():
    assert whole("蛙🐸") and not whole("a\ud83d") and kept("a\ud83d") == "a\\ud83d"


@pytest.mark.parametrize(
    ("medium", "text", "expected"),
    [
        ("terminal", "a\x1b[31mb\u202ec", "a\\x1b[31mb\\u202ec"),
        ("markdown", "a|b <script> `x` [y](z) *w*", None),
        ("markdown", "int-no_pnm", "int-no_pnm"),
        ("markdown", "__bold__", "\\_\\_bold\\_\\_"),
        ("latex", "50 % of a_b {x} \\input", "50 \\% of a\\_b \\{x\\} \\textbackslash{}input"),
        ("csv", "=1+1", "'=1+1"),
        ("csv", "@cmd", "'@cmd"),
        ("csv", " -x", "' -x"),
        ("csv", "a=1", "a=1"),
        ("html", "<img src=x onerror='a'>", "&lt;img src=x onerror=&#x27;a&#x27;&gt;"),
    ],
)
def test_a_medium_shows_text_as_text(medium, text, expected):
    line = shown(text, medium)
    if expected is None:
        expected = "a\\|b &lt;script&gt; \\`x\\` \\[y\\](z) \\*w\\*"
    assert line == expected


@settings(max_examples=100, deadline=None, derandomize=True)
@given(ANY)
def test_every_medium_prints_one_line(text):
    for medium in ("terminal", "markdown", "latex", "csv", "html"):
        assert len(shown(text, medium).splitlines()) <= 1
    assert html.unescape(shown(text, "html")) == shown(text)
    row = io.StringIO()
    csv.writer(row).writerow([shown(text, "csv")])
    assert row.getvalue().strip('"\r\n')[:1] not in ("=", "+", "-", "@")
