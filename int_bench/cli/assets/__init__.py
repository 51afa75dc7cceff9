"""The commands about what is here and what is missing: data sets and models."""
