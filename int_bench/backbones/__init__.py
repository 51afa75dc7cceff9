"""The models, one file per family; the only place in the package that imports their libraries."""
