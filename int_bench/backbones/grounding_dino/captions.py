"""What a caption says to GroundingDINO: a pure function of its text, made once and kept.

Phrases of a caption end with a special token and do not look at each other, neither in BERT nor in
the detector's own layers. transformers before 5.23 counts a phrase's full stop as position 0 and
cuts the sines of positions to integers; here both are as in the original code.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

SPECIAL_TOKENS = (101, 102, 1012, 1029)
"""[CLS], [SEP], the full stop and "?" of BERT; both libraries find phrases between these ids."""


@dataclass(frozen=True)
class Caption:
    """Of N tokens.

    Attributes:
        ids: (N,) int64, on the host.
        said: (2, N, d): features, and the sines of positions.
        hidden: (N + 1, N): minus infinity where a token (row) must not look at another, else 0; the
            last row is for those that look at all of the caption.
    """

    ids: Tensor
    said: Tensor
    hidden: Tensor


@dataclass(frozen=True)
class Words:
    """Captions of equal length, side by side.

    Attributes:
        said: (B, 2, N, d), as of a caption.
        hidden: (B, N + 1, N), likewise.
    """

    said: Tensor
    hidden: Tensor

    @property
    def features(self) -> Tensor:
        """(B, N, d)."""
        return self.said[:, 0]

    @property
    def sines(self) -> Tensor:
        """(B, N, d), of the positions."""
        return self.said[:, 1]

    @property
    def apart(self) -> Tensor:
        """(B, 1, N, N), what hides phrases from each other."""
        return self.hidden[:, None, :-1]

    @property
    def unsaid(self) -> Tensor | None:
        """(B, 1, 1, N), what hides tokens that only fill a caption up; on a CPU there are none."""
        return self.hidden[:, None, -1:] if self.hidden.is_cuda else None


def read(model: Any, ids: Sequence[int], device: torch.device) -> Caption:
    """What the model makes of a caption.

    Args:
        model: a ``GroundingDinoForObjectDetection``.
        ids: of its tokens; the model reads the first ``max_text_len``.
        device: of the model.
    """
    core, most = model.model, model.config.max_text_len
    together = phrases(ids)[:most, :most].to(device)
    tokens = torch.tensor([list(ids)[:most]], device=device)
    places = together.long().tril(-1).sum(-1)
    hidden = core.text_backbone(
        tokens, together[None, None], torch.zeros_like(tokens), places[None]
    ).last_hidden_state
    features = core.text_projection(hidden)[0]
    sines = sines_of(places.float(), features.shape[-1]).to(features.dtype)
    masks = torch.zeros_like(pad(together, (0, 0, 0, 1)), dtype=features.dtype)
    masks[:-1].masked_fill_(~together, -torch.inf)
    return Caption(torch.tensor(ids)[:most], torch.stack([features, sines]), masks)


def phrases(ids: Sequence[int]) -> Tensor:
    """(N, N) bool, True where a token looks at another: itself, and those of its phrase.

    >>> phrases([101, 7, 8, 1012, 102]).int().tolist()[2]
    [0, 1, 1, 1, 0]
    """
    ends, end = [len(ids)] * len(ids), len(ids)
    for place in reversed(range(len(ids))):
        end = place if ids[place] in SPECIAL_TOKENS else end
        ends[place] = end
    # The first and the last token end no phrase, nor do tokens after the last special one have one.
    of = torch.tensor([end if 0 < end < len(ids) - 1 else -1 - i for i, end in enumerate(ends)])
    return of[:, None] == of


def sines_of(places: Tensor, width: int) -> Tensor:
    """Sines and cosines by turns, (..., width), of places, (...) float32.

    The periods are those of "Attention Is All You Need", of places from 0 to 2 pi.
    """
    channel = torch.arange(width, dtype=torch.float32, device=places.device)
    angles = places[..., None] * (2 * math.pi) / 10000 ** (2 * (channel // 2) / width)
    return torch.where(channel % 2 == 0, angles.sin(), angles.cos())


def filled(caption: Caption, tokens: int) -> Caption:
    """A caption in the room of so many tokens: those behind it see but themselves, unseen."""
    more = tokens - len(caption.ids)
    apart = pad(caption.hidden[:-1], (0, more, 0, more), value=-torch.inf)
    apart.diagonal()[len(caption.ids) :].zero_()
    unsaid = pad(caption.hidden[-1:], (0, more), value=-torch.inf)
    said = pad(caption.said, (0, 0, 0, more))
    return Caption(caption.ids, said, torch.cat([apart, unsaid]))
