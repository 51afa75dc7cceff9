"""CLIP Surgery: the family's public class under a name that configuration uses."""

from int_bench.backbones.clip.surgery import ClipSurgery

__all__ = ["ClipSurgery"]
