"""``int-bench eval``: score stored masks, a run's or anybody's, without a model."""

from __future__ import annotations

import time
from pathlib import Path
from typing import get_args

from int_bench import config as configuration
from int_bench.cli_scoring import Scored, print_json, print_scores, score_run, summarise
from int_bench.cli_support import say, terminable
from int_bench.data.folders import PairedFolders
from int_bench.data.subset import First
from int_bench.errors import MissingAsset, UsageError, UserError
from int_bench.runner import store
from int_bench.runner.evaluate import Missing, evaluate
from int_bench.runner.predictions import maps_in

_DEFAULT_ROOT = Path("results/runs")
_INCOMPLETE = 4
_POLICIES: dict[str, Missing] = {policy: policy for policy in get_args(Missing)}


def eval_command(
    run_dir: Path | None, pred: Path | None, gt: Path | None, missing: str, as_json: bool
) -> int:
    """Score a run folder, all finished runs, or ``--pred`` against ``--gt``.

    Returns:
        The exit code: 0, or 4 if a sample failed or is missing.

    Raises:
        UsageError: Options that do not go together, or an unknown policy.
        MissingAsset: There is nothing to score.
    """
    policy = _POLICIES.get(missing)
    if policy is None:
        raise UsageError(f"--missing must be {', '.join(_POLICIES)}, not {missing!r}.")
    if (pred is None) != (gt is None):
        raise UsageError("--pred and --gt go together: a folder of masks and one of ground truth.")
    if pred is not None and run_dir is not None:
        raise UsageError("Give either a run folder or --pred and --gt.")
    started = time.monotonic()
    with terminable():
        if pred is not None and gt is not None:
            scored = [_score_masks(pred, gt, policy)]
        elif run_dir is not None:
            scored = [_score_folder(run_dir, policy)]
        else:
            scored = _score_all(_DEFAULT_ROOT, policy)
    if as_json:
        print_json(scored, time.monotonic() - started, {}, "runs")
    else:
        print_scores(scored)
    return 0 if all(one.complete for one in scored) else _INCOMPLETE


def _score_masks(pred: Path, gt: Path, missing: Missing) -> Scored:
    for option, folder in (("--pred", pred), ("--gt", gt)):
        if not folder.is_dir():
            raise MissingAsset(f"{option} {folder}: there is no such folder.")
    truths = PairedFolders(name=gt.name, images=None, masks=str(gt.absolute()))
    return summarise(pred.name, truths, pred, [evaluate(truths, maps_in(pred), missing=missing)])


def _score_folder(folder: Path, missing: Missing) -> Scored:
    """Score a run on the samples that it was asked for."""
    if not folder.is_dir():
        raise MissingAsset(f"{folder}: there is no such run folder.")
    manifest = store.read_manifest(folder)
    try:
        stored = manifest["config"]
        node, limit, trials = stored["dataset"], stored["limit"], stored["trials"]
        name = manifest["name"]
    except (KeyError, TypeError) as error:
        raise MissingAsset(f"{folder / store.MANIFEST} is not a run's description.") from error
    dataset = First(configuration.build(node, "dataset"), limit)
    return score_run(folder, dataset, trials, name, missing)


def _score_all(root: Path, missing: Missing) -> list[Scored]:
    """Every finished run under a root; the others are named on stderr."""
    scored = []
    for folder in store.find_runs(root):
        try:
            scored.append(_score_folder(folder, missing))
        except UserError as error:
            say(f"left out {folder}: {error}")
    if not scored:
        raise MissingAsset(
            f"There is no finished run under {root.absolute()}; make one with `int-bench run`."
        )
    return scored
