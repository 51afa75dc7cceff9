"""What a training is on disk: its request, its folder, and what its adapter says of itself."""
