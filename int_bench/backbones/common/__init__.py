"""What the model families share: loading, batches, squares, caches."""
