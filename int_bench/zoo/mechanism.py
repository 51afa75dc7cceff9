"""What each part of INT is worth on the drawn world: methods, ablations and oracles side by side.

    python -m int_bench.zoo.mechanism --n 64                          # validation scenes
    python -m int_bench.zoo.mechanism --animals two_different --only "INT;without SMG"
    python -m int_bench.zoo.mechanism --task polyp --world 2 reading=printed

All variants run in one process over one broker, so that what they share is computed once. Prints
the structure measure S (Fan et al. 2017) after each iteration and of the final mask, the paired
difference to the first variant with half of its 95 % interval, and how often the prompt names
something that is there. Draws the test split only if it is told to.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, cast

import numpy as np
import typer
from numpy.typing import NDArray

from int_bench.config import build_backbones, build_method, load_config
from int_bench.config.schedule import schedule
from int_bench.core.parsing import canonical
from int_bench.core.protocols import Ask, Method
from int_bench.core.seeding import derive_seed
from int_bench.core.types import HardMask, Picture, Prediction, Sample
from int_bench.data.world.names import NAMES, TASK_PROMPTS
from int_bench.data.world.scenes import Scenes, draw
from int_bench.engine.broker import Broker
from int_bench.engine.jobs import Job
from int_bench.metrics.objects import all_found
from int_bench.metrics.rules import NATIVE

Values = NDArray[np.float64]
DECOY = "decoys' name"
VARIANTS: Mapping[str, Sequence[str]] = {
    "INT": (),
    "GroundingSAM": ("method=grounding_sam",),
    "CLIP Surgery+SAM": ("method=clip_surgery_sam",),
    "LLaVA+SAM": ("method=llava_sam",),
    "GenSAM": ("method=gensam",),
    "ProMaC": ("method=promac",),
    "without HCG": ("ablation=no_hcg",),
    "without PSNM": ("ablation=no_psnm",),
    "without PNM": ("ablation=no_pnm",),
    "first prompt kept": ("ablation=freeze_first",),
    "without SMG": ("ablation=no_smg",),
    "printed": ("reading=printed",),
    "lineage": ("reading=lineage",),
    "sampled, k=1": ("method.prompter.selection.reading=sampled",
                     "method.prompter.selection.samples=1"),
    "sampled, k=1, without PNM": ("method.prompter.selection.reading=sampled",
                                  "method.prompter.selection.samples=1", "ablation=no_pnm"),
    "true name": ("method=oracle_name",),
    DECOY: ("method=oracle_name",),
}  # fmt: skip
"""Overrides of each variant; the two oracles are told what stands there."""
_USUAL = ";".join(name for name in VARIANTS if not name.startswith("sampled"))


@dataclass(frozen=True)
class Measured:
    """One variant on N scenes, T iterations.

    Attributes:
        structure: ``(N, T)`` S of each iteration's mask.
        final: ``(N,)`` S of the final mask.
        right: ``(N, T)`` whether all that the prompt names hides there.
        plain: ``(N,)`` whether the VLM's answer for the whole image does.
        pool: ``(N,)`` whether a candidate does; zeros for methods without candidates.
        all_found: ``(N,)`` whether each animal has an IoU of .5 with the final mask.
    """

    structure: Values
    final: Values
    right: Values
    plain: Values
    pool: Values
    all_found: Values

    @classmethod
    def of(cls, predictions: Sequence[Prediction], scenes: Scenes) -> Measured:
        """Score all predictions."""
        return cls.joined([_measured(p, scenes, i) for i, p in enumerate(predictions)])

    @classmethod
    def joined(cls, rows: Sequence[tuple[Any, ...]]) -> Measured:
        """Of the values of each scene, see `judged`."""
        columns = zip(*rows, strict=True)
        return cls(*(np.array(column, dtype=np.float64) for column in columns))

    def stored(self) -> dict[str, Any]:
        """All values, JSON-ready."""
        return {name: values.tolist() for name, values in vars(self).items()}

    @classmethod
    def restored(cls, values: Mapping[str, Any]) -> Measured:
        """What `stored` gave."""
        return cls(**{name: np.array(value, dtype=np.float64) for name, value in values.items()})


def _measured(prediction: Prediction, scenes: Scenes, index: int) -> tuple[Any, ...]:
    masks = [iteration.masks.hard for iteration in prediction.iterations]
    prompts = [iteration.prompt or "" for iteration in prediction.iterations]
    details = prediction.iterations[0].details
    return judged(scenes, index, masks, prediction.final.masks.hard, prompts, details)


def judged(
    scenes: Scenes,
    index: int,
    masks: Sequence[HardMask],
    final: HardMask,
    prompts: Sequence[str],
    details: Mapping[str, Any],
) -> tuple[Any, ...]:
    """The values of one scene, in the order of Measured's attributes.

    Args:
        scenes: all scenes.
        index: of the scene among them.
        masks: (H, W) bool of each iteration.
        final: the final mask.
        prompts: of each iteration.
        details: of the first iteration.
    """
    objects = [mask for mask in scenes.masks[index] if mask.any()]
    truth = scenes.masks[index].any(axis=0)
    names = {NAMES[name] for name in scenes.names[index] if name >= 0}
    structures = [_structure(mask, truth) for mask in masks]
    right = [{canonical(part) for part in prompt.split(" and ")} <= names for prompt in prompts]
    answers, candidates = details.get("answers", ()), details.get("candidates", ())
    said = answers[0] if answers and isinstance(answers[0], Mapping) else {"names": ()}
    plain = any(canonical(name) in names for name in said["names"][:1])
    pool = any(canonical(candidate["name"]) in names for candidate in candidates)
    return structures, _structure(final, truth), right, plain, pool, all_found(final, objects)


def _structure(hard: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    return float(NATIVE.score(hard, truth).measures.values["S"])


def interval(values: Values) -> tuple[float, float]:
    """Mean and half of its 95 % interval over scenes (normal approximation)."""
    return float(values.mean()), float(1.96 * values.std(ddof=1) / np.sqrt(len(values)))


def measure(
    names: Sequence[str], scenes: Scenes, task: str, base: Sequence[str], trial: int = 0
) -> dict[str, Measured]:
    """Run variants on scenes, side by side.

    Args:
        names: keys of VARIANTS.
        scenes: what to segment.
        task: ``cod``, ``polyp`` or ``skin``.
        base: overrides that all variants share, e.g. of the models.
        trial: changes the seeds of everything that is sampled.
    """
    shared = [f"task={task}", "exactness=E1", *base]
    configs = {name: load_config([*shared, *VARIANTS[name]]) for name in names}
    first = next(iter(configs.values()))
    models = build_backbones(load_config(shared))
    plan = schedule(first, models)
    broker = Broker(models, max_batch=plan.max_batch, memo_bytes=2**30, in_flight=16)
    jobs = (
        Job((name, index), _start(method, _sample(scenes, index, task, name, trial)), owner=name)
        for index in range(len(scenes.images))
        for name, method in ((name, build_method(config)) for name, config in configs.items())
    )
    predictions: dict[str, dict[int, Prediction]] = {name: {} for name in names}
    for outcome in broker.run(jobs):
        if outcome.value is None:
            raise RuntimeError(f"{outcome.key} failed") from outcome.error
        name, index = cast("tuple[str, int]", outcome.key)
        predictions[name][index] = outcome.value
    return {
        name: Measured.of([by_index[i] for i in range(len(by_index))], scenes)
        for name, by_index in predictions.items()
    }


def _sample(scenes: Scenes, index: int, task: str, variant: str, trial: int) -> Sample:
    shown = scenes.decoy_names[index, :1] if variant == DECOY else scenes.names[index]
    return Sample(
        id=f"scene-{index:05d}",
        image=Picture(scenes.images[index]),
        task=TASK_PROMPTS[task],
        seed=derive_seed(trial, f"scene-{index:05d}"),
        truth=scenes.masks[index].any(axis=0),
        truth_name=" and ".join(dict.fromkeys(NAMES[name] for name in shown if name >= 0)),
    )


def _start(method: Method, sample: Sample) -> Callable[[Ask], Coroutine[Any, Any, Prediction]]:
    def begin(ask: Ask) -> Coroutine[Any, Any, Prediction]:
        return method.segment(sample, ask)  # type: ignore[return-value]

    return begin


def table(variants: Mapping[str, Measured]) -> Iterator[str]:
    """The rows of a Markdown table; differences are paired and against the first variant."""
    yield "| | S at 1.. | last - first | S | minus the first | plain, 1, last | pool | found |"
    yield "|---|---|---|---|---|---|---|---|"
    base = next(iter(variants.values()))
    for name, row in variants.items():
        structures = " ".join(f"{value:.3f}" for value in row.structure.mean(axis=0))
        gain, gain_half = interval(row.structure[:, -1] - row.structure[:, 0])
        mean, half = interval(row.final)
        apart = "" if row is base else "{:+.3f}±{:.3f}".format(*interval(row.final - base.final))
        first, last = row.right[:, 0].mean(), row.right[:, -1].mean()
        names = f"{row.plain.mean():.2f} {first:.2f} {last:.2f} | {row.pool.mean():.2f}"
        yield (
            f"| {name} | {structures} | {gain:+.3f}±{gain_half:.3f} | {mean:.3f}±{half:.3f} "
            f"| {apart} | {names} | {row.all_found.mean():.2f} |"
        )


def main(  # noqa: PLR0913  (one per dial of the world)
    overrides: Annotated[list[str] | None, typer.Argument(help="KEY=VALUE of all variants")] = None,
    n: Annotated[int, typer.Option(help="scenes")] = 64,
    first: Annotated[int, typer.Option(help="number of the first scene")] = 0,
    split: Annotated[str, typer.Option(help="validation, or test")] = "validation",
    task: Annotated[str, typer.Option(help="cod, polyp or skin")] = "cod",
    animals: Annotated[str, typer.Option(help="one, two_same, two_different, mixed")] = "mixed",
    world: Annotated[int, typer.Option(help="1 or 2")] = 2,
    level: Annotated[str, typer.Option(help="easy, medium or hard decoys")] = "medium",
    only: Annotated[str, typer.Option(help="variants, separated by semicolons")] = _USUAL,
    out: Annotated[Path | None, typer.Option(help="values per scene, as JSON")] = None,
) -> None:
    """Measure and print."""
    names = [name for name in VARIANTS if name in only.split(";")]
    if world == 1:
        names = [name for name in names if name != DECOY]
    started = time.monotonic()
    scenes = draw(split, range(first, first + n), task=task, animals=animals, world=world,
                  level=level)  # fmt: skip
    variants = measure(names, scenes, task, overrides or ())
    print(f"{split} {first}..{first + n - 1}, {task}, {animals}, world {world}, {level} decoys")
    print("\n".join(table(variants)))
    print(f"{time.monotonic() - started:.0f} s", file=sys.stderr)
    if out is not None:
        values = {name: measured.stored() for name, measured in variants.items()}
        out.write_text(json.dumps(values) + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
