"""From words on the command line to checked values: compose, check, build.

Importing this imports neither Hydra nor torch; composing imports the one, building models the
other.
"""

from int_bench.config.building import build, build_backbones, build_method
from int_bench.config.compose import load_config
from int_bench.config.run_config import RunConfig, Task

__all__ = ["RunConfig", "Task", "build", "build_backbones", "build_method", "load_config"]
