"""Tasks of an array on hosts of their own: real processes on one shared folder that behaves badly.

In such a process nothing is locked (flock fails), no folder can be listed, what others have made is
seen a while after it is there, and nothing is known of the other host's processes. What remains is
what every shared file system promises: link(2), and what a file that can be opened holds.
"""

from __future__ import annotations

import errno
import fcntl
import os
import platform
import sys
import time
from collections.abc import Iterable
from functools import partialmethod
from pathlib import Path

from int_bench.config.building import build
from int_bench.runs import folder as folder_module
from int_bench.runs.executors import array_task, claims
from int_bench.runs.executors.arrays import Array
from int_bench.runs.executors.compute import UNHEARD
from int_bench.runs.executors.shards import Shards
from int_bench.runs.executors.slurm import keep_order
from int_bench.runs.layout import PARTS, shard_of
from int_bench.runs.prepare import prepare
from tests.runs.executors.bench import build_method, request

_BEAT = 0.1


class Late:
    """Hides what others made less than some seconds ago, and refuses to list folders.

    Args:
        root: of the shared file system.
        seconds: until a name of another host is seen.
    """

    def __init__(self, root: Path, seconds: float) -> None:
        self._root, self._seconds = os.fspath(root), seconds
        self._known: set[str] = set()
        self._stat = os.stat

    def install(self) -> None:
        """For this process, for good."""
        sys.addaudithook(self._hook)
        os.stat = self._patched_stat

    def _hook(self, event: str, words: tuple) -> None:
        if event in ("os.scandir", "os.listdir") and self._shared(words[0]):
            raise OSError(errno.EIO, "no host relies on a list of a shared folder", words[0])
        if event == "os.rename" and self._shared(words[1]):
            self._see(os.fspath(words[1]))
        if event == "os.mkdir" and self._shared(words[0]):
            self._see(os.fspath(words[0]))  # made, or the server says that it is there
        if event == "open" and self._shared(words[0]):
            name, reads = os.fspath(words[0]), words[2] & os.O_ACCMODE == os.O_RDONLY
            if reads and words[2] & os.O_CREAT == 0:
                self._refuse(name)
            else:
                self._see(name)

    def _patched_stat(self, path, *words, **options):
        if self._shared(path):
            self._refuse(os.fspath(path))
        return self._stat(path, *words, **options)

    def _shared(self, path: object) -> bool:
        return isinstance(path, str | os.PathLike) and os.fspath(path).startswith(self._root)

    def _refuse(self, name: str) -> None:
        if name in self._known:
            return
        try:
            made = self._stat(name).st_ctime
        except OSError:
            return
        if time.time() - made < self._seconds:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
        self._see(name)

    def _see(self, name: str) -> None:
        """Who has seen a name has seen the folders above it."""
        while name.startswith(self._root):
            self._known.add(name)
            name = os.path.dirname(name)  # noqa: PTH120 - no Path, which may ask for what is hidden


class Shared:
    """A run that tasks are to compute, and the hosts that do.

    Args:
        scenes: see :func:`tests.runs.executors.bench.pictures`.
        out: where the run folder is made.
        words: of the configuration.
    """

    def __init__(self, scenes: Path, out: Path, *words: str, **more) -> None:
        asked = request(scenes, out, "executor=slurm", "executor.patience=1", *words, **more)
        (run,) = prepare([asked])
        executor = build(asked.config.executor, "executor")
        order, _ = executor.order([run], [build_method(asked.config)], asked.config, UNHEARD)
        self.run, self.asked = run.path, asked
        shards = len({shard_of(wanted[1:], order.shards) for wanted in order.wanted})
        self.array = Array("a0", "1", 2, (run.path,), shards, run.path)
        self.parts = run.path / PARTS / self.array.name
        self._digest = keep_order(self.parts, order)

    def start(self, name: str, late: float = 0.3, full: bool = False, together: int = 0) -> int:
        """Begin a task on a host; its process id.

        Args:
            name: of the host.
            late: seconds until it sees what others made.
            full: whether it finds the disk full.
            together: so many hosts begin at one time.
        """
        child = os.fork()
        if child:
            return child
        code = 70
        try:
            code = self._task(name, late, full, together)
        finally:
            os._exit(code)

    def _task(self, name: str, late: float, full: bool, together: int) -> int:
        claims.place = lambda: name
        platform.node = lambda: name
        fcntl.flock = fcntl.lockf = _refused
        Shards.beating = partialmethod(Shards.beating, _BEAT)
        if full:
            folder_module.write_aside = _full
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 2)
        ready = self.run.parent / "ready"
        ready.mkdir(exist_ok=True)
        (ready / name).touch()
        while len(list(ready.iterdir())) < together:
            time.sleep(0.01)
        Late(self.run, late).install()
        return array_task.main([str(self.parts), "01"[name == "host b"], self._digest], quiet)


def ended(processes: Iterable[int]) -> list[int]:
    """Wait for them; their exit codes, negative for signals."""
    return [os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) for process in processes]


def _refused(*words: object) -> None:
    raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))


def _full(path: Path, content: bytes) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
