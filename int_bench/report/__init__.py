"""Reports: tables (and later pages) made from stored scores."""
