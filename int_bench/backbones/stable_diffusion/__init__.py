"""StableDiffusion: the family's public class under a name that configuration uses."""

from int_bench.backbones.stable_diffusion.model import StableDiffusion

__all__ = ["StableDiffusion"]
