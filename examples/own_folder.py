"""A folder of one's own, segmented and scored: masks, numbers, and the floor beside them.

python examples/own_folder.py [FOLDER]    # with images/ and masks/; without: drawn scenes
"""

import sys
from pathlib import Path

import int_bench
from int_bench.data.world.dataset import DrawnScenes, write

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "scenes")
if len(sys.argv) == 1:
    write(DrawnScenes(count=2), folder)
run = int_bench.run(
    "dataset=folder",
    f"dataset.images={folder / 'images'}",
    f"dataset.masks={folder / 'masks'}",
    "method=grounding_sam",
    "models=tiny",  # they know the drawn world only; models=small for photographs
    task="camouflaged animal",
    limit=2,
)
for sample, mask in run.masks.items():
    print(f"{sample}: {mask.mean():.1%} of the image")
print(run.scores)
print(f"all of it lies in {run.path}")
