"""What every part speaks: values, protocols, equations, and how a file is written whole.

NumPy only; no models.
"""
