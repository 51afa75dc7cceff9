"""Sam: the family's public class under a name that configuration uses."""

from int_bench.backbones.sam.model import Sam

__all__ = ["Sam"]
