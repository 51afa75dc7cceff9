"""``int-bench eval``: score stored masks, a run's or anybody's, without a model."""

from __future__ import annotations

import hashlib
import json
import re
import time
from pathlib import Path
from typing import Any, get_args

from int_bench import config as configuration
from int_bench.cli_scoring import Scored, print_json, print_scores, score_run, summarise
from int_bench.cli_support import say, terminable
from int_bench.data.folders import PairedFolders
from int_bench.data.subset import First
from int_bench.errors import MissingAsset, UsageError, UserError
from int_bench.report.scores import SCORES
from int_bench.runner import store
from int_bench.runner.evaluate import Missing, evaluate
from int_bench.runner.predictions import maps_in
from int_bench.runner.provenance import provenance

_DEFAULT_ROOT = Path("results/runs")
_INCOMPLETE = 4
_NAME = re.compile(r"(?:[\w+-][\w.+() -]*/)?[\w+-][\w.+() -]*")
_POLICIES: dict[str, Missing] = {policy: policy for policy in get_args(Missing)}


def eval_command(
    run_dir: Path | None,
    pred: Path | None,
    gt: Path | None,
    missing: str,
    as_json: bool,
    method: str | None = None,
) -> int:
    """Score a run folder, all finished runs, or ``--pred`` against ``--gt``.

    With ``method``, ``NAME`` or ``DATASET/NAME``, the scores of ``--pred`` are kept in a run folder
    of that name, so that tables and comparisons find them. The data set is called as the folder of
    ground truth unless it is said.

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
    if method is not None and (pred is None or not _NAME.fullmatch(method)):
        raise UsageError(
            "--method names the masks of --pred: NAME or DATASET/NAME, of letters, digits, spaces"
            f" and . + - _ ( ); got {method!r}."
        )
    started = time.monotonic()
    with terminable():
        if pred is not None and gt is not None:
            scored = [_score_masks(pred, gt, policy, method)]
        elif run_dir is not None:
            scored = [_score_folder(run_dir, policy)]
        else:
            scored = _score_all(_DEFAULT_ROOT, policy)
    if as_json:
        print_json(scored, time.monotonic() - started, {}, "runs")
    else:
        print_scores(scored)
    return 0 if all(one.complete for one in scored) else _INCOMPLETE


def _score_masks(pred: Path, gt: Path, missing: Missing, method: str | None) -> Scored:
    """Score anybody's masks, and keep the scores as those of a run where the method has a name."""
    dataset, _, name = (method or pred.name).rpartition("/")
    if method is None:
        return _score_pair(pred, gt, missing, (dataset or gt.name, name))
    places = {"predictions": str(pred.absolute()), "truths": str(gt.absolute())}
    digest = hashlib.sha256(json.dumps(places).encode()).hexdigest()[:12]
    folder = _DEFAULT_ROOT / (dataset or gt.name) / name / digest
    scored = _score_pair(pred, gt, missing, (dataset or gt.name, name), folder)
    manifest: dict[str, Any] = {
        "name": name,
        "config": {"dataset": {"name": scored.dataset}, "trials": 1, "limit": None},
        **places,
        **provenance(),
    }
    text = json.dumps(manifest, indent=2) + "\n"
    (folder / store.MANIFEST).write_text(text, encoding="utf-8")
    return scored


def _score_pair(
    pred: Path, gt: Path, missing: Missing, names: tuple[str, str], folder: Path | None = None
) -> Scored:
    """Score masks under the names of a data set and a method; into a run folder if given."""
    for option, place in (("--pred", pred), ("--gt", gt)):
        if not place.is_dir():
            raise MissingAsset(f"{option} {place}: there is no such folder.")
    truths = PairedFolders(name=names[0], images=None, masks=str(gt.absolute()))
    evaluation = evaluate(truths, maps_in(pred), missing=missing)
    if folder is not None:
        evaluation.write_scores_csv(folder / SCORES)
    return summarise(names[1], truths, folder or pred, [evaluation])


def _score_folder(folder: Path, missing: Missing) -> Scored:
    """Score a run on the samples that it was asked for."""
    if not folder.is_dir():
        raise MissingAsset(f"{folder}: there is no such run folder.")
    manifest = store.read_manifest(folder)
    try:
        name, stored = manifest["name"], manifest["config"]
        node, limit, trials = stored["dataset"], stored["limit"], stored["trials"]
        if "predictions" in manifest:
            pred, gt = Path(manifest["predictions"]), Path(manifest["truths"])
            return _score_pair(pred, gt, missing, (node["name"], name), folder)
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
