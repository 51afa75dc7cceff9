"""Functions that are captured once per shape and replayed, on a phantom device."""

import pytest
import torch

from int_bench.backbones.common import graphs
from tests import phantom


def test_a_replay_computes_with_the_tensors_of_then():
    weight = torch.arange(6.0).reshape(2, 3)
    with phantom.cuda() as device:
        there = weight.to("cuda")
        replayed = graphs.Replayed(lambda x, time: (x @ there).sin() * time)
        for value, rows in ((1.0, 4), (2.0, 4), (3.0, 1), (4.0, 4), (5.0, 1)):
            x, time = torch.full((rows, 2), value), torch.tensor(value)
            device.clear()
            answer = replayed(x.to("cuda"), time.to("cuda")).cpu()
            torch.testing.assert_close(answer, (x @ weight).sin() * time)
        assert device.dispatches["graph"] == 1 and device.dispatches["sin"] == 0


def test_the_shape_of_longest_ago_goes_and_forgetting_drops_all(monkeypatch):
    monkeypatch.setattr(graphs, "KEPT", 2)
    with phantom.cuda() as device:
        replayed = graphs.Replayed(torch.sin)
        captured = [torch.zeros(rows, device="cuda") for rows in (1, 2, 3)]
        for tensor in (captured[0], captured[1], captured[0], captured[2]):
            replayed(tensor)
        device.clear()
        replayed(captured[0])
        assert device.dispatches["graph"] == 1
        replayed(captured[1])  # gone
        assert device.dispatches["graph"] == 1
        replayed.clear()
        replayed(captured[1])
        assert device.dispatches["graph"] == 1


def test_numbers_of_the_host_are_brought_before_the_capture():
    def scaled(x):
        sizes = torch.as_tensor([[2, 3]], dtype=torch.float32, device=x.device)
        return x * sizes + torch.tensor(4.0, device=x.device)

    with phantom.cuda() as device:
        replayed = graphs.Replayed(scaled)
        for value in (1.0, 2.0):
            device.clear()
            x = torch.full((1, 2), value)
            torch.testing.assert_close(replayed(x.to("cuda")).cpu(), scaled(x))
        assert device.uploads.total() == 1  # x itself


def test_a_computation_that_waits_is_not_captured():
    with phantom.cuda():
        replayed = graphs.Replayed(lambda x: x * float(x.sum()))
        with pytest.raises(RuntimeError, match="not permitted when stream is capturing"):
            replayed(torch.ones(2, device="cuda"))
