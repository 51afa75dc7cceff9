"""How the shipped models are trained: ``python -m int_bench.zoo.training ROLE``."""
