"""How the shipped clip is trained."""
