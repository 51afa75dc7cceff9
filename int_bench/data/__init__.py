"""Data sets: paired folders on disk, drawn scenes, and the checks made before they are used."""
