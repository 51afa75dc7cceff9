"""The verbs of what is trained: `train`, `propose`, and `ablate` of trained methods."""
