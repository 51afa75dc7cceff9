"""``python -m int_bench`` is ``int-bench``."""

from int_bench.cli import main

main()
