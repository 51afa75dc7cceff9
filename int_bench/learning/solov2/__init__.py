"""What a SOLOv2 network is trained on, and how (SAPNet, arXiv 2312.15895, Section 3.5)."""
