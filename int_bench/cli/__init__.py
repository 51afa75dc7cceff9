"""The command line: words in, text out, exit codes; nothing else."""

from int_bench.cli.app import main

__all__ = ["main"]
