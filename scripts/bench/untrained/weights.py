"""Random weights for any architecture."""

from __future__ import annotations

from typing import TypeVar

import torch

M = TypeVar("M", bound=torch.nn.Module)

_SHARP = ("q_proj.weight", "k_proj.weight")
"""Doubled: attention that looks at all of 600 tokens alike would write the same word for ever."""


def randomise(model: M, seed: int = 0) -> M:
    """Fill every parameter: matrices keep the scale of their input, gains are 1, biases 0.

    Drawn where the weights are; two models of equal shapes, seeds and devices are equal.
    """
    generators: dict[torch.device, torch.Generator] = {}
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim < 2:
                parameter.fill_(1.0 if name.endswith("weight") else 0.0)
                continue
            device = parameter.device
            if device not in generators:
                generators[device] = torch.Generator(device).manual_seed(seed)
            scale = parameter[0].numel() ** -0.5 * (2.0 if name.endswith(_SHARP) else 1.0)
            parameter.normal_(0, scale, generator=generators[device])
    return model.eval().requires_grad_(False)


def words(text: str) -> list[str]:
    """The distinct words of a text, in order."""
    return list(dict.fromkeys(text.split()))


def numbered(known: list[str], size: int) -> dict[str, int]:
    """A vocabulary of ``size`` tokens: the known ones first, then filler words w0, w1, ..."""
    filler = [f"w{index}" for index in range(size - len(known))]
    return {token: index for index, token in enumerate((*known, *filler)[:size])}
