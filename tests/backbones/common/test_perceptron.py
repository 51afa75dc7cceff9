"""A perceptron in two operations of oneDNN against its layers one after the other."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from int_bench.backbones.common import kernels
from int_bench.backbones.common.kernels import perceptron


class Called(TorchDispatchMode):
    """The names of all operations."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.append(func.__name__)
        return func(*args, **(kwargs or {}))


def layers(activation, bias=True):
    torch.manual_seed(0)
    return nn.Linear(24, 96, bias), activation, nn.Linear(96, 24, bias)


def computed(x, parts):
    with torch.inference_mode(), Called() as called:
        answer = perceptron(x, *parts)
    first, activation, second = parts
    torch.testing.assert_close(answer, second(activation(first(x))), rtol=0, atol=2e-6)
    return any("_linear_pointwise" in name for name in called.names)


@pytest.mark.skipif(kernels.ONEDNN_LINEAR is None, reason="torch without oneDNN")
@pytest.mark.parametrize("shape", [(7, 24), (2, 7, 24), (2, 3, 4, 24)])
@pytest.mark.parametrize("bias", [True, False])
def test_an_exact_gelu_is_fused(shape, bias):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    assert computed(x, layers(nn.GELU(), bias))


@pytest.mark.parametrize("activation", [nn.GELU("tanh"), nn.SiLU()])
def test_another_activation_is_not(activation):
    assert not computed(torch.randn(2, 7, 24), layers(activation))


def test_without_the_operation_or_with_gradients_the_layers_are_called(monkeypatch):
    x, parts = torch.randn(2, 7, 24), layers(nn.GELU())
    with torch.enable_grad():
        perceptron(x, *parts).sum().backward()
    assert parts[0].weight.grad is not None
    monkeypatch.setattr(kernels, "ONEDNN_LINEAR", None)
    assert not computed(x, parts)
