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
from int_bench.config.needs.hardware import driver, joules, processor
from int_bench.core.files import make_folder, read_plain, write_whole
from int_bench.core.protocols import Backbone
from int_bench.core.text import kept, many
from int_bench.core.typed import Malformed, Node, parsed
from int_bench.runs.kept.ceiling import AtCeiling
from int_bench.runs.layout import WORK
from int_bench.runs.records import OK, Record

_EVERY = 60.0
"""Seconds after which a sitting's file is written again."""
_LARGEST = 2**16
_LEAST = 1.0
"""Seconds of which a rate says something."""
_KNOWN_OF_ALL = ("joules", "ceiling_seconds")
"""What is known of a sum if it is of all parts."""
_TOOK = ("seconds", "cpu_seconds", *_KNOWN_OF_ALL)


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
        ceiling_seconds: that the models' products would take at the rate of large ones, of the
            devices or of one core; None where that is not known.
    """

    device: str
    gpus: int
    exactness: str
    images: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    joules: float | None = None
    methods: int = 1
    ceiling_seconds: float | None = None

    @property
    def _took(self) -> float:
        """Seconds of one accelerator, or of one core."""
        return self.seconds * self.gpus if self.gpus else self.cpu_seconds

    @property
    def per_hour(self) -> float | None:
        """Images in an hour of one accelerator, or of one core; None for a fraction of a second."""
        took = self._took
        return 3600 * self.images / took if self.images and took >= _LEAST else None

    @property
    def share_of_ceiling(self) -> float | None:
        """Of the rate of large products, 0..1; None where no model computed, or it is not known.

        Above 1 the rate was measured on a device that was busy, and says nothing.
        """
        if not self.per_hour or not self.ceiling_seconds:
            return None
        share = self.ceiling_seconds / self._took
        return share if 0 < share <= 1 else None

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
        share = self.share_of_ceiling
        part = f", {_short(100 * share)} % of its ceiling" if share else ""
        what = "GPU" if self.gpus else "CPU"
        together = f" of {self.methods} methods together" if self.methods > 1 else ""
        return (
            f"{_short(self.per_hour)} images per {what}-hour on {self.device} ({self.exactness})"
            f"{part}{joules}: {many(self.images, 'image')}{together} in {self._took:,.0f}"
            f" {what}-seconds, "
            "loading included"
        )

    def as_json(self) -> dict[str, Any]:
        """Unrounded but for the seconds, JSON-ready."""
        told = {key: round(v, 3) if isinstance(v, float) else v for key, v in asdict(self).items()}
        kind = "gpu" if self.gpus else "cpu"
        share = self.share_of_ceiling
        return {**told, f"images_per_{kind}_hour": self.per_hour, "share_of_ceiling": share}


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
    pairs = {name: (getattr(first, name), getattr(second, name)) for name in _KNOWN_OF_ALL}
    known: dict[str, Any] = {
        name: None if None in pair else sum(pair) for name, pair in pairs.items()
    }
    return replace(
        first,
        images=first.images + second.images,
        seconds=first.seconds + second.seconds,
        cpu_seconds=first.cpu_seconds + second.cpu_seconds,
        **known,
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
        self._at_ceiling: AtCeiling | None = None
        self._start = self._now()

    def watch(self, backbones: Iterable[Backbone]) -> None:
        """Read from now on what their products would take at the ceiling of their device.

        GPUs of several kinds have none in common.
        """
        if len({device.name for device in self._devices}) <= 1:
            kind, name = "cpu", self._none.device
            if self._none.gpus:
                kind, name = "cuda", f"{name}, driver {driver()}"
            self._at_ceiling = AtCeiling(backbones, kind, name)

    def _now(self) -> tuple[float, float, float | None]:
        drawn = [joules(device) for device in self._devices]
        energy = None if None in drawn or not drawn else sum(drawn)  # type: ignore[arg-type]
        return time.perf_counter(), time.process_time(), energy

    def read(self, images: int) -> Spent:
        """What these images took."""
        (start, cpu, before), (now, cpu_now, after) = self._start, self._now()
        energy = None if before is None or after is None else after - before
        return replace(
            self._none,
            images=images,
            seconds=now - start,
            cpu_seconds=cpu_now - cpu,
            joules=energy,
            ceiling_seconds=self._at_ceiling.seconds() if self._at_ceiling else None,
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
    before = {name: getattr(spent, name) for name in _KNOWN_OF_ALL}
    known: dict[str, Any] = {n: None if v is None else v * share for n, v in before.items()}
    return replace(
        spent,
        images=round(spent.images * share),
        seconds=spent.seconds * share,
        cpu_seconds=spent.cpu_seconds * share,
        **known,
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
        methods=node.whole("methods", least=1),
        **{name: took.get(name) for name in _KNOWN_OF_ALL},
    )
