"""What was asked of the mechanism before the models were trained, measured: bars and aims.

Part ``int`` of ``int_bench.zoo.report``. Each set of scenes is measured once
(`int_bench.zoo.mechanism`) and its values kept as JSON, so that a measurement that was stopped goes
on with the next set. Differences are paired, scene by scene.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from int_bench.data.world.scenes import Scenes, draw
from int_bench.zoo.measures import Measure, Values
from int_bench.zoo.mechanism import DECOY, Measured, measure

WHOLE = 128
"""Scenes of the first set in the full measurement; the other sets are in proportion."""
BASELINES = ("GroundingSAM", "CLIP Surgery+SAM", "LLaVA+SAM", "GenSAM")


@dataclass(frozen=True)
class SceneSet:
    """Scenes, and what is run on them, in so many trials with their own seeds."""

    n: int
    variants: tuple[str, ...]
    task: str = "cod"
    animals: str = "mixed"
    world: int = 2
    trials: int = 1


SETS = {
    "mixed": SceneSet(
        128,
        ("INT", *BASELINES, "ProMaC", "without HCG", "without PSNM", "without PNM",
         "first prompt kept", "printed", "lineage", "true name", DECOY),
    ),
    "names": SceneSet(256, ("INT",)),
    "polyp": SceneSet(128, ("INT", *BASELINES), task="polyp"),
    "skin": SceneSet(128, ("INT", *BASELINES), task="skin"),
    "two of one kind": SceneSet(128, ("INT", "without SMG"), animals="two_same"),
    "two kinds": SceneSet(128, ("INT", "without SMG"), animals="two_different"),
    "world 1": SceneSet(128, ("INT",), animals="one", world=1),
    "sampled": SceneSet(96, ("sampled, k=1", "sampled, k=1, without PNM"), trials=3),
}  # fmt: skip


class Figures:
    """Values per scene of every set, the mean over its trials."""

    def __init__(self, sets: Mapping[str, list[dict[str, Measured]]]) -> None:
        self._sets = sets

    def of(self, where: str, variant: str, value: Callable[[Measured], Values]) -> Values:
        """One value per scene, (N,)."""
        trials = [value(trial[variant]) for trial in self._sets[where]]
        return np.asarray(np.mean(trials, axis=0), dtype=np.float64)

    def final(self, where: str, variant: str) -> Values:
        """S of the final masks, (N,)."""
        return self.of(where, variant, lambda measured: measured.final)

    def over(self, where: str, other: str, variant: str = "INT") -> Values:
        """By how much S of one variant is above another's, (N,)."""
        return self.final(where, variant) - self.final(where, other)

    def over_best(self, where: str) -> Values:
        """By how much INT is above the baseline with the largest mean S, (N,)."""
        best = max(BASELINES, key=lambda name: float(self.final(where, name).mean()))
        return self.over(where, best)

    def gain(self, where: str) -> Values:
        """S of INT's last mask minus that of its first, (N,)."""
        return self.of(where, "INT", lambda m: m.structure[:, -1] - m.structure[:, 0])

    def right(self, where: str, variant: str) -> Values:
        """Whether the last prompt names something that hides there, (N,)."""
        return self.of(where, variant, lambda m: m.right[:, -1])

    def named(self, where: str, right: bool, other: str) -> Values:
        """By how much INT is above another where its last prompt is right, or where it is not."""
        chosen = (self.right(where, "INT") >= 0.5) == right
        above: Values = self.over(where, other)[chosen]
        return above

    def both(self, where: str) -> Values:
        """Whether each animal has an IoU of .5 with INT's final mask, (N,)."""
        return self.of(where, "INT", lambda m: m.all_found)

    def mined(self) -> Values:
        """Right names by mining minus right plain answers, (N,)."""
        return self.right("names", "INT") - self.of("names", "INT", lambda m: m.plain)


@dataclass(frozen=True)
class Bar:
    """What should come out, and how it is found."""

    what: str
    must: str
    aim: str
    values: Callable[[Figures], Values]


_K1, _K1_ALONE = "sampled, k=1", "sampled, k=1, without PNM"
BARS = (
    Bar("S", "", "", lambda f: f.final("mixed", "INT")),
    Bar("S: INT - best of the four baselines", ">= .03, interval > 0", ">= .08",
        lambda f: f.over_best("mixed")),
    Bar("S: the same, polyps", "> 0", ">= .04", lambda f: f.over_best("polyp")),
    Bar("S: the same, lesions", "> 0", ">= .04", lambda f: f.over_best("skin")),
    *(Bar(f"S: INT - {name}", "", "", lambda f, name=name: f.over("mixed", name))  # type: ignore[misc]
      for name in BASELINES),
    Bar("S: INT - LLaVA+SAM, INT's name right", "", "",
        lambda f: f.named("mixed", True, "LLaVA+SAM")),
    Bar("S: INT - LLaVA+SAM, INT's name wrong", "", "",
        lambda f: f.named("mixed", False, "LLaVA+SAM")),
    Bar("S: INT - ProMaC", ">= 0", ">= .02", lambda f: f.over("mixed", "ProMaC")),
    Bar("S of iteration 5 - of 1", ">= 0", ">= .03", lambda f: f.gain("mixed")),
    Bar("S of iteration 5 - of 1, world 1", ">= -.02", ">= -.005", lambda f: f.gain("world 1")),
    Bar("S: without PSNM - INT", "<= -.06", "<= -.12", lambda f: -f.over("mixed", "without PSNM")),
    Bar("S: without HCG - INT", "<= -.03", "<= -.08", lambda f: -f.over("mixed", "without HCG")),
    Bar("S: without PNM - INT", "", "", lambda f: -f.over("mixed", "without PNM")),
    Bar("S: first prompt kept - INT", "", "", lambda f: -f.over("mixed", "first prompt kept")),
    Bar("S: reading printed - INT", "", "", lambda f: -f.over("mixed", "printed")),
    Bar("S: reading lineage - INT", "", "", lambda f: -f.over("mixed", "lineage")),
    Bar("two of one kind, S: without SMG - INT", "<= -.06", "<= -.12",
        lambda f: -f.over("two of one kind", "without SMG")),
    Bar("two of one kind, both found", ">= .80", ">= .93", lambda f: f.both("two of one kind")),
    Bar("two kinds, both found", "", "", lambda f: f.both("two kinds")),
    Bar("right name at iteration 5, k=1: with PNM - without", ">= .05", ">= .10",
        lambda f: f.right("sampled", _K1) - f.right("sampled", _K1_ALONE)),
    Bar("right name in the pool", ">= .80", ">= .88",
        lambda f: f.of("names", "INT", lambda m: m.pool)),
    Bar("right name at last", ">= .68", ">= .78", lambda f: f.right("names", "INT")),
    Bar("right name: gain over the plain answer", ">= .15", ">= .25", Figures.mined),
    Bar("S: true name - decoys' name", ">= .15", ">= .25",
        lambda f: f.over("mixed", DECOY, "true name")),
)  # fmt: skip


def measures(split: str, n: int, folder: Path) -> list[Measure]:
    """All rows of the card on the mechanism.

    Args:
        split: ``test`` or ``validation``.
        n: scenes of the first set; `WHOLE` is the full measurement.
        folder: where the values of each set are kept.
    """
    figures = Figures({name: measured(name, split, n, folder) for name in SETS})
    return [Measure("INT", bar.what, bar.values(figures), bar.must, bar.aim) for bar in BARS]


def measured(name: str, split: str, n: int, folder: Path) -> list[dict[str, Measured]]:
    """Each trial of a set, from the file of a former run where it is of the same scenes."""
    wanted, path = SETS[name], _file(name, split, folder)
    if path.is_file():
        kept = json.loads(path.read_text(encoding="utf-8"))
        if kept["key"] == _key(wanted, n):
            return [{v: Measured.restored(m) for v, m in trial.items()} for trial in kept["trials"]]
    scenes = scenes_of(name, split, n)
    trials = [
        measure(wanted.variants, scenes, wanted.task, (), trial) for trial in range(wanted.trials)
    ]
    keep(name, split, n, folder, trials)
    return trials


def scenes_of(name: str, split: str, n: int) -> Scenes:
    """The scenes of a set, where the first set has ``n``."""
    wanted, count = SETS[name], scenes_in(name, n)
    return draw(split, range(count), task=wanted.task, animals=wanted.animals, world=wanted.world)


def scenes_in(name: str, n: int) -> int:
    """How many scenes a set has, where the first one has ``n``."""
    return max(2, SETS[name].n * n // WHOLE)


def keep(
    name: str, split: str, n: int, folder: Path, trials: Sequence[Mapping[str, Measured]]
) -> None:
    """Store the values of a set where `measured` looks for them."""
    stored = [{v: m.stored() for v, m in trial.items()} for trial in trials]
    folder.mkdir(parents=True, exist_ok=True)
    content = json.dumps({"key": _key(SETS[name], n), "trials": stored})
    _file(name, split, folder).write_text(content + "\n", encoding="utf-8")


def _file(name: str, split: str, folder: Path) -> Path:
    return folder / f"{split}_{name.replace(' ', '_')}.json"


def _key(wanted: SceneSet, n: int) -> str:
    return f"{max(2, wanted.n * n // WHOLE)}/{wanted}"
