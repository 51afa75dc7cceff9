"""``int-bench picture RUN_DIR``: the masks and names of a run over its iterations, as one PNG."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage

from int_bench.cli.results import run_at
from int_bench.config.building import build_stored_dataset
from int_bench.core.files import write_file
from int_bench.core.types import HardMask, SoftMask
from int_bench.data.dataset import Dataset, SampleFile
from int_bench.errors import MissingAsset, SampleError
from int_bench.report.panels import PanelRow, draw_panel
from int_bench.runs.reader import Run
from int_bench.runs.records import OK


def picture_command(run_dir: Path, out: Path, most: int) -> Path:
    """Draw the first samples of a run that kept its soft masks (``keep=soft``).

    Args:
        run_dir: a run folder, or the beginning of its hash.
        out: the PNG to write.
        most: how many samples at most.

    Raises:
        MissingAsset: there is no such run, it holds no finished sample with soft masks, or a mask
            is not the one that was recorded.
        SampleError: an image cannot be read.
        UsageError: the file cannot be written.
    """
    run = Run(run_at(run_dir))
    dataset = build_stored_dataset(run.manifest.content, run.manifest.path)
    samples = [s for s in dataset.samples() if run.records.status((0, s.id)) == OK][:most]
    if not samples:
        raise MissingAsset(f"{run.path} holds no finished sample to draw.")
    for damage in run.verify(keys=[(0, sample.id) for sample in samples]):
        raise MissingAsset(f"{damage.path} {damage.what}; run the same command again.")
    png = io.BytesIO()
    draw_panel([_row(run, sample, dataset) for sample in samples]).save(png, format="PNG")
    write_file(out, png.getvalue())
    return out


def _row(run: Run, sample: SampleFile, dataset: Dataset) -> PanelRow:
    iterations = run.records[0, sample.id].iterations
    steps = range(1, len(iterations) + 1)
    return PanelRow(
        title=sample.id,
        image=dataset.load_image(sample),
        truth=_truth(dataset, sample),
        soft=[_mask(run.mask(0, sample.id, f"soft_{step}")) for step in steps],
        final=_mask(run.mask(0, sample.id)) > 0.5,
        prompts=[step.prompt for step in iterations],
        candidates=[step.details.get("candidates", []) for step in iterations],
        truth_name=sample.truth_name,
    )


def _truth(dataset: Dataset, sample: SampleFile) -> HardMask | None:
    try:
        return dataset.load_mask(sample)
    except SampleError:  # pictures without ground truth are drawn as well
        return None


def _mask(path: Path) -> SoftMask:
    try:
        with PillowImage.open(path) as file:
            return np.asarray(file.convert("L"), dtype=np.float32) / 255.0
    except FileNotFoundError as error:
        raise MissingAsset(
            f"{path} is missing: the run did not keep its soft masks; run again with keep=soft "
            "and another --out."
        ) from error
    except (OSError, SyntaxError) as error:
        raise MissingAsset(f"{path} cannot be read; run the same command again.") from error
