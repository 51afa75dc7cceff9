"""The files of a run's scores, ``scores/<protocol>.<trial>.csv``: written whole, read with checks.

The first line is a comment that says what the scores were made from and by what rules (see
:class:`Header`); the rest is a plain CSV file, one row per sample, unrounded. A reader refuses
every file that is not what was written, or not of what lies in the run folder now, by name and with
the command that makes it anew. ``scores.csv`` of run folders of format 1 is read by
:mod:`int_bench.scoring.former`.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from int_bench.core.files import read_plain, refuse_link, write_file
from int_bench.data.subset import Asked
from int_bench.errors import MissingAsset, UsageError
from int_bench.metrics.metrics import METRICS
from int_bench.metrics.rules import ScoringProtocol
from int_bench.metrics.summary import Counts
from int_bench.scoring.evaluate import Evaluation, Row
from int_bench.scoring.sources import ABSENT, Source, digest_of

SCORES = "scores"
"""The folder of the files in a run folder."""
FORMAT = 2
_MARK = "# int-bench scores "
_COLUMNS = ("id", "status", *METRICS, "map", "truth", "note")


@dataclass(frozen=True)
class Link:
    """One source of scores: the stamp of its files, and a hash of their hashes."""

    stamp: str
    hash: str


@dataclass(frozen=True)
class Header:
    """What the first line says.

    Attributes:
        format: of the file.
        protocol: the name of the scoring protocol.
        trial: from 0.
        rows: how many samples were asked for.
        limit: the first so many samples of the data set were asked for; None for all.
        policy: what was done about samples without a prediction.
        rules: a hash of the protocol's parameters and the measures.
        records: the run's records; None for anybody's masks.
        maps: the predicted maps.
        truths: the ground truth.
        content: sha256 of the lines that follow.
        selected: whether the samples were asked for by id.
    """

    format: int
    protocol: str
    trial: int
    rows: int
    limit: int | None
    policy: str
    rules: str
    records: Link | None
    maps: Link
    truths: Link
    content: str
    selected: bool = False


@dataclass(frozen=True)
class Origin:
    """What the scores of one trial are made from; read before anything is scored.

    Attributes:
        maps: a hash of each predicted map by sample id.
        truths: a hash of each ground truth by sample id.
        links: of ``records``, ``maps`` and ``truths``; no records for anybody's masks.
        asked: which samples of the data set were asked for.
    """

    maps: Mapping[str, str]
    truths: Mapping[str, str]
    links: Mapping[str, Link]
    asked: Asked = None

    @classmethod
    def of(
        cls, maps: Source, truths: Source, records: Source | None = None, asked: Asked = None
    ) -> Origin:
        """Stamp and hash everything."""
        sources = {"maps": maps, "truths": truths}
        sources |= {} if records is None else {"records": records}
        # Stamped first: what changes while it is read does not pass for unchanged later.
        stamps = {name: source.stamp() for name, source in sources.items()}
        hashes = {name: source.hashes() for name, source in sources.items()}
        links = {name: Link(stamp, digest_of(hashes[name])) for name, stamp in stamps.items()}
        return cls(hashes["maps"], hashes["truths"], links, asked)


@dataclass(frozen=True)
class StoredScores:
    """A file as it was read: its header, and its lines by column name."""

    path: Path
    header: Header
    lines: Sequence[Mapping[str, str]]

    @property
    def counts(self) -> Counts:
        """What became of the samples of this trial."""
        of = [line["status"] for line in self.lines]
        scored, failed, missing = (of.count(status) for status in ("scored", "failed", "missing"))
        return Counts(len(of), scored, failed, missing, self.header.policy)


def file_of(folder: Path, protocol: str, trial: int) -> Path:
    """Where the scores of a trial lie in a run folder."""
    return folder / SCORES / f"{protocol}.{trial}.csv"


def rules_of(protocol: ScoringProtocol) -> str:
    """A hash (hex sha256) of everything that decides a number; the backend decides none."""
    rules = {**asdict(protocol), "backend": None, "metrics": list(METRICS)}
    return hashlib.sha256(json.dumps(rules, sort_keys=True).encode()).hexdigest()


def write_scores(folder: Path, evaluation: Evaluation, trial: int, origin: Origin) -> None:
    """Write one file per protocol: a row per sample, and what it was made from.

    A sample's ``maxF`` and ``maxE`` are the maxima of its own curve; the data set's are those of
    the mean curve.

    Raises:
        UsageError: a file cannot be written, or would be written through a link.
    """
    refuse_link(folder / SCORES)
    for protocol in evaluation.protocols:
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(_COLUMNS)
        writer.writerows(_cells(row, protocol.name, origin) for row in evaluation.rows)
        # File names need not be text; the file holds their odd bytes as escapes.
        body = out.getvalue().encode(errors="backslashreplace")
        header = Header(
            FORMAT,
            protocol.name,
            trial,
            len(evaluation.rows),
            origin.asked if isinstance(origin.asked, int) else None,
            evaluation.policy,
            rules_of(protocol),
            origin.links.get("records"),
            origin.links["maps"],
            origin.links["truths"],
            hashlib.sha256(body).hexdigest(),
            isinstance(origin.asked, frozenset),
        )
        first = f"{_MARK}{json.dumps(asdict(header))}\n".encode()
        write_file(file_of(folder, protocol.name, trial), first + body)


def _cells(row: Row, protocol: str, origin: Origin) -> list[str]:
    score = row.scores.get(protocol)
    values = [repr(score.measures.values[name]) if score else "" for name in METRICS]
    hashes = origin.maps.get(row.id, ABSENT), origin.truths.get(row.id, ABSENT)
    note = "; ".join(filter(None, (row.note, *row.remarks)))
    return [row.id, row.status, *values, *hashes, note]


def read_file(path: Path, again: str) -> StoredScores:
    """Read one file and check that it is what was written.

    Args:
        path: the file.
        again: the command that makes it anew, for messages.

    Raises:
        MissingAsset: it is not there.
        UsageError: it is no such file, or was cut or changed.
    """
    try:
        first, _, body = read_plain(path).partition(b"\n")
    except OSError as error:
        there = f"{path} cannot be read" if path.exists() else f"There is no {path}"
        raise MissingAsset(f"{there}; score the run with `{again}`.") from error
    header = _header(path, first, again)
    lines = list(csv.DictReader(io.StringIO(body.decode(errors="replace"), newline="")))
    for problem in _problems(header, lines, body):
        raise UsageError(f"{path} {problem}; make it again with `{again}`.")
    return StoredScores(path, header, lines)


def _header(path: Path, first: bytes, again: str) -> Header:
    try:
        if not first.startswith(_MARK.encode()):
            raise ValueError("no mark")
        content: dict[str, Any] = json.loads(first[len(_MARK) :])
        if content["format"] != FORMAT:
            raise UsageError(
                f"{path} is of format {str(content['format'])[:20]}, and this version reads"
                f" {FORMAT}; score the run again with `{again}`."
            )
        for name in ("records", "maps", "truths"):
            link = content[name]
            content[name] = None if link is None and name == "records" else Link(**link)
        header = Header(**content)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise UsageError(f"{path} holds no scores; score the run again with `{again}`.") from error
    return header


def _problems(header: Header, lines: Sequence[Mapping[str, str]], body: bytes) -> Iterator[str]:
    """What shows that a file is not as it was written, the most telling first."""
    ids = Counter(line.get("id") for line in lines)
    yield from (f"holds {key} twice" for key, times in ids.items() if times > 1)
    if len(lines) != header.rows:
        yield f"holds {len(lines)} of {header.rows} rows"
    for line in lines:
        for name in METRICS:
            if not is_score(line.get(name), line.get("status")):
                yield f"holds {str(line.get(name))[:40]!r} for {name} of {line.get('id')}"
    if hashlib.sha256(body).hexdigest() != header.content:
        yield "was changed after it was written"


def is_score(text: str | None, status: str | None) -> bool:
    """Whether a cell is a finite number, or empty for a sample that was not scored."""
    if not text:
        return text == "" and status in ("failed", "missing")
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
