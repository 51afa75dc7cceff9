"""``int-bench ablate`` of what is trained: train with and without each part, run, compare."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

from int_bench.cli import plan
from int_bench.cli.screen import Command, quiet_libraries, say
from int_bench.cli.training.train import Planned
from int_bench.core.text import many, shown
from int_bench.errors import Exit, MissingAsset
from int_bench.report.sapnet.parts import parts_table
from int_bench.report.sapnet.scores import Measure, instance_scores
from int_bench.report.tables import Table
from int_bench.runs.preflight.checks import Preflight, merged, preflight
from int_bench.runs.prepare import prepare
from int_bench.runs.training.parts import (
    SELECTOR,
    TrainedAblation,
    Variant,
    trained_ablations,
)
from int_bench.runs.training.request import bags_of
from int_bench.runs.variants import RunRequest
from int_bench.scoring.score import Scored

Tables = Callable[[Sequence[Scored]], Sequence[Table]]
"""Further tables of what a command has scored."""
RunAll = Callable[[Command, Sequence[RunRequest], Tables], int]
"""Runs requests, scores them, prints their table and further ones; the exit code."""
_WIDE = 10
_ROLES = ("selector", "instance_segmenter")
"""Of the models that are trained here."""


def ablate_trained(command: Command, run_all: RunAll) -> int:
    """Train the whole method and it without each part, run what that leaves, and compare.

    Trainings lie where `int-bench train` puts them; those that are done are not done again.

    Returns:
        The exit code: 0; 2 or 3 if something is wrong or missing; 4 if a sample failed; 130 if
        interrupted.
    """
    quiet_libraries()
    works = [_Work(command, ablation) for ablation in trained_ablations(command.overrides)]
    report = merged([part for work in works for part in work.reports()])
    if report.faults:
        return plan.complain(report)
    if command.dry_run and not all(work.done for work in works):
        lines = [line for work in works for line in work.lines()]
        print("\n".join(dict.fromkeys(map(shown, lines))), flush=True)
        return Exit.DONE
    requests, counts = list[RunRequest](), list[tuple[str, int]]()
    for work in works:
        counts.append((work.ablation.method, len(work.ablation.variants)))
        for variant in work.ablation.variants:
            final = work.train(variant)
            if final is None:
                return Exit.INTERRUPTED
            requests.append(RunRequest(work.ablation.config(variant, final)))
    return run_all(command, requests, partial(_tables, counts))


def _tables(counts: Sequence[tuple[str, int]], scored: Sequence[Scored]) -> list[Table]:
    """A table for each method; the runs stand in the order of the requests."""
    runs, tables = iter(scored), []
    for method, count in counts:
        measure: Measure = "selection" if method == SELECTOR else "masks"
        group = [next(runs) for _ in range(count)]
        try:
            known = [(run.name, instance_scores(run.folder, measure)) for run in group]
        except MissingAsset as error:  # of a run without one good sample
            say(str(error))
            continue
        tables.append(parts_table([replace(scores, label=name) for name, scores in known]))
    return tables


@dataclass(frozen=True)
class _Work:
    """The trainings and runs of one method's variants.

    Attributes:
        command: ``ablate``, as it was typed.
        ablation: what it asks for.
    """

    command: Command
    ablation: TrainedAblation

    @cached_property
    def whole(self) -> Planned:
        """The training of the whole method's selector, whose bags all others take."""
        return _planned(self.ablation.variants[0].selector)

    @property
    def done(self) -> bool:
        """Whether everything is trained."""
        variants = self.ablation.variants
        return all(
            self.selector(v).folder.done and (v.segmenter is None or self.network(v).folder.done)
            for v in variants
        )

    @property
    def _bags(self) -> list[str]:
        return bags_of(self.whole.folder.final, self.command.given)

    def selector(self, variant: Variant) -> Planned:
        """The training of a variant's selector."""
        if variant.selector == self.ablation.variants[0].selector:
            return self.whole
        return _planned([*variant.selector, *self._bags])

    def network(self, variant: Variant) -> Planned:
        """The training of its network; the folder is known when its selector is trained."""
        final = self.selector(variant).folder.final
        return _planned(variant.network(final, self._bags), untrained=("selector",))

    def reports(self) -> Iterator[Preflight]:
        """What is missing for trainings and runs."""
        yield self.whole.report
        if self.whole.prepared is not None:
            for variant in self.ablation.variants:
                yield self.selector(variant).report
                if variant.segmenter is not None:
                    yield self.network(variant).report
        yield self.measured()[1]

    def measured(self) -> tuple[int, Preflight]:
        """How many samples a run has, and what is missing for it but for what is trained here."""
        config = self.ablation.config(self.ablation.variants[0], Path("final"))
        models = {role: node for role, node in config.backbone.items() if role not in _ROLES}
        request = RunRequest(replace(config, backbone=models))
        try:
            (prepared,) = prepare([request])
        except MissingAsset as error:
            return 0, preflight([request], [], [], error)
        return len(prepared.samples), preflight([request], [], [])

    def train(self, variant: Variant) -> Path | None:
        """Train what a variant needs; the folder that its run takes, or None if interrupted."""
        final = self._finish(self.selector(variant))
        if final is not None and variant.segmenter is not None:
            final = self._finish(self.network(variant))
        return final

    def _finish(self, planned: Planned) -> Path | None:
        if not planned.folder.done:
            say(f"Training: {planned.command.text}")
        return planned.finish(self.command.text)

    def lines(self) -> Iterator[str]:
        """What would be trained and run, and how far it is."""
        prepared, variants = self.whole.prepared, self.ablation.variants
        assert prepared is not None
        name, samples = prepared.config.dataset_name, many(len(prepared.samples), "sample")
        yield f"{'data set':<{_WIDE}} {name}: {samples} to train on"
        for variant in variants:
            selector = self.selector(variant)
            yield _line(selector, variant.selector, variants[0].selector)
            if variant.segmenter is not None and selector.folder.done:
                yield _line(self.network(variant), variant.segmenter, variants[0].segmenter or ())
            elif variant.segmenter is not None:
                words = _more(variant.segmenter, variants[0].segmenter or ())
                yield f"{'train':<{_WIDE}} {' '.join([self.ablation.method, *words])}: after that"
        number = many(self.measured()[0], "sample")
        labels = ", ".join(variant.label or "whole" for variant in variants)
        yield f"{'run':<{_WIDE}} {self.ablation.method} on {number}: {labels}"


def _planned(words: Sequence[str], untrained: Sequence[str] = ()) -> Planned:
    return Planned.of(Command("train", tuple(words)), untrained)


def _line(planned: Planned, words: Sequence[str], whole: Sequence[str]) -> str:
    method = planned.request.config.method_name
    named = " ".join([method, *_more(words, whole)])
    return f"{'train':<{_WIDE}} {named}: {planned.folder.path} ({planned.state})"


def _more(words: Sequence[str], whole: Sequence[str]) -> list[str]:
    return [word for word in words if word not in whole]
