"""Sam, and Sam with a prompt learning module, under names that configuration uses."""

from int_bench.backbones.sam.model import Sam
from int_bench.backbones.sam.sam_plm import SamPlm

__all__ = ["Sam", "SamPlm"]
