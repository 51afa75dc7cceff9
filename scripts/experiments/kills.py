"""Kill commands again and again (-9) and compare what is left in the end with undisturbed ones.

Each chain starts a command several times, kills it with all its processes after a random share of
the time that the undisturbed command takes, lets it end once, and compares every file that it
leaves, apart from seconds, machines and dates. Commands: ``run`` with 1, 4 and 16 images in
flight, ``ablate`` (four iterations out of one run), several methods at once, ``eval``, ``table``
and ``data make``.

    python -m scripts.experiments.kills --chains 15
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

PROGRAM = (sys.executable, "-m", "int_bench")
SCENES = "dataset.count=24"
COMMANDS: Mapping[str, Sequence[Sequence[str]]] = {
    "run, 1 in flight": [["run", "method=centre_box", SCENES, "in_flight=1", "out=runs"]],
    "run, 4 in flight": [["run", "method=centre_box", SCENES, "in_flight=4", "out=runs"]],
    "run, 16 in flight": [["run", "method=full", SCENES, "in_flight=16", "keep=soft", "out=runs"]],
    "methods": [["run", "method=empty,full,centre_box", SCENES, "out=runs"]],
    "ablate": [["ablate", "iterations=1..4", "method=int", "dataset.count=1",
                "method.prompter.generation.grid.sets=[original]", "out=runs"]],
    "eval": [["run", "method=full", SCENES, "--out", "results/runs"], ["eval"]],
    "table": [["run", "method=full", SCENES, "--out", "results/runs"],
              ["table", "--runs", "results/runs", "--format", "md", "--out", "table.md"]],
    "data make": [["data", "make", "camoworld", "--out", "drawn", "-n", "24"]],
}  # fmt: skip
"""The last command of each is killed; those before it prepare its folder."""
_OWN = ("seconds", "host", "counters")  # of a record: what depends on who computed, and when


def main(
    chains: Annotated[int, typer.Option(help="Chains, over the commands in turn.")] = 15,
    kills: Annotated[int, typer.Option(help="Kills in each chain.")] = 4,
    seed: Annotated[int, typer.Option(help="Of the times.")] = 0,
    only: Annotated[str | None, typer.Option(help="This command alone.")] = None,
) -> None:
    """Run the chains; end with 1 if any differs."""
    draw, hit, differing = random.Random(seed), 0, 0
    names = [only] if only else list(COMMANDS)
    for number in range(chains):
        name = names[number % len(names)]
        with tempfile.TemporaryDirectory() as place:
            hits, differences = chain(COMMANDS[name], Path(place), kills, draw)
        hit, differing = hit + hits, differing + bool(differences)
        verdict = f"DIFFERS: {', '.join(differences[:5])}" if differences else "equal"
        print(f"chain {number}: {name}, {hits} of {kills} kills met it: {verdict}", flush=True)
    print(f"{hit} kills in {chains} chains; {differing} differ")
    raise typer.Exit(int(differing > 0))


def chain(
    commands: Sequence[Sequence[str]], place: Path, kills: int, draw: random.Random
) -> tuple[int, list[str]]:
    """One chain: how many kills met a running command, and the files that differ in the end."""
    whole, killed = place / "whole", place / "killed"
    whole.mkdir()
    for command in commands[:-1]:
        end(command, whole)
    shutil.copytree(whole, killed)
    started = time.monotonic()
    end(commands[-1], whole)
    seconds = time.monotonic() - started
    hits = sum(kill(commands[-1], killed, draw.uniform(0.2, 1.0) * seconds) for _ in range(kills))
    end(commands[-1], killed)
    expected, actual = contents(whole), contents(killed)
    return hits, sorted(
        path for path in expected.keys() | actual.keys() if expected.get(path) != actual.get(path)
    )


def end(command: Sequence[str], place: Path) -> None:
    """Run a command to its end.

    Raises:
        RuntimeError: it failed, or printed a traceback.
    """
    done = subprocess.run([*PROGRAM, *command], cwd=place, env=environment(), capture_output=True)
    if done.returncode not in (0, 4) or b"Traceback" in done.stderr:
        raise RuntimeError(f"{command}: {done.returncode}: {done.stderr.decode()[-500:]}")


def kill(command: Sequence[str], place: Path, after: float) -> bool:
    """Start a command and kill it with its children; whether it was still running."""
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(
        [*PROGRAM, *command], cwd=place, env=environment(), start_new_session=True, **quiet
    ) as process:
        try:
            process.wait(after)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
        return process.wait() == -signal.SIGKILL


def environment() -> dict[str, str]:
    """This checkout's package, wherever the command runs."""
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}


def contents(place: Path) -> dict[str, str]:
    """Every file by its path, as a hash of what must not depend on kills."""
    files = [path for path in sorted(place.rglob("*")) if path.is_file() and path.name != "lock"]
    return {path.relative_to(place).as_posix(): hashed(path) for path in files}


def hashed(path: Path) -> str:
    """The hash of a file; of records their last lines, of ``run.json`` the identity."""
    content = path.read_bytes()
    if path.name == "run.json":
        content = json.dumps(json.loads(content)["identity"]).encode()
    elif path.parent.name == "records":
        last = {}
        for line in map(json.loads, content.splitlines()):
            last[line["trial"], line["id"]] = {k: v for k, v in line.items() if k not in _OWN}
        content = json.dumps([last[key] for key in sorted(last)]).encode()
    elif path.parent.name == "scores":
        content = b"\n".join(line for line in content.splitlines() if not line.startswith(b"#"))
    return hashlib.sha256(content).hexdigest()


if __name__ == "__main__":
    typer.run(main)
