"""What `scripts.experiments.sapnet_plm` trains and measures, a file a system."""
