"""Segmenter: Segment Anything (segment-anything 1.0), for boxes, points, or both.

Source: Kirillov et al., "Segment Anything", ICCV 2023. Used by Eq. (9). Pre- and post-processing
are the library's own; added are batching over pictures and prompts, a memory of embeddings, and
fused attention.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch

from int_bench.backbones.common.batching import chunks, positions_by
from int_bench.backbones.common.loading import cached_load, memory_guard, pick_device, pick_dtype
from int_bench.backbones.common.lru import Lru
from int_bench.backbones.sam.attention import fuse_attention
from int_bench.backbones.sam.loading import SamSource, load_sam
from int_bench.core.types import Picture, Segment, Segmentation

if TYPE_CHECKING:
    from int_bench.core.protocols import Segmenter

_MEGABYTE = 2**20


@dataclass(eq=False)
class Sam:
    """A `Segmenter` over ``segment_anything.modeling.Sam`` of any size.

    Args:
        checkpoint: Folder with ``config.json`` and ``model.safetensors``, ``zoo:NAME``, a .pth
            file, or a hub id.
        model: ``vit_b``, ``vit_l`` or ``vit_h``; required with a .pth file, unused with a folder.
        filename: The .pth file inside a hub repository.
        revision: Of the hub repository.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N``.
        dtype: Precision of the image encoder. Prompts and masks are always computed in float32, as
            half precision moves a point by whole pixels.
        max_batch: At most so many pictures per encoder pass and prompts per decoder pass.
        cache_mb: Bound of the memory for picture embeddings, in MiB (4 MiB each at 1024 pixels).
    """

    RUNTIME: ClassVar[tuple[str, ...]] = ("device", "max_batch", "cache_mb")
    PRECISION: ClassVar[dict[str, str]] = {"E1": "float32", "E2": "bfloat16"}

    checkpoint: str = "zoo:sam"
    model: str | None = None
    filename: str | None = None
    revision: str | None = None
    device: str = "auto"
    dtype: str = "auto"
    max_batch: int = 8
    cache_mb: int = 512

    def __post_init__(self) -> None:
        self._source = SamSource(self.checkpoint, self.model, self.filename, self.revision)
        self._device = pick_device(self.device)
        self._dtype = pick_dtype(self.dtype, self._device)
        self._embeddings = Lru[str, torch.Tensor](self.cache_mb * _MEGABYTE, weigh=_bytes)
        self._counters: Counter[str] = Counter()

    @property
    def identity(self) -> Mapping[str, Any]:
        """Class, checkpoint and precision."""
        precision = str(self._dtype).removeprefix("torch.")
        return {"class": "Sam", **asdict(self._source), "dtype": precision}

    @property
    def counters(self) -> Counter[str]:
        """``images_encoded`` and ``embedding_hits`` (pictures), ``rows`` (prompts decoded)."""
        return self._counters

    def segment(self, requests: Sequence[Segment]) -> list[Segmentation]:
        """Mask logits and predicted IoU, one per request.

        The logits are (H, W) float32 at the size of the request's picture. With ``multimask`` they
        are those of the mask of highest predicted IoU among the model's multimask outputs. The IoU
        is clipped to 0..1, as the model's head is an unbounded regression.

        Raises:
            ValueError: A request has neither a box nor a point.
            OutOfMemory: The batch does not fit.
            MissingAsset: The checkpoint cannot be loaded.
        """
        for request in requests:
            if request.box is None and not request.points:
                raise ValueError(f"Segment of {request.image!r} has neither a box nor a point")
        answers: dict[int, Segmentation] = {}
        with torch.inference_mode(), memory_guard():
            embeddings = self._embed([request.image for request in requests])
            for positions in positions_by(map(_shape, requests)).values():
                for part in chunks(positions, self.max_batch):
                    rows = [requests[position] for position in part]
                    decoded = self._decode(rows, [embeddings[row.image.digest] for row in rows])
                    answers.update(zip(part, decoded, strict=True))
        return [answers[position] for position in range(len(requests))]

    @property
    def _sam(self) -> Any:
        """The model, loaded at first use; only its encoder is in the configured precision."""
        key = (Sam, self._source, self._dtype, self._device)
        return cached_load(key, self._load)

    def _load(self) -> Any:
        sam = fuse_attention(load_sam(self._source)).to(self._device)
        sam.image_encoder.to(self._dtype)
        return sam.requires_grad_(False)

    def _embed(self, pictures: Sequence[Picture]) -> dict[str, torch.Tensor]:
        """The embedding (C, g, g) float32 of each distinct picture, by digest."""
        distinct = {picture.digest: picture for picture in pictures}
        kept = {digest: self._embeddings.get(digest) for digest in distinct}
        found = {digest: value for digest, value in kept.items() if value is not None}
        self._counters["embedding_hits"] += len(found)
        absent = [picture for digest, picture in distinct.items() if digest not in found]
        for part in chunks(absent, self.max_batch):
            for picture, embedding in zip(part, self._encode(part), strict=True):
                self._embeddings.put(picture.digest, embedding)
                found[picture.digest] = embedding
        return found

    def _encode(self, pictures: Sequence[Picture]) -> list[torch.Tensor]:
        """One encoder pass; every picture is resized and padded to the model's square."""
        sam = self._sam
        squares = torch.stack([self._square(picture) for picture in pictures])
        encoded = sam.image_encoder(squares.to(self._dtype)).float()
        self._counters["images_encoded"] += len(pictures)
        # Clones, or else each kept embedding would hold the memory of its whole batch.
        return [embedding.clone() for embedding in encoded]

    def _square(self, picture: Picture) -> torch.Tensor:
        """(3, S, S) float32: longest side resized to S, normalised, padded right and below."""
        resized = _resize(self._sam).apply_image(picture.pixels)
        pixels = torch.as_tensor(resized, device=self._device).permute(2, 0, 1)
        square: torch.Tensor = self._sam.preprocess(pixels)
        return square

    def _decode(
        self, requests: Sequence[Segment], embeddings: Sequence[torch.Tensor]
    ) -> list[Segmentation]:
        """One decoder pass over requests of equal shape (points, box or not, multimask)."""
        sam = self._sam
        sparse, dense = sam.prompt_encoder(
            points=self._points(requests), boxes=self._boxes(requests), masks=None
        )
        masks, ious = _predict_masks(sam, torch.stack(list(embeddings)), sparse, dense)
        self._counters["rows"] += len(requests)
        choices = slice(1, None) if requests[0].multimask else slice(0, 1)
        return [
            self._finish(request, mask[choices], iou[choices])
            for request, mask, iou in zip(requests, masks, ious, strict=True)
        ]

    def _points(self, requests: Sequence[Segment]) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Coordinates (B, N, 2) in the model's frame and labels (B, N), 1 positive, 0 negative."""
        if not requests[0].points:
            return None
        resize = _resize(self._sam)
        coordinates = [
            resize.apply_coords(np.array([(p.x, p.y) for p in request.points]), request.image.size)
            for request in requests
        ]
        labels = [[int(point.positive) for point in request.points] for request in requests]
        return (
            torch.tensor(np.stack(coordinates), dtype=torch.float32, device=self._device),
            torch.tensor(labels, dtype=torch.int32, device=self._device),
        )

    def _boxes(self, requests: Sequence[Segment]) -> torch.Tensor | None:
        """(B, 4) float32 in the model's frame."""
        if requests[0].box is None:
            return None
        resize = _resize(self._sam)
        boxes = [
            resize.apply_boxes(np.array([request.box]), request.image.size) for request in requests
        ]
        return torch.tensor(np.concatenate(boxes), dtype=torch.float32, device=self._device)

    def _finish(self, request: Segment, masks: torch.Tensor, ious: torch.Tensor) -> Segmentation:
        """The best mask at the picture's size; ``masks`` (M, 4g, 4g), ``ious`` (M,)."""
        best = int(ious.argmax())
        height, width = request.image.size
        side = self._sam.image_encoder.img_size
        inside = _resize(self._sam).get_preprocess_shape(height, width, side)
        logits = self._sam.postprocess_masks(masks[None, best : best + 1], inside, (height, width))
        return Segmentation(
            logits=logits[0, 0].float().cpu().numpy(), iou=min(max(float(ious[best]), 0.0), 1.0)
        )


def _predict_masks(
    sam: Any, embeddings: torch.Tensor, sparse: torch.Tensor, dense: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """``MaskDecoder.predict_masks`` with one embedding per prompt instead of one for all.

    Args:
        sam: The model whose decoder modules are run.
        embeddings: (B, C, g, g) of the picture of each prompt.
        sparse: (B, N, C) embedded points and box corners.
        dense: (B, C, g, g) embedded mask prompts (here: the learned "no mask").

    Returns:
        Mask logits (B, M, 4g, 4g) and predicted IoUs (B, M), the single-mask output first.
    """
    decoder, count = sam.mask_decoder, len(sparse)
    outputs = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight])
    tokens = torch.cat([outputs.expand(count, -1, -1), sparse], dim=1)
    position = sam.prompt_encoder.get_dense_pe().expand(count, -1, -1, -1)
    hidden, source = decoder.transformer(embeddings + dense, position, tokens)
    upscaled = decoder.output_upscaling(source.transpose(1, 2).reshape(embeddings.shape))
    kernels = torch.stack(
        [mlp(hidden[:, 1 + i]) for i, mlp in enumerate(decoder.output_hypernetworks_mlps)], dim=1
    )
    masks = (kernels @ upscaled.flatten(2)).unflatten(2, upscaled.shape[2:])
    return masks, decoder.iou_prediction_head(hidden[:, 0])


def _shape(request: Segment) -> tuple[int, bool, bool]:
    """What requests must share to be decoded in one pass."""
    return len(request.points), request.box is None, request.multimask


def _resize(sam: Any) -> Any:
    """The library's resizing of pictures, points and boxes to the model's square."""
    from segment_anything.utils.transforms import ResizeLongestSide

    return ResizeLongestSide(sam.image_encoder.img_size)


def _bytes(tensor: torch.Tensor) -> int:
    return tensor.numel() * tensor.element_size()


if TYPE_CHECKING:
    _check: type[Segmenter] = Sam
