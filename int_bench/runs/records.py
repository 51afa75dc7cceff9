"""Records: what came out of one sample of one trial, as a line of JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

from int_bench.core.details import VERSION, Details
from int_bench.core.text import kept, kept_value, whole
from int_bench.core.typed import Malformed, Node, parsed
from int_bench.core.types import Box
from int_bench.runs.layout import FORMAT, KEEPS, TRACES, Keep, Key, file_name, is_file_name

OK, FAILED, INTENT = "ok", "failed", "intent"
"""What a record says: done and well; done and failed; begun (written before a risky sample)."""
_HALF_A_LETTER = "what is no Unicode text was written as escapes"


@dataclass(frozen=True)
class FileMark:
    """What a stored file is known by: the sha256 of its bytes, and how many there are."""

    hash: str
    size: int


@dataclass(frozen=True)
class Step:
    """One iteration as it is kept.

    Attributes:
        prompt: its instance-specific prompt.
        box: its box in the image frame, pixels.
        details: what was proposed and scored on the way, JSON-ready; as a file may hold anything,
            :func:`int_bench.runs.kept.details.checked` is for who shows it.
        mask: its stored hard mask; None if it was not kept, or in format 1.
        soft: its stored soft mask, likewise.
    """

    prompt: str
    box: Box | None = None
    details: Details = field(default_factory=Details)
    mask: FileMark | None = None
    soft: FileMark | None = None


@dataclass(frozen=True)
class Record:
    """One sample of one trial: what came out, how, and at what cost.

    Attributes:
        id: the sample.
        trial: from 0.
        status: ``ok``, ``failed``, or ``intent`` (begun, and not finished by that worker).
        error: what went wrong, one sentence; None if nothing did.
        size: (height, width) of the image and its masks, pixels.
        prompt: the chosen iteration's instance-specific prompt.
        box: its box in the image frame, pixels.
        chosen: for each number of iterations the index of the final mask.
        mask: the stored final mask; None in format 1.
        iterations: what is kept of each iteration.
        file: the name of its files, without ending; the id where a file system takes it.
        files: further files of the sample (traces, instances) by their path in the run folder.
        seconds: model seconds by role.
        counters: requests, hits, shared and rows by role and verb.
        host: ``name`` and ``device`` of the machine that computed it.
        notes: what was done to the record before it was kept.
        keep: what is kept of the sample; None in records of before they said so.
        details: version of the iterations' details; 0 for those of before they had one.
    """

    id: str
    trial: int
    status: str
    error: str | None = None
    size: tuple[int, int] | None = None
    prompt: str | None = None
    box: Box | None = None
    chosen: tuple[int, ...] = ()
    mask: FileMark | None = None
    iterations: tuple[Step, ...] = ()
    file: str = ""
    files: Mapping[str, FileMark] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    counters: Mapping[str, int] = field(default_factory=dict)
    host: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    keep: Keep | None = None
    details: int = VERSION

    @property
    def key(self) -> Key:
        """What a record is found by."""
        return self.trial, self.id

    @property
    def name(self) -> str:
        """The name of its files, without ending."""
        return self.file or file_name(self.id)

    @property
    def marks(self) -> Iterator[tuple[str, FileMark]]:
        """Every mask that it names: ``final``, ``1``, ``soft_1``, ..., with its mark."""
        for number, step in enumerate(self.iterations, start=1):
            if step.mask is not None:
                yield str(number), step.mask
            if step.soft is not None:
                yield f"soft_{number}", step.soft
        if self.mask is not None:
            yield "final", self.mask

    @property
    def traces(self) -> dict[str, FileMark]:
        """Of :attr:`files` those that show what was seen."""
        return {path: mark for path, mark in self.files.items() if path.startswith(f"{TRACES}/")}

    def lacks(self, keep: Keep) -> bool:
        """Whether less of the sample is kept than asked for."""
        if self.keep is not None:
            return KEEPS.index(self.keep) < KEEPS.index(keep)
        steps = self.iterations or (Step(""),)
        has: Keep = "soft" if steps[0].soft else "iterations" if steps[0].mask else "final"
        return KEEPS.index(has) < KEEPS.index(keep)

    def with_marks(self, marks: Mapping[str, FileMark]) -> Record:
        """The record with the marks of its masks by their folder."""
        steps = tuple(
            replace(step, mask=marks.get(str(number)), soft=marks.get(f"soft_{number}"))
            for number, step in enumerate(self.iterations, start=1)
        )
        return replace(self, iterations=steps, mask=marks.get("final"))


def cleaned(record: Record) -> Record:
    """The record as it may be kept: texts bounded and without secrets, numbers finite and plain.

    The id stays as it is: it is what the sample is found by.
    """
    texts = [record.prompt or "", *(step.prompt for step in record.iterations)]
    said = () if all(whole(text) for text in texts) else (_HALF_A_LETTER,)
    steps = tuple(
        replace(
            step,
            prompt=kept(step.prompt),
            box=_plain_box(step.box),
            details=kept_value(step.details),
        )
        for step in record.iterations
    )
    return replace(
        record,
        error=None if record.error is None else kept(record.error),
        prompt=None if record.prompt is None else kept(record.prompt),
        box=_plain_box(record.box),
        iterations=steps,
        seconds=kept_value(record.seconds),
        host=kept_value(record.host),
        notes=tuple(dict.fromkeys((*record.notes, *said))),
    )


def line_of(record: Record) -> bytes:
    """The record's line, ASCII; what is empty is left out."""
    final = {
        "prompt": record.prompt,
        "box": record.box,
        "chosen": record.chosen,
        "mask": _mark(record.mask),
    }
    content: dict[str, Any] = {
        "id": record.id,
        "trial": record.trial,
        "status": record.status,
        "error": record.error,
        "size": record.size,
        "file": record.name if record.status == OK else None,
        "final": final if record.status == OK else None,
        "iterations": [_step(step) for step in record.iterations],
        "files": {path: _mark(mark) for path, mark in record.files.items()},
        "seconds": record.seconds,
        "counters": record.counters,
        "host": record.host,
        "notes": record.notes,
        "keep": record.keep,
        "details": (record.details or None) if _has_details(record) else None,
    }
    present = {key: value for key, value in content.items() if value not in (None, [], (), {})}
    return json.dumps(present, allow_nan=False).encode() + b"\n"


def record_of(line: bytes, form: int = FORMAT) -> Record:
    """The record of a line of format 1 or 2.

    Raises:
        Malformed: it is none.
    """
    node = Node(parsed(line))
    status = node.text("status")
    if status not in (OK, FAILED, INTENT):
        raise Malformed(f"status is not {OK}, {FAILED} or {INTENT}")
    size = node.wholes("size") if node.raw.get("size") is not None else ()
    if len(size) not in (0, 2):
        raise Malformed("size is no height and width")
    final = node.maybe_node("final") if form > 1 else node
    return Record(
        id=node.text("id"),
        trial=node.whole("trial"),
        status=status,
        error=node.maybe_text("error"),
        size=(size[0], size[1]) if size else None,
        prompt=final.maybe_text("prompt") if final else None,
        box=final.box("box") if final else None,
        chosen=final.wholes("chosen", []) if final else (),
        mask=_mark_of(final) if final else None,
        iterations=tuple(_step_of(step) for step in node.nodes("iterations")),
        file=_file_of(node) if form > 1 else _old_file(node),
        files={path: _file_mark(node, path) for path in node.node("files", {}).raw},
        seconds=node.numbers("seconds"),
        counters=node.numbers("counters"),
        host={key: str(value) for key, value in node.node("host", {}).raw.items()},
        notes=tuple(str(note) for note in node.items("notes", [])),
        keep=_keep_of(node),
        details=node.whole("details", 0),
    )


def _has_details(record: Record) -> bool:
    return any(step.details for step in record.iterations)


def _step(step: Step) -> dict[str, Any]:
    content = {
        "prompt": step.prompt,
        "box": step.box,
        "mask": _mark(step.mask),
        "soft": _mark(step.soft),
        "details": step.details,
    }
    return {key: value for key, value in content.items() if value not in (None, {})}


def _step_of(node: Node) -> Step:
    return Step(
        node.text("prompt"),
        node.box("box"),
        cast(Details, node.node("details", {}).raw),
        _mark_of(node),
        _mark_of(node, "soft"),
    )


def _mark(mark: FileMark | None) -> dict[str, Any] | None:
    return None if mark is None else {"hash": mark.hash, "size": mark.size}


def _mark_of(node: Node, key: str = "mask") -> FileMark | None:
    mark = node.maybe_node(key)
    return None if mark is None else FileMark(mark.hash("hash"), mark.whole("size"))


def _file_mark(node: Node, path: str) -> FileMark:
    parts = path.split("/")
    if not all(is_file_name(part) for part in parts):
        raise Malformed(f"{path[:80]!r} is no path within a run folder")
    mark = node.node("files").node(path)
    return FileMark(mark.hash("hash"), mark.whole("size"))


def _keep_of(node: Node) -> Keep | None:
    keep = node.maybe_text("keep")
    if keep is not None and keep not in KEEPS:
        raise Malformed(f"keep is not {', '.join(KEEPS)}")
    return cast(Keep, keep)


def _file_of(node: Node) -> str:
    name = node.maybe_text("file")
    if name is None:
        return ""
    if not is_file_name(name):
        raise Malformed(f"file {name[:80]!r} is no name of a file")
    return name


def _old_file(node: Node) -> str:
    """In format 1 a sample's files are called as the sample is."""
    name = node.text("id")
    if "/" in name or "\0" in name or name in ("", ".", ".."):
        raise Malformed(f"id {name[:80]!r} is no name of a file")
    return name


def _plain_box(box: Box | None) -> Box | None:
    return None if box is None else tuple(kept_value(box))  # type: ignore[return-value]
