"""SIGINT and SIGTERM in the middle of what takes long: the command ends without waiting for it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import HANGING

SLOW = """
import sys, time
from int_bench.cli.app import main

def slow(*_, **__):
    print("under way", file=sys.stderr, flush=True)
    time.sleep(3600)

place = sys.argv.pop(1)
if place == "drawing":
    from int_bench.data.world.dataset import DrawnScenes
    DrawnScenes.load_image = slow
else:
    from int_bench.backbones.llava.model import Llava
    if place == "loading":
        Llava.load = slow
    else:
        Llava.answer = Llava.contrast = slow
main(sys.argv[1:])
"""
COMMANDS = {
    "loading": (["run", "--limit", "1"], ["0 of 1 images", "Resume with: int-bench run"]),
    "answering": (["run", "--limit", "1"], ["0 of 1 images", "Resume with: int-bench run"]),
    "drawing": (["data", "make", "camoworld", "--out", "drawn"], ["the same command"]),
}


@pytest.mark.services
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("name", COMMANDS)
def test_an_interruption_waits_for_nothing_and_says_how_to_go_on(here, command, name, number):
    words, said = COMMANDS[name]
    (here / "slow.py").write_text(SLOW)
    with subprocess.Popen(
        [sys.executable, "slow.py", name, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    ) as process:
        assert any(line == "under way\n" for line in process.stderr)
        process.send_signal(number)
        out, err = process.communicate(timeout=HANGING)  # the call would last for an hour
    assert process.returncode == 130 and not out
    assert "Traceback" not in err and all(text in err for text in said), err
    if name == "loading" and number == signal.SIGINT:
        code, _, err = command("run", "--limit", "1")  # nothing is in its way
        assert code == 0, err
