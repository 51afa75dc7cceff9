"""Kill commands again and again (-9) and compare what is left in the end with undisturbed ones.

A chain starts a command, kills it with all its processes at a random one of the moments at which it
touches the disk (before and after a file is opened, flushed, renamed, removed), does so twice more
with what that has left, and lets it end; then every file that it leaves is compared, apart from
seconds, machines and dates. No clock decides anything. Commands: ``run`` with 1, 4 and 16
images in flight, ``ablate`` (two iterations out of one run), several methods at once, ``eval``,
``table``, ``data make``, ``upgrade``, which writes a whole run folder anew, ``train`` of a decoder
and of a selector, ``propose``, and ``run`` with the selector.

    python -m scripts.experiments.kills --kills 600
"""

from __future__ import annotations

import hashlib
import io
import json
import multiprocessing
import os
import random
import shutil
import signal
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from sys import addaudithook
from typing import Annotated, Any

import typer

from int_bench.cli.app import exit_code

SCENES = "dataset.count=6"
CROWD = ["dataset=camoworld_crowd", "dataset.split=train",
         "backbone/segmenter=zoo_sam_granular"]  # fmt: skip
SELECTOR = ["train", "method=sapnet_select", *CROWD, "dataset.count=4", "train.steps=6",
            "train.batch=2", "train.width=16", "train.report_every=2", "train.prm.start_step=2",
            "train.save_every=0", "out=trained"]  # fmt: skip
FORMAT_1 = Path(__file__).parents[2] / "tests" / "runs" / "format1"
COMMANDS: Mapping[str, Sequence[Sequence[str]]] = {
    "run, 1 in flight": [["run", "method=centre_box", SCENES, "in_flight=1", "out=runs"]],
    "run, 4 in flight": [["run", "method=centre_box", SCENES, "in_flight=4", "out=runs"]],
    "run, 16 in flight": [["run", "method=full", SCENES, "in_flight=16", "keep=soft", "out=runs"]],
    "methods": [["run", "method=empty,full,centre_box", SCENES, "out=runs"]],
    "ablate": [["ablate", "iterations=1..2", "method=int", "dataset.count=1", "out=runs",
                "method.prompter.generation.grid.sets=[original]"]],
    "eval": [["run", "method=full", SCENES], ["eval"]],
    "table": [["run", "method=full", SCENES],
              ["table", "--runs", "results/runs", "--format", "md", "--out", "table.md"]],
    "data make": [["data", "make", "camoworld", "--out", "drawn", "-n", "6"]],
    "upgrade": [["upgrade", "format1"]],
    "train": [["train", "method=sam_decoder", "dataset=camoworld_crowd", "dataset.count=20",
               "train.steps=6", "train.batch=4", "train.report_every=2", "train.validated=4",
               "train.save_every=0", "out=trained"]],
    "propose": [["propose", *CROWD, "dataset.count=24", "allow_train=true", "out=bags"]],
    "train a selector": [SELECTOR],
    "select": [SELECTOR, ["run", "method=sapnet_select", *CROWD, "dataset.count=2",
                          "allow_train=true", "out=runs",
                          "backbone.selector.checkpoint=FINAL"]],
}  # fmt: skip
"""The last command of each is killed; those before it prepare its folder.

``FINAL`` is the folder that a training has left.
"""
_TOUCHES = frozenset({"os.mkdir", "os.rename", "os.remove", "os.truncate", "os.link", "os.rmdir"})
_OWN = ("seconds", "host", "counters")  # of a record: what depends on who computed, and when
_DONE, _INCOMPLETE = 0, 4
_IN_A_ROW = 3
_PRELOADED = [
    "int_bench.cli.run",
    "int_bench.runs.executors.inline",
    *(f"int_bench.backbones.{name}" for name in ("llava", "stable_diffusion", "sam", "clip")),
    "int_bench.backbones.grounding_dino",
    "int_bench.cli.training.train",
    "int_bench.cli.training.propose",
    "int_bench.learning.sam_decoder",
    "int_bench.learning.selection",
    "int_bench.backbones.selector",
]
"""What commands import anyway, once for all."""


def main(
    kills: Annotated[int, typer.Option(help="Over all commands, in turn.")] = 60,
    seed: Annotated[int, typer.Option(help="Of the moments.")] = 0,
    only: Annotated[str | None, typer.Option(help="This command alone.")] = None,
) -> None:
    """Kill and compare; end with 1 if anything differs."""
    draw = random.Random(seed)
    names = [only] if only else list(COMMANDS)
    shares = [kills // len(names) + (place < kills % len(names)) for place in range(len(names))]
    differing = 0
    for name, share in zip(names, shares, strict=True):
        touches, chains, differences = chains_of(COMMANDS[name], share, draw)
        differing += bool(differences)
        verdict = f"DIFFERS: {', '.join(differences[:5])}" if differences else "equal"
        print(f"{name}: {share} kills of {chains} chains, {touches} moments: {verdict}", flush=True)
    print(f"{sum(shares)} kills, {differing} commands differ")
    raise typer.Exit(int(differing > 0))


def chains_of(
    commands: Sequence[Sequence[str]], kills: int, draw: random.Random
) -> tuple[int, int, list[str]]:
    """As many chains as it takes to kill the last command so often.

    Returns:
        The moments of the undisturbed command, the number of chains, and the files that differ.
    """
    chains, met, differences = 0, 0, set[str]()
    with tempfile.TemporaryDirectory() as place:
        prepared, whole = Path(place, "prepared"), Path(place, "whole")
        prepared.mkdir()
        shutil.copytree(FORMAT_1, prepared / "format1")
        for command in commands[:-1]:
            attempt(command, prepared)
        shutil.copytree(prepared, whole)
        touches = attempt(commands[-1], whole)
        assert touches is not None
        right = contents(whole)
        while met < kills:
            killed = Path(place, str(chains))
            shutil.copytree(prepared, killed)
            for _ in range(min(_IN_A_ROW, kills - met)):
                met += attempt(commands[-1], killed, draw.randint(1, touches)) is None
            attempt(commands[-1], killed)
            left, chains = contents(killed), chains + 1
            differences |= {p for p in left | right if left.get(p) != right.get(p)}
            shutil.rmtree(killed)
    return touches, chains, sorted(differences)


def attempt(command: Sequence[str], place: Path, moment: int | None = None) -> int | None:
    """Run a command in a process of its own.

    Returns:
        How often it touched the disk; None if it was killed, at the moment of that number.

    Raises:
        RuntimeError: it failed, or printed a traceback.
    """
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload([*_PRELOADED, __name__])
    receiver, sender = server.Pipe(duplex=False)
    child = server.Process(target=perform, args=(command, place, moment, sender))
    child.start()
    sender.close()
    child.join()
    if child.exitcode == -signal.SIGKILL:
        return None
    said = place.with_name("stderr").read_text(errors="replace")
    if child.exitcode not in (_DONE, _INCOMPLETE) or "Traceback" in said:
        raise RuntimeError(f"{command}: {child.exitcode}: {said[-500:]}")
    return int(receiver.recv())


def perform(command: Sequence[str], place: Path, moment: int | None, sender: Any) -> None:
    """In the child: the command, with every touch of the disk counted."""
    os.setsid()
    os.chdir(place)
    if finals := sorted(Path().glob("trained/*/*/*/final")):
        command = [word.replace("FINAL", str(finals[0])) for word in command]
    for number, name in ((1, os.devnull), (2, place.with_name("stderr"))):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    moments = Moments(place, moment)
    moments.watch()
    code = exit_code(command)
    sender.send(moments.passed)
    os._exit(code)


class Moments:
    """Counts the touches of the disk below a folder; kills at one with its children.

    Args:
        place: the folder.
        deadly: the number of the touch that kills; None for none.
    """

    def __init__(self, place: Path, deadly: int | None) -> None:
        self.place, self.deadly, self.passed = place, deadly, 0
        self._lock = threading.Lock()

    def touch(self) -> None:
        """One more."""
        with self._lock:
            self.passed += 1
            if self.passed == self.deadly:
                os.killpg(0, signal.SIGKILL)

    def within(self, path: Any) -> bool:
        """Whether a path is below the folder."""
        return isinstance(path, str | os.PathLike) and self.place in Path(self.place, path).parents

    def watch(self) -> None:
        """Count from now on, in all threads; there is no way back."""
        io.open = partial(self._after, io.open)
        os.fsync = partial(self._after, os.fsync)
        os.replace = partial(self._after, os.replace)
        addaudithook(self._before)

    def _before(self, event: str, words: tuple[Any, ...]) -> None:
        writing = event == "open" and words[2] & (os.O_WRONLY | os.O_RDWR)
        if (writing or event in _TOUCHES) and self.within(words[0]):
            self.touch()

    def _after(self, function: Callable[..., Any], *words: Any, **named: Any) -> Any:
        result = function(*words, **named)
        if not isinstance(words[0], str | os.PathLike) or self.within(words[0]):
            self.touch()
        return result


def contents(place: Path) -> dict[str, str]:
    """Every file by its path, as a hash of what must not depend on kills.

    What was being written aside stays where a process is killed, under a hidden name.
    """
    files = [
        path
        for path in sorted(place.rglob("*"))
        if path.is_file()
        and path.name != "lock"
        and path.suffix != ".part"
        and path.parent.name != "work"  # a file a sitting: its seconds and its machine
    ]
    return {path.relative_to(place).as_posix(): hashed(path) for path in files}


def hashed(path: Path) -> str:
    """The hash of a file; of records their last lines, of ``run.json`` the identity."""
    content = path.read_bytes()
    if path.name == "run.json":
        content = json.dumps(json.loads(content)["identity"]).encode()
    elif path.name == "train.jsonl":
        lines = [{**line, "seconds": 0} for line in map(json.loads, content.splitlines())]
        content = json.dumps(lines).encode()
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
