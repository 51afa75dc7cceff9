"""What every backbone is: a dataclass whose fields are its options.

From the fields follow what identifies it, the key under which equal backbones share their weights,
and the size of its batches.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor

from int_bench.backbones.common.ahead import Ahead, Submit
from int_bench.backbones.common.batching import chunks, positions_by
from int_bench.backbones.common.dtypes import Dtype
from int_bench.backbones.common.graphs import Replayed
from int_bench.backbones.common.loading import cached_load, load_errors, memory_guard
from int_bench.backbones.common.lru import Lru
from int_bench.backbones.common.precision import (
    FiniteCheck,
    current,
    pick_device,
    pick_dtype,
    plain_attention,
    spelled,
)
from int_bench.backbones.flops.ceiling import ceiling
from int_bench.backbones.flops.counting import Flops
from int_bench.core.limits import Count, Device
from int_bench.core.requests import Request
from int_bench.core.types import Picture
from int_bench.errors import OutOfMemory, SampleError

T = TypeVar("T")
A = TypeVar("A")


@dataclass(eq=False)
class Model:
    """A backbone; configuration reads the class attributes from the source, so they are literals.

    Attributes:
        RUNTIME: fields that decide speed only.
        PRECISION: by exactness class, what ``dtype: auto`` is on CUDA (see ``dtypes``).
        REMOTE: whether it computes on a machine that promises nothing about its numbers.
        CANNOT: verbs of its role that it refuses.
        STAMP: what every table must say about a run with it; nothing if empty.
        counters: what was really computed so far; grows only.
    """

    RUNTIME: ClassVar[tuple[str, ...]] = ()
    PRECISION: ClassVar[dict[str, str]] = {}
    REMOTE: ClassVar[bool] = False
    CANNOT: ClassVar[tuple[str, ...]] = ()
    STAMP: ClassVar[str] = ""

    def __post_init__(self) -> None:
        self.counters: Counter[str] = Counter()

    @property
    def identity(self) -> dict[str, Any]:
        """What decides the answers, JSON-ready: the class, and all fields but those of speed."""
        options = {
            option.name: getattr(self, option.name)
            for option in fields(self)
            if option.name not in self.RUNTIME
        }
        return {"class": type(self).__name__, **options}


@dataclass(eq=False)
class LocalModel(Model):
    """A backbone that computes here, on weights that are loaded at its first request.

    Args:
        checkpoint: hub id, local folder, or ``zoo:NAME``.
        revision: branch, tag or commit of a hub checkpoint.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N``.
        dtype: ``auto`` (float32 on a CPU, on CUDA as ``PRECISION`` says) or a name.
        max_batch: at most so many requests or pictures per forward pass.

    Attributes:
        ROLE: as in ``backbone.<role>``.
        HOLDS: a part of the name of a tensor that its weights have and other models' do not.
        WEIGHTS: fields that decide what is loaded, besides device and precision.
        ADAPTERS: options that name what `int-bench train` left: its kind, and what trains it.
        NEEDS: those of them without which there is no model.
        PASSES: of ``max_batch`` rows that are worth one call on CUDA: requests of equal shapes are
            computed together, so where shapes are many, more requests fill the passes.
        flops: the operations that it has computed, where a family counts them.

    Raises:
        UsageError: the device is unknown or not there.
    """

    ROLE: ClassVar[str]
    HOLDS: ClassVar[str] = ""
    RUNTIME: ClassVar[tuple[str, ...]] = ("device", "max_batch")
    WEIGHTS: ClassVar[tuple[str, ...]] = ("checkpoint", "revision")
    ADAPTERS: ClassVar[dict[str, tuple[str, str]]] = {}
    NEEDS: ClassVar[tuple[str, ...]] = ()
    PASSES: ClassVar[int] = 1

    checkpoint: str
    revision: str | None = field(default=None, kw_only=True)
    device: Device = field(default="auto", kw_only=True)
    dtype: Dtype = field(default="auto", kw_only=True)
    max_batch: Count = field(default=16, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.place = pick_device(self.device)
        self.precision = pick_dtype(self.dtype, self.place, self.PRECISION, self.checkpoint)
        self.finite = FiniteCheck()
        self.flops = Flops()

    @property
    def identity(self) -> dict[str, Any]:
        """As of every model, with the precision that ``auto`` stands for."""
        return {**super().identity, "dtype": spelled(self.precision)}

    @property
    def weights_key(self) -> tuple[Hashable, ...]:
        """Equal backbones have equal keys and share their weights."""
        options = (repr(getattr(self, name)) for name in self.WEIGHTS)
        return type(self).__name__, *options, self.precision, self.place

    def ceiling(self, name: str) -> float | None:
        """Operations a second of large products here in its precision; None if unknown.

        Args:
            name: of the device's kind and its driver.
        """
        return ceiling(self.place, self.precision, name)

    @cached_property
    def loaded(self) -> Any:
        """What :meth:`load` gave to the first backbone with these weights.

        Raises:
            MissingAsset: the checkpoint is missing, damaged or of another kind.
            UsageError: a package is missing, or the model does not fit into memory.
        """
        plain_attention(self.place)
        with load_errors(self.ROLE, self.checkpoint):
            return cached_load(self.weights_key, self.load)

    @abstractmethod
    def load(self) -> Any:
        """Read the weights, to the device and in evaluation mode; errors may be the library's."""

    def prepare(self, request: Request[Any], submit: Submit) -> None:
        """Have computed what a request will need from the CPU; nothing before there are weights.

        Args:
            request: is waiting for its turn.
            submit: has something computed on another thread.
        """
        if "loaded" in vars(self):
            self.begin(request, submit)

    def begin(self, request: Request[Any], submit: Submit) -> None:
        """What :meth:`prepare` does for a family; the weights are loaded."""

    @contextmanager
    def computing(self) -> Iterator[None]:
        """A forward pass without gradients, of which no number leaves that is not finite.

        Raises:
            OutOfMemory: it did not fit.
            SampleError: a tensor that was shown to ``finite`` is not finite.
        """
        self.finite.clear()
        try:
            with current(self.place), torch.inference_mode(), memory_guard():
                yield
                self.finite.verdict(self.ROLE, self.checkpoint)
        except (OutOfMemory, SampleError):
            self.forget()
            raise

    def forget(self) -> None:
        """Drop what is kept between calls, except the weights."""
        for kept in vars(self).values():
            if isinstance(kept, Lru | Ahead | Replayed):
                kept.clear()

    def in_batches(
        self,
        items: Sequence[T],
        compute: Callable[[Sequence[T]], Sequence[A]],
        key: Callable[[T], Hashable] = lambda item: None,
    ) -> list[A]:
        """The answers to all items, in their order.

        Args:
            items: requests, pictures, ...
            compute: answers at most ``max_batch`` items at once, all of one key.
            key: what items of one batch must share.
        """
        answers: dict[int, A] = {}
        for positions in positions_by(map(key, items)).values():
            for part in chunks(positions, self.max_batch):
                answers.update(zip(part, compute([items[i] for i in part]), strict=True))
        return [answers[position] for position in range(len(items))]

    def features(
        self,
        pictures: Iterable[Picture],
        kept: Lru[str, Tensor],
        encode: Callable[[Sequence[Picture]], Iterable[Tensor]],
    ) -> dict[str, Tensor]:
        """What ``encode`` makes of each distinct picture, by digest; what is not kept, in batches.

        Args:
            pictures: whose features are needed now, in any number.
            kept: between calls.
            encode: one tensor per picture of a batch.
        """
        distinct = {picture.digest: picture for picture in pictures}
        cached = {digest: kept.get(digest) for digest in distinct}
        features = {digest: value for digest, value in cached.items() if value is not None}
        absent = [picture for digest, picture in distinct.items() if digest not in features]
        # Clones, or else one kept row would hold the memory of its whole batch.
        encoded = self.in_batches(absent, lambda part: [row.clone() for row in encode(part)])
        for picture, row in zip(absent, encoded, strict=True):
            features[picture.digest] = row
            kept.put(picture.digest, row)
        return features
