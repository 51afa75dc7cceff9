"""One image taken apart: which names were proposed, what erasing did to each, which mask won.

python examples/one_image.py [IMAGE]    # without an image: a drawn scene
"""

import sys

import int_bench
from int_bench.data.world.scenes import draw

image = sys.argv[1] if len(sys.argv) > 1 else draw("test", [0]).images[0]
model = int_bench.load("method=int", "models=tiny", task="camouflaged animal")
result = model.segment(image)
print(result.why())
for number, iteration in enumerate(result.iterations, 1):
    inside = iteration.masks.hard.mean()
    print(f"M_{number}: {inside:.1%} of the image, asked for {iteration.prompt!r}")
print(f"boxes of the final mask: {len(result.boxes)}")
result.save("mask.png")
result.picture().save("one_image.png")
