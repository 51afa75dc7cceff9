"""A job array that works on run folders: whether it is at it, how far, and what it has left."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from int_bench import errors
from int_bench.core.files import make_folder, read_plain, write_whole
from int_bench.core.typed import Malformed, parsed
from int_bench.engine.work import Tally
from int_bench.errors import Exit, MissingAsset, UsageError, UserError
from int_bench.runs.executors.merge import merge, records_in
from int_bench.runs.folder import locked
from int_bench.runs.layout import LOGS, PARTS
from int_bench.runs.records import Record

_POLL = 2.0
"""Seconds between two looks at the folder; the scheduler is asked every fifth time."""
_JOB = "job.json"
_NAME = "int-bench-"


class Submitted(UserError):
    """The array is under way; nothing is wrong."""

    exit_code = Exit.DONE


@dataclass(frozen=True)
class Array:
    """A job array.

    Attributes:
        name: of its ``parts/<name>`` in each run folder.
        job: the scheduler's number; empty while it is handed in, and for good where the command
            was killed meanwhile: then the scheduler knows it by its title.
        tasks: how many.
        runs: the folders that it works on, of those that this command may touch.
        shards: how many of it tasks take.
        home: of these folders the one in which tasks claim shards; None if it is another's.
    """

    name: str
    job: str
    tasks: int
    runs: tuple[Path, ...]
    shards: int = 0
    home: Path | None = None

    @property
    def folder(self) -> Path:
        """Where its tasks claim shards, or the first folder that holds something of it."""
        return (self.home or self.runs[0]) / PARTS / self.name

    @property
    def title(self) -> str:
        """What the scheduler calls it."""
        return _NAME + self.name

    @property
    def known(self) -> str:
        """The number, or the title where that is not known."""
        return self.job or self.title

    def write(self) -> None:
        """Keep it in every run folder, for the next command."""
        content = {
            "job": self.job,
            "tasks": self.tasks,
            "shards": self.shards,
            "runs": [str(run) for run in self.runs],
        }
        for run in self.runs:
            make_folder(run / PARTS / self.name)
            write_whole(run / PARTS / self.name / _JOB, json.dumps(content).encode())

    def active(self) -> bool:
        """Whether the scheduler still has it, waiting or running; see :meth:`listed`."""
        return bool(self.listed())

    def listed(self) -> str:
        """The scheduler's number of it while it is waiting or running; empty once it has ended.

        Raises:
            UsageError: there is no scheduler here that could be asked.
        """
        if shutil.which("squeue") is None:
            raise UsageError(
                f"Slurm job {self.known} was submitted for {self.runs[0]}, and no squeue "
                f"is here to ask whether it has ended; go on where it is, or remove {self.folder}."
            )
        which = ["--jobs", self.job] if self.job else ["--name", self.title]
        words = ["squeue", "--noheader", *which, "--format", "%F"]
        for _ in range(3):
            with suppress(OSError, subprocess.SubprocessError):
                asked = subprocess.run(words, capture_output=True, text=True, timeout=30)
                if asked.returncode == 0:
                    return next(iter(asked.stdout.split()), "")
                if "Invalid job id" in asked.stderr:
                    return ""
            time.sleep(1)
        return self.known  # a scheduler that does not answer has forgotten nothing

    def watch(self, told: Callable[[Path, Record], None]) -> None:
        """Wait until it has ended; tell of the records that it leaves on the way."""
        seen: dict[Path, int] = {}
        for turn in range(10**9):
            for run in self.runs:
                for path in sorted((run / PARTS / self.folder.name).glob("*.jsonl")):
                    content = path.read_bytes()[seen.get(path, 0) :]
                    seen[path] = seen.get(path, 0) + content.rfind(b"\n") + 1
                    for record in records_in(content):
                        told(run, record)
            if turn % 5 == 4 and not self.active():
                return
            time.sleep(_POLL)

    def check(self, tell: Callable[[str], None]) -> None:
        """Raise what a task has met; tell of it where others have done its share.

        Raises:
            UserError: every sample would meet it.
        """
        if self.home is None:
            return
        finished = 0 < self.shards <= len(list(self.folder.glob("*.done")))
        for path in sorted(self.folder.glob("error.*")):
            name, sentence = _met(path)
            if finished:
                tell(
                    f"A task of Slurm job {self.job} gave up, and others did its share: {sentence}"
                )
                continue
            kind = getattr(errors, name, UsageError)
            # A file names it: nothing but an error of ours is made.
            ours = isinstance(kind, type) and issubclass(kind, UserError)
            raise (kind if ours else UsageError)(sentence)
        if self.job and not any(self.folder.glob("*.claim")):
            raise UsageError(
                f"Slurm job {self.job} has ended and no task has begun; look at the logs in "
                f"{self.runs[0] / LOGS}, which must lie on a file system that all nodes share."
            )

    def remove(self) -> None:
        """Remove what it was at, its description first; what it has finished was merged before."""
        for run in self.runs:
            with suppress(OSError):
                (run / PARTS / self.name / _JOB).unlink(missing_ok=True)
                _sweep(run)


def _sweep(run: Path) -> None:
    """Remove what no description belongs to any more, also what a killed command left of it."""
    for folder in (run / PARTS).iterdir():
        if not (folder / _JOB).exists():
            shutil.rmtree(folder, ignore_errors=True)
    (run / PARTS).rmdir()


def _met(path: Path) -> tuple[str, str]:
    """The kind of error that a task has met, and its sentence."""
    with suppress(Malformed, OSError):
        said = parsed(read_plain(path))
        if isinstance(said, list) and len(said) == 2 and all(isinstance(s, str) for s in said):
            return said[0], said[1]
    return "UsageError", f"{path} does not say what a task has met; look at the logs."


def arrays_of(run: Path, own: Collection[Path] = ()) -> list[Array]:
    """The arrays that have left something in a run folder.

    A file says which folders an array works on, and anybody may have written it: only those are
    touched that the command names itself.

    Args:
        run: the folder.
        own: all folders of the command.

    Raises:
        MissingAsset: a description of one cannot be read, or names folders that know nothing of it.
    """
    allowed = {run.resolve(), *(folder.resolve() for folder in own)}
    arrays = []
    for path in sorted((run / PARTS).glob(f"*/{_JOB}")):
        try:
            raw = read_plain(path)
            content = parsed(raw)
            told = tuple(Path(folder) for folder in content["runs"])
            job = "" if content["job"] == "" else str(int(content["job"]))
            shards = int(content.get("shards", 0))
            array = Array(path.parent.name, job, int(content["tasks"]), told, shards)
            runs = tuple(f for f in _knowing(array, run, raw) if f.resolve() in allowed)
            home = told[0] if told[0] in runs else None
            arrays.append(replace(array, runs=runs, home=home))
        except (ValueError, LookupError, TypeError, ArithmeticError, OSError) as error:
            raise MissingAsset(
                f"{path} does not say which job works on the run; remove {path.parent}, and what "
                "it holds is computed again."
            ) from error
    return arrays


def _knowing(array: Array, run: Path, description: bytes) -> Iterator[Path]:
    """The folders that an array works on: those that it names and that hold the same description.

    A folder from elsewhere may name any; what says nothing of the array is none of its business.

    Raises:
        ValueError: the folder that the description lies in is not among them.
    """
    ours = False
    for folder in array.runs:
        job = folder / PARTS / array.name / _JOB
        if job.is_file() and read_plain(job) == description:
            ours = ours or folder.resolve() == run.resolve()
            yield folder
    if not ours:
        raise ValueError(f"{run} is not among the folders of {array.name}")


def under_way(own: Sequence[Path]) -> Array | None:
    """The array that works on some run folders now."""
    for array in (array for run in own for array in arrays_of(run, own)):
        job = array.listed()
        if job:
            return replace(array, job=job)
    return None


def absorb(run: Path, attaches: bool, own: Collection[Path], tell: Callable[[str], None]) -> None:
    """Merge what arrays that have ended left in a run folder.

    Args:
        run: the folder.
        attaches: whether who asks goes on with an array that is still at it.
        own: all folders of the command.
        tell: told of what a task has met and others made up for.

    Raises:
        UsageError: one is still at it, two workers disagree, or nobody here knows.
    """
    for array in arrays_of(run, own):
        job = array.listed()
        if job:
            if attaches:
                continue
            raise UsageError(
                f"Slurm job {job} works on {run}; wait for it with executor=slurm, or end it with "
                f"`scancel {job}`."
            )
        collect(array, {}, tell)
    if any(not (folder / _JOB).exists() for folder in (run / PARTS).glob("*")):
        with suppress(OSError, UsageError), locked(run):  # who may not write leaves it
            merge(run)
            _sweep(run)


def collect(array: Array, tallies: Mapping[Path, Tally], tell: Callable[[str], None]) -> None:
    """Merge all of it, then raise what it met, then forget it."""
    for run in array.runs:
        with locked(run):
            for record in merge(run):
                tallies.get(run, Tally()).add(record.counters)
    try:
        array.check(tell)
    finally:
        array.remove()
