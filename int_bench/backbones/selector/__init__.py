"""Selecting one of SAM's proposals for an object: the selection half of SAPNet."""

from int_bench.backbones.selector.model import Selector

__all__ = ["Selector"]
