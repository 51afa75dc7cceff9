"""How the shipped llava is trained."""
