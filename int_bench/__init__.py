"""INT (arXiv 2501.18753) and its predecessors for task-generic promptable segmentation."""

__version__ = "0.1.0"
