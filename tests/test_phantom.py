"""The phantom device itself: what it refuses, counts and replays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from tests import phantom

REFUSED: dict[str, tuple[str, Callable[[torch.Tensor], Any]]] = {
    "two devices": ("same device", lambda there: there + torch.ones(3)),
    "two devices in cat": ("same device", lambda there: torch.cat([there, torch.ones(3)])),
    "numpy": ("numpy", lambda there: there.numpy()),
    "a generator of the CPU": (
        "'cuda' generator",
        lambda there: there.normal_(generator=torch.Generator()),
    ),
    "attention over two devices": (
        "cuda:0 and cpu",
        lambda there: torch.nn.functional.scaled_dot_product_attention(
            there.view(1, 1, 3), torch.ones(1, 1, 3), torch.ones(1, 1, 3)
        ),
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cuda_refuses_is_refused(name):
    says, work = REFUSED[name]
    with phantom.cuda(), pytest.raises((RuntimeError, TypeError), match=says):
        work(torch.ones(3, device="cuda"))


def test_numbers_of_the_host_and_indices_from_it_are_taken():
    with phantom.cuda() as device:
        there = torch.arange(4.0, device="cuda")
        assert (there * torch.tensor(2.0))[torch.tensor([1, 3])].cpu().tolist() == [2.0, 6.0]
    assert device.uploads["index from cpu"] == 1
    assert device.syncs == {"to cpu": 1}


def test_memory_is_counted_and_ends():
    with phantom.cuda(capacity=5000) as device:
        held = torch.zeros(1000, device="cuda")
        view = held[10:]
        assert device.now == 4000
        del held
        assert device.now == 4000 and view.shape == (990,)
        del view
        assert (device.now, device.peak) == (0, 4000)
        with pytest.raises(torch.OutOfMemoryError):
            torch.zeros(2000, device="cuda")


def test_a_replayed_graph_computes_with_the_values_of_then():
    with phantom.cuda() as device:
        given, total = torch.ones(3, device="cuda"), torch.zeros(3, device="cuda")
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            doubled = given.view(3) * 2
            total += doubled
        assert total.cpu().tolist() == [0.0] * 3  # recorded, not run
        given.fill_(5)
        total.zero_()
        device.clear()
        graph.replay()
        graph.replay()
        assert device.dispatches == {"graph": 2}
        assert (doubled.cpu().tolist(), total.cpu().tolist()) == ([10.0] * 3, [20.0] * 3)


UNCAPTURED: dict[str, Callable[[torch.Tensor], Any]] = {
    "a number is read": lambda there: float(there.sum()),
    "a copy to the host": lambda there: there.cpu(),
    "a copy from the host": lambda there: torch.tensor([1.0, 2.0]).to("cuda"),
    "a shape that depends on values": lambda there: there[there > 0],
}


@pytest.mark.parametrize("name", UNCAPTURED)
def test_what_a_graph_cannot_hold_is_refused_in_a_capture(name):
    with phantom.cuda():
        there, graph = torch.ones(3, device="cuda"), torch.cuda.CUDAGraph()
        with pytest.raises(phantom.Refused, match="captur"), torch.cuda.graph(graph):
            UNCAPTURED[name](there)


def test_a_replay_of_freed_memory_is_refused():
    with phantom.cuda():
        there, graph = torch.ones(3, device="cuda"), torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            kept = there + 1
        graph.replay()
        del there
        with pytest.raises(RuntimeError, match="freed"):
            graph.replay()
        assert kept.shape == (3,)
