"""How fast images were made and on what, in ``work/`` of a run folder: a file for each sitting.

A sitting is what one process computes between its start and its end. Its file says how many images
came out and what they took, together: a sitting that was killed has lost both of the last minute,
and what several sittings took adds up. None of it is part of what a run is.
"""

from __future__ import annotations

import json
import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from int_bench.config import RunConfig
from int_bench.config.needs.devices import computing, used
from int_bench.config.needs.hardware import joules, processor
from int_bench.core.files import make_folder, read_plain, write_whole
from int_bench.core.text import kept, many
from int_bench.core.typed import Malformed, Node, parsed
from int_bench.runs.layout import WORK
from int_bench.runs.records import OK, Record

_EVERY = 60.0
"""Seconds after which a sitting's file is written again."""
_LARGEST = 2**16
_LEAST = 1.0
"""Seconds of which a rate says something."""
_TOOK = ("seconds", "cpu_seconds", "joules")


@dataclass(frozen=True)
class Spent:
    """What some images took.

    Attributes:
        device: the kind of the accelerators, or the processor.
        gpus: how many accelerators a process held; 0 on a processor.
        exactness: the class of the run.
        images: that came out, each trial's and method's counted.
        seconds: of the clock, loading included; those of processes side by side are added.
        cpu_seconds: of all threads.
        joules: that the accelerators drew meanwhile, whatever for; None where they do not count it.
        methods: that were computed together; what each of several took is not told apart.
    """

    device: str
    gpus: int
    exactness: str
    images: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    joules: float | None = None
    methods: int = 1

    @property
    def per_hour(self) -> float | None:
        """Images in an hour of one accelerator, or of one core; None for a fraction of a second."""
        took = self.seconds * self.gpus if self.gpus else self.cpu_seconds
        return 3600 * self.images / took if self.images and took >= _LEAST else None

    @property
    def joules_per_image(self) -> float | None:
        """Energy of an image, in J; None where it is not known."""
        return self.joules / self.images if self.images and self.joules else None

    @property
    def text(self) -> str:
        """Rate, device and class, and what they are of; empty without an image."""
        if self.per_hour is None:
            return ""
        energy = self.joules_per_image
        joules = f", {energy:,.0f} J an image" if energy else ""
        what, seconds = (
            ("GPU", self.seconds * self.gpus) if self.gpus else ("CPU", self.cpu_seconds)
        )
        together = f" of {self.methods} methods together" if self.methods > 1 else ""
        return (
            f"{_short(self.per_hour)} images per {what}-hour on {self.device} ({self.exactness})"
            f"{joules}: {many(self.images, 'image')}{together} in {seconds:,.0f} {what}-seconds, "
            "loading included"
        )

    def as_json(self) -> dict[str, Any]:
        """Unrounded but for the seconds, JSON-ready."""
        told = {key: round(v, 3) if isinstance(v, float) else v for key, v in asdict(self).items()}
        kind = "gpu" if self.gpus else "cpu"
        return {**told, f"images_per_{kind}_hour": self.per_hour}


def _short(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def together(parts: Iterable[Spent]) -> list[Spent]:
    """The sums, one for each kind of device, class and number of methods, largest first."""
    sums: dict[tuple[Any, ...], Spent] = {}
    for part in parts:
        key = (part.device, part.gpus, part.exactness, part.methods)
        before = sums.get(key)
        sums[key] = part if before is None else _sum(before, part)
    return sorted(sums.values(), key=lambda spent: -spent.images)


def _sum(first: Spent, second: Spent) -> Spent:
    known = first.joules is not None and second.joules is not None
    return replace(
        first,
        images=first.images + second.images,
        seconds=first.seconds + second.seconds,
        cpu_seconds=first.cpu_seconds + second.cpu_seconds,
        joules=(first.joules or 0) + (second.joules or 0) if known else None,
    )


class Clock:
    """Reads what this process has taken since the clock was made.

    Args:
        config: with the models of all that is computed.
        methods: that are computed together.
    """

    def __init__(self, config: RunConfig, methods: int = 1) -> None:
        self._devices = computing(config.backbone) or ()
        names = ", ".join(dict.fromkeys(device.name for device in self._devices))
        gpus = len(used(config.backbone))
        unnamed = "a GPU" if gpus else processor()
        self._none = Spent(kept(names or unnamed), gpus, config.exactness, methods=methods)
        self._start = self._now()

    def _now(self) -> tuple[float, float, float | None]:
        drawn = [joules(device) for device in self._devices]
        energy = None if None in drawn or not drawn else sum(drawn)  # type: ignore[arg-type]
        return time.perf_counter(), time.process_time(), energy

    def read(self, images: int) -> Spent:
        """What these images took."""
        (start, cpu, before), (now, cpu_now, after) = self._start, self._now()
        energy = None if before is None or after is None else after - before
        return replace(
            self._none, images=images, seconds=now - start, cpu_seconds=cpu_now - cpu, joules=energy
        )


class Sitting:
    """Keeps what a sitting takes in the folders of its runs, while it goes on and at its end.

    Args:
        runs: folders by variant.
        read: what so many images took.
    """

    def __init__(self, runs: Sequence[Path], read: Callable[[int], Sequence[Spent]]) -> None:
        self._runs, self._read = runs, read
        self._images: Counter[int] = Counter()
        self._written = time.monotonic()
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        self._name = f"{stamp}-{secrets.token_hex(4)}.json"

    def __enter__(self) -> Sitting:
        return self

    def __exit__(self, *error: object) -> None:
        self.write()

    @property
    def spent(self) -> Sequence[Spent]:
        """What all of it took until now."""
        return self._read(self._images.total())

    def count(self, variant: int, record: Record) -> None:
        """A record was stored; one that failed is no image, and its time counts."""
        self._images[variant] += record.status == OK
        if time.monotonic() - self._written > _EVERY:
            self.write()

    def write(self) -> None:
        """Keep what is known; a disk that takes no more is no reason to end."""
        self._written, parts = time.monotonic(), self.spent
        for variant, images in self._images.items():
            # Where every image failed nothing says whose the time was.
            total = self._images.total()
            share = images / total if total else 1 / len(self._images)
            own = [_share(part, share) for part in parts]
            with suppress(OSError):
                make_folder(self._runs[variant] / WORK)
                text = json.dumps({"spent": [_stored(part) for part in own]})
                write_whole(self._runs[variant] / WORK / self._name, f"{text}\n".encode())


def _share(spent: Spent, share: float) -> Spent:
    """A method's share of what all took: what each took is not known."""
    return replace(
        spent,
        images=round(spent.images * share),
        seconds=spent.seconds * share,
        cpu_seconds=spent.cpu_seconds * share,
        joules=None if spent.joules is None else spent.joules * share,
    )


def spent_of(run: Path) -> list[Spent]:
    """What the images of a run folder took over all sittings, as :func:`together` has it.

    A file that says something else is passed over: nothing depends on it.
    """
    parts: list[Spent] = []
    for path in sorted((run / WORK).glob("*.json")):
        with suppress(OSError, Malformed):
            content = Node(parsed(read_plain(path, _LARGEST)))
            parts += [_spent(node) for node in content.nodes("spent")]
    return together(parts)


def _stored(spent: Spent) -> dict[str, Any]:
    told = asdict(spent)
    took = {key: told.pop(key) for key in _TOOK}
    return {**told, "took": {key: value for key, value in took.items() if value is not None}}


def _spent(node: Node) -> Spent:
    took = node.numbers("took")
    return Spent(
        device=kept(node.text("device")),
        gpus=node.whole("gpus"),
        exactness=kept(node.text("exactness")),
        images=node.whole("images"),
        seconds=float(took.get("seconds", 0)),
        cpu_seconds=float(took.get("cpu_seconds", 0)),
        joules=took.get("joules"),
        methods=node.whole("methods", least=1),
    )
