"""``int-bench ablate``: the full method beside variants that lack a part, over one broker."""

from __future__ import annotations

from int_bench import config as configuration
from int_bench.binding import closest
from int_bench.cli_run import execute
from int_bench.cli_support import Command
from int_bench.errors import UsageError
from int_bench.overrides import options

_PREFIX = "no_"


def modules() -> list[str]:
    """The parts that can be left out, as the paper abbreviates them: HCG, PNM, ..."""
    names = [name for name in options("ablation") if name.startswith(_PREFIX)]
    return [name.removeprefix(_PREFIX).upper() for name in names]


def ablate_command(command: Command) -> int:
    """Run the full method and the variants of ``module=``; one table.

    Raises:
        UsageError: No module, an unknown one, or an ablation chosen by hand.
    """
    chosen = [text.partition("=")[2] for text in command.given if text.startswith("module=")]
    if len(chosen) != 1:
        raise UsageError(f"Say what to leave out, once: module={'|'.join(modules())}|all.")
    if any(text.startswith("ablation=") for text in command.given):
        raise UsageError("ablate chooses the ablation itself; leave ablation= out.")
    rest = [text for text in command.overrides if not text.startswith("module=")]
    variants = [f"ablation={_PREFIX}{name.lower()}" for name in _chosen(chosen[0])]
    configs = [configuration.load(rest)]
    configs += [configuration.load([*rest, variant]) for variant in variants]
    return execute(command, configs)


def _chosen(module: str) -> list[str]:
    known = modules()
    if module.lower() == "all":
        return known
    names = module.upper().split(",")
    for name in names:
        if name not in known:
            raise UsageError(
                f"Unknown module {module!r}; choose {', '.join(known)} or all."
                + closest(name, known)
            )
    return names
