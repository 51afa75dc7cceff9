"""A run folder of format 1, rewritten as format 2.

The new records are written beside the old ones; ``run.json`` is replaced when they are all on the
disk, and only then the old ones go. Killed at any point the folder is one or the other.
"""

from __future__ import annotations

import os
import shutil
import time
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from int_bench.config.identity import digest
from int_bench.core.files import hash_of
from int_bench.runs.folder import describe, refuse_links, write_records
from int_bench.runs.layout import (
    FORMAT,
    MASKS,
    OLD_RECORDS,
    file_names,
    mask_file,
    records_file,
    shard_of,
)
from int_bench.runs.manifest import Manifest
from int_bench.runs.reader import Run
from int_bench.runs.records import OK, FileMark, Record, cleaned, line_of


def upgrade(path: Path) -> int | None:
    """Rewrite a folder of format 1; its scores are to be made again.

    Returns:
        The number of records; None if it is of today's format already.

    Raises:
        MissingAsset: it is no run folder, or holds what is no record.
        UsageError: it cannot be written, or what would be written is a link.
    """
    run = Run(path)
    if run.manifest.format == FORMAT:
        if "upgraded" in run.manifest.content:
            _without_old_files(path)  # an upgrade may have been killed before this
        return None
    refuse_links(path)
    names = file_names(sample_id for _, sample_id in run.records) if _has_records(run) else {}
    lines: dict[int, bytes] = defaultdict(bytes)
    for key, record in run.records.items() if names else ():
        lines[shard_of(key)] += line_of(_marked(path, record, names[record.id]))
    write_records(path, {records_file(shard): content for shard, content in lines.items()})
    describe(path, _content(run.manifest))
    _without_old_files(path)
    return len(run.records) if names else 0


def _without_old_files(path: Path) -> None:
    for old_file in [path / OLD_RECORDS, *path.glob("scores*.csv")]:
        old_file.unlink(missing_ok=True)


def _has_records(run: Run) -> bool:
    return (run.path / OLD_RECORDS).is_file() and len(run.records) > 0


def _marked(path: Path, record: Record, name: str) -> Record:
    """The record with the marks of the masks that are there, under their name of today."""
    if record.status != OK:
        return cleaned(replace(record, file=""))
    marks = {}
    for folder in sorted((path / MASKS / str(record.trial)).glob("*")):
        source = folder / f"{record.file}.png"
        target = path / mask_file(record.trial, folder.name, name)
        if source != target and source.is_file():
            with suppress(FileExistsError):
                _linked(source, target)
        content = hash_of(target)
        if content is not None:
            marks[folder.name] = FileMark(content, target.stat().st_size)
    return cleaned(replace(record, file=name)).with_marks(marks)


def _linked(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        shutil.copy2(source, target)


def _content(manifest: Manifest) -> dict[str, Any]:
    """What the new ``run.json`` says; what the old one did not know is null."""
    was = manifest.content
    packages = _object(was.get("packages"))
    dataset = _object(manifest.identity.get("dataset"))
    places = {key: was[key] for key in ("predictions", "truths") if key in was}
    more = {key: was[key] for key in ("prefix_of", "created") if key in was}
    return {
        "kind": manifest.kind,
        "name": manifest.name,
        "label": manifest.label,
        "digest": digest(places or manifest.identity),
        "identity": places or dict(manifest.identity),
        "config": dict(manifest.config),
        "reading": None,
        "code": {
            "version": packages.get("int-bench"),
            "git": was.get("git"),
            "python": was.get("python"),
            "packages": packages,
        },
        "machine": {key: was.get(key) for key in ("host", "platform", "cpus")}
        | {"gpus": was.get("gpus") or []},
        "models": {role: _model(model) for role, model in manifest.models.items()},
        "data": {
            "name": manifest.dataset,
            "n": None,
            "list_hash": dataset.get("manifest"),
            "content_hash": None,
            "truth_hash": None,
        },
        "stamps": [],
        **more,
        "upgraded": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def _model(stored: Any) -> dict[str, Any]:
    was = _object(stored)
    return {
        "class": was.get("class") or was.get("backbone"),
        "source": was.get("checkpoint") or was.get("model"),
        "revision": was.get("revision"),
        "hash": None,
        "dtype": was.get("dtype"),
        "adapter": None,
        "identity": was,
    }


def _object(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, Mapping) else {}
