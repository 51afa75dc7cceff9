"""OpenAI: the family's public class under a name that configuration uses."""

from int_bench.backbones.openai.model import OpenAI

__all__ = ["OpenAI"]
