"""CUDA kernels, in Triton, for what torch does in several passes over memory.

Tensors lie with their channels innermost: a row is what one block of threads reads at once. All is
reckoned in float32 and rounded once; sums are taken in an order that does not change from run to
run. ``kernels.py`` decides whether they are used, and has what is computed else.
"""

# mypy: ignore-errors

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor, nn

SPAN, CHANNELS, PLACES = 256, 64, 32
"""Places that are summed by one program; the sides of a tile."""
HEADS = 8
"""Heads that one program turns."""
FLAT = 2048
"""Elements that one program takes of what has no sides."""
MOST = 2**30
"""Elements of which places are reckoned in 32 bits."""


@triton.jit
def _sum_up(
    x, early, sums, places, channels, early_step,
    EARLY: tl.constexpr, SPAN: tl.constexpr, P: tl.constexpr, C: tl.constexpr,
):  # fmt: skip
    row, span = tl.program_id(0), tl.program_id(1)
    channel = tl.program_id(2) * C + tl.arange(0, C)
    known = channel < channels
    total, squares = tl.zeros((P, C), tl.float32), tl.zeros((P, C), tl.float32)
    shift = tl.zeros((C,), tl.float32)
    if EARLY:
        shift += tl.load(early + row * early_step + channel, known, 0.0).to(tl.float32)
    for start in range(0, SPAN, P):
        place = span * SPAN + start + tl.arange(0, P)
        inside = (place < places)[:, None] & known[None, :]
        line = (row * places + place).to(tl.int64) * channels
        value = tl.load(x + line[:, None] + channel[None, :], inside, 0.0).to(tl.float32)
        value = tl.where(inside, value + shift[None, :], 0.0)
        total += value
        squares += value * value
    out = sums + (row * tl.num_programs(1) + span) * 2 * channels + channel
    tl.store(out, tl.sum(total, 0), known)
    tl.store(out + channels, tl.sum(squares, 0), known)


@triton.jit
def _weigh(
    sums, early, weight, bias, terms, spans, channels, early_step, size, count, eps,
    EARLY: tl.constexpr, S: tl.constexpr, K: tl.constexpr,
):  # fmt: skip
    row, group = tl.program_id(0), tl.program_id(1)
    channel = group * size + tl.arange(0, K)
    known = tl.arange(0, K) < size
    total, squares = tl.zeros((S, K), tl.float32), tl.zeros((S, K), tl.float32)
    for start in range(0, spans, S):
        span = start + tl.arange(0, S)
        inside = (span < spans)[:, None] & known[None, :]
        place = sums + ((row * spans + span) * 2 * channels)[:, None] + channel[None, :]
        total += tl.load(place, inside, 0.0)
        squares += tl.load(place + channels, inside, 0.0)
    mean = tl.sum(tl.sum(total, 0), 0) / count
    variance = tl.maximum(tl.sum(tl.sum(squares, 0), 0) / count - mean * mean, 0.0)
    gain = tl.load(weight + channel, known, 0.0).to(tl.float32) / tl.sqrt(variance + eps)
    shift = tl.load(bias + channel, known, 0.0).to(tl.float32) - mean * gain
    if EARLY:
        shift += tl.load(early + row * early_step + channel, known, 0.0).to(tl.float32) * gain
    tl.store(terms + row * 2 * channels + channel, gain, known)
    tl.store(terms + (row * 2 + 1) * channels + channel, shift, known)


@triton.jit
def _scale(x, terms, y, places, channels, SILU: tl.constexpr, P: tl.constexpr, C: tl.constexpr):
    row = tl.program_id(0)
    place = tl.program_id(1) * P + tl.arange(0, P)
    channel = tl.program_id(2) * C + tl.arange(0, C)
    known = channel < channels
    gain = tl.load(terms + row * 2 * channels + channel, known, 0.0)
    shift = tl.load(terms + (row * 2 + 1) * channels + channel, known, 0.0)
    inside = (place < places)[:, None] & known[None, :]
    at = ((row * places + place).to(tl.int64) * channels)[:, None] + channel[None, :]
    value = tl.load(x + at, inside, 0.0).to(tl.float32) * gain[None, :] + shift[None, :]
    if SILU:
        value = value / (1.0 + tl.exp(-value))
    tl.store(y + at, value, inside)


@triton.jit
def _add(x, other, bias, count, channels, N: tl.constexpr):
    at = tl.program_id(0) * N + tl.arange(0, N)
    inside = at < count
    value = tl.load(x + at, inside, 0.0).to(tl.float32)
    value += tl.load(other + at, inside, 0.0).to(tl.float32)
    value += tl.load(bias + at % channels, inside, 0.0).to(tl.float32)
    tl.store(x + at, value, inside)


@triton.jit
def _gate(first, second, y, count, width, step, SILU: tl.constexpr, N: tl.constexpr):
    at = tl.program_id(0) * N + tl.arange(0, N)
    inside = at < count
    place = at // width * step + at % width
    a = tl.load(first + place, inside, 0.0).to(tl.float32)
    b = tl.load(second + place, inside, 0.0).to(tl.float32)
    if SILU:
        value = a / (1.0 + tl.exp(-a)) * b
    else:
        value = a * b * 0.5 * (1.0 + tl.erf(b * 0.7071067811865476))
    tl.store(y + at, value, inside)


@triton.jit
def _turn(
    x, cos, sin, y, heads, length, row_step, head_step, token_step,
    HALF: tl.constexpr, H: tl.constexpr,
):  # fmt: skip
    row, token = tl.program_id(0) // length, tl.program_id(0) % length
    head, pair = tl.program_id(1) * H + tl.arange(0, H), tl.arange(0, HALF)
    angle = tl.program_id(0) * 2 * HALF + pair
    c, s = tl.load(cos + angle).to(tl.float32), tl.load(sin + angle).to(tl.float32)
    start = row.to(tl.int64) * row_step + token * token_step
    at = start + (head * head_step)[:, None] + pair[None, :]
    inside = (head < heads)[:, None] & (pair < HALF)[None, :]
    first = tl.load(x + at, inside, 0.0).to(tl.float32)
    second = tl.load(x + at + HALF, inside, 0.0).to(tl.float32)
    tl.store(y + at, first * c - second * s, inside)
    tl.store(y + at + HALF, second * c + first * s, inside)


def group_norm(
    norm: nn.GroupNorm, x: Tensor, early: Tensor | None = None, activated: bool = False
) -> Tensor:
    """``norm(x + early)``.

    Args:
        norm: with weight and bias.
        x: (B, places, C), contiguous; nobody else's where ``early`` is given.
        early: (B, C) or (1, C); is added at all places.
        activated: whether ``silu`` follows.
    """
    rows, places, channels = x.shape
    spans, blocks = triton.cdiv(places, SPAN), triton.cdiv(channels, CHANNELS)
    given = early is not None
    added, step = (early, channels if len(early) > 1 else 0) if given else (x, 0)
    sums = torch.empty(rows, spans, 2, channels, device=x.device)
    tile = {"P": PLACES, "C": CHANNELS}
    _sum_up[rows, spans, blocks](
        x, added, sums, places, channels, step, EARLY=given, SPAN=SPAN, **tile
    )
    terms, size = torch.empty(rows, 2, channels, device=x.device), channels // norm.num_groups
    _weigh[rows, norm.num_groups](
        sums, added, norm.weight, norm.bias, terms, spans, channels, step, size,
        float(places * size), norm.eps, EARLY=given, S=16, K=triton.next_power_of_2(size),
    )  # fmt: skip
    answer = torch.empty_like(x)
    grid = rows, triton.cdiv(places, PLACES), blocks
    _scale[grid](x, terms, answer, places, channels, SILU=activated, **tile)
    return answer


def add_(x: Tensor, other: Tensor, bias: Tensor) -> Tensor:
    """``x + other + bias`` in place of ``x``; both (..., C) and contiguous, the bias (C,)."""
    if x.numel() >= MOST:
        for pair in zip(x.split(1), other.split(1), strict=True):
            add_(*pair, bias)
        return x
    _add[(triton.cdiv(x.numel(), FLAT),)](x, other, bias, x.numel(), len(bias), N=FLAT)
    return x


def geglu(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """``a * gelu(b)`` of the halves of a product: (..., K) by (2 N, K) to (..., N)."""
    both = torch.nn.functional.linear(x, weight, bias)
    width = len(weight) // 2
    return _gated(both[..., :width], both[..., width:], 2 * width, silu=False)


def swiglu(first: Tensor, second: Tensor) -> Tensor:
    """``silu(a) * b`` of two contiguous tensors of one shape."""
    return _gated(first, second, first.shape[-1], silu=True)


def _gated(first: Tensor, second: Tensor, step: int, silu: bool) -> Tensor:
    answer = torch.empty(first.shape, dtype=first.dtype, device=first.device)
    count, width = answer.numel(), answer.shape[-1]
    grid = (triton.cdiv(count, FLAT),)
    _gate[grid](first, second, answer, count, width, step, SILU=silu, N=FLAT)
    return answer


def turned(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Pairs (x_i, x_{i + D/2}) turned by their angles.

    Args:
        x: (B, heads, N, D), D a power of two; the answer lies like it.
        cos: (B, N, D), contiguous, of which the halves are equal.
        sin: likewise.
    """
    rows, heads, length, size = x.shape
    answer = torch.empty_strided(x.shape, x.stride(), dtype=x.dtype, device=x.device)
    steps = x.stride()[:3]
    grid = rows * length, triton.cdiv(heads, HEADS)
    _turn[grid](x, cos, sin, answer, heads, length, *steps, HALF=size // 2, H=HEADS)
    return answer
