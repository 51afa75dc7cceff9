"""``int-bench data | models | methods``: what there is, and what is missing here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from int_bench.cli.screen import say
from int_bench.config import RunConfig, build, load_config
from int_bench.config.binding import closest
from int_bench.config.needs.weights import weights_of
from int_bench.config.places import faults, file_of, groups, options
from int_bench.core.text import in_bytes, shown
from int_bench.data.world.dataset import DrawnScenes, write
from int_bench.errors import UsageError, UserError
from int_bench.report.published import roster

_OWN = {
    "folder": "give dataset.images=DIR and dataset.masks=DIR",
    "pictures": "give the files to `int-bench segment`",
}
"""Sets of the user's own files, and what they need."""


def list_methods() -> int:
    """Each method with its one-line description, what goes with it, and the paper's rows."""
    _tell_faults()
    for group in ("method", "ablation", "reading", "task", "executor", "sink"):
        _list_group(group)
    print("\nThe rows of the paper's Tables 1 and 2:")
    for entry in roster(options("method")):
        kind = f"{entry.setting.partition(' ')[0].lower()}, table {' and '.join(entry.tables)}"
        print(f"{entry.method:<18} {kind:<32} {entry.how}")
    return 0


def _list_group(group: str) -> None:
    """Each choice of a group with the line that opens its file."""
    wide = max(map(len, options(group)))
    for name in options(group):
        print(f"{group}={name:<{wide}} {_headline(group, name)}")


def list_data() -> int:
    """Each data set: task, count and terms, where it was found, or what is missing."""
    _tell_faults()
    for name in options("dataset"):
        print(f"dataset={name:<18} {_headline('dataset', name)}")
        try:
            config = load_config([f"dataset={name}", "method=empty"])
            lines = [*_terms(config), _state_of_data(name, config)]
        except UserError as error:  # one bad file hides no other
            lines = [f"unusable: {error}"]
        print("\n".join(f"{'':<8}{shown(line)}" for line in lines))
    return 0


def _tell_faults() -> None:
    """Name the plug-ins that cannot be used."""
    for fault in faults():
        say(fault)


def _terms(config: RunConfig) -> Iterator[str]:
    """Task and published count, and the terms of a set that somebody else made."""
    node = config.dataset
    count = node.get("expected") or node.get("published", {}).get(node.get("split"))
    yield f"task:    {config.task.name}" + (f", {count} images" if count else "")
    for key in ("licence", "source"):
        if node.get(key):
            yield f"{key + ':':<9}{node[key]}"


def list_models() -> int:
    """Each preset, its models, whether they are here, the command that brings them; every model."""
    _tell_faults()
    for preset in options("models"):
        print(f"models={preset:<10} {_headline('models', preset)}")
        try:
            config = load_config([f"models={preset}", "method=empty"], every_model=True)
        except UserError as error:
            print(shown(f"{'':<8}unusable: {error}"))
            continue
        for line in _state_of_models(config):
            print(shown(f"{'':<8}{line}"))
    print("\nOne by one:")
    for group in groups():
        if group.startswith("backbone/"):
            _list_group(group)
    return 0


def make_data(name: str, out: Path, split: str, count: int) -> int:
    """Write drawn scenes as a paired folder and say how to run on them.

    Raises:
        UsageError: an unknown drawn set or split, a count below one, or an unwritable folder.
    """
    names = [option for option in options("dataset") if option.startswith("camoworld")]
    drawn = [option for option in names if option != "camoworld_crowd"]  # a mask an image
    if name not in drawn:
        raise UsageError(
            f"{name!r} is not a drawn data set; choose {', '.join(drawn)}." + closest(name, drawn)
        )
    wanted = [f"dataset={name}", f"dataset.split={split}", f"dataset.count={count}"]
    config = load_config([*wanted, "method=empty"])
    scenes = build(config.dataset, "dataset")
    assert isinstance(scenes, DrawnScenes)
    write(scenes, out)
    folders = f"dataset.images={out / 'images'} dataset.masks={out / 'masks'}"
    print(f"{count} scenes in {out}; run on them with:")
    print(f"int-bench run dataset=folder {folders} task={config.task.name}")
    return 0


def _headline(group: str, name: str) -> str:
    """The first line of the comment that opens a YAML file."""
    try:
        file = file_of(group, name)
    except UserError as error:
        return f"unusable: {shown(str(error))}"
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    comments = [text.removeprefix("#").strip() for text in lines if text.startswith("#")]
    comments = [text for text in comments if not text.startswith("@package")]
    return shown(comments[0]) if comments else ""


def _state_of_data(name: str, config: RunConfig) -> str:
    if name in _OWN:
        return _OWN[name]
    try:
        samples = build(config.dataset, "dataset").samples()
    except UserError as error:
        return f"missing: {error}"
    return f"here: {len(samples)} samples"


def _state_of_models(config: RunConfig) -> Iterator[str]:
    """For each model its weights, whether they are on this machine, and how to get them if not."""
    parts = weights_of(config)
    for role in config.backbone:
        choice = config.choices[f"backbone/{role}"]
        own = [part for part in parts if part.role == role]
        if not own:
            yield f"{role:<10} {choice:<22} needs no weights"
        for part in own:
            size = f" ({in_bytes(part.known.bytes)})" if part.known.bytes else ""
            state = "here" if not part.lacks else f"{part.lacks}; get it with `{part.remedy}`"
            state = "known to its library alone" if part.kind == "unknown" else state
            yield f"{role:<10} {choice:<22} {part.name}{size}: {state}"
