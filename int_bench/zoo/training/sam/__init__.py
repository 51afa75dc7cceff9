"""How the shipped sam is trained."""
