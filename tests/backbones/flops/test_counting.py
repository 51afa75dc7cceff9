"""What models count as their operations, against torch's own counter around the same calls."""

from __future__ import annotations

from math import prod

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from int_bench.backbones.flops.counting import Flops
from int_bench.backbones.stable_diffusion.model import StableDiffusion
from scripts.bench.verbs import ASKED, ask, build, numbers

aten = torch.ops.aten
MORE = {
    torch.ops.mkldnn._linear_pointwise: lambda x, weight, *_, out_shape, **__: (
        2 * prod(out_shape) * weight[-1]
    ),
    aten._scaled_dot_product_flash_attention_for_cpu: lambda q, k, v, *_, **__: sdpa_flop_count(
        q, k, v
    ),
    # Four projections, the products of queries and keys, and of weights and values.
    aten._native_multi_head_attention: lambda q, k, v, width, *_, **__: (
        q[0] * q[1] * (4 * 2 * width * width + 2 * 2 * k[1] * width)
    ),
}
"""What torch's counter does not know."""


@pytest.mark.parametrize("verb", ASKED)
def test_a_model_counts_what_torch_counts(verb):
    model = build(ASKED[verb][0].role, "cpu")
    answers, counts = [], []
    for _ in range(2):  # while shapes are new, and when they are known
        model.forget()
        before = model.flops.total
        answer = ask(model, verb)
        counts.append(model.flops.total - before)
        answers.append(answer if isinstance(answer[0], str) else numbers(answer))
    model.forget()
    with FlopCounterMode(display=False, custom_mapping=MORE) as torchs:
        ask(model, verb)
    assert counts[0] == counts[1] == pytest.approx(torchs.get_total_flops(), rel=1e-3)
    assert np.array_equal(*answers)  # to be counted changes no bit


def test_of_modules_that_models_share_one_knows_what_another_counted():
    layer, x = torch.nn.Linear(3, 5), torch.ones(4, 3)
    totals = []
    for _ in range(2):
        flops = Flops()
        with flops.watching({"layer": layer}):
            layer(x)
        totals.append(flops.total)
        layer.forward = lambda x: x  # as a graph that is replayed: nobody sees its products
    assert totals == [120, 120]


def test_what_is_compiled_is_not_counted_and_stays_compiled():
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    layer, x = torch.nn.Linear(3, 5), torch.ones(4, 3)
    layer.compile(backend=backend)
    flops = StableDiffusion("zoo:stable_diffusion", device="cpu", compile=True).flops
    with torch.inference_mode(), flops.watching({"layer": layer}):
        flops.of("key", 4, lambda: layer(x))
    assert len(graphs) == 1 and flops.total == 0


def test_rows_that_are_padding_are_not_counted_and_failures_neither():
    flops, left, right = Flops(), torch.ones(4, 3), torch.ones(3, 5)
    for wanted, total in ((None, 120), (2, 180), (4, 300)):
        flops.of("key", 4, lambda: left @ right, wanted)
        assert flops.total == total
    with pytest.raises(RuntimeError):
        flops.of("other", 4, lambda: left @ left)
    assert flops.total == 300
