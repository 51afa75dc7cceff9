"""The models of the paper with random weights, at any size, without a file."""
