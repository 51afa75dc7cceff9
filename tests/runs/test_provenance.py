"""What is not known of the code that computed is said to be unknown, never to be clean."""

from __future__ import annotations

import subprocess

import pytest

from int_bench.runs import provenance


@pytest.mark.parametrize(("slow", "known"), [("", True), ("status", None), ("rev-parse", False)])
def test_what_git_does_not_say_in_time_is_not_known(monkeypatch, slow, known):
    def run(command, **options):
        assert options["timeout"] <= 10
        if slow and slow in command:
            raise subprocess.TimeoutExpired(command, options["timeout"])
        return subprocess.CompletedProcess(command, 0, stdout=f"{command[3]}\n", stderr="")

    monkeypatch.setattr(provenance.subprocess, "run", run)
    expected = None if known is False else {"revision": "rev-parse", "dirty": known}
    assert provenance.git_state() == expected
