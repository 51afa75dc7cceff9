"""``int-bench train``: train what a method needs, into a folder that ``run`` takes."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from int_bench.cli import plan
from int_bench.cli.process import terminable
from int_bench.cli.screen import Command, quiet_libraries, say
from int_bench.cli.training.progress import StepMeter
from int_bench.config import build, build_backbones
from int_bench.core.text import many, shown
from int_bench.data.dataset import Dataset
from int_bench.data.instances.samples import untrained
from int_bench.errors import Exit, MissingAsset
from int_bench.runs.preflight.checks import Preflight, preflight
from int_bench.runs.prepare import Prepared
from int_bench.runs.training.folder import CHECKPOINT, TrainFolder, hash_of_ids
from int_bench.runs.training.guard import images_of
from int_bench.runs.training.request import TrainRequest, bags_of, selector_first
from int_bench.runs.variants import RunRequest

_WIDE = 10
_NAMED = 5


@dataclass(frozen=True)
class Planned:
    """A training that was looked over, before anything is loaded or made.

    Attributes:
        command: that asks for it.
        request: its configuration.
        report: what is missing for it or cannot work.
        prepared: its data and its folder; None where the data cannot be used.
        validation: what it is looked at with.
    """

    command: Command
    request: TrainRequest
    report: Preflight
    prepared: Prepared | None
    validation: Dataset | None

    @classmethod
    def of(cls, command: Command, untrained: Collection[str] = ()) -> Planned:
        """Look over what a command asks for.

        Args:
            command: ``train`` with its overrides.
            untrained: roles of models that will have been trained by then.
        """
        request = TrainRequest.of(command.overrides)
        prepared, validation, lack = None, None, None
        try:
            prepared, validation = request.prepare()
        except MissingAsset as error:
            lack = error
        models = {k: v for k, v in request.config.backbone.items() if k not in untrained}
        known = replace(request.config, backbone=models)
        report = preflight([RunRequest(known)], [], [], lack)
        return cls(command, request, report, prepared, validation)

    @property
    def folder(self) -> TrainFolder:
        """Where it is trained."""
        assert self.prepared is not None
        return TrainFolder(self.prepared.path)

    @property
    def state(self) -> str:
        """How far it is, in words."""
        return "done" if self.folder.done else "begun" if self.folder.lines() else "not begun"

    def finish(self, resume: str) -> Path | None:
        """Train to the end; the folder of the adapter, or None if interrupted.

        Args:
            resume: the command that goes on after Ctrl-C.
        """
        folder, prepared, validation = self.folder, self.prepared, self.validation
        assert prepared is not None and validation is not None
        if not folder.done:
            for note in (*prepared.stamps, *self.report.notes):
                say(f"{note}.")
            try:
                with terminable():
                    _train(self.command, prepared, validation, folder)
            except KeyboardInterrupt:
                say(f"Interrupted; what is done is safe in {folder.path}.")
                say(f"Resume with: {resume}")
                return None
        return folder.final


def train_command(command: Command) -> int:
    """Train, or go on where an earlier sitting stopped; say where the adapter lies.

    Returns:
        The exit code: 0; 2 or 3 if something is wrong or missing; 130 if interrupted.
    """
    quiet_libraries()
    if trainings := selector_first(command.overrides):
        first, own = trainings
        before = replace(command, given=tuple(first), limit=None, out=None)
        say(f"A selector is trained first: {before.text}")
        code, selector = _finished(before)
        if selector is None:
            return code
        chosen = ("backbone/selector=sapnet", f"backbone.selector.checkpoint={selector}")
        words = (*own, *chosen, *bags_of(selector, own))
        command = replace(command, given=words, limit=None, out=None)
    code, final = _finished(command)
    if final is not None:
        print(shown(str(final)))
    return code


def _finished(command: Command) -> tuple[int, Path | None]:
    """The exit code of one training, and the folder of its adapter when it is there."""
    planned = Planned.of(command)
    if command.dry_run and planned.prepared is not None:
        _describe(planned, planned.prepared)
    _tell_unseen(planned.prepared, planned.validation)
    if planned.report.faults:
        return plan.complain(planned.report), None
    if command.dry_run:
        return Exit.DONE, None
    final = planned.finish(command.text)
    return (Exit.INTERRUPTED if final is None else Exit.DONE), final


def _train(command: Command, prepared: Prepared, validation: Dataset, folder: TrainFolder) -> None:
    # Imports torch, which no other command of this module's needs.
    from int_bench.learning.driver import Place, train

    config = prepared.config
    training, backbones = build(config.method, "method"), build_backbones(config)
    identities = {role: dict(model.identity) for role, model in backbones.items()}
    description = {**prepared.description(identities), "kind": "train"}
    with folder.open(description), StepMeter() as meter:
        parts = [int(line["parts"]) for line in folder.lines() if "parts" in line]
        place = Place(
            folder=folder.path,
            checkpoint=CHECKPOINT,
            scratch=folder.scratch,
            export=folder.export_place(),
            parts=max(parts, default=1),
            resumed=folder.resume,
            tell=folder.tell,
            say=meter.say,
            step=meter.step,
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
            "images": list(dict.fromkeys(images_of(prepared.config, prepared.samples))),
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


def _describe(planned: Planned, prepared: Prepared) -> None:
    """What would be trained, on what, and how far it is."""
    config, validation = prepared.config, planned.validation
    seen = "" if validation is None else f", {len(validation.samples())} to look at it with"
    lines = [
        f"{'data set':<{_WIDE}} {config.dataset_name}: {many(len(prepared.samples), 'sample')} to "
        f"train on{seen}",
        f"{'method':<{_WIDE}} {config.method_name}",
    ]
    for role, node in config.backbone.items():
        source = node.get("checkpoint") or node.get("model")
        lines.append(f"{role:<{_WIDE}} {config.choices.get(f'backbone/{role}')}: {source} (frozen)")
    lines.append(f"{'folder':<{_WIDE}} {prepared.path} ({planned.state})")
    print("\n".join(map(shown, lines)), flush=True)
