"""How the shipped grounding_dino is trained."""
