"""How far a command is: images, iterations, calls, and the time left from them."""

from __future__ import annotations

import sys

import pytest

from int_bench.cli import process, screen
from int_bench.cli.training.progress import StepMeter


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


def test_steps_are_a_line_a_minute_without_a_terminal(clock, capsys):
    with StepMeter() as meter:
        meter.step(1, 9, "step 1 of 9")
        clock[0] = 61.0
        meter.step(2, 9, "step 2 of 9")
        meter.step(3, 9, "step 3 of 9")
    assert capsys.readouterr().err == "step 2 of 9\n"


def test_steps_are_a_bar_on_a_terminal_and_reports_stand_above_it(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("FORCE_COLOR", "1")
    with StepMeter() as meter:
        meter.say("Bags of 2 of 2 images are made.")
        meter.step(1, 9, "step 1 of 9, 8 s left: loss [2]")
        meter.say("step 1 of 9: val AP 0")
    said = capsys.readouterr().err
    assert "━" in said and "8 s left: loss [2]" in said
    assert said.index("val AP 0") < said.rindex("8 s left")
