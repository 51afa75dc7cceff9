"""SOLOv2: instances of known classes without a prompt (Wang et al., arXiv 2003.10152)."""
