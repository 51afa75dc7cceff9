"""``run.json``: what a run folder holds and how it was made; checked whenever it is read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from int_bench.core.files import plain
from int_bench.core.typed import Malformed, Node, parsed
from int_bench.errors import MissingAsset
from int_bench.runs.layout import FORMAT, MANIFEST, OLD_RECORDS, RECORDS, SHARDS

KINDS = ("run", "train", "masks")
"""A method's run, a training, and anybody's masks whose scores are kept."""
CHECKSUM = "checksum"
_LATER = ("shards", "digest", "code", "machine")
"""What no description of format 1 holds."""
_LARGEST = 16 * 2**20  # bytes; a description is some kilobytes


@dataclass(frozen=True)
class Manifest:
    """A checked ``run.json``.

    Attributes:
        path: the file.
        format: of the folder.
        kind: ``run``, ``train`` or ``masks``.
        name: the method, as the folder above is called.
        label: what tables print; the name where nothing else was chosen.
        dataset: the data set's name.
        trials: repetitions of every sample.
        limit: the first samples only; None for all.
        shards: files that the records are spread over; 1 in format 1.
        created: when, UTC.
        content: all of the file.
    """

    path: Path
    format: int
    kind: str
    name: str
    label: str
    dataset: str
    trials: int
    limit: int | None
    shards: int
    created: str
    content: Mapping[str, Any]

    @property
    def config(self) -> Mapping[str, Any]:
        """The resolved configuration."""
        return self._node("config")

    @property
    def skip(self) -> int:
        """How many of the first samples were left out."""
        skip = self.config.get("skip")
        return skip if isinstance(skip, int) and skip > 0 else 0

    @property
    def ids(self) -> tuple[str, ...] | None:
        """The samples that were asked for by id; None for all."""
        ids = self.config.get("ids")
        return tuple(map(str, ids)) if isinstance(ids, list) else None

    @property
    def identity(self) -> Mapping[str, Any]:
        """What decides the results."""
        return self._node("identity")

    @property
    def models(self) -> Mapping[str, Any]:
        """By role what served it."""
        return self._node("models")

    @property
    def data(self) -> Mapping[str, Any]:
        """Name, number and hashes of the data set; empty in format 1."""
        return self._node("data")

    @property
    def stamps(self) -> tuple[str, ...]:
        """What every table must say about the run."""
        stamps = self.content.get("stamps")
        return tuple(map(str, stamps)) if isinstance(stamps, list) else ()

    @property
    def places(self) -> tuple[Path, Path]:
        """Of anybody's masks: where they and their ground truth lie.

        Raises:
            MissingAsset: it does not say so.
        """
        decided = self.identity or self.content
        predictions, truths = decided.get("predictions"), decided.get("truths")
        if not isinstance(predictions, str) or not isinstance(truths, str):
            raise MissingAsset(f"{self.path} is not a run's description: it names no masks.")
        return Path(predictions), Path(truths)

    def _node(self, key: str) -> Mapping[str, Any]:
        value = self.content.get(key)
        return value if isinstance(value, dict) else {}


def sealed(content: Mapping[str, Any]) -> bytes:
    """The bytes of a ``run.json``: the content behind its format, before its own checksum."""
    whole = {"format": FORMAT, **content, "shards": content.get("shards", SHARDS)}
    whole.pop(CHECKSUM, None)
    text = json.dumps({**whole, CHECKSUM: _checksum(whole)}, indent=2, allow_nan=False)
    return f"{text}\n".encode()


def read_manifest(folder: Path) -> Manifest:
    """The description of a run folder.

    Raises:
        MissingAsset: there is none, it is of a newer version or another program, it was edited, or
            it cannot be read; in one sentence.
    """
    path = folder / MANIFEST
    try:
        with plain(path) as file:
            raw = file.read(_LARGEST + 1)
    except OSError as error:
        raise MissingAsset(f"{folder} is not a run folder: it holds no readable {MANIFEST}.") from (
            error
        )
    try:
        if len(raw) > _LARGEST:
            raise Malformed("it is larger than any description")
        node = Node(parsed(raw))
        form = _format_of(node, path)
        return _manifest(node, path, form)
    except Malformed as error:
        raise MissingAsset(f"{path} is not a run's description: {error}.") from error


def _format_of(node: Node, path: Path) -> int:
    """The format, after refusing what this version must not touch."""
    form = node.whole("format", 1, least=1)
    if form > FORMAT:
        raise MissingAsset(
            f"{path} is of format {form} and this version of int-bench reads up to {FORMAT}; "
            "install the version that wrote it."
        )
    # Its format and checksum may have been edited away.
    folder, ours = path.parent, "config" in node.raw
    newer = any(key in node.raw for key in (CHECKSUM, *_LATER)) or (
        ours and (folder / RECORDS).is_dir() and not (folder / OLD_RECORDS).exists()
    )
    if (form == FORMAT or newer) and node.raw.get(CHECKSUM) != _checksum(node.raw):
        raise MissingAsset(
            f"{path} was changed after it was written; restore it, or remove it and `int-bench "
            "run` writes it anew."
        )
    return form


def _manifest(node: Node, path: Path, form: int) -> Manifest:
    config = node.node("config")
    kind = node.text("kind", "masks" if "predictions" in node.raw else "run")
    if kind not in KINDS:
        raise Malformed(f"kind is not {', '.join(KINDS)}")
    name = node.text("name")
    if form > 1:
        node.text("digest")
        node.node("identity")
    dataset = _dataset_of(node, config)
    if dataset is None and form > 1:
        raise Malformed("it names no data set")
    return Manifest(
        path=path,
        format=form,
        kind=kind,
        name=name,
        label=node.text("label", name),
        dataset=dataset or path.parent.parent.parent.name,
        trials=config.whole("trials", 1, least=1),
        limit=config.maybe_whole("limit", least=1),
        shards=node.whole("shards", SHARDS, least=1) if form > 1 else 1,
        created=node.text("created", ""),
        content=node.raw,
    )


def _dataset_of(node: Node, config: Node) -> str | None:
    """The data set's name; what else a stored data set may hold is looked at by who builds it."""
    for place in (node.raw.get("data"), config.raw.get("dataset")):
        name = place.get("name") if isinstance(place, dict) else None
        if isinstance(name, str) and name:
            return name
    return None


def _checksum(content: Mapping[str, Any]) -> str:
    checked = {key: value for key, value in content.items() if key != CHECKSUM}
    text = json.dumps(checked, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
