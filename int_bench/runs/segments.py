"""What a run found in each picture: name, box and share of the mask; needs no ground truth."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from int_bench.config.building import build_stored_dataset
from int_bench.core import geometry
from int_bench.core.types import Box, HardMask
from int_bench.data.images import read_mask
from int_bench.errors import SampleError, UserError
from int_bench.runs.layout import MANIFEST, Key
from int_bench.runs.prepare import Prepared, unlimited
from int_bench.runs.reader import Run
from int_bench.runs.records import OK, Record
from int_bench.runs.scorable import images_changed


@dataclass(frozen=True)
class Segment:
    """One picture of one trial.

    Attributes:
        id: the sample.
        trial: from 0.
        status: ``ok`` or ``failed``.
        name: the instance-specific prompt that the mask was made for; None if it failed.
        box: the bounds of the mask, (x0, y0, x1, y1) in pixels of the picture, x1 and y1 excluded;
            None without a mask, and of an empty one.
        prompt_box: the box of the prompt in the same frame, where the method found one.
        share: of the picture that the mask covers, 0..1; None if it failed.
        seconds: of the models for this picture.
        mask: the file of the final mask; None if it failed.
        error: why it failed, one sentence; None if it did not.
    """

    id: str
    trial: int
    status: str
    name: str | None = None
    box: tuple[int, int, int, int] | None = None
    prompt_box: Box | None = None
    share: float | None = None
    seconds: float = 0.0
    mask: Path | None = None
    error: str | None = None

    def as_json(self) -> dict[str, Any]:
        """All of it, JSON-ready."""
        return {**asdict(self), "mask": None if self.mask is None else str(self.mask)}


def take_earlier(run: Prepared) -> int:
    """Copy what an earlier run has done of the same pictures, for a run that has not begun.

    An earlier run counts where all but its list of pictures is the same, and its pictures are still
    those that it was made from; the one that has most.

    Returns:
        How many samples were copied, over all trials.

    Raises:
        UsageError: the run folder cannot be written.
    """
    if run.path.exists():
        return 0
    common: dict[Path, list[Key]] = {}
    for file in sorted(run.path.parent.glob(f"*/{MANIFEST}")):
        with suppress(UserError):  # it is damaged, or a picture of it is gone
            common[file.parent] = _common(run, Run(file.parent))
    most = max(common, key=lambda path: len(common[path]), default=None)
    if most is None or not common[most]:
        return 0
    run.join([most], common[most])
    return len(common[most])


def _common(run: Prepared, earlier: Run) -> list[Key]:
    """What an earlier run has done, and well, of a run's samples."""
    theirs, ours = dict(earlier.manifest.identity), dict(run.identity)
    theirs["dataset"] = ours["dataset"] = None
    dataset = build_stored_dataset(earlier.manifest.content, earlier.manifest.path)
    whole = unlimited(run.dataset)
    # What is white in deep pictures is decided over all of them.
    depths = [getattr(of, "depth", None) for of in (dataset, whole)]
    if theirs != ours or images_changed(earlier, dataset) or depths[0] != depths[1]:
        return []
    there = {(sample.id, sample.image_path) for sample in dataset.samples()}
    same = {sample.id for sample in whole.samples() if (sample.id, sample.image_path) in there}
    records = earlier.records
    done = [key for key in run.keys if key[1] in same and records.status(key) == OK]
    damaged = {damage.key for damage in earlier.verify(keys=done)}
    return [k for k in done if k not in damaged and records[k].keep == run.config.keep]


def segments(run: Run, keys: Iterable[Key] | None = None) -> Iterator[Segment]:
    """What a run found, by trial and sample; masks are read one by one.

    Args:
        run: a run folder.
        keys: the trials and samples that count; all that have a record if None.

    Raises:
        MissingAsset: the records cannot be read.
    """
    for key in run.records if keys is None else keys:
        if key in run.records:
            yield segment_of(run.path, run.records[key], run.mask(*key))


def segment_of(folder: Path, record: Record, mask: Path) -> Segment:
    """What a record and its mask say; a mask that cannot be read is a failure."""
    seconds = sum(record.seconds.values())
    bare = Segment(record.id, record.trial, record.status, seconds=seconds, error=record.error)
    if record.status != OK:
        return bare
    try:
        hard = read_mask(mask)
    except SampleError as error:
        reason = f"{error} `int-bench check {folder}` says what else is gone."
        return Segment(record.id, record.trial, "failed", seconds=seconds, error=reason)
    return Segment(
        record.id,
        record.trial,
        record.status,
        name=record.prompt,
        box=bounds(hard),
        prompt_box=record.box,
        share=float(hard.mean()),
        seconds=seconds,
        mask=mask,
    )


def bounds(mask: HardMask) -> tuple[int, int, int, int] | None:
    """The smallest box (x0, y0, x1, y1) around a mask, x1 and y1 excluded; None if it is empty."""
    if not mask.any():
        return None
    rows, columns = geometry.bounds(mask)
    return columns.start, rows.start, columns.stop, rows.stop
