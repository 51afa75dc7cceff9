"""Segmenter: Segment Anything (segment-anything 1.0), for boxes, points, or both.

Source: Kirillov et al., "Segment Anything", ICCV 2023. Used by Eq. (9). Pre- and post-processing
are the library's own; added are batching over pictures and prompts, a memory of embeddings, and
fused attention.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from int_bench.backbones.common.adapter import hash_of_weights
from int_bench.backbones.common.ahead import Ahead, Submit
from int_bench.backbones.common.batching import chunks
from int_bench.backbones.common.lru import MEBIBYTE, Lru, Mebibytes, tensors
from int_bench.backbones.common.model import LocalModel
from int_bench.backbones.common.precision import whole_float32
from int_bench.backbones.sam.attention import fuse_attention, lower
from int_bench.backbones.sam.decoding import Decoded, Prompts, decode_masks, embed_prompts
from int_bench.backbones.sam.flops import decoder_flops, encoder_flops
from int_bench.backbones.sam.loading import PublishedSize, SamSource, load_sam, put_decoder
from int_bench.backbones.sam.windows import moved_less
from int_bench.core.limits import Count
from int_bench.core.requests import Proposals, Request, Segment, Segmentation
from int_bench.core.types import Picture
from int_bench.errors import SampleError

if TYPE_CHECKING:
    from int_bench.core.protocols import Segmenter


Prompt = Segment | Proposals
_SCALES_MB = 128
"""MiB of what enlarges masks to their pictures' sizes on a CPU; 2 at 1024 x 1024 pixels."""


@dataclass(eq=False)
class Sam(LocalModel):
    """A `Segmenter` over ``segment_anything.modeling.Sam`` of any size.

    Args:
        checkpoint: folder with ``config.json`` and ``model.safetensors``, ``zoo:NAME``, a .pth
            file, or a hub id.
        revision, device: As of every `LocalModel`.
        dtype: precision of the products in the image encoder; it adds up in float32. Prompts and
            masks are always computed in float32, as half precision moves a point by whole pixels.
        max_batch: at most so many pictures per encoder pass and prompts per decoder pass.
        model: ``vit_b``, ``vit_l`` or ``vit_h``; required with a .pth file, unused with a folder.
        filename: the .pth file inside a hub repository.
        adapter: folder with a mask decoder that takes the place of the checkpoint's.
        cache_mb: bound of the memory for picture embeddings, in MiB (4 MiB each at 1024 pixels).

    ``counters``: ``images_encoded`` and ``embedding_hits`` (pictures), ``rows`` (prompts decoded).
    """

    ROLE: ClassVar[str] = "segmenter"
    HOLDS: ClassVar[str] = "mask_decoder."
    RUNTIME: ClassVar[tuple[str, ...]] = ("device", "max_batch", "cache_mb")
    PRECISION: ClassVar[dict[str, str]] = {"E1": "float32", "E2": "float16"}
    WEIGHTS: ClassVar[tuple[str, ...]] = ("checkpoint", "revision", "model", "filename", "adapter")
    ADAPTER: ClassVar[str] = "sam_decoder"
    ADAPTERS: ClassVar[dict[str, tuple[str, str]]] = {"adapter": ("sam_decoder", "sam_decoder")}

    checkpoint: str = "zoo:sam"
    model: PublishedSize | None = None
    filename: str | None = None
    max_batch: Count = field(default=8, kw_only=True)
    cache_mb: Mebibytes = 512
    adapter: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self._embeddings = tensors(self.cache_mb)
        self._scales: Lru[tuple[int, int], tuple[Tensor, Tensor]] = Lru(
            _SCALES_MB * MEBIBYTE, lambda pair: sum(scale.nbytes for scale in pair)
        )
        self._resized: Ahead[NDArray[np.uint8]] = Ahead()

    def segment(self, requests: Sequence[Segment]) -> list[Segmentation]:
        """Mask logits and predicted IoU, one per request.

        The logits are (H, W) float32 at the size of the request's picture. With ``multimask`` they
        are those of the mask of highest predicted IoU among the model's multimask outputs. The IoU
        is clipped to 0..1, as the model's head is an unbounded regression.

        Raises:
            ValueError: a request has neither a box nor a point.
            SampleError: a picture is too thin for the model, or a number is not finite.
            OutOfMemory: the batch does not fit.
            MissingAsset: the checkpoint cannot be loaded.
        """
        _check_prompts(requests)
        with self.computing():
            embeddings = self._embed([request.image for request in requests])
            return self.in_batches(requests, partial(self._decode, embeddings), key=self._shape)

    def proposals(self, requests: Sequence[Proposals]) -> list[tuple[Segmentation, ...]]:
        """All multimask outputs of each prompt, by falling predicted IoU.

        Three for the published models: a part, the whole and more. Logits are (H, W) float32 at the
        size of the request's picture; the picture of all its prompts is encoded once.

        Raises:
            ValueError, SampleError, OutOfMemory, MissingAsset: As of `segment`.
        """
        _check_prompts(requests)
        with self.computing():
            embeddings = self._embed([request.image for request in requests])
            return self.in_batches(requests, partial(self._propose, embeddings), key=self._shape)

    def begin(self, request: Request[Any], submit: Submit) -> None:
        """Resize the picture, unless its embedding is here."""
        picture: Picture = request.image  # type: ignore[attr-defined]
        if picture.digest not in self._embeddings:
            resize = partial(self._resize_picture, picture)
            self._resized.begin(picture.digest, request, resize, submit)

    def load(self) -> Any:
        """The model; only its encoder is in the configured precision."""
        sam = moved_less(fuse_attention(self.adapted())).to(self.place)
        sam = lower(sam, self.precision)
        return sam.requires_grad_(False)

    def adapted(self) -> Any:
        """The weights of the checkpoint and those of an adapter, on the CPU in float32."""
        sam = self.read()
        if self.adapter is not None:
            put_decoder(sam, self.adapter)
        return sam

    def read(self) -> Any:
        """The weights of the checkpoint on the CPU in float32, without an adapter's."""
        return load_sam(SamSource(self.checkpoint, self.model, self.filename, self.revision))

    @cached_property
    def frozen(self) -> str:
        """The hash of the checkpoint's weights, which adapters name; it reads them."""
        return hash_of_weights(self.read())

    def embed(self, pictures: Sequence[Picture]) -> Tensor:
        """The image encoder's embeddings, (B, C, g, g) float32; kept by nobody.

        Raises:
            SampleError: a picture is too thin for the model, or a number is not finite.
            OutOfMemory: the batch does not fit.
        """
        with self.computing():
            return torch.cat([self._encode(part) for part in chunks(pictures, self.max_batch)])

    def _embed(self, pictures: Sequence[Picture]) -> dict[str, Tensor]:
        """The embedding (C, g, g) float32 of each distinct picture, by digest."""
        before = self.counters["images_encoded"]
        embeddings = self.features(pictures, self._embeddings, self._encode)
        fresh = self.counters["images_encoded"] - before
        self.counters["embedding_hits"] += len(embeddings) - fresh
        return embeddings

    def _encode(self, pictures: Sequence[Picture]) -> Tensor:
        """One encoder pass, (B, C, g, g) float32; pictures are resized and padded to squares."""
        squares = self._squares(pictures).to(self.precision)
        encoded = self.loaded.image_encoder(squares)
        self.counters["images_encoded"] += len(pictures)
        self.flops.total += len(pictures) * encoder_flops(self.loaded.image_encoder)
        return self.finite.see("picture embeddings", encoded, self.precision).float()

    def _squares(self, pictures: Sequence[Picture]) -> Tensor:
        """(B, 3, S, S) float32: longest side resized to S, normalised, padded right and below.

        The numbers of ``Sam.preprocess``; in memory colours are last, as pictures have them.
        """
        sam, side = self.loaded, self.loaded.image_encoder.img_size
        mean, std = (colour.flatten().repeat(side) for colour in (sam.pixel_mean, sam.pixel_std))
        squares = torch.empty(len(pictures), side, 3 * side, device=self.place)
        for square, picture in zip(squares, pictures, strict=True):
            resized = self._resized.take(picture.digest, partial(self._resize_picture, picture))
            pixels = torch.as_tensor(resized, device=self.place).flatten(1).to(torch.float32)
            height, width = pixels.shape
            square[:height, :width] = pixels.sub_(mean[:width]).div_(std[:width])
            square[height:], square[:height, width:] = 0, 0
        return squares.view(-1, side, side, 3).permute(0, 3, 1, 2)

    def _resize_picture(self, picture: Picture) -> NDArray[np.uint8]:
        """(h, w, 3), the longer side that of the model's square."""
        self._check_width(picture)
        resized: NDArray[np.uint8] = _resize(self.loaded).apply_image(picture.pixels)
        return resized

    def _check_width(self, picture: Picture) -> None:
        height, width = picture.size
        side = self.loaded.image_encoder.img_size
        if min(_resize(self.loaded).get_preprocess_shape(height, width, side)) < 1:
            raise SampleError(
                f"A picture of {width} x {height} pixels is too thin for the {self.ROLE} "
                f"{self.checkpoint}: nothing of it is left in a square of {side} pixels; "
                f"next step: cut it."
            )

    def _decode(
        self, embeddings: Mapping[str, Tensor], requests: Sequence[Segment]
    ) -> list[Segmentation]:
        """One decoder pass over requests of equal shape."""
        choices = slice(1, None) if requests[0].multimask else slice(0, 1)
        chosen = self._decoded(embeddings, requests, choices, 1)
        return [answer for (answer,) in self._finish(requests, chosen)]

    def _propose(
        self, embeddings: Mapping[str, Tensor], requests: Sequence[Proposals]
    ) -> list[tuple[Segmentation, ...]]:
        """One decoder pass over requests of equal shape."""
        count: int = self.loaded.mask_decoder.num_multimask_outputs
        return self._finish(requests, self._decoded(embeddings, requests, slice(1, None), count))

    def _decoded(
        self,
        embeddings: Mapping[str, Tensor],
        requests: Sequence[Prompt],
        choices: slice,
        best: int,
    ) -> Decoded:
        """Some outputs of the decoder for requests of equal shape, by falling predicted IoU."""
        stacked = torch.stack([embeddings[request.image.digest] for request in requests])
        with whole_float32():
            padded = len({len(request.points) for request in requests}) > 1
            points, boxes = self._points(requests), self._boxes(requests)
            prompts = embed_prompts(self.loaded, points, boxes, padded)
            moved = self._adapted(prompts, stacked)
            chosen = decode_masks(self.loaded, stacked, moved, choices, best)
        decoder, places = self.loaded.mask_decoder, stacked[0, 0].numel()
        kernels = len(decoder.output_hypernetworks_mlps[choices])
        tokens = 1 + decoder.num_mask_tokens + moved.sparse.shape[1]
        spent = decoder_flops(decoder, places, tokens, kernels, best)
        self.flops.total += len(requests) * spent
        self.counters["rows"] += len(requests)
        self.finite.see("mask logits", chosen.masks)
        self.finite.see("predicted IoUs", chosen.ious)
        return chosen

    def _shape(self, request: Prompt) -> tuple[Hashable, ...]:
        """What requests must share to be decoded in one pass; they may differ in their points."""
        return bool(request.points), request.box is None, getattr(request, "multimask", True)

    def _adapted(self, prompts: Prompts, embeddings: Tensor) -> Prompts:
        """What the decoder sees of the prompts: the embedded prompts themselves."""
        return prompts

    def _points(self, requests: Sequence[Prompt]) -> tuple[Tensor, Tensor] | None:
        """Coordinates (B, N, 2) in the model's frame and labels (B, N), 1 positive, 0 negative.

        Behind the points of a row that has fewer than others, the labels are -1.
        """
        if not requests[0].points:
            return None
        resize = _resize(self.loaded)
        most = max(len(request.points) for request in requests)
        coordinates = np.zeros((len(requests), most, 2))
        labels = np.full((len(requests), most), -1, np.int32)
        for row, request in enumerate(requests):
            places, count = np.array([(p.x, p.y) for p in request.points]), len(request.points)
            coordinates[row, :count] = resize.apply_coords(places, request.image.size)
            labels[row, :count] = [int(point.positive) for point in request.points]
        return (
            torch.tensor(coordinates, dtype=torch.float32, device=self.place),
            torch.tensor(labels, dtype=torch.int32, device=self.place),
        )

    def _boxes(self, requests: Sequence[Prompt]) -> Tensor | None:
        """(B, 4) float32 in the model's frame."""
        if requests[0].box is None:
            return None
        resize = _resize(self.loaded)
        boxes = [
            resize.apply_boxes(np.array([request.box]), request.image.size) for request in requests
        ]
        return torch.tensor(np.concatenate(boxes), dtype=torch.float32, device=self.place)

    def _finish(
        self, requests: Sequence[Prompt], decoded: Decoded
    ) -> list[tuple[Segmentation, ...]]:
        """The masks at their pictures' sizes; all numbers come to the host at once."""
        large = [
            self._enlarged(request, mask).flatten()
            for request, masks in zip(requests, decoded.masks, strict=True)
            for mask in masks
        ]
        numbers = self.finite.fetch(torch.cat([*large, decoded.ious.flatten()]), brief=True).numpy()
        answers, start, scores = [], 0, iter(numbers[-len(large) :])
        for request in requests:
            height, width = request.image.size
            masks = []
            for _ in range(decoded.ious.shape[1]):
                logits = numbers[start : start + height * width].reshape(height, width)
                start += height * width
                iou = min(max(float(next(scores)), 0.0), 1.0)
                masks.append(Segmentation(logits.copy(), iou))
            answers.append(tuple(masks))
        return answers

    def _enlarged(self, request: Prompt, mask: Tensor) -> Tensor:
        """``Sam.postprocess_masks`` of one mask, (4g, 4g): at its picture's size, (H, W).

        Both interpolations are linear in rows and in columns: on a CPU they are two products.
        """
        size, side = request.image.size, self.loaded.image_encoder.img_size
        scales = self._scales.get(size)
        if scales is None:
            inside = _resize(self.loaded).get_preprocess_shape(*size, side)
            if mask.device.type != "cpu":
                logits: Tensor = self.loaded.postprocess_masks(mask[None, None], inside, size)
                return logits[0, 0]
            rows, columns = (
                _scale(len(mask), side, *part) for part in zip(inside, size, strict=True)
            )
            self._scales.put(size, scales := (rows, columns.T))
        rows, columns = scales
        return self.flops.of(size, 1, lambda: rows @ mask @ columns)


def _scale(coarse: int, side: int, inside: int, size: int) -> Tensor:
    """(size, coarse): a row enlarged to ``side``, of which what is inside is brought to a size."""
    square = F.interpolate(torch.eye(coarse)[None], side, mode="linear")[..., :inside]
    return F.interpolate(square, size, mode="linear")[0].T


def _check_prompts(requests: Sequence[Prompt]) -> None:
    for request in requests:
        if request.box is None and not request.points:
            kind = type(request).__name__
            raise ValueError(f"{kind} of {request.image!r} has neither a box nor a point")


def _resize(sam: Any) -> Any:
    """The library's resizing of pictures, points and boxes to the model's square."""
    from segment_anything.utils.transforms import ResizeLongestSide

    return ResizeLongestSide(sam.image_encoder.img_size)


if TYPE_CHECKING:
    _check: type[Segmenter] = Sam
