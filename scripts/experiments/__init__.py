"""Experiments on the drawn world."""
