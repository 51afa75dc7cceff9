"""What is kept of a sample: its files, its details, and whether all of it is there."""
