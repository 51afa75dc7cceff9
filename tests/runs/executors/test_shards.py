"""Who owns a shard: races, deaths, and hosts that see each other's files late or not at all."""

from __future__ import annotations

import os
import random
from collections import Counter
from pathlib import Path

import pytest

from int_bench.errors import UsageError
from int_bench.runs.executors import claims, shards
from int_bench.runs.executors.claims import Held, Lock, claim
from int_bench.runs.executors.merge import merge, merged
from int_bench.runs.executors.shards import Part, Shards, open_of
from int_bench.runs.layout import PARTS
from int_bench.runs.records import FAILED, OK, FileMark, Record, line_of

PATIENCE = 5.0


class Server:
    """A file system that hosts see late: names made by another host appear after a while.

    Claiming asks the server itself, as link(2) does; reading a name may be answered from what the
    host remembers.
    """

    def __init__(self, chance: random.Random) -> None:
        self.files: dict[Path, tuple[bytes, str, float]] = {}
        self.chance, self.now, self.host = chance, 0.0, ""

    def claim(self, path: Path, content: bytes) -> bool:
        if path in self.files:
            return False
        self.files[path] = (content, self.host, self.now)
        return True

    def read(self, path: Path) -> bytes | None:
        if path not in self.files:
            return None
        content, host, made = self.files[path]
        late = host != self.host and self.now - made < self.chance.uniform(0, 2)
        return None if late else content


class Host:
    """A worker on a host of its own: computes a shard in some steps, and may die at any."""

    def __init__(self, server: Server, name: str, numbers: list[int]) -> None:
        self.server, self.name, self.steps = server, name, 0
        self.part: Part | None = None
        self.dead = False
        self.lines: dict[tuple[int, int], list[bytes]] = {}
        self.shards = Shards(Path("parts"), numbers, PATIENCE, clock=lambda: server.now)

    def step(self) -> None:
        self.steps += 1
        self.server.host = self.name
        beat = Path("parts") / f"beat.{self.shards.token}"
        self.server.files[beat] = (str(self.steps).encode(), self.name, 0.0)
        if self.part is None:
            self.part = self.shards.take()
            return
        lines = self.lines.setdefault((self.part.shard, self.part.epoch), [])
        if self.part.lost():
            self.part = None
        elif len(lines) < 3:
            lines.append(line_of(answer(self.part.shard, len(lines), self.name)))
        else:
            self.part.finish()
            self.part = None


def answer(shard: int, number: int, host: str) -> Record:
    """What any host computes for a sample."""
    mark = FileMark(f"{shard:032d}{number:032d}", 9)
    name = f"s{shard}-{number}"
    return Record(name, 0, OK, mask=mark, file=name, seconds={"vlm": 1.0}, host={"name": host})


@pytest.fixture
def remote(monkeypatch):
    """Every holder is elsewhere: only signs of life tell."""
    monkeypatch.setattr(shards, "alive", lambda holder: None)
    monkeypatch.setattr(shards, "claim", lambda path, content: SERVER[0].claim(path, content))
    monkeypatch.setattr(shards, "_read", lambda path: SERVER[0].read(path))
    monkeypatch.setattr(shards, "myself", lambda: {"pid": 1})


SERVER: list[Server] = [Server(random.Random())]


def race(seed: int) -> Counter[int]:
    """Hosts race for four shards, some die or are suspended: how often each shard was computed."""
    chance = random.Random(seed)
    server = SERVER[0] = Server(chance)
    numbers = list(range(4))
    hosts = [Host(server, f"h{i}", numbers[i % 4 :] + numbers[: i % 4]) for i in range(3)]
    suspended: dict[str, float] = {}
    for _ in range(4000):
        server.now += chance.uniform(0, 0.3)
        alive = [host for host in hosts if not host.dead]
        host = chance.choice(alive)
        if chance.random() < 0.02 and len(alive) > 1:
            host.dead = True
        elif chance.random() < 0.02:
            suspended[host.name] = server.now + chance.uniform(0, 4 * PATIENCE)
        elif suspended.get(host.name, 0.0) < server.now:
            host.step()
        if all(Path(f"parts/{n:02d}.done") in server.files for n in numbers):
            break
    else:
        raise AssertionError(f"seed {seed}: not done after 4000 steps")
    computed: Counter[int] = Counter()
    for number in numbers:
        owners = [(place, host) for host in hosts for place in host.lines if place[0] == number]
        assert len({place for place, _ in owners}) == len(owners), "two owners of one claim"
        files = {f"{e:06d}": b"".join(h.lines[s, e]) for (s, e), h in owners}
        records = merged(files).splitlines()
        assert len(records) == 3, (seed, number)
        computed[number] = len(owners)
    return computed


def test_in_a_thousand_races_no_shard_is_lost_and_none_is_written_by_two(remote):
    taken_over = sum(max(race(seed).values()) > 1 for seed in range(250))
    assert taken_over > 50  # 250 runs over four shards, in many of which somebody died


def test_of_many_that_claim_a_file_one_gets_it(tmp_path):
    for number in range(50):
        won = [claim(tmp_path / f"{number}", f"{k}".encode()) for k in range(4)]
        assert won == [True, False, False, False]
        assert (tmp_path / f"{number}").read_bytes() == b"0"
    assert not list(tmp_path.glob(".*"))


def test_a_file_system_without_links_still_gives_a_claim_to_one(tmp_path, monkeypatch):
    def no_link(self, target):
        raise PermissionError(1, "no links here")

    monkeypatch.setattr(Path, "hardlink_to", no_link)
    assert claim(tmp_path / "a", b"x") and not claim(tmp_path / "a", b"y")
    assert (tmp_path / "a").read_bytes() == b"x"


def elsewhere(monkeypatch, place):
    monkeypatch.setattr(claims, "place", lambda: place)


def test_a_lock_of_another_host_is_respected_while_it_lives_and_taken_when_it_does_not(
    tmp_path, monkeypatch
):
    elsewhere(monkeypatch, "host a")
    lock = Lock(tmp_path / "lock", beat=0.02)
    elsewhere(monkeypatch, "host b")
    with pytest.raises(Held, match=f"process {os.getpid()} on "):
        Lock(tmp_path / "lock", patience=5.0)
    lock._ended.set()  # host a is gone without a word
    lock._beating.join()
    other = Lock(tmp_path / "lock", patience=0.3)
    assert other.mine() and not lock.mine()
    lock.release()
    assert other.mine()
    other.release()
    assert not (tmp_path / "lock").exists()


def test_a_lock_of_a_dead_process_of_this_host_is_taken_at_once(tmp_path, monkeypatch):
    lock = Lock(tmp_path / "lock")
    with pytest.raises(Held):
        Lock(tmp_path / "lock")
    monkeypatch.setattr(claims, "alive", lambda holder: False)
    other = Lock(tmp_path / "lock", patience=600)
    assert other.mine() and not lock.mine()
    for held in (lock, other):
        held.release()


def test_what_was_begun_by_the_dead_is_under_suspicion_and_what_was_given_back_is_not(tmp_path):
    first = Part(tmp_path, 3, 0)
    for what, name in (("begin", "a"), ("begin", "b"), ("end", "a")):
        first.note(what, (0, name))
    with first.file("begun").open("ab") as file:
        file.write(b'["begin", 0, "torn')
    assert Part(tmp_path, 3, 1).interrupted() == {(0, "b"): 1}
    second = Part(tmp_path, 3, 1)
    second.note("begin", (0, "b"))
    assert Part(tmp_path, 3, 2).interrupted() == {(0, "b"): 2}
    first.release()
    assert Part(tmp_path, 3, 2).interrupted() == {(0, "b"): 1}
    assert open_of(b"nonsense\n") == set()


def lines(*records):
    return b"".join(map(line_of, records))


def test_merging_is_a_function_of_the_files_in_which_done_beats_failed():
    done, again = answer(1, 0, "a"), answer(1, 0, "b")
    failed = Record("s1-1", 0, FAILED, error="It broke.")
    later = Record("s1-1", 0, FAILED, error="It broke again.")
    whole = merged({"1": lines(failed, done), "2": lines(again, later)})
    assert whole == lines(done, later)
    assert merged({"2": lines(again, later), "1": lines(failed, done)}) == whole
    assert merged({"": whole}) == whole
    assert merged({"1": lines(done) + b'{"id": "torn'}) == lines(done)


def test_workers_that_disagree_are_an_error_by_name():
    other = Record("s1-0", 0, OK, mask=FileMark("f" * 64, 9), file="s1-0")
    with pytest.raises(UsageError, match=r"1 and 2 disagree on sample 's1-0', trial 0"):
        merged({"1": lines(answer(1, 0, "a")), "2": lines(other)})


def test_parts_are_merged_into_the_records_of_the_folder(tmp_path):
    place = tmp_path / PARTS / "0123"
    place.mkdir(parents=True)
    (place / "01.0.jsonl").write_bytes(lines(answer(1, 0, "a")))
    (place / "01.10.jsonl").write_bytes(lines(answer(1, 0, "c"), answer(1, 2, "c")))
    (place / "01.2.jsonl").write_bytes(lines(answer(1, 1, "b")))
    assert [record.id for record in merge(tmp_path)] == ["s1-0", "s1-1", "s1-2"]
    assert (tmp_path / "records" / "01.jsonl").read_bytes() == lines(
        answer(1, 0, "a"), answer(1, 1, "b"), answer(1, 2, "c")
    )
    assert merge(tmp_path) == []
