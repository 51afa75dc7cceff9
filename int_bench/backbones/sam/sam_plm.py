"""Segmenter: a frozen SAM with a prompt learning module, and a point matching module if asked."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar, get_args, get_type_hints

import numpy as np
import torch
from torch import Tensor, nn

from int_bench.backbones.common.adapter import Adapter, hash_of_weights
from int_bench.backbones.common.adapter import read as read_adapter
from int_bench.backbones.sam.contours import equal_arcs, outline, redrawn, shifted
from int_bench.backbones.sam.decoding import Decoded, Prompts, position_of
from int_bench.backbones.sam.loading import put_decoder
from int_bench.backbones.sam.model import Prompt, Sam
from int_bench.backbones.sam.plm import PlmOptions, PmmOptions, PointMatching, PromptLearning
from int_bench.core.requests import Segmentation
from int_bench.core.typed import Malformed, Node
from int_bench.errors import MissingAsset, UsageError

if TYPE_CHECKING:
    from int_bench.core.protocols import Segmenter

Trained = Literal["plm", "plm_upscaling", "plm_decoder"]
"""What learns: the modules alone, or the decoder's up-scaling or the whole decoder as well."""
_LARGEST = 4096  # of any size in a file
_Options = TypeVar("_Options", PlmOptions, PmmOptions)


class SamModules(nn.Module):
    """What an adapter holds: PLM, PMM, and whatever of SAM's decoder was trained as well.

    Args:
        sam: with ``prompt_encoder`` and ``mask_decoder``; of the latter, what is trained is shared
            and not copied.
        plm: the readings of the PLM.
        pmm: those of the PMM; None for none.
        trained: what is part of the state dict beside the two.
    """

    def __init__(
        self, sam: Any, plm: PlmOptions, pmm: PmmOptions | None, trained: Trained = "plm"
    ) -> None:
        super().__init__()
        channels = sam.prompt_encoder.embed_dim
        self.sizes = {
            "plm": asdict(plm),
            "pmm": None if pmm is None else asdict(pmm),
            "trained": trained,
        }
        self.plm = PromptLearning(channels, plm)
        looked_at = channels // 8 if pmm is None or pmm.features == "upscaled" else channels
        self.pmm = None if pmm is None else PointMatching(looked_at, pmm)
        if trained == "plm_decoder":
            self.decoder = sam.mask_decoder
        elif trained == "plm_upscaling":
            self.upscaling = sam.mask_decoder.output_upscaling

    def features(self, decoded: Decoded, embeddings: Tensor) -> Tensor:
        """What the PMM looks up, (B, F, h, w)."""
        upscaled = self.pmm is None or self.pmm.options.features == "upscaled"
        return decoded.upscaled if upscaled else embeddings


@dataclass(eq=False)
class SamPlm(Sam):
    """A `Segmenter`: a frozen SAM whose embedded prompts a PLM moves.

    After the abstract and figures of 2403.09199; details ours. With modules that learned nothing it
    is SAM, bit for bit.

    Args:
        checkpoint, revision, device, dtype, max_batch, model, filename, cache_mb: As of `Sam`.
        adapter: folder of the modules, as ``int-bench train method=plm`` makes it; it belongs to
            this SAM and is refused for any other.
        decoder: folder with a mask decoder that takes the place of the checkpoint's: what `Sam`
            calls its adapter.
        refine: let the PMM move the contour of the largest component of each mask. Reading: the
            paper's last figure shows a mask redrawn from adjusted points, as an option.
    """

    ADAPTER: ClassVar[str] = "sam_plm"
    ADAPTERS: ClassVar[dict[str, tuple[str, str]]] = {
        "adapter": ("sam_plm", "plm"),
        "decoder": ("sam_decoder", "sam_decoder"),
    }
    NEEDS: ClassVar[tuple[str, ...]] = ("adapter",)
    STAMP: ClassVar[str] = "after the abstract and figures of 2403.09199; details ours"
    WEIGHTS: ClassVar[tuple[str, ...]] = (
        "checkpoint",
        "revision",
        "model",
        "filename",
        "adapter",
        "decoder",
    )

    decoder: str | None = None
    refine: bool = False

    def adapted(self) -> Any:
        """The frozen model, with the modules as its ``task_modules``, on the CPU in float32.

        Raises:
            UsageError: no adapter is named.
            MissingAsset: the adapter is not there, or belongs to another model.
        """
        if self.adapter is None:
            raise UsageError(
                "A SAM with a prompt learning module needs one; make it with `int-bench train "
                "method=plm` and set backbone.segmenter.adapter=FOLDER."
            )
        sam = self.read()
        if self.decoder is not None:
            put_decoder(sam, self.decoder)
        stored = read_adapter(self.adapter, self.ADAPTER, hash_of_weights(sam))
        sam.task_modules = modules_of(sam, stored)
        stored.fill(sam.task_modules)
        if self.refine and sam.task_modules.pmm is None:
            raise MissingAsset(
                f"The adapter {self.adapter} has no point matching module; train one with "
                "train.pmm_weight=1, or set backbone.segmenter.refine=false."
            )
        return sam.eval()

    def _shape(self, request: Prompt) -> tuple[Hashable, ...]:
        """As of `Sam`, and equally many points: the PLM looks at all of them."""
        return len(request.points), *super()._shape(request)

    def _adapted(self, prompts: Prompts, embeddings: Tensor) -> Prompts:
        position = position_of(self.loaded, len(embeddings))
        move = partial(self.loaded.task_modules.plm, prompts, embeddings, position)
        key = "plm", prompts.sparse.shape[1], prompts.points
        moved: Prompts = self.flops.of(key, len(embeddings), move)
        return moved

    def _finish(
        self, requests: Sequence[Prompt], decoded: Decoded
    ) -> list[tuple[Segmentation, ...]]:
        answers = super()._finish(requests, decoded)
        if not self.refine:
            return answers
        looked_at = self.loaded.task_modules.features(decoded, decoded.embeddings)
        return [
            tuple(self._refined(mask, features) for mask in masks)
            for masks, features in zip(answers, looked_at, strict=True)
        ]

    def _refined(self, answer: Segmentation, features: Tensor) -> Segmentation:
        """A mask whose contour went where the PMM says.

        A logit keeps its size and changes its sign where the mask changes.
        """
        mask = answer.logits > 0
        contour = outline(mask)
        if contour is None:
            return answer
        longest, pmm = max(mask.shape), self.loaded.task_modules.pmm
        points = equal_arcs(contour, pmm.options.points) / longest
        placed = torch.tensor(points, dtype=torch.float32, device=features.device)
        move = partial(pmm, placed[None], features[None])
        moves = self.flops.of("pmm", 1, move)[0].cpu().numpy().astype(np.float64) - points
        wanted = redrawn(mask, contour, shifted(contour, moves * longest))
        least = np.finfo(np.float32).tiny
        size = np.maximum(np.abs(answer.logits), least)
        logits = np.where(wanted == mask, answer.logits, np.where(wanted, size, -size))
        return replace(answer, logits=logits.astype(np.float32))


def modules_of(sam: Any, stored: Adapter) -> SamModules:
    """The modules that an adapter describes, not filled yet.

    Raises:
        MissingAsset: its description is none of such modules.
    """
    try:
        sizes = Node(stored.sizes)
        plm, pmm = _options(PlmOptions, sizes.node("plm")), sizes.maybe_node("pmm")
        trained: Any = sizes.text("trained")
        if trained not in get_args(Trained):
            raise Malformed("trained is none of " + ", ".join(get_args(Trained)))
        if sam.prompt_encoder.embed_dim % plm.heads:
            raise Malformed(f"plm.heads do not divide {sam.prompt_encoder.embed_dim} channels")
    except Malformed as error:
        raise MissingAsset(f"The adapter {stored.folder} describes no PLM: {error}.") from error
    return SamModules(sam, plm, _options(PmmOptions, pmm) if pmm else None, trained)


def _options(kind: type[_Options], node: Node) -> _Options:
    """Options of a file, looked at one by one."""
    hints, values = get_type_hints(kind), dict[str, Any]()
    for option in fields(kind):
        if isinstance(option.default, int):
            values[option.name] = min(node.whole(option.name), _LARGEST)
        else:
            values[option.name] = node.text(option.name)
            if values[option.name] not in get_args(hints[option.name]):
                raise Malformed(f"{option.name} is {values[option.name][:40]!r}")
    return kind(**values)


if TYPE_CHECKING:
    _check: type[Segmenter] = SamPlm
