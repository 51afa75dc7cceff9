"""Answers that name nothing, and boxes that are none: no candidate, no box, no error."""

from __future__ import annotations

import math

import pytest

from int_bench.core.parsing import parse_box, parse_names

NAMELESS = [
    "", " ", "\n", "\t\r\n", ".", "...", ",,,", ";", "/", "-", "—", "*", "**", "****", "()", "[]",
    "{}", "[[]]", '""', "''", "“”", "```", "```json\n```", "\\boxed{}", "<answer></answer>",
    "<think></think>", "<box></box>", "<|im_end|>", "<|im_start|>assistant\n<|im_end|>", "</s>",
    "<s></s>", "[INST]", "\x00", "\ufeff", "\u200b", "\u2028", "\u202e", "\ufffd",
    "\ud83d", "\udcff", "1", "42", "0.5", "-1", "1.", "1. 2. 3.", "[0.1, 0.2, 0.3, 0.4]",
    "None", "none.", "N/A", "n/a", "null", "[]\n", "{\"name\": \"\"}", "{\"name\": null}",
    "Nothing", "No animal", "No.", "Unknown", "unknown.", "There is nothing.",
    "\x1b[0m", "\x1b[31m\x1b[0m", "\x1b]0;title\x07", "\x9b1m", "\x07", "1e999", "1e5",
    "-1.5E-10", "0x1f", "NaN", "inf", "-Infinity", "1e999, 2e3",
    "I cannot help with that.", "I'm sorry, but I can't assist with that request.", "?", "???",
]  # fmt: skip
BOXLESS = [
    "[]", "[0.1]", "[0.1, 0.2, 0.3]", "[nan, nan, nan, nan]", "[inf, 0, 1, 1]", "[0, 0, 0, 0]",
    "[0.5, 0.5, 0.5, 0.9]", "[0.1, 0.2, 0.3, 0.2]", "[a, b, c, d]",
    "[0.1 0.2", "(,,,)", "[1.5, 1.6, 1.7, 1.8]", "", "\x00\x00\x00\x00",
    "x0 y0 x1 y1", "[x0, y0, x1, y1]", "0.1.2.3.4", "1.2.3.4", "[1e999, 0, 1, 1]",
    "[0, 0, 1, -1e999]",
    "a1 b2 c3 d4", "2024-01-02T03:04", "9" * 5000, "[-5, -4, -3, -2]", "[" * 4000,
]  # fmt: skip


@pytest.mark.parametrize("answer", NAMELESS, ids=ascii)
def test_an_answer_that_names_nothing_gives_no_candidate(answer: str) -> None:
    assert parse_names(answer) == ()


@pytest.mark.parametrize("answer", [*NAMELESS, *BOXLESS], ids=lambda text: ascii(text[:20]))
def test_a_box_is_whole_or_none(answer: str) -> None:
    box = parse_box(answer)
    if answer in BOXLESS:
        assert box is None
    elif box is not None:
        x0, y0, x1, y1 = box
        assert all(map(math.isfinite, box)) and 0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1
