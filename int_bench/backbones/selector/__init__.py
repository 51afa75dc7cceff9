"""Selecting one of SAM's proposals for an object: the selection half of SAPNet."""
