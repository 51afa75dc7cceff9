"""What the tables of the drawn world need to be run: data sets, scenes, methods and variants.

A *row group* is one data set and all that is run on it over one broker, so that methods and
variants share their common model calls. Numbers of scenes were chosen before any test scene was
drawn, so that all of it takes two hours of one core. What `int_bench.zoo.bars` compares is
run here too, by the same overrides.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from int_bench.config import load_config
from int_bench.runs.variants import RunRequest, ablations, sweep
from int_bench.zoo.bars import SETS, SceneSet, scenes_in
from int_bench.zoo.mechanism import DECOY, VARIANTS

N = 128
"""Scenes of animals; the other groups are in proportion (`SceneSet.n`)."""
_APART = ("names",)
"""Sets of more scenes than another set whose runs they would share: kept in a root of their own."""
_SAMPLED = (
    "method.prompter.selection.reading=sampled", "method.prompter.selection.samples=1", "trials=3",
)  # fmt: skip
"""A condition with noise: p(c|X) from one sampled answer a picture, drawn anew each iteration."""
_FEWER = "int,gensam,grounding_sam,clip_surgery_sam,llava_sam,oracle_box_sam,centre_box,empty,full"
_METHODS = f"{_FEWER},promac,oracle_name"
"""All but the predecessor's other reading; what costs most is of animals alone."""
_DATASETS = {"polyp": "camoworld_polyp", "skin": "camoworld_skin"}


@dataclass(frozen=True)
class Scope:
    """Which scenes, and where their runs go.

    Attributes:
        split: ``test``, or ``validation`` to try.
        n: scenes of animals.
        runs: root of the run folders.
        part: (index from 0, number of parts): only this part of each group's scenes.
    """

    split: str
    n: int
    runs: Path
    part: tuple[int, int] = (0, 1)

    def options(self, name: str) -> list[str]:
        """The overrides that choose the scenes of a set of `bars.SETS`."""
        wanted, count = SETS[name], scenes_in(name, self.n)
        dataset = "camoworld_v1" if wanted.world == 1 else _DATASETS.get(wanted.task, "camoworld")
        index, parts = self.part
        ends = [count * place // parts for place in (index, index + 1)]
        out = self.runs / name if name in _APART else self.runs
        return [
            f"dataset={dataset}", f"dataset.split={self.split}", f"dataset.count={count}",
            f"dataset.animals={wanted.animals}", "exactness=E1", "in_flight=16",
            f"out={out}", f"skip={ends[0]}", f"limit={ends[1]}",
        ]  # fmt: skip

    def empty(self, name: str) -> bool:
        """Whether the part holds no scene of a set."""
        count, (index, parts) = scenes_in(name, self.n), self.part
        return count * index // parts == count * (index + 1) // parts


@dataclass(frozen=True)
class RowGroup:
    """One data set of the page, or of the bars alone.

    Attributes:
        scenes: its key in `bars.SETS`.
        page: all that the page shows of it, from the overrides that choose the scenes.
    """

    scenes: str
    page: Callable[[Sequence[str]], list[RunRequest]] = lambda options: []

    def requests(self, scope: Scope) -> list[RunRequest]:
        """All runs, INT itself first; some may be of one folder."""
        options = scope.options(self.scenes)
        return [*self.page(options), *(bar_requests(self.scenes, scope).values())]


def bar_requests(name: str, scope: Scope) -> dict[str, RunRequest]:
    """By variant of a set of `bars.SETS` the run that it is measured on."""
    wanted = SETS[name]
    return {
        variant: _bar_request(variant, wanted, scope.options(name)) for variant in wanted.variants
    }


def _bar_request(variant: str, wanted: SceneSet, options: Sequence[str]) -> RunRequest:
    more = ["dataset.named=decoys"] if variant == DECOY else []
    more += [f"trials={wanted.trials}"] if wanted.trials > 1 else []
    return RunRequest(load_config([*options, *VARIANTS[variant], *more]), variant)


def _animals(options: Sequence[str]) -> list[RunRequest]:
    axes = ["module=all", "patches=all", "reading=all", "iterations=1..6"]
    frozen = RunRequest(load_config([*options, "ablation=freeze_first"]))
    return [*sweep([*options, f"method={_METHODS}"]), *ablations([*options, *axes]), frozen]


def _medical(iterations: int) -> Callable[[Sequence[str]], list[RunRequest]]:
    def requests(options: Sequence[str]) -> list[RunRequest]:
        axes = ["module=all", f"iterations=1..{iterations}"]
        return [*sweep([*options, f"method={_FEWER}"]), *ablations([*options, *axes])]

    return requests


def _sampled(options: Sequence[str]) -> list[RunRequest]:
    further = {"sampled, k=1": [], "sampled, k=1, no_pnm": ["ablation=no_pnm"]}
    return [
        RunRequest(load_config([*options, *_SAMPLED, *more]), label)
        for label, more in further.items()
    ]


GROUPS = {
    "camoworld": RowGroup("mixed", _animals),
    "camoworld_polyp": RowGroup("polyp", _medical(7)),
    "camoworld_skin": RowGroup("skin", _medical(6)),
    "sampled": RowGroup("sampled", _sampled),
    "names": RowGroup("names"),
    "two of one kind": RowGroup("two of one kind"),
    "two kinds": RowGroup("two kinds"),
    "world 1": RowGroup("world 1"),
}
