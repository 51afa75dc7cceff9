"""Data sets whose objects are annotated one by one."""
