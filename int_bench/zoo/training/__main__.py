"""Train one model of the zoo, or all: ``python -m int_bench.zoo.training ROLE``.

Uses a GPU where there is one. Stopped at any moment, the same command goes on from the last
checkpoint in ``.cache/zoo``; remove that folder to start anew.
"""

import argparse
import importlib
import sys
from pathlib import Path

from int_bench.backbones.common.zoo_files import record
from int_bench.errors import Exit, UsageError, UserError
from int_bench.zoo.training import adapters
from int_bench.zoo.training.pool import PLANS, draw_pool

ROLES = ("llava", "stable_diffusion", "grounding_dino", "sam", "clip")


def train(role: str, out: Path, steps: int | None) -> None:
    """Train one role into ``<out>/<role>``, drawing the training scenes first where needed.

    ``<out>/SHA256SUMS`` is brought up to date.

    Raises:
        UsageError: unknown role.
    """
    if role in adapters.DATA:
        adapters.train(role, out / role, steps)
        record(out)
        return
    if role not in ROLES:
        names = ", ".join((*ROLES, *adapters.DATA))
        raise UsageError(f"Unknown role '{role}': use {names} or all.")
    for pool in PLANS:
        if role == "llava" or pool != "prior":
            draw_pool(pool)
    module = importlib.import_module(f"int_bench.zoo.training.{role}.train")
    if steps is None:
        module.train(out / role)
    else:
        module.train(out / role, steps=steps)
    record(out)


def main() -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "role", metavar="ROLE", help=f"{', '.join((*ROLES, *adapters.DATA))} or all"
    )
    parser.add_argument("--steps", type=int, help="steps of the last phase (default: full run)")
    parser.add_argument("--out", type=Path, default=Path("int_bench/zoo"))
    arguments = parser.parse_args()
    every = (*ROLES, *adapters.DATA)
    roles = every if arguments.role == "all" else (arguments.role,)
    try:
        for role in roles:
            train(role, arguments.out, arguments.steps)
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(Exit.INTERRUPTED)


if __name__ == "__main__":
    main()
