"""``int-bench train``: train what a method needs, into a folder that ``run`` takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from int_bench.cli import plan
from int_bench.cli.process import terminable
from int_bench.cli.screen import Command, quiet_libraries, say
from int_bench.config import build, build_backbones
from int_bench.config.overrides import quoted
from int_bench.core.text import many, shown
from int_bench.data.dataset import Dataset
from int_bench.data.instances.samples import untrained
from int_bench.errors import Exit, MissingAsset
from int_bench.runs.preflight.checks import preflight
from int_bench.runs.prepare import Prepared
from int_bench.runs.training.folder import CHECKPOINT, SCRATCH, TrainFolder, hash_of_ids
from int_bench.runs.training.request import TrainRequest, selector_first
from int_bench.runs.variants import RunRequest

_WIDE = 10
_NAMED = 5


def train_command(command: Command) -> int:
    """Train, or go on where an earlier sitting stopped; say where the adapter lies.

    Returns:
        The exit code: 0; 2 or 3 if something is wrong or missing; 130 if interrupted.
    """
    quiet_libraries()
    if first := selector_first(command.overrides):
        before = replace(command, given=tuple(first), limit=None, out=None)
        say(f"A selector is trained first: {before.text}")
        code, selector = _finished(before)
        if selector is None:
            return code
        chosen = f"backbone.selector.checkpoint={quoted(str(selector))}"
        added = ["backbone/selector=sapnet", chosen]
        if not any(word.startswith("train.bags=") for word in command.given):
            added.append(f"train.bags={quoted(str(selector.parent / SCRATCH / 'bags'))}")
        command = replace(command, given=(*command.given, *added))
    code, final = _finished(command)
    if final is not None:
        print(shown(str(final)))
    return code


def _finished(command: Command) -> tuple[int, Path | None]:
    """The exit code of one training, and the folder of its adapter when it is there."""
    request = TrainRequest.of(command.overrides)
    prepared, validation, lack = None, None, None
    try:
        prepared, validation = request.prepare()
    except MissingAsset as error:
        lack = error
    report = preflight([RunRequest(request.config)], [], [], lack)
    if command.dry_run and prepared is not None:
        _describe(prepared, validation)
    _tell_unseen(prepared, validation)
    if report.faults:
        return plan.complain(report), None
    if command.dry_run:
        return Exit.DONE, None
    assert prepared is not None and validation is not None
    folder = TrainFolder(prepared.path)
    if not folder.done:
        for note in (*prepared.stamps, *report.notes):
            say(f"{note}.")
        try:
            with terminable():
                _train(command, prepared, validation, folder)
        except KeyboardInterrupt:
            say(f"Interrupted; what is done is safe in {folder.path}.")
            say(f"Resume with: {command.text}")
            return Exit.INTERRUPTED, None
    return Exit.DONE, folder.final


def _train(command: Command, prepared: Prepared, validation: Dataset, folder: TrainFolder) -> None:
    # Imports torch, which no other command of this module's needs.
    from int_bench.learning.driver import Place, train

    config = prepared.config
    training, backbones = build(config.method, "method"), build_backbones(config)
    identities = {role: dict(model.identity) for role, model in backbones.items()}
    description = {**prepared.description(identities), "kind": "train"}
    with folder.open(description):
        parts = [int(line["parts"]) for line in folder.lines() if "parts" in line]
        place = Place(
            folder=folder.path,
            checkpoint=CHECKPOINT,
            scratch=folder.scratch,
            export=folder.export_place(),
            parts=max(parts, default=1),
            resumed=folder.resume,
            tell=folder.tell,
            say=say,
        )
        train(training, prepared.dataset, validation, backbones, place)
        folder.finish(_card(command, description, prepared))


def _card(command: Command, description: Mapping[str, Any], prepared: Prepared) -> dict[str, Any]:
    """What the adapter says of itself: made how, by what, from which samples."""
    ids: Sequence[str] = [sample.id for sample in prepared.samples]
    return {
        "command": command.text,
        "name": description["name"],
        "digest": description["digest"],
        "identity": description["identity"],
        "code": {key: description["code"][key] for key in ("version", "python", "packages")},
        "trained_on": {
            "dataset": prepared.config.dataset_name,
            "manifest": prepared.dataset.manifest(),
            "n": len(ids),
            "ids_hash": hash_of_ids(ids),
            "ids": list(ids),
        },
    }


def _tell_unseen(prepared: Prepared | None, validation: Dataset | None) -> None:
    """Name the categories of validation that cannot be learnt."""
    if prepared is None or validation is None:
        return
    unseen = untrained(prepared.samples, validation.samples())
    if unseen:
        more = f" and {len(unseen) - _NAMED} more" if len(unseen) > _NAMED else ""
        say(f"Validation shows {', '.join(unseen[:_NAMED])}{more}; no sample to train on does.")


def _describe(prepared: Prepared, validation: Dataset | None) -> None:
    """What would be trained, on what, and how far it is."""
    config, folder = prepared.config, TrainFolder(prepared.path)
    seen = "" if validation is None else f", {len(validation.samples())} to look at it with"
    state = "done" if folder.done else "begun" if folder.lines() else "not begun"
    lines = [
        f"{'data set':<{_WIDE}} {config.dataset_name}: {many(len(prepared.samples), 'sample')} to "
        f"train on{seen}",
        f"{'method':<{_WIDE}} {config.method_name}",
    ]
    for role, node in config.backbone.items():
        source = node.get("checkpoint") or node.get("model")
        lines.append(f"{role:<{_WIDE}} {config.choices.get(f'backbone/{role}')}: {source} (frozen)")
    lines.append(f"{'folder':<{_WIDE}} {prepared.path} ({state})")
    print("\n".join(map(shown, lines)), flush=True)
