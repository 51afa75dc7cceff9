"""Stored masks to numbers; no model, no printing."""
