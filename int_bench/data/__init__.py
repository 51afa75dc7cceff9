"""Data sets: paired folders on disk, drawn scenes, and the checks that are made before they are used."""
