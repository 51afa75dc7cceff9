"""``int-bench eval``: score stored masks, runs' or anybody's, without a model."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

from int_bench.cli.process import terminable
from int_bench.cli.results import DEFAULT_ROOT, runs_in
from int_bench.cli.screen import print_json, print_scores, say, say_some
from int_bench.cli.selection import named
from int_bench.config.binding import closest
from int_bench.data.dataset import Truths
from int_bench.data.folders import PairedFolders
from int_bench.data.subset import Asked
from int_bench.errors import Exit, MissingAsset, UsageError, UserError
from int_bench.metrics.metrics import BACKENDS
from int_bench.report.columns import chosen_columns
from int_bench.report.scores import spread_as_json
from int_bench.runs.folder import describe
from int_bench.runs.labels import Labelled, labelled_results, seeds_of
from int_bench.runs.provenance import code, machine
from int_bench.runs.scorable import StoredRun
from int_bench.scoring.evaluate import Evaluation, Missing
from int_bench.scoring.predictions import maps_in
from int_bench.scoring.score import Rules, Scorable, Scored, remarks_of, score_runs

_NAME = re.compile(r"(?:[\w+-][\w.+() -]*/)?[\w+-][\w.+() -]*")


@dataclass(frozen=True)
class EvalOptions:
    """What was typed.

    Attributes:
        masks: ``--pred`` and ``--gt``: folders of anybody's masks and of their ground truth.
        rules: of scoring.
        method: ``NAME`` or ``DATASET/NAME`` under which the scores of masks are kept for tables.
        json: print one line of JSON.
        ids: ``--ids``.
        ids_file: ``--ids-file``.
        columns: ``--columns``.
    """

    masks: tuple[Path | None, Path | None] = (None, None)
    rules: Rules = field(default_factory=Rules)
    method: str | None = None
    json: bool = False
    ids: str | None = None
    ids_file: Path | None = None
    columns: str | None = None

    @cached_property
    def only(self) -> frozenset[str] | None:
        """The samples to score; None for all. Scores of some are not kept."""
        return frozenset(named(self.ids, self.ids_file)) or None


def eval_command(places: Sequence[Path], options: EvalOptions) -> int:
    """Score runs, or anybody's masks.

    Args:
        places: run folders, roots of them, or hashes; without them and masks all finished runs.
        options: what was typed beside them.

    Returns:
        Done, incomplete if a sample failed or is missing, or interrupted.

    Raises:
        UserError: options do not go together, or there is nothing to score.
    """
    _check(places, options)
    columns = chosen_columns(options.columns)
    started = time.monotonic()
    scored: list[Scored] = []
    known: list[Labelled] = []
    try:
        with terminable():
            pred, gt = options.masks
            if pred is not None and gt is not None:
                scored.append(_score_masks(pred, gt, options))
            else:
                known = _score_all(places, options, scored)
    except KeyboardInterrupt:
        return _interrupted(scored)
    counted = zip(known, scored, strict=True) if known else ()
    seeds = seeds_of([replace(run, images=result.counts.images) for run, result in counted])
    if known:
        scored = labelled_results(scored, known)
    say_some(remarks_of(scored), "the notes in the run's scores name all")
    if options.json:
        more = spread_as_json(scored, seeds)
        print_json(scored, time.monotonic() - started, {}, "runs", more)
    else:
        print_scores(scored, seeds, columns)
    return Exit.DONE if all(run.complete for run in scored) else Exit.INCOMPLETE


def _check(places: Sequence[Path], options: EvalOptions) -> None:
    """Refuse what does not go together."""
    masks, rules, method = options.masks, options.rules, options.method
    policies = get_args(Missing)
    if rules.missing not in policies:
        raise UsageError(f"--missing must be {', '.join(policies)}, not {rules.missing!r}.")
    if rules.backend not in BACKENDS:
        backends = " or ".join(BACKENDS)
        raise UsageError(f"--metrics-backend must be {backends}, not {rules.backend!r}.")
    if (masks[0] is None) != (masks[1] is None):
        raise UsageError("--pred and --gt go together: a folder of masks and one of ground truth.")
    if masks[0] is not None and places:
        raise UsageError("Give either run folders or --pred and --gt.")
    if method is not None and (masks[0] is None or not _NAME.fullmatch(method)):
        raise UsageError(
            "--method names the masks of --pred: NAME or DATASET/NAME, of letters, digits, spaces"
            f" and . + - _ ( ); got {method!r}."
        )
    if method is not None and options.only:
        raise UsageError("--method keeps scores for tables, and those of --ids are not kept.")


def _interrupted(scored: Sequence[Scored]) -> int:
    kept = f"; the scores of {len(scored)} runs are kept" if scored else ""
    say(f"Interrupted: masks and earlier scores are as they were{kept}.")
    say(f"Go on with: {shlex.join(['int-bench', *sys.argv[1:]])}")
    return Exit.INTERRUPTED


def _score_masks(pred: Path, gt: Path, options: EvalOptions) -> Scored:
    """Score anybody's masks, and keep the scores as those of a run where the method has a name."""
    dataset, _, name = (options.method or pred.name).rpartition("/")
    dataset = dataset or gt.name
    if options.method is None:
        return _score_pair(pred, gt, options, dataset, Scorable(name, pred, (), keep=False))
    places = {"predictions": str(pred.absolute()), "truths": str(gt.absolute())}
    digest = hashlib.sha256(json.dumps(places).encode()).hexdigest()[:12]
    folder = DEFAULT_ROOT / dataset / name / digest
    scored = _score_pair(pred, gt, options, dataset, Scorable(name, folder, ()))
    manifest: dict[str, Any] = {
        "kind": "masks",
        "name": name,
        "label": name,
        "digest": digest,
        "identity": places,
        "config": {"dataset": {"name": dataset}, "trials": 1, "limit": None},
        "code": code(),
        "machine": machine(),
    }
    describe(folder, manifest)
    return scored


def _score_pair(pred: Path, gt: Path, options: EvalOptions, dataset: str, run: Scorable) -> Scored:
    """Score masks under the name of a data set."""
    for option, place in (("--pred", pred), ("--gt", gt)):
        if not place.is_dir():
            raise MissingAsset(f"{option} {place}: there is no such folder.")
    truths = PairedFolders(name=dataset, images=None, masks=str(gt.absolute()))
    asked = _asked(truths, options, None)
    maps = maps_in(pred, ids=[sample.id for sample in truths.samples()])
    run = replace(run, trials=[maps], keep=run.keep and not options.only)
    (scored,), (evaluation,) = score_runs(truths, [run], options.rules, asked)
    _tell(evaluation, f"int-bench data check --pred {pred} --gt {gt}")
    return scored


def _asked(truths: Truths, options: EvalOptions, all_of: Asked) -> Asked:
    """The samples of ``--ids``, or those that there are.

    Raises:
        MissingAsset: the data set has no such sample.
    """
    if options.only is None:
        return all_of
    known = {sample.id for sample in truths.samples()}
    for sample_id in sorted(options.only - known):
        hint = closest(sample_id, known)
        raise MissingAsset(f"Data set {truths.name} has no sample {sample_id!r}.{hint}")
    return options.only


def _tell(evaluation: Evaluation, details: str) -> None:
    """Name on stderr what was not scored and why, and the predictions that nobody asked for."""
    failed = [f"{row.id}: {row.note}" for row in evaluation.rows if row.status == "failed"]
    extra = [
        f"prediction {key} has no ground truth and is not scored" for key in evaluation.unmatched
    ]
    for messages in (failed, extra):
        say_some(messages, f"`{details}` names all")


def _score_all(
    places: Sequence[Path], options: EvalOptions, scored: list[Scored]
) -> list[Labelled]:
    """Score runs, adding each as it is done; what tells them apart.

    Of several, those that cannot be scored are named on stderr.
    """
    if not places and not DEFAULT_ROOT.is_dir():
        raise MissingAsset(
            f"There is no finished run under {DEFAULT_ROOT.absolute()}; make one with"
            " `int-bench run`."
        )
    folders = runs_in(places or [DEFAULT_ROOT])
    known = []
    for folder in folders:
        try:
            run = StoredRun(folder)
            scored.append(_score_folder(run, options))
            known.append(run.labelled)
        except UserError as error:
            if len(folders) == 1:
                raise
            say(f"left out {folder}: {error}")
    if not scored:
        raise MissingAsset("None of these runs could be scored.")
    return known


def _score_folder(run: StoredRun, options: EvalOptions) -> Scored:
    """Score a run on the samples that it was asked for."""
    maps = run.maps()
    if run.masks is not None:
        return _score_pair(*run.masks, options, run.dataset, maps)
    truths = run.truths()
    if run.images_changed(truths):
        say(f"The images of {run.dataset} changed since {run.folder}: its masks are of the former.")
    asked = _asked(truths, options, run.asked(truths))
    maps = replace(maps, keep=not options.only)
    (scored,), evaluations = score_runs(truths, [maps], options.rules, asked)
    for evaluation in evaluations:
        _tell(evaluation, f"int-bench check {run.folder}")
    return scored
