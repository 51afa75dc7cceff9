"""The one mechanism: model calls as values, batched, remembered and counted."""
