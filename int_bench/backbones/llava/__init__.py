"""Llava: the family's public class under a name that configuration uses."""

from int_bench.backbones.llava.model import Llava

__all__ = ["Llava"]
