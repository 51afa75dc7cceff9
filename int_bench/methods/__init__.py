"""The methods: a prompter and a masker, iterated by one cycle.

Section 3 of the paper by file name:

``candidate_generation`` (HCG), ``prompt_selection`` (PSNM), ``negative_mining`` (PNM),
``mask_generation`` (SMG), ``cycle`` (the loop, Eq. 12 and 13).
"""
