"""How far a command is: images, iterations, calls, and the time left from them."""

from __future__ import annotations

import sys

import pytest

from int_bench.cli import process, screen


@pytest.fixture
def clock(monkeypatch):
    """The time, which stands until the test moves it: ``clock[0] += 60``."""
    now = [0.0]
    monkeypatch.setattr(screen.time, "monotonic", lambda: now[0])
    return now


def calls(meter, track, count):
    for _ in range(count):
        meter.observe(track, "", 0.0, 0.0, {})


def test_a_line_a_minute_without_a_terminal(clock, capsys):
    with screen.Meter(10, 2, per_image=5) as meter:  # 8 images of 5 iterations are left
        calls(meter, "models", 30)
        calls(meter, "iterations", 4)
        assert capsys.readouterr().err == ""
        clock[0] = 61.0
        calls(meter, "models", 1)
        said = capsys.readouterr().err
        # 61 s for a tenth of the iterations: nine times as long is left.
        assert said == "2 of 10 images, 4 of 40 iterations, 31 model calls, 9.2 min left\n"
        calls(meter, "models", 100)
        assert capsys.readouterr().err == ""


def test_images_that_others_computed_count_as_their_iterations(clock):
    with screen.Meter(4, 0, per_image=5) as meter:
        clock[0] = 30.0
        meter.step()
        assert meter.text == "1 of 4 images, 5 of 20 iterations, 90 s left"


def test_a_slow_command_that_is_silent_says_what_it_does(monkeypatch, capsys):
    class AtOnce:
        def __init__(self, seconds, call, words, options):
            self.start = lambda: call(*words, **options)
            self.cancel = lambda: None

    monkeypatch.setattr(process, "Timer", AtOnce)
    for words, said in ((["run"], True), (["run", "--dry-run"], False), (["table", "1"], False)):
        with process.announced(words):
            pass
        assert ("looking at the configuration" in capsys.readouterr().err) == said
    assert sys.stderr is not None and not process._silent
