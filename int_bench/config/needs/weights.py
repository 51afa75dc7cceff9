"""The weights that a configuration's models need: where they lie, and whether they are all there.

Told from names and folders alone; nothing is downloaded, loaded or read whole.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from int_bench.backbones.common.adapter_config import read_config
from int_bench.config import binding
from int_bench.config.contents import ZOO, commit_of, hub_folder
from int_bench.config.needs.checkpoints import TAGS, Checkpoint, known_as
from int_bench.config.places import file_of, options
from int_bench.config.run_config import RunConfig
from int_bench.core.files import expanded
from int_bench.errors import MissingAsset

Kind = Literal["shipped", "file", "hub", "unknown"]
_ENDINGS = (".safetensors", ".bin", ".pt", ".pth")
_FILES = (*_ENDINGS, ".json", ".ckpt")
_QUANTISED = "is quantised"
_ANOTHERS = "holds the weights of another model"
_COMPUTED = ("F64", "F32", "BF16", "F16")
_WHOLE = ("I64", "I32", "I16", "BOOL")  # of positions and masks, which are no weights
_LARGEST_HEADER = 100 * 2**20  # bytes of JSON; the format's own limit


@dataclass(frozen=True)
class Weights:
    """One file, folder or repository that a model loads.

    Attributes:
        role: of the model.
        word: the override that names it.
        name: as configured: a path, a hub id, ``zoo:NAME``.
        kind: ``shipped``, ``file`` (or folder), ``hub``, or ``unknown`` where a library alone knows
            what a name stands for.
        place: where it lies or will lie.
        revision: of a hub's repository.
        lacks: what is not as it should be; empty if all is there.
        known: what is known of it beforehand.
        key: of the model that names it.
        training: what trains it; empty of other weights.
    """

    role: str
    word: str
    name: str
    kind: Kind
    place: Path
    revision: str | None
    lacks: str
    known: Checkpoint
    key: str = "checkpoint"
    training: str = ""

    @property
    def fetchable(self) -> bool:
        """Whether ``int-bench models fetch`` can bring it; not other weights of the same name."""
        if self.lacks.startswith((_QUANTISED, _ANOTHERS)):
            return False
        return self.kind == "hub" or (self.kind == "file" and self.known.url is not None)

    @property
    def remedy(self) -> str:
        """The command or the key that mends what it lacks."""
        if self.training:
            command = f"int-bench train method={self.training} dataset=NAME"
            return f"{command} prints the folder for backbone.{self.role}.{self.key}="
        if self.fetchable:
            return f"int-bench models fetch {self.word}"
        if self.kind == "shipped" and not self.lacks.startswith(_ANOTHERS):
            return f"python -m int_bench.zoo.training {self.place.name}"
        return f"backbone.{self.role}.{self.key}=PATH"


def weights_of(config: RunConfig) -> list[Weights]:
    """What all models of a configuration load."""
    return [
        replace(part, role=role, word=word)
        for role, node in config.backbone.items()
        for word in [_word(role, config.choices.get(f"backbone/{role}", ""), node)]
        for part in _of_model(node)
    ]


def _word(role: str, choice: str, node: Mapping[str, Any]) -> str:
    """The shortest override that names a model's weights: the choice, or what was typed instead."""
    checkpoint, group = str(node.get("checkpoint")), f"backbone/{role}"
    text = ""
    if choice in options(group):
        text = file_of(group, choice).read_text(encoding="utf-8", errors="replace")
    listed = checkpoint.rpartition("/")[2] in text
    word = f"backbone/{role}={choice}" if listed else f"backbone.{role}.checkpoint={checkpoint}"
    revision = node.get("revision")
    return f"{word} backbone.{role}.revision={revision}" if revision else word


def _of_model(node: Mapping[str, Any]) -> Iterator[Weights]:
    """The weights of one model; a model without a checkpoint needs none."""
    revision, target = node.get("revision"), str(node[binding.TARGET])
    trained: Mapping[str, tuple[str, str]] = binding.constant(target, "ADAPTERS", {})
    needed: Sequence[str] = binding.constant(target, "NEEDS", ())
    for key, (kind, training) in trained.items():
        if node.get(key) is not None or key in needed:
            yield replace(_adapter(node.get(key), kind), key=key, training=training)
    if node.get("checkpoint") is not None and "checkpoint" not in trained:
        checkpoint = str(node["checkpoint"])
        if node.get("pretrained") is not None:
            part = _tagged(checkpoint, str(node["pretrained"]))
        else:
            part = _named(checkpoint, revision)
        yield _compared(part, binding.constant(target, "HOLDS", ""))
    if node.get("adapter") is not None and "adapter" not in trained:
        yield replace(_named(str(node["adapter"]), None), key="adapter")
    # A model of two parts, e.g. a detector with a text encoder of its own.
    encoder = node.get("text_encoder", _default(target, "text_encoder"))
    if isinstance(encoder, str):
        yield _named(encoder, revision)


def _adapter(name: str | None, kind: str) -> Weights:
    """The folder that a training left; None where none was named."""
    if name is None:
        unnamed, lacks = "the folder of its training", "is not named"
        return Weights("", "", unnamed, "file", Path(), None, lacks, known_as(""))
    if name.startswith("zoo:"):
        return _named(name, None)
    folder = expanded(name)
    lacks = _lacks_of_path(folder)
    if not lacks:
        try:
            read_config(folder, kind)
        except MissingAsset as error:
            lacks = f"cannot be used: {str(error).rstrip('.')}"
    return Weights("", "", name, "file", folder, None, lacks, known_as(""))


def _compared(part: Weights, own: str) -> Weights:
    """The weights, refused where none of their tensors has a name that those of the model have."""
    if part.lacks or not own or part.kind == "unknown":
        return part
    files = [part.place] if part.place.is_file() else sorted(part.place.rglob("*.safetensors"))
    names = [name for file in files for name in _tensors(file)]
    if not names or any(own in name for name in names):
        return part
    return replace(part, lacks=f"{_ANOTHERS}: none of its tensors is called {own!r}")


def _default(target: str, name: str) -> str | None:
    parameter = (binding.signature(target) or {}).get(name)
    value = getattr(parameter.default if parameter else None, "value", None)
    return value if isinstance(value, str) else None


def _tagged(architecture: str, tag: str) -> Weights:
    """open_clip's weights of an architecture: a file, or what its tag stands for."""
    if expanded(tag).is_file():
        return _named(tag, None)
    repository = TAGS.get((architecture, tag))
    if repository is None:
        name, place = f"{architecture} ({tag})", Path()
        return Weights("", "", name, "unknown", place, None, "", known_as(""))
    return _named(repository, None)


def _named(name: str, revision: str | None) -> Weights:
    known = known_as(name)
    if name.startswith("zoo:"):
        place = ZOO / name.removeprefix("zoo:")
        return Weights("", "", name, "shipped", place, None, _lacks_of_zoo(place), known)
    path = expanded(name)
    if path.exists() or name.startswith(("/", "~", ".")) or name.endswith(_FILES):
        return Weights("", "", name, "file", path, None, _lacks_of_path(path), known)
    if "/" not in name:
        return Weights("", "", name, "unknown", path, None, "", known)
    place = hub_folder(name)
    lacks = _lacks_of_hub(place, commit_of(name, revision), known)
    return Weights("", "", name, "hub", place, revision, lacks, known)


def _lacks_of_zoo(folder: Path) -> str:
    sums = folder.parent / "SHA256SUMS"
    lines = sums.read_text(encoding="utf-8").splitlines() if sums.is_file() else []
    names = [line.split(maxsplit=1)[1] for line in lines]
    own = [name for name in names if name.startswith(f"{folder.name}/")]
    if not own or not folder.is_dir():
        return "is not shipped with this package"
    absent = [name for name in own if not (folder.parent / name).is_file()]
    return f"lacks {absent[0]}" if absent else ""


def _lacks_of_path(path: Path) -> str:
    if path.is_dir():
        return _lacks_of_folder(path)
    if not path.exists():
        return "is not there"
    return _fault_of(path)


def _lacks_of_hub(folder: Path, commit: str | None, known: Checkpoint) -> str:
    snapshot = folder / "snapshots" / (commit or "")
    if commit is None or not snapshot.is_dir():
        begun = any((folder / "blobs").glob("*.incomplete"))
        return "is here in part" if begun else "is not on this machine"
    absent = [name for name in known.files if "*" not in name and not (snapshot / name).exists()]
    return f"is here without {absent[0]}" if absent else _lacks_of_folder(snapshot)


def _lacks_of_folder(folder: Path) -> str:
    """What a model's folder lacks; its lists of shards say what belongs to it."""
    for index in sorted(folder.rglob("*.index.json")):
        for name in _shards(index):
            if not (index.parent / name).exists():
                return f"is here without {name}"
    files = sorted(path for path in folder.rglob("*") if path.suffix in _FILES)
    for path in files:
        if not path.exists():  # a link to a file that is gone
            return f"is here without {path.name}"
        cut = _fault_of(path)
        if cut:
            return cut
    return "" if files else "holds neither weights nor a configuration"


def _shards(index: Path) -> list[str]:
    try:
        listed = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
        return sorted({str(name) for name in listed})
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return []


def _fault_of(path: Path) -> str:
    """What is wrong with a safetensors file; other files are not looked into.

    It ends before its header says, or its weights are in a precision that nothing computes in.
    """
    if path.suffix != ".safetensors":
        return ""
    try:
        size = path.stat().st_size
        length, header = _header(path)
        tensors = list(header.values())
        whole = size == 8 + length + max((t["data_offsets"][1] for t in tensors), default=0)
        kinds = {str(tensor["dtype"]) for tensor in tensors}.difference(_COMPUTED, _WHOLE)
    except (OSError, ValueError, KeyError, AttributeError, TypeError, IndexError):
        whole, kinds = False, set()
    if not whole:
        return f"is damaged: {path.name} is cut short or no safetensors"
    if kinds:
        what = ", ".join(sorted(kinds))
        return f"{_QUANTISED} ({what} in {path.name}), and models compute in 32 or 16 bit"
    return ""


def _header(path: Path) -> tuple[int, dict[str, Any]]:
    """How long the header of a safetensors file is, and what it says of each tensor."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length)) if length <= _LARGEST_HEADER else {}
    return length, {key: entry for key, entry in header.items() if key[:2] != "__"}


def _tensors(path: Path) -> list[str]:
    """The names of the tensors of a safetensors file; none of what cannot be read as one."""
    if path.suffix != ".safetensors":
        return []
    try:
        return list(_header(path)[1])
    except (OSError, ValueError, AttributeError):
        return []
