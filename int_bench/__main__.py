"""``python -m int_bench`` is ``int-bench``."""

from int_bench.cli.app import main

main()
