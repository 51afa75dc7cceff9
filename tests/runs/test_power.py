"""Loss of power at any flush: what was acknowledged is there, and what is there is whole."""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from int_bench.runs.check import check
from int_bench.runs.reader import Run
from tests.runs.test_store import opened, prediction, record


class PowerLost(BaseException):
    """Nothing that the process does from here on reaches the disk."""


class Disk:
    """What of a folder is on the disk: contents and names as of their last flush, no more.

    A file's content counts from its own flush, its name from a flush of its folder.
    """

    def __init__(self, root: Path) -> None:
        self.root, self.left, self.dead = root, None, False
        self.contents: dict[int, bytes] = {}
        self.names: dict[int, dict[str, os.stat_result]] = {}

    def fsync(self, handle: int) -> None:
        """In place of ``os.fsync``."""
        if self.dead:
            raise PowerLost
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                self.dead = True
                raise PowerLost
        state, path = os.fstat(handle), f"/proc/self/fd/{handle}"
        if stat.S_ISDIR(state.st_mode):
            with os.scandir(path) as entries:
                self.names[state.st_ino] = {e.name: e.stat() for e in entries}
        else:
            self.contents[state.st_ino] = Path(path).read_bytes()

    def restored(self, place: Path) -> Path:
        """The folder as the next start finds it."""
        place.mkdir()
        self._restore(self.root.stat().st_ino, place)
        return place

    def _restore(self, folder: int, place: Path) -> None:
        for name, state in self.names.get(folder, {}).items():
            if stat.S_ISDIR(state.st_mode):
                (place / name).mkdir()
                self._restore(state.st_ino, place / name)
            else:
                (place / name).write_bytes(self.contents.get(state.st_ino, b""))


@contextmanager
def flushing_to(disk: Disk):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", disk.fsync)
        yield


def level(name: str) -> tuple[float, ...]:
    """The masks of a sample are always the same."""
    return (0.2, 0.8) if name < "c" else (0.8, 0.2)


Step = st.tuples(
    st.sampled_from("abcd"),
    st.integers(0, 1),
    st.sampled_from(["ok", "ok", "failed"]),
    st.none() | st.integers(0, 9),
)


@settings(max_examples=50, deadline=None, derandomize=True,
          suppress_health_check=list(HealthCheck))  # fmt: skip
@given(st.lists(st.lists(Step, min_size=1, max_size=3), min_size=1, max_size=5))
def test_no_loss_of_power_takes_what_was_acknowledged(tmp_path_factory, sessions):
    base = tmp_path_factory.mktemp("power")
    root, acknowledged, attempted = base / "0", {}, {}
    root.mkdir()
    for number, steps in enumerate(sessions, start=1):
        disk = Disk(root)
        whole(disk, root)
        with flushing_to(disk):
            try:
                with opened(root / "run") as folder:
                    for key, status in acknowledged.items():
                        expected = {status, attempted.get(key, status)}
                        assert ("ok" if folder.finished(key) else "failed") in expected
                    for name, trial, status, loss in steps:
                        disk.left = loss
                        attempted[trial, name] = status
                        folder.commit(record(name, trial, status), prediction(level(name)))
                        acknowledged[trial, name] = attempted.pop((trial, name))
            except PowerLost:
                pass
        root = disk.restored(base / str(number)) if disk.dead else root
    with opened(root / "run"):
        pass
    run = Run(root / "run")
    assert not [damage for damage in check(run, thorough=True) if damage.key or damage.path !=
                run.manifest.path]  # fmt: skip
    for key, status in acknowledged.items():
        assert run.records.status(key) in {status, attempted.get(key, status)}


@pytest.mark.parametrize(
    ("keep", "loss"),
    [*(("iterations", n) for n in range(0, 40, 3)), *(("trace", n) for n in range(4, 70, 6))],
)
def test_power_lost_at_any_flush_of_a_run(tmp_path, keep, loss):
    """The same at every third of some forty flushes, from run.json on; of more with traces."""
    disk, acknowledged = Disk(tmp_path / "a"), []
    disk.root.mkdir()
    disk.left = loss
    with flushing_to(disk):
        try:
            with opened(disk.root / "run", keep) as folder:
                for name in "abcd":
                    folder.commit(record(name), prediction(level(name)))
                    acknowledged.append((0, name))
        except PowerLost:
            pass
    assert disk.dead
    with opened(disk.restored(tmp_path / "b") / "run", keep, refill=True) as folder:
        assert all(folder.finished(key) for key in acknowledged)
    run = Run(tmp_path / "b" / "run")
    assert set(acknowledged) <= set(run.records) and not run.verify(thorough=True)


def whole(disk: Disk, folder: Path) -> None:
    """What was there before is on the disk."""
    with os.scandir(folder) as entries:
        known = {entry.name: entry.stat() for entry in entries}
    disk.names[folder.stat().st_ino] = known
    for name, state in known.items():
        if stat.S_ISDIR(state.st_mode):
            whole(disk, folder / name)
        else:
            disk.contents[state.st_ino] = (folder / name).read_bytes()


def test_the_disk_forgets_what_was_not_flushed(tmp_path):
    """The test's own disk is no better than a real one."""
    disk = Disk(tmp_path / "a")
    disk.root.mkdir()
    (disk.root / "named").write_text("here")
    handles = [os.open(path, os.O_RDONLY) for path in (disk.root / "named", disk.root)]
    disk.fsync(handles[0])
    assert not list(disk.restored(tmp_path / "b").iterdir())
    disk.fsync(handles[1])
    (disk.root / "named").write_text("changed")
    (disk.root / "later").write_text("")
    restored = disk.restored(tmp_path / "c")
    assert [path.read_text() for path in restored.iterdir()] == ["here"]
    for handle in handles:
        os.close(handle)
