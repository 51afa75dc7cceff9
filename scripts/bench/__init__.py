"""What the benchmarks share: timing, tables and gates, random models, and the plain executors."""
