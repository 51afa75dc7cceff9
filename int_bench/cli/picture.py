"""``int-bench picture RUN_DIR``: the masks and names of a run over its iterations, as one PNG."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage

from int_bench.cli.results import load_run, run_at
from int_bench.cli.screen import say
from int_bench.config.annotations import closest
from int_bench.config.building import build_stored_dataset
from int_bench.core.files import write_file
from int_bench.core.instances import Instance
from int_bench.core.types import HardMask, SoftMask
from int_bench.data.dataset import Dataset, SampleFile, objects_of
from int_bench.errors import MissingAsset, SampleError, UsageError
from int_bench.report.panels import PanelRow, draw_panel
from int_bench.runs.kept.standing import unfinished
from int_bench.runs.reader import Run
from int_bench.runs.records import OK
from int_bench.runs.scorable import images_changed, truth_changed

_RANKED_BY = "native.S"


@dataclass(frozen=True)
class Choice:
    """Which samples are drawn: those named, else the worst and the best, else the first.

    Attributes:
        most: how many of the first.
        ids: the named ones.
        worst: how many of the lowest score, ``native.S``.
        best: how many of the highest.
    """

    most: int = 4
    ids: tuple[str, ...] = ()
    worst: int = 0
    best: int = 0

    def of(self, run: Run, dataset: Dataset) -> list[SampleFile]:
        """The finished samples that are chosen, in the order in which they are drawn.

        Raises:
            UsageError: samples are named and counted at once.
            MissingAsset: a named sample is not finished, or the run was not scored.
        """
        if self.ids and (self.worst or self.best):
            raise UsageError("Give either --id or --worst and --best.")
        finished = {s.id: s for s in dataset.samples() if run.records.status((0, s.id)) == OK}
        for sample_id in self.ids:
            if sample_id not in finished:
                raise MissingAsset(
                    f"{run.path} holds no finished sample {sample_id!r}."
                    + closest(sample_id, finished)
                )
        if self.ids:
            return [finished[sample_id] for sample_id in dict.fromkeys(self.ids)]
        if not (self.worst or self.best):
            return list(finished.values())[: self.most]
        scores = load_run(run.path).by_sample(_RANKED_BY)
        ranked = sorted((of for of in scores if of in finished), key=lambda of: scores[of])
        chosen = [*ranked[: self.worst], *ranked[len(ranked) - min(self.best, len(ranked)) :]]
        return [finished[sample_id] for sample_id in dict.fromkeys(chosen)]


def picture_command(run_dir: Path, out: Path, choice: Choice) -> Path:
    """Draw samples of a run that kept its soft masks (``keep=soft`` or ``keep=trace``).

    Args:
        run_dir: a run folder, or the beginning of its hash.
        out: the PNG to write.
        choice: which samples.

    Raises:
        MissingAsset: there is no such run, it holds no finished sample with soft masks, or a mask
            is not the one that was recorded.
        SampleError: an image cannot be read.
        UsageError: the file cannot be written.
    """
    run = Run(run_at(run_dir))
    dataset = build_stored_dataset(run.manifest.content, run.manifest.path)
    samples = choice.of(run, dataset)
    if not samples:
        raise MissingAsset(f"{run.path} holds no finished sample to draw.")
    for key in ((0, sample.id) for sample in samples):
        for damage in unfinished(run.path, run.records[key], run.records.written(key), False):
            raise MissingAsset(f"{damage.path} {damage.what}; run the same command again.")
    changed = [
        name
        for name, is_other in (("images", images_changed), ("ground truth", truth_changed))
        if is_other(run, dataset)
    ]
    if changed:
        what = f"The {' and the '.join(changed)} of {run.dataset} changed since {run.path}"
        say(f"{what}; what is drawn of them is what lies there now.")
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
        objects=_objects(dataset, sample),
    )


def _truth(dataset: Dataset, sample: SampleFile) -> HardMask | None:
    try:
        return dataset.load_mask(sample)
    except SampleError:  # pictures without ground truth are drawn as well
        return None


def _objects(dataset: Dataset, sample: SampleFile) -> tuple[Instance, ...]:
    try:
        return objects_of(dataset, sample)
    except SampleError:
        return ()


def _mask(path: Path) -> SoftMask:
    try:
        with PillowImage.open(path) as file:
            return np.asarray(file.convert("L"), dtype=np.float32) / 255.0
    except FileNotFoundError as error:
        raise MissingAsset(
            f"{path} is missing: the run did not keep its soft masks; run again with keep=soft "
            "refill=true."
        ) from error
    except (OSError, SyntaxError) as error:
        raise MissingAsset(f"{path} cannot be read; run the same command again.") from error
