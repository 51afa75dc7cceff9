"""Metrics behind named protocols: a number is never computed, stored or printed without one."""
