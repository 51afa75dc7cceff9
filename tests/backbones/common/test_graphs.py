"""Functions that are captured once per shape and replayed, on a phantom device."""

import gc
import warnings
from weakref import ref

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


def test_what_cannot_be_captured_is_launched_each_time_and_said():
    with phantom.cuda() as device:
        replayed = graphs.Replayed(lambda x: x * float(x.sum()))
        with pytest.warns(UserWarning, match="could not be captured.*not permitted when stream"):
            assert replayed(torch.ones(2, device="cuda")).tolist() == [2, 2]
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for value in (3.0, 4.0):
                x = torch.full((2,), value).to("cuda")
                assert replayed(x).tolist() == [2 * value**2] * 2
        assert device.dispatches["graph"] == 0


def test_after_a_capture_that_failed_others_succeed():
    with phantom.cuda() as device:
        pool, there = graphs.Pool(), torch.zeros(1, device="cuda")
        with pytest.warns(UserWarning, match="could not be captured"):
            pool.capture(lambda: float(there))
        add = pool.capture(lambda: there.add_(1))
        add.replay()
        add.replay()
        assert there.tolist() == [2] and device.dispatches["graph"] == 2


def test_what_a_graph_reads_stays_as_long_as_the_graph():
    made = []

    def table():
        numbers = torch.ones(2, device="cuda")
        made.append(ref(numbers))
        return numbers

    with phantom.cuda():
        # Made by the run before the capture and kept by nobody else: no capture could upload it.
        replayed = graphs.Replayed(lambda x: x + graphs.held("table", table))
        x = torch.zeros(2, device="cuda")
        replayed(x)
        assert replayed(x).tolist() == [1, 1] and len(made) == 1
        assert made[0]() is not None
        replayed.clear()
        gc.collect()
        assert made[0]() is None
    assert graphs.held("table", lambda: 1) + graphs.held("table", lambda: 2) == 3  # out of one
