"""What every part speaks: values, protocols, equations. NumPy only, no files, no models."""
