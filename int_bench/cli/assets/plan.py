"""``int-bench models plan``: whether models fit into a GPU, and what a run does with the rest."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from int_bench.cli.screen import drawn
from int_bench.config import RunConfig, load_config
from int_bench.config.needs.devices import used
from int_bench.config.needs.hardware import cuda_devices
from int_bench.config.needs.memory import Demand, demands
from int_bench.config.needs.plan import Plan, plan
from int_bench.config.schedule import usual
from int_bench.core.text import in_bytes
from int_bench.report.tables import Column, Row, Table

_CARDS = (40, 48, 80)
_USABLE = 0.98 * 2**30  # bytes of a card for each GB of its name, about
_ROLES = ("models", "backbone", "method", "dataset")
_MODELS = (
    Column("role", "model", numeric=False),
    Column("name", "weights of", numeric=False),
    Column("dtype", "precision", numeric=False),
    Column("weights", "weights"),
)
_DEVICES = (
    Column("device", "device", numeric=False),
    Column("needed", "needed"),
    Column("kept", "keys and values"),
    Column("pictures", "pictures"),
    Column("rows", "rows"),
    Column("in_flight", "in flight"),
    Column("calls", "largest calls", numeric=False),
)


def plan_command(overrides: Sequence[str], as_json: bool) -> int:
    """Print what models need, and how a run would share out each card's memory.

    Args:
        overrides: as of a run; without a model, a method or a data set those of the paper.
        as_json: bytes, unrounded.

    Raises:
        UsageError: wrong overrides.
    """
    config = _configured(overrides)
    needs = demands(config)
    plans = {name: plan(needs, total) for name, total in _totals(config)}
    if as_json:
        print(json.dumps(_as_json(config, needs, plans)))
        return 0
    print(drawn(_of_models(config, needs)), end="")
    print(drawn(_of_devices(config, plans)), end="")
    return 0


def _configured(overrides: Sequence[str]) -> RunConfig:
    keys = [text.partition("=")[0].replace(".", "/").split("/")[0] for text in overrides]
    given = list(overrides)
    given += [] if any(key in _ROLES for key in keys) else ["models=paper"]
    given += [] if "device" in keys else ["device=cuda"]
    return load_config(given, every_model="method" not in keys)


def _totals(config: RunConfig) -> Iterator[tuple[str, int]]:
    """Cards by name, and what is free now of the first device that is here and would be used."""
    for size in _CARDS:
        yield f"{size} GB", int(size * _USABLE)
    names = used(config.backbone)
    for number, device in enumerate(cuda_devices() or ()):
        if f"cuda:{number}" in names:
            yield f"{device.name}, {in_bytes(device.free)} free", device.free


def _of_models(config: RunConfig, needs: Sequence[Demand]) -> Table:
    rows = [
        Row(
            {
                "role": need.role,
                "name": need.name,
                "dtype": need.dtype,
                "weights": in_bytes(need.weights) if need.weights else "not known",
            }
        )
        for need in needs
    ]
    whole = in_bytes(sum(need.weights for need in needs))
    rows.append(Row({"role": "all", "dtype": config.exactness, "weights": whole}))
    notes = ["Weights in the precision that is computed in, whatever that of the file."]
    known = {need.role for need in needs if need.weights}
    unknown = [role for role in config.backbone if role not in known]
    if unknown:
        notes.append(f"Without weights that are known beforehand: {', '.join(unknown)}.")
    return Table("Models", _MODELS, tuple(rows), tuple(notes))


def _of_devices(config: RunConfig, plans: Mapping[str, Plan]) -> Table:
    rows = [Row(_cells(config, name, shared)) for name, shared in plans.items()]
    notes = (
        "needed: weights, keys and values, calls in graphs (inpaint, detect) and the largest other"
        " one, and 1 GiB for CUDA itself; keys and values: those that stay between calls, of so"
        " many pictures, and those that a call computes with, of so many rows; in flight: images"
        " side by side.",
        "Computed before anything is loaded; a call that does not fit is made again in halves. A"
        f" card's name counts in GiB: one of 40 GB holds about {in_bytes(int(40 * _USABLE))}.",
    )
    return Table("Devices that all of them share", _DEVICES, tuple(rows), notes)


def _cells(config: RunConfig, name: str, shared: Plan) -> dict[str, str | int | None]:
    if shared.lacks:
        return {"device": name, "needed": in_bytes(shared.weights), "calls": f"no: {shared.lacks}"}
    calls = ", ".join(f"{c.verb} {c.rows} ({in_bytes(c.bytes)})" for c in shared.calls)
    given = config.in_flight
    in_flight = (
        given if isinstance(given, int) else usual(config.exactness, True, shared.pictures or None)
    )
    return {
        "device": name,
        "needed": in_bytes(shared.needed),
        "kept": f"{in_bytes(shared.prefixes)} + {in_bytes(shared.batch)}" if shared.rows else None,
        "pictures": shared.pictures,
        "rows": shared.rows,
        "in_flight": in_flight,
        "calls": calls + ("" if shared.needed <= shared.total else "; does not fit together"),
    }


def _as_json(
    config: RunConfig, needs: Sequence[Demand], plans: Mapping[str, Plan]
) -> dict[str, Any]:
    def told(shared: Plan) -> dict[str, Any]:
        calls = [
            {"role": c.role, "verb": c.verb, "rows": c.rows, "bytes": c.bytes} for c in shared.calls
        ]
        bare = asdict(replace(shared, calls=()))
        return {**bare, "calls": calls, "needed": shared.needed}

    return {
        "exactness": config.exactness,
        "models": [asdict(need) for need in needs],
        "devices": {name: told(shared) for name, shared in plans.items()},
    }
