"""How the shipped stable_diffusion is trained."""
