"""SoloV2: the family's public class under a name that configuration uses."""

from int_bench.backbones.solov2.model import SoloV2

__all__ = ["SoloV2"]
