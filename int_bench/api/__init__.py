"""What ``import int_bench`` offers: one image, a whole run, anybody's masks. No printing."""
