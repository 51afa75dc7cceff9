"""``int-bench picture RUN_DIR``: the masks and names of a run over its iterations, as one PNG."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image as PillowImage

from int_bench.config.building import build_stored_dataset
from int_bench.core.types import SoftMask
from int_bench.data.dataset import Dataset, SampleFile
from int_bench.errors import MissingAsset
from int_bench.report.panels import PanelRow, draw_panel
from int_bench.runs.reader import Run
from int_bench.runs.records import OK, Record


def picture_command(run_dir: Path, out: Path, most: int) -> Path:
    """Draw the first samples of a run that kept its soft masks (``keep=soft``).

    Raises:
        MissingAsset: there is no such run, or it holds no finished sample with soft masks.
    """
    run = Run(run_dir)
    dataset = build_stored_dataset(run.manifest.content, run.manifest.path)
    rows: list[PanelRow] = []
    for sample in dataset.samples():
        if len(rows) < most and run.records.status((0, sample.id)) == OK:
            rows.append(_row(run, sample, run.records[0, sample.id], dataset))
    if not rows:
        raise MissingAsset(f"{run_dir} holds no finished sample to draw.")
    out.parent.mkdir(parents=True, exist_ok=True)
    draw_panel(rows).save(out)
    return out


def _row(run: Run, sample: SampleFile, record: Record, dataset: Dataset) -> PanelRow:
    steps = range(1, len(record.iterations) + 1)
    return PanelRow(
        title=sample.id,
        image=dataset.load_image(sample),
        truth=dataset.load_mask(sample),
        soft=[_mask(run.mask(0, sample.id, f"soft_{step}")) for step in steps],
        final=_mask(run.mask(0, sample.id)) > 0.5,
        prompts=[item.prompt for item in record.iterations],
        candidates=[item.details.get("candidates", []) for item in record.iterations],
        truth_name=sample.truth_name,
    )


def _mask(path: Path) -> SoftMask:
    if not path.is_file():
        raise MissingAsset(
            f"{path} is missing: the run did not keep its soft masks; run again with keep=soft "
            "and another --out."
        )
    with PillowImage.open(path) as file:
        return np.asarray(file, dtype=np.float32) / 255.0
