"""A committed trace of INT's control flow, the ways to run it, and what shows that one is wrong."""
