"""What the folder of an adapter says of itself, read without any model library."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from int_bench.core.files import read_plain
from int_bench.core.typed import Malformed, Node, parsed
from int_bench.errors import MissingAsset

FORMAT = 1
CONFIG_FILE, WEIGHTS_FILE = "config.json", "model.safetensors"
_LARGEST = 2**20  # bytes


def read_config(folder: Path, kind: str | None = None) -> dict[str, Any]:
    """The checked content of an adapter's ``config.json``: kind, format, frozen, sizes.

    Args:
        folder: of the adapter.
        kind: that is asked for; None takes any.

    Raises:
        MissingAsset: it is not there or not readable, or of another kind or format.
    """
    path = folder / CONFIG_FILE
    try:
        node = Node(parsed(read_plain(path, _LARGEST)))
        said, form = node.text("kind"), node.whole("format", least=1)
        frozen, sizes = node.text("frozen"), node.node("sizes").raw
    except OSError as error:
        raise MissingAsset(
            f"{folder} is no adapter: it holds no readable {CONFIG_FILE}; name the folder `final` "
            "of a training."
        ) from error
    except Malformed as error:
        raise MissingAsset(f"{path} is no adapter's description: {error}.") from error
    if form != FORMAT:
        raise MissingAsset(
            f"{path} is of format {form}, and this version of int-bench reads format {FORMAT}; "
            "install the version that wrote it, or train it again."
        )
    if kind is not None and said != kind:
        raise MissingAsset(
            f"The adapter {folder} is a {said}, and this model takes a {kind}; name another folder."
        )
    return {"kind": said, "format": form, "frozen": frozen, "sizes": sizes}
