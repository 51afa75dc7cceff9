"""The shipped models: weights, card, how they are made, how good they are."""
