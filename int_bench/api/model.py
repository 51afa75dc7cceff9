"""One image at a time: a configured method with its models."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image as Pillow

from int_bench.api.result import Result
from int_bench.api.words import Folders, Value, take_folders, words
from int_bench.config import RunConfig, build_backbones, build_method, load_config
from int_bench.config.schedule import schedule
from int_bench.core.protocols import Method
from int_bench.core.seeding import derive_seed
from int_bench.core.types import Image, Picture, Sample
from int_bench.data.images import read_image
from int_bench.engine.broker import Broker
from int_bench.engine.jobs import Job
from int_bench.errors import MissingAsset, SampleError, UsageError
from int_bench.runs.preflight.checks import preflight
from int_bench.runs.variants import RunRequest

Picturelike = str | os.PathLike[str] | npt.NDArray[Any] | Pillow.Image
"""A file's path, an array (H, W, 3) or (H, W) of uint8, or Pillow's image."""


def load(*overrides: str, config_dir: Folders = None, **keywords: Value) -> Model:
    """A method with its models, ready for single images.

    All that can be known to be missing is looked for now, no weights are read before the first
    image.

    Args:
        overrides: ``KEY=VALUE`` as on the command line, e.g. ``"method=promac"``,
            ``"models=paper"``, ``"backbone/inpainter=telea"``.
        config_dir: folders of YAML files of one's own, as ``--config-dir``; from now on.
        keywords: the same as keywords, e.g. ``seed=1``; ``task`` may be any task-generic prompt.

    Raises:
        UsageError: something is wrong with them, in the sentence of the command line.
        MissingAsset: weights or other files that the configuration names are not here; all are
            named, each with the command that brings it.
    """
    take_folders(config_dir)
    config = load_config(words(overrides, keywords))
    model = Model(config)
    preflight([RunRequest(config)], [], [model.method]).refuse()
    return model


class Model:
    """A method with its models; reads weights when the first image needs them.

    Attributes:
        config: the whole configuration, checked.
        method: the configured method.
    """

    def __init__(self, config: RunConfig, method: Method | None = None) -> None:
        self.config = config
        self.method = method or build_method(config)
        if getattr(self.method, "wants_truth", False):
            raise UsageError(
                f"method={config.method_name} reads the ground truth; run it on a data set with "
                "int_bench.run."
            )
        lacking = sorted(self.method.roles - set(config.backbone))
        if lacking:
            raise UsageError(
                f"The method asks {', '.join(lacking)}, which method={config.method_name} does not "
                "use; load a method that does."
            )
        self._backbones = build_backbones(config)

    def with_method(self, method: Method) -> Model:
        """The same models under a method of one's own, e.g. a ``Cycle`` of one's own parts.

        Raises:
            UsageError: it asks a model that this one does not have.
        """
        return Model(self.config, method)

    def segment(
        self, image: Picturelike, name: str | None = None, *, trace: bool = False
    ) -> Result:
        """Segment one image.

        Args:
            image: a path, an array (H, W, 3) RGB or (H, W) grey of uint8, or Pillow's image.
            name: seeds what is random. The stem of the file, or "image". A run that calls a sample
                so, with the same configuration, gives the same masks (bit for bit on a CPU).
            trace: keep what the method saw and weighed: chats, points and boxes in the ``details``
                of each iteration; views, erased images, masks of the patches in its ``pictures``.

        Raises:
            SampleError: the image cannot be read, or the method fails on it.
            MissingAsset: there is no such file, or a model's weights are not here.
        """
        name = name or (Path(image).stem if isinstance(image, str | os.PathLike) else "image")
        picture = Picture(_pixels(image))
        task, seed = self.config.task.prompt, derive_seed(self.config.seed, 0, name)
        sample = Sample(name, picture, task, seed, traced=trace)
        using = schedule(self.config, self._backbones)
        broker = Broker(
            self._backbones, max_batch=using.max_batch, memo_bytes=self.config.memo_mb * 2**20
        )
        (outcome,) = broker.run([Job(name, partial(self.method.segment, sample))])
        if outcome.value is None:
            raise outcome.error or SampleError(f"{name}: the method gave no prediction.")
        return Result(name, task, picture.pixels, outcome.value)

    def __repr__(self) -> str:
        """The choices, as they would be typed."""
        config = self.config
        return f"Model(method={config.method_name} models={config.choices.get('models')})"


def _pixels(image: Picturelike) -> Image:
    """(H, W, 3) uint8 RGB."""
    if isinstance(image, str | os.PathLike):
        path = Path(image).expanduser()
        if not path.is_file():
            raise MissingAsset(f"{path}: there is no such image.")
        return read_image(path)
    if isinstance(image, Pillow.Image):
        return np.asarray(image.convert("RGB"))
    array = np.asarray(image)
    if array.ndim == 2 and array.dtype == np.uint8:
        array = np.repeat(array[..., None], 3, axis=2)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or 0 in array.shape:
        raise UsageError(
            f"An image is an array (H, W, 3) of uint8, not {array.shape} of {array.dtype}."
        )
    return array
