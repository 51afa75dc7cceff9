"""SAPNet beside its published numbers (arXiv 2312.15895)."""
