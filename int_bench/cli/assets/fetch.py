"""``int-bench models fetch``: the weights of models, to this machine."""

from __future__ import annotations

from collections.abc import Sequence

from int_bench.cli.assets.arriving import Arriving
from int_bench.cli.process import terminable
from int_bench.cli.screen import say
from int_bench.config import load_config
from int_bench.config.needs.fetching import fetch
from int_bench.config.needs.weights import Weights, weights_of
from int_bench.core.text import in_bytes
from int_bench.errors import Exit, MissingAsset

_LINE_SECONDS = 10.0


def fetch_command(overrides: Sequence[str]) -> int:
    """Bring the weights of models, resumed and verified; one that fails does not stop the others.

    Args:
        overrides: ``models=PRESET``, or single ``backbone/ROLE=NAME``; with ``method=`` only the
            models that it asks.

    Returns:
        0 if all are here now, 3 if some are not.

    Raises:
        UsageError: wrong overrides, or the network is not to be used.
    """
    parts = asked(overrides)
    failures = []
    try:
        with terminable():
            for part in parts:
                try:
                    _bring(part)
                except MissingAsset as error:
                    failures.append(str(error))
                    say(f"{part.role}: {error}")
    except KeyboardInterrupt:
        say("What has arrived is kept; the same command resumes.")
        raise
    if failures:
        print(f"{len(parts) - len(failures)} of {len(parts)} are here; the same command goes on.")
        return Exit.MISSING
    print("All are here and verified; runs need no network from now on.")
    return Exit.DONE


def _bring(part: Weights) -> None:
    if part.kind == "shipped" and not part.lacks:
        print(f"{part.role}: {part.name} is shipped")
        return
    if part.kind == "file" and not part.lacks and not part.fetchable:
        print(f"{part.role}: {part.name} is here; nobody has published its hash")
        return
    size = f" ({in_bytes(part.known.bytes)})" if part.known.bytes else ""
    print(f"{part.role}: {part.name}{size}", flush=True)
    count = fetch(part, Arriving(in_bytes, _LINE_SECONDS, indent="  "))
    print(f"{part.role}: {in_bytes(count)} here, verified", flush=True)


def asked(overrides: Sequence[str]) -> list[Weights]:
    """The weights of the models that are named; of all without a name, or of the method's."""
    keys = [text.partition("=")[0].replace(".", "/").split("/") for text in overrides]
    roles = {parts[1] for parts in keys if parts[0] == "backbone" and len(parts) > 1}
    named = {parts[0] for parts in keys}
    config = load_config(overrides, every_model="method" not in named)
    parts = weights_of(config)
    if roles and not named & {"models", "method", "dataset"}:
        parts = [part for part in parts if part.role in roles]
    return parts
