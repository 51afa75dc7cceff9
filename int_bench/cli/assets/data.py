"""``int-bench data check | fetch``: is a data set whole and sound, and how does it get here."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from int_bench.cli.assets.arriving import Arriving
from int_bench.cli.process import terminable
from int_bench.cli.screen import say
from int_bench.config import build, load_config
from int_bench.core.files import expanded
from int_bench.core.text import in_bytes
from int_bench.data import doctor
from int_bench.data.dataset import Dataset
from int_bench.data.fetching.fetch import archives_of, fetch, missing_archives, space_needed
from int_bench.data.folders import PairedFolders
from int_bench.data.instances.doctor import check_objects, has_objects
from int_bench.data.map_doctor import check_maps
from int_bench.data.pairing import Finding
from int_bench.data.world.dataset import DrawnScenes, write
from int_bench.errors import Exit, MissingAsset, UsageError

_SHOWN = 5  # messages of one kind
_LINE_SECONDS = 5.0


@dataclass(frozen=True)
class Report:
    """What was examined and what was found.

    Attributes:
        name: the data set or the folder of predictions.
        counts: how many files of each part there are, and how many there should be.
        findings: errors first.
    """

    name: str
    counts: dict[str, int | None]
    findings: tuple[Finding, ...]

    @property
    def exit_code(self) -> Exit:
        """0 clean or with notes alone, 3 if there is nothing to examine, 4 with other findings."""
        if any(finding.kind == "missing_folder" for finding in self.findings):
            return Exit.MISSING
        grave = any(finding.severity != "note" for finding in self.findings)
        return Exit.INCOMPLETE if grave else Exit.DONE

    def as_json(self) -> dict[str, Any]:
        """Everything: each kind of finding with all its subjects and messages."""
        groups = [
            {**vars(group), "count": len(group.messages)} for group in doctor.group(self.findings)
        ]
        return {"name": self.name, **self.counts, **self._severities(), "findings": groups}

    def lines(self) -> Iterable[str]:
        """The counts, then each kind with its first messages."""
        counts = ", ".join(f"{value} {key}" for key, value in self.counts.items() if value)
        severities = ", ".join(
            f"{number} {severity}" for severity, number in self._severities().items()
        )
        yield f"{self.name}: {counts or 'no samples'}; {severities}"
        for group in doctor.group(self.findings):
            yield f"{group.severity:<8}{group.kind} ({len(group.messages)})"
            yield from (f"{'':<8}{message}" for message in group.messages[:_SHOWN])
            if len(group.messages) > _SHOWN:
                yield f"{'':<8}and {len(group.messages) - _SHOWN} more (--json lists all)"
        if not self.findings:
            yield "Nothing is wrong or odd."

    def _severities(self) -> dict[str, int]:
        numbers = Counter(finding.severity for finding in self.findings)
        return {f"{severity}s": numbers[severity] for severity in ("error", "warning", "note")}


def check_command(
    overrides: Sequence[str], pred: Path | None, gt: Path | None, as_json: bool
) -> int:
    """Name what is wrong or odd about a data set, or about predictions beside their ground truth.

    Args:
        overrides: of the configuration; only the data set matters.
        pred: a folder of predictions; goes with ``gt``.
        gt: a folder of ground truth.
        as_json: print one line of JSON instead of text.

    Returns:
        0 clean or with notes alone, 4 with errors or warnings, 3 if a folder is missing.

    Raises:
        UsageError: options that do not go together, or a configuration that is wrong.
        MissingAsset: ``pred`` or ``gt`` is not there.
    """
    if (pred is None) != (gt is None):
        raise UsageError("--pred and --gt go together: a folder of masks and one of ground truth.")
    if pred is not None and overrides:
        raise UsageError(f"Give either {overrides[0]} or --pred and --gt.")
    with terminable():
        if pred is not None and gt is not None:
            report = _check_predictions(pred, gt)
        else:
            report = _check_dataset(overrides)
    if as_json:
        print(json.dumps(report.as_json()))
    else:
        print("\n".join(report.lines()))
    return report.exit_code


def fetch_command(overrides: Sequence[str], yes: bool) -> int:
    """Download a data set whose owners allow it, or say how to get it.

    Args:
        overrides: of the configuration, ``dataset=NAME`` among them.
        yes: the terms are accepted; without it they are printed and asked about.

    Returns:
        0 if the set is here now, 3 if it has to be got by hand.

    Raises:
        UsageError: the terms were not accepted, or the root cannot be written.
        MissingAsset: a download failed or was refused.
    """
    config = load_config(overrides)
    dataset = build(config.dataset, "dataset")
    if not isinstance(dataset, PairedFolders):
        if config.dataset.get("fetch"):
            return _by_hand(dataset, config.dataset)
        print(f"{config.dataset_name} is drawn when it is needed; there is nothing to download.")
        return 0
    code = _without_download(dataset)
    if code is not None:
        return code
    print("\n".join(_plan(dataset)), flush=True)
    if not yes:
        _ask()
    try:
        with terminable():
            count = fetch(dataset, Arriving(in_bytes, _LINE_SECONDS))
    except KeyboardInterrupt:
        say("What has arrived is kept; run the same command again to resume.")
        raise
    print(f"{dataset.name}: {count} samples, verified; look closer with:")
    print(f"int-bench data check dataset={config.choices['dataset']} data_root={dataset.root}")
    return 0


def _by_hand(dataset: Dataset, node: Mapping[str, Any]) -> int:
    """0 if a set that nobody offers for direct download is here, 3 after saying how to get it."""
    try:
        print(f"{dataset.name}: {len(dataset.samples())} samples, here.")
        return 0
    except MissingAsset as error:
        for line in (f"licence: {node['licence']}", f"source:  {node['source']}", str(error)):
            print(line)
        return Exit.MISSING


def _without_download(dataset: PairedFolders) -> int | None:
    """0 if the set is here, 3 after saying how to get it by hand; None where one can be fetched."""
    try:
        print(f"{dataset.name}: {len(dataset.samples())} samples in {dataset.image_folder}.")
        return 0
    except MissingAsset as error:
        if not archives_of(dataset):
            print("\n".join(_instructions(dataset)))
            return Exit.MISSING
        if not missing_archives(dataset):
            raise MissingAsset(
                f"{error} Its folders are there but not whole: move them away and fetch again."
            ) from error
    return None


def _check_dataset(overrides: Sequence[str]) -> Report:
    config = load_config(overrides)
    dataset = build(config.dataset, "dataset")
    if isinstance(dataset, DrawnScenes):
        with tempfile.TemporaryDirectory() as folder:
            write(dataset, Path(folder))
            images, masks = (str(Path(folder) / part) for part in ("images", "masks"))
            return _examine(PairedFolders(dataset.name, images, masks, expected=dataset.count))
    if has_objects(dataset):
        return Report(dataset.name, *check_objects(dataset))
    if not isinstance(dataset, PairedFolders):
        raise UsageError(f"{config.dataset_name} is not a folder; there are no files to check.")
    return _examine(dataset)


def _examine(dataset: PairedFolders) -> Report:
    findings = doctor.check(dataset)
    missing = any(finding.kind == "missing_folder" for finding in findings)
    count = 0 if missing else len(dataset.paired())
    return Report(dataset.name, {"samples": count, "expected": dataset.expected}, findings)


def _check_predictions(pred: Path, gt: Path) -> Report:
    for option, folder in (("--pred", pred), ("--gt", gt)):
        if not folder.is_dir():
            raise MissingAsset(f"{option} {folder}: there is no such folder.")
    truths = PairedFolders(name=gt.name, images=None, masks=str(gt.absolute()))
    findings = list(doctor.check(truths))
    try:
        count = len(truths.samples())
        findings += check_maps(truths, pred)
    except MissingAsset:  # the ground truth itself is at fault, which has been named
        count = 0
    # An unreadable ground truth is met by both doctors.
    told: dict[tuple[str, str], Finding] = {}
    for finding in findings:
        told.setdefault((finding.kind, finding.message), finding)
    return Report(pred.name, {"samples": count}, tuple(told.values()))


def _instructions(dataset: PairedFolders) -> Iterable[str]:
    """What a user needs to get a set by hand: terms, source, count, layout and steps."""
    yield f"{dataset.name} is not here, and its owners offer no direct download."
    yield from _terms(dataset)
    if dataset.expected is not None:
        yield f"count:   {dataset.expected} pairs"
    for part, folders in (("images", dataset.images), ("masks", dataset.masks)):
        names = [folders] if isinstance(folders, str) else list(folders or ())
        yield f"{part + ':':<9}the first of these under {dataset.root}: {', '.join(names)}"
    yield f"steps:   {dataset.fetch or 'set dataset.images=DIR and dataset.masks=DIR'}"


def _plan(dataset: PairedFolders) -> Iterable[str]:
    yield from _terms(dataset)
    for archive in missing_archives(dataset):
        size = in_bytes(archive.bytes) if archive.bytes else "size not published"
        yield f"get:     {archive.url} ({size}, sha256 {archive.sha256 or 'not published'})"
        yield f"to:      {expanded(dataset.root) / archive.folder}"
    free = shutil.disk_usage(_existing(expanded(dataset.root).absolute())).free
    sized = all(archive.bytes for archive in missing_archives(dataset))
    needed = f"{in_bytes(space_needed(dataset))} needed" if sized else "not known"
    yield f"space:   {needed}, {in_bytes(free)} free"


def _terms(dataset: PairedFolders) -> Iterable[str]:
    yield f"licence: {dataset.licence or 'not known'}"
    yield f"source:  {dataset.source or 'not known'}"


def _existing(folder: Path) -> Path:
    return folder if folder.exists() else _existing(folder.parent)


def _ask() -> None:
    """Ask whether the terms are accepted.

    Raises:
        UsageError: they are not, or nobody can be asked.
    """
    if not sys.stdin.isatty():
        raise UsageError("Nothing was downloaded: add --yes to accept the terms above.")
    try:
        answer = input("Accept these terms and download? [y/N] ")
    except EOFError:
        answer = ""
    if answer.strip().casefold() not in ("y", "yes"):
        raise UsageError("Nothing was downloaded: the terms were not accepted.")
