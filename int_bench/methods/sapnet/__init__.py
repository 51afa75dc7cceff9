"""SAPNet on training objects: what is proposed for a click, and which proposal is taken.

Source: Wei et al., CVPR 2024 (arXiv 2312.15895), and the rows of its Table 7.
"""
