"""Training scenes of the zoo, drawn once into ``.npy`` files and shared through the page cache.

    python -m int_bench.zoo.training.pool            # all pools, 2 processes, minutes

The test split is never pooled: only ``int_bench.zoo.report`` draws it. The second half of this
file holds what every training does to a pooled scene: the views of INT's 9 patches and the dimming
of Eq. 12 (arXiv 2501.18753).
"""

import argparse
import multiprocessing
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from numpy.lib.format import open_memmap

from int_bench.data.world.scenes import draw
from int_bench.errors import MissingAsset, UsageError

CACHE = Path(".cache/zoo")
SIZE = 128
MEAN_COLOUR = (122, 117, 104)
"""CLIP's mean colour, with which the VLM backbone pads patches to squares."""

# (task, number of animals, share of the pool), in the order of ``Pool.kind``.
KINDS = (
    ("cod", "one", 0.54),
    ("cod", "two_same", 0.07),
    ("cod", "two_different", 0.13),
    ("polyp", "one", 0.10),
    ("skin", "one", 0.10),
    ("polyp", "two_different", 0.03),
    ("skin", "two_different", 0.03),
)
ONE, TWO_DIFFERENT = (0, 3, 4), (2, 5, 6)
"""Kinds with one target, and with two of different names."""


@dataclass(frozen=True)
class Plan:
    """What a pool holds: ``size`` scenes of a split from index ``first`` on.

    ``favourite`` is the probability of the environment's favourite animal; None is de-biased.
    """

    split: str
    size: int
    first: int = 0
    favourite: float | None = None


# "prior" teaches the language model its prior, on scenes that no vision tower has seen.
PLANS = {
    "train": Plan("train", 16384),
    "validation": Plan("validation", 2048),
    "prior": Plan("train", 12288, first=1_000_000, favourite=0.5),
}
_BLOCK = 64
_H = SIZE // 2
PATCHES = {
    "full": (0, 0, SIZE, SIZE),
    "left": (0, 0, _H, SIZE),
    "right": (_H, 0, SIZE, SIZE),
    "top": (0, 0, SIZE, _H),
    "bottom": (0, _H, SIZE, SIZE),
    "top_left": (0, 0, _H, _H),
    "top_right": (_H, 0, SIZE, _H),
    "bottom_left": (0, _H, _H, SIZE),
    "bottom_right": (_H, _H, SIZE, SIZE),
}
"""The 9 patches of INT as rectangles x0, y0, x1, y1 in pixels of a scene, half open."""

Bytes = npt.NDArray[np.uint8]
Bools = npt.NDArray[np.bool_]
Rectangle = tuple[int, int, int, int]


@dataclass(frozen=True)
class Pool:
    """Scenes in random order (any prefix is a fair sample), memory-mapped and read-only.

    Attributes:
        images: ``(N, 128, 128, 3)`` uint8 RGB.
        clean: ``(N, 128, 128, 3)`` uint8 RGB, without the animals; decoys stay.
        masks: ``(N, 2, 128, 128)`` bool.
        names: ``(N, 2)`` int64 index into camoworld.NAMES, -1 for none.
        decoys: ``(N, 3, 128, 128)`` bool.
        decoy_names: ``(N, 3)`` int64, what each decoy looks like, -1 for none.
        environments: ``(N,)`` int64.
        kind: ``(N,)`` int64 index into KINDS.
    """

    images: Bytes
    clean: Bytes
    masks: Bools
    names: npt.NDArray[np.int64]
    decoys: Bools
    decoy_names: npt.NDArray[np.int64]
    environments: npt.NDArray[np.int64]
    kind: npt.NDArray[np.int64]


_SHAPES: dict[str, tuple[tuple[int, ...], type]] = {
    "images": ((SIZE, SIZE, 3), np.uint8),
    "clean": ((SIZE, SIZE, 3), np.uint8),
    "masks": ((2, SIZE, SIZE), np.bool_),
    "names": ((2,), np.int64),
    "decoys": ((3, SIZE, SIZE), np.bool_),
    "decoy_names": ((3,), np.int64),
    "environments": ((), np.int64),
    "kind": ((), np.int64),
}


def load_pool(name: str, cache: Path = CACHE) -> Pool:
    """Open a pool that has been drawn: "train", "validation" or "prior".

    Raises:
        UsageError: there is no such pool.
        MissingAsset: the pool has not been drawn (completely) yet.
    """
    folder = cache / name
    _plan(name)
    if not (folder / "complete").exists():
        raise MissingAsset(
            f"The {name} pool is not complete in '{cache}': "
            "draw it with 'python -m int_bench.zoo.training.pool'."
        )
    arrays = {key: np.load(folder / f"{key}.npy", mmap_mode="r") for key in _SHAPES}
    return Pool(**arrays)


def draw_pool(name: str, cache: Path = CACHE, workers: int = 2) -> None:
    """Draw a pool unless it is there; progress as plain lines.

    Raises:
        UsageError: there is no such pool.
    """
    size, folder = _plan(name).size, cache / name
    if (folder / "complete").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    for key, (shape, dtype) in _SHAPES.items():
        open_memmap(folder / f"{key}.npy", mode="w+", dtype=dtype, shape=(size, *shape))
    jobs = [(name, folder, start) for start in range(0, size, _BLOCK)]
    with multiprocessing.get_context("spawn").Pool(workers) as processes:
        for done, _ in enumerate(processes.imap_unordered(_draw_block, jobs), start=1):
            if done % 16 == 0 or done == len(jobs):
                print(f"{name} pool: {done * _BLOCK} of {size} scenes", flush=True)
    (folder / "complete").touch()


def _plan(name: str) -> Plan:
    if name not in PLANS:
        raise UsageError(f"There is no pool '{name}': use {', '.join(PLANS)}.")
    return PLANS[name]


def _order(size: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Kind of each scene, and its index within its kind."""
    ends = np.rint(np.cumsum([share for _, _, share in KINDS]) * size).astype(np.int64)
    kind = np.searchsorted(ends, np.arange(size), side="right")
    within = np.arange(size) - np.concatenate([[0], ends])[kind]
    shuffle = np.random.default_rng(0).permutation(size)
    return kind[shuffle], within[shuffle]


def _draw_block(job: tuple[str, Path, int]) -> None:
    name, folder, start = job
    plan = PLANS[name]
    kinds, within = _order(plan.size)
    rows = np.arange(start, min(start + _BLOCK, plan.size))
    arrays = {key: open_memmap(folder / f"{key}.npy", mode="r+") for key in _SHAPES}
    arrays["kind"][rows] = kinds[rows]
    for kind, (task, animals, _) in enumerate(KINDS):
        chosen = rows[kinds[rows] == kind]
        scenes = draw(
            plan.split,
            (plan.first + within[chosen]).tolist(),
            task=task,
            animals=animals,
            favourite=plan.favourite if task == "cod" else None,
            world=2,
        )
        for key in _SHAPES:
            if key != "kind":
                arrays[key][chosen] = getattr(scenes, key)


@lru_cache(maxsize=16)
def _cubic(source: int, target: int) -> npt.NDArray[np.float32]:
    """Bicubic enlargement (a = -1/2, as Pillow's) of a line as a ``(target, source)`` matrix."""
    centres = (np.arange(target) + 0.5) * source / target
    away = np.abs(centres[:, None] - (np.arange(source) + 0.5)[None, :])
    near = 1.5 * away**3 - 2.5 * away**2 + 1.0
    far = -0.5 * away**3 + 2.5 * away**2 - 4.0 * away + 2.0
    weights = np.where(away < 1.0, near, np.where(away < 2.0, far, 0.0))
    return np.asarray(weights / weights.sum(1, keepdims=True), dtype=np.float32)


def patch_view(images: Bytes, masks: Bools, rectangle: Rectangle) -> tuple[Bytes, Bools]:
    """What the models see of one patch: cropped, padded to a square, enlarged to 128.

    Args:
        images: ``(N, 128, 128, 3)`` uint8.
        masks: ``(N, M, 128, 128)`` bool.
        rectangle: x0, y0, x1, y1 in pixels of the scene, half open.

    Returns:
        ``(N, 128, 128, 3)`` uint8 padded with the mean colour, and ``(N, M, 128, 128)`` bool padded
        with False, both in the frame of the padded square.
    """
    x0, y0, x1, y1 = rectangle
    side, width, height = max(x1 - x0, y1 - y0), x1 - x0, y1 - y0
    left, top = (side - width) // 2, (side - height) // 2
    square = np.empty((len(images), side, side, 3), np.uint8)
    square[:] = np.array(MEAN_COLOUR, np.uint8)
    square[:, top : top + height, left : left + width] = images[:, y0:y1, x0:x1]
    inside = np.zeros((*masks.shape[:2], side, side), np.bool_)
    inside[..., top : top + height, left : left + width] = masks[..., y0:y1, x0:x1]
    if side == SIZE:
        return square, inside
    cubic, nearest = _cubic(side, SIZE), (np.arange(SIZE) * side) // SIZE
    rows = np.einsum("ts,nsxc->ntxc", cubic, square.astype(np.float32), optimize=True)
    large = np.einsum("us,ntsc->ntuc", cubic, rows, optimize=True)
    view = np.rint(np.clip(large, 0, 255)).astype(np.uint8)
    return view, inside[:, :, nearest][:, :, :, nearest]


def dim(images: Bytes, masks: npt.NDArray[np.float32], passes: int) -> Bytes:
    """Re-weighting of Eq. 12 after some iterations with one mask: outside falls as 0.7^passes.

    Args:
        images: ``(N, H, W, 3)`` uint8.
        masks: ``(N, H, W)`` float in 0..1, the soft mask.
        passes: number of re-weightings, 0 leaves the image as it is.

    Returns:
        Uint8 like ``images``.
    """
    keep = masks + (1.0 - masks) * 0.7**passes
    return np.rint(images * keep[..., None]).astype(np.uint8)


def main() -> None:
    """Draw all pools that are not there yet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--cache", type=Path, default=CACHE)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    for name in ("validation", "train", "prior"):
        draw_pool(name, arguments.cache, arguments.workers)


if __name__ == "__main__":
    main()
