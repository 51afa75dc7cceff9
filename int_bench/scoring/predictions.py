"""Where predictions come from: a folder of maps, anybody's, or one of the trivial answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from int_bench.core.types import HardMask
from int_bench.data.dataset import SampleFile
from int_bench.data.depth import Depth, depth_of
from int_bench.data.images import MAP_EXTENSIONS, Map, is_transposed, read_map, shape_of
from int_bench.data.pairing import common_pattern, index_folder
from int_bench.errors import SampleError, UsageError
from int_bench.methods.trivial import Kind, trivial_mask


class Predictions(Protocol):
    """The predictions of one method for a data set."""

    @property
    def name(self) -> str:
        """What they are called in messages: a folder or a method."""
        ...

    def ids(self) -> frozenset[str] | None:
        """The ids that there are predictions of; None if there is one for any id."""
        ...

    def failure(self, sample_id: str) -> str | None:
        """Why the method has no prediction for a sample, where it said so."""
        ...

    def load(self, sample: SampleFile, truth: HardMask) -> Map:
        """The map of a sample that there is a prediction of; of any size.

        Raises:
            SampleError: the map cannot be decoded.
        """
        ...


@dataclass(frozen=True)
class MapFolder:
    """A folder of maps (image files of any depth, or ``.npy``), matched by id.

    Attributes:
        folder: where they lie.
        paths: the file of each id.
        failures: why the method failed, by the ids that it failed at.
        sizes: (height, width) that a map must have, by id, where the run recorded it.
    """

    folder: Path
    paths: Mapping[str, Path]
    failures: Mapping[str, str] = field(default_factory=dict)
    sizes: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    @cached_property
    def depth(self) -> Depth:
        """White of the maps of more than 8 bits, decided over all of them."""
        return depth_of(self.paths.values())

    def __getstate__(self) -> dict[str, Any]:
        """What travels to another process: the maps have been looked at once for all of them."""
        _ = self.depth
        return dict(vars(self))

    @property
    def name(self) -> str:
        """The folder's path."""
        return str(self.folder)

    def ids(self) -> frozenset[str]:
        """The ids that there is a file of."""
        return frozenset(self.paths)

    def failure(self, sample_id: str) -> str | None:
        """The recorded reason of a failed sample."""
        return self.failures.get(sample_id)

    def load(self, sample: SampleFile, truth: HardMask) -> Map:
        """Decode the map of a sample; see :func:`int_bench.data.images.read_map`.

        Raises:
            SampleError: it cannot be decoded, has another size than the run recorded, or fits the
                ground truth only when it is transposed.
        """
        path, size = self.paths[sample.id], self.sizes.get(sample.id)
        prediction = read_map(path, self.depth)
        shape = shape_of(prediction)
        if size is not None and shape != size:
            raise SampleError(
                f"{path} is {shape[1]}x{shape[0]} pixels and was stored with"
                f" {size[1]}x{size[0]}; remove it and run the sample again."
            )
        if is_transposed(shape, shape_of(truth)):
            sizes = [f"{array.shape[1]}x{array.shape[0]}" for array in (prediction, truth)]
            raise SampleError(
                f"Prediction {path} is {sizes[0]} and its ground truth {sizes[1]}: it is"
                " transposed; save it as (height, width)."
            )
        return prediction


@dataclass(frozen=True)
class Trivial:
    """A prediction that looks at nothing: the floor that every table shows."""

    kind: Kind

    @property
    def name(self) -> str:
        """The kind."""
        return self.kind

    def ids(self) -> None:
        """There is one for any sample."""
        return

    def failure(self, sample_id: str) -> None:
        """It never fails."""
        return

    def load(self, sample: SampleFile, truth: HardMask) -> Map:
        """The map at the size of the ground truth, (H, W) bool."""
        return trivial_mask(self.kind, (truth.shape[0], truth.shape[1]))


def maps_in(
    folder: Path, failures: Mapping[str, str] | None = None, ids: Sequence[str] = ()
) -> MapFolder:
    """Index a folder of maps by id.

    A folder that does not exist is accepted only where failures explain why nothing is there. Where
    no file is called like any of ``ids``, and all are named after them by one rule (``*_pred``), it
    is that rule which is meant.

    Raises:
        MissingAsset: the folder is missing or holds no map.
        UsageError: two files have the same id.
    """
    if failures and not folder.is_dir():
        return MapFolder(folder, {}, failures)
    index = index_folder(folder, MAP_EXTENSIONS)
    if not index.by_id.keys() & set(ids):
        pattern = common_pattern(ids, index.by_id)
        index = index_folder(folder, MAP_EXTENSIONS, pattern=pattern) if pattern else index
    for key, paths in index.duplicates.items():
        names = " and ".join(path.name for path in paths)
        raise UsageError(
            f"Predictions {names} in {folder} have the same id {key}; keep one of them."
        )
    return MapFolder(folder, index.by_id, failures or {})
