"""A run: from a data set to stored masks and records, and from stored masks to scores."""
