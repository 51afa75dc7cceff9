"""Masks of one's own, by whatever model, scored as the papers score them.

python examples/own_masks.py PREDICTIONS TRUTHS    # without folders: circles against circles
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

import int_bench

folders = [Path(word) for word in sys.argv[1:3]] or [Path("predictions"), Path("truths")]
if len(sys.argv) == 1:
    rows, columns = np.mgrid[:96, :128]
    for folder, radius in zip(folders, (20, 24), strict=True):
        folder.mkdir(exist_ok=True)
        for place in (32, 48, 64):
            disc = (rows - 48) ** 2 + (columns - place) ** 2 < radius**2
            Image.fromarray(disc.astype(np.uint8) * 255).save(folder / f"disc{place}.png")
scores = int_bench.score(pred=folders[0], gt=folders[1])
print(scores)
worst = min(scores.samples, key=lambda sample: scores.samples[sample]["native"]["S"])
print(f"worst: {worst}, S = {scores.samples[worst]['native']['S']:.3f}")
