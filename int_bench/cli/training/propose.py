"""``int-bench propose``: bags of proposals for the objects of a data set, computed once."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from int_bench.cli import plan
from int_bench.cli.process import terminable
from int_bench.cli.screen import Command, quiet_libraries, say
from int_bench.config import build_backbones, build_method, load_config
from int_bench.core.text import shown
from int_bench.errors import Exit, MissingAsset, UsageError
from int_bench.methods.sapnet.selecting import BestProposal
from int_bench.runs.preflight.checks import preflight
from int_bench.runs.prepare import Prepared, prepare
from int_bench.runs.variants import RunRequest

_METHOD = "oracle_of_bag"
_ROOT = "results/bags"


def propose_command(command: Command) -> int:
    """Make the bags, or go on where an earlier sitting stopped; print their folder.

    Returns:
        The exit code: 0; 2 or 3 if something is wrong or missing; 130 if interrupted.
    """
    quiet_libraries()
    for text in command.overrides:
        if text.startswith("method="):
            raise UsageError(f"{text!r}: proposals are made for no method; leave it out.")
    out = [] if any(text.startswith("out=") for text in command.overrides) else [f"out={_ROOT}"]
    config = load_config([f"method={_METHOD}", *command.overrides, *out])
    request, prepared, lack = RunRequest(config), None, None
    try:
        (prepared,) = prepare([request])
    except MissingAsset as error:
        lack = error
    report = preflight([request], [], [], lack)
    if report.faults or prepared is None:
        return plan.complain(report)
    if command.dry_run:
        return Exit.DONE
    try:
        with terminable():
            folder = _propose(prepared)
    except KeyboardInterrupt:
        say("Interrupted; the bags that are made are safe.")
        say(f"Resume with: {command.text}")
        return Exit.INTERRUPTED
    print(shown(str(folder)))
    return Exit.DONE


def _propose(prepared: Prepared) -> Path:
    # Imports torch, which no other command of this module's needs.
    from int_bench.learning.propose import Proposer, about, propose

    config, data = prepared.config, prepared.dataset
    method = build_method(config)
    assert isinstance(method, BestProposal)
    segmenter: Proposer = build_backbones(config)["segmenter"]  # type: ignore[assignment]
    described = json.dumps(about(data, segmenter, method.proposing), sort_keys=True, default=str)
    name = hashlib.sha256(described.encode()).hexdigest()[:10]
    folder = config.out / config.dataset_name / name
    propose(data, segmenter, method.proposing, folder, say)
    return folder
