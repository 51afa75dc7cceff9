"""GroundingDino: the family's public class under a name that configuration uses."""

from int_bench.backbones.grounding_dino.model import GroundingDino

__all__ = ["GroundingDino"]
