"""``int-bench eval``: score stored masks, a run's or anybody's, without a model."""

from __future__ import annotations

import hashlib
import json
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from int_bench.cli.screen import say, say_some, terminable
from int_bench.config.building import build_stored_dataset
from int_bench.data.folders import PairedFolders
from int_bench.data.subset import First
from int_bench.errors import Exit, MissingAsset, UsageError, UserError
from int_bench.metrics.metrics import BACKENDS
from int_bench.runs.folder import describe
from int_bench.runs.layout import find_runs
from int_bench.runs.provenance import code, machine
from int_bench.runs.reader import Run
from int_bench.scoring.evaluate import Evaluation, Missing
from int_bench.scoring.predictions import maps_in
from int_bench.scoring.score import (
    Finished,
    Rules,
    Scored,
    evaluate_with_floor,
    print_json,
    print_scores,
    remarks_of,
    score_runs,
    summarise,
)
from int_bench.scoring.stored import SCORES

_DEFAULT_ROOT = Path("results/runs")
_NAME = re.compile(r"(?:[\w+-][\w.+() -]*/)?[\w+-][\w.+() -]*")
_POLICIES: dict[str, Missing] = {policy: policy for policy in get_args(Missing)}


@dataclass(frozen=True)
class EvalCommand:
    """What was typed.

    Attributes:
        run_dir: a run folder; all finished runs if there is neither it nor ``pred``.
        pred: ``--pred``: a folder of anybody's masks.
        gt: ``--gt``: the ground truth of ``pred``.
        missing: ``--missing``.
        backend: ``--metrics-backend``.
        method: ``--method``, ``NAME`` or ``DATASET/NAME``: the scores of ``pred`` are kept in a run
            folder of that name, so that tables and comparisons find them. The data set is called as
            the folder of ground truth unless it is said.
        json: ``--json``.
    """

    run_dir: Path | None = None
    pred: Path | None = None
    gt: Path | None = None
    missing: str = "error"
    backend: str = "histogram"
    method: str | None = None
    json: bool = False


def eval_command(command: EvalCommand) -> int:
    """Score a run folder, all finished runs, or ``--pred`` against ``--gt``.

    Returns:
        The exit code: 0, or 4 if a sample failed or is missing.

    Raises:
        UsageError: Options that do not go together, or an unknown policy or backend.
        MissingAsset: There is nothing to score.
    """
    rules = _checked(command)
    started = time.monotonic()
    with terminable():
        if command.pred is not None and command.gt is not None:
            scored = [_score_masks(command.pred, command.gt, rules, command.method)]
        elif command.run_dir is not None:
            scored = [_score_folder(command.run_dir, rules)]
        else:
            scored = _score_all(_DEFAULT_ROOT, rules)
    say_some(remarks_of(scored), "the notes in scores.csv name all")
    if command.json:
        print_json(scored, time.monotonic() - started, {}, "runs")
    else:
        print_scores(scored)
    return Exit.DONE if all(one.complete for one in scored) else Exit.INCOMPLETE


def _checked(command: EvalCommand) -> Rules:
    """The rules, after refusing what does not go together."""
    pred, method = command.pred, command.method
    policy = _POLICIES.get(command.missing)
    if policy is None:
        raise UsageError(f"--missing must be {', '.join(_POLICIES)}, not {command.missing!r}.")
    if command.backend not in BACKENDS:
        known = " or ".join(BACKENDS)
        raise UsageError(f"--metrics-backend must be {known}, not {command.backend!r}.")
    if (pred is None) != (command.gt is None):
        raise UsageError("--pred and --gt go together: a folder of masks and one of ground truth.")
    if pred is not None and command.run_dir is not None:
        raise UsageError("Give either a run folder or --pred and --gt.")
    if method is not None and (pred is None or not _NAME.fullmatch(method)):
        raise UsageError(
            "--method names the masks of --pred: NAME or DATASET/NAME, of letters, digits, spaces"
            f" and . + - _ ( ); got {method!r}."
        )
    return Rules(policy, command.backend)


def _score_masks(pred: Path, gt: Path, rules: Rules, method: str | None) -> Scored:
    """Score anybody's masks, and keep the scores as those of a run where the method has a name."""
    dataset, _, name = (method or pred.name).rpartition("/")
    if method is None:
        return _score_pair(pred, gt, rules, (dataset or gt.name, name))
    places = {"predictions": str(pred.absolute()), "truths": str(gt.absolute())}
    digest = hashlib.sha256(json.dumps(places).encode()).hexdigest()[:12]
    folder = _DEFAULT_ROOT / (dataset or gt.name) / name / digest
    scored = _score_pair(pred, gt, rules, (dataset or gt.name, name), folder)
    manifest: dict[str, Any] = {
        "kind": "masks",
        "name": name,
        "label": name,
        "digest": digest,
        "identity": places,
        "config": {"dataset": {"name": scored.dataset}, "trials": 1, "limit": None},
        "code": code(),
        "machine": machine(),
    }
    describe(folder, manifest)
    return scored


def _score_pair(
    pred: Path, gt: Path, rules: Rules, names: tuple[str, str], folder: Path | None = None
) -> Scored:
    """Score masks under the names of a data set and a method; into a run folder if given."""
    for option, place in (("--pred", pred), ("--gt", gt)):
        if not place.is_dir():
            raise MissingAsset(f"{option} {place}: there is no such folder.")
    truths = PairedFolders(name=names[0], images=None, masks=str(gt.absolute()))
    (evaluation,), floor = evaluate_with_floor(truths, [maps_in(pred)], rules)
    _tell(evaluation, f"int-bench data check --pred {pred} --gt {gt}")
    if folder is not None:
        evaluation.write_scores_csv(folder / SCORES)
    return summarise(Finished(folder or pred, names[1]), truths.name, [evaluation], floor)


def _tell(evaluation: Evaluation, details: str) -> None:
    """Name on stderr what was not scored and why, and the predictions that nobody asked for."""
    failed = [f"{row.id}: {row.note}" for row in evaluation.rows if row.status == "failed"]
    extra = [
        f"prediction {key} has no ground truth and is not scored" for key in evaluation.unmatched
    ]
    for messages in (failed, extra):
        say_some(messages, f"`{details}` names all")


def _score_folder(folder: Path, rules: Rules) -> Scored:
    """Score a run on the samples that it was asked for."""
    manifest = Run(folder).manifest
    if manifest.kind == "masks":
        pred, gt = manifest.places
        return _score_pair(pred, gt, rules, (manifest.dataset, manifest.name), folder)
    whole = build_stored_dataset(manifest.content, manifest.path)
    run = Finished(folder, manifest.label, manifest.trials)
    return score_runs(First(whole, manifest.limit), [run], rules)[0]


def _score_all(root: Path, rules: Rules) -> list[Scored]:
    """Every finished run under a root; the others are named on stderr."""
    scored = []
    for folder in find_runs(root):
        try:
            scored.append(_score_folder(folder, rules))
        except UserError as error:
            say(f"left out {folder}: {error}")
    if not scored:
        raise MissingAsset(
            f"There is no finished run under {root.absolute()}; make one with `int-bench run`."
        )
    return scored
