"""The norms and rotations of CUDA against the library's, on a phantom device."""

from __future__ import annotations

import pytest
import torch
from transformers.models.llama import modeling_llama
from transformers.models.qwen2 import modeling_qwen2

from int_bench.backbones.common import kernels
from int_bench.backbones.llava.fused import _Rotation, fused
from tests import phantom

MODELS = {
    "llama": (modeling_llama.LlamaModel, modeling_llama.LlamaConfig),
    "qwen2": (modeling_qwen2.Qwen2Model, modeling_qwen2.Qwen2Config),
}


def small(kind: str, heads: int = 2):
    model, config = MODELS[kind]
    torch.manual_seed(0)
    size = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "vocab_size": 50}
    made = model(config(**size, num_attention_heads=4, num_key_value_heads=heads)).eval()
    for name, weight in made.named_parameters():
        if "norm" in name:
            torch.nn.init.normal_(weight, 1.0, 0.3)
    return made.requires_grad_(False)


TOKENS = torch.arange(12).reshape(2, 6)


@pytest.mark.parametrize("kind", MODELS)
def test_on_cuda_layers_compute_the_same_in_fewer_launches(kind):
    expected = small(kind)(TOKENS).last_hidden_state
    with phantom.cuda() as device:
        model = fused(small(kind).to("cuda"))
        device.clear()
        answer = model(TOKENS.to("cuda")).last_hidden_state.cpu()
    torch.testing.assert_close(answer, expected, atol=2e-6, rtol=1e-5)
    assert device.dispatches["_fused_rms_norm"] == 5 and device.dispatches["rsqrt"] == 0
    assert device.dispatches["addcmul_"] == 8 and device.dispatches["neg"] == 0
    assert device.dispatches["silu"] == device.dispatches["mul_"] == 2


@pytest.mark.parametrize("rows", [1, 2])
def test_what_is_compiled_is_asked_where_angles_are_those_of_each_row(rows, monkeypatch):
    asked = []

    def turned(x, cos, sin):
        asked.append(x.shape)
        return kernels.PLAIN.turned(x, cos, sin)

    expected = small("llama")(TOKENS).last_hidden_state
    with phantom.cuda():
        compiled = kernels.PLAIN._replace(turned=turned)
        monkeypatch.setattr(kernels, "_checked", lambda: compiled)
        model = fused(small("llama").to("cuda"))
        places = torch.arange(6)[None].expand(rows, 6)
        answer = model(TOKENS.to("cuda"), position_ids=places.to("cuda")).last_hidden_state.cpu()
    torch.testing.assert_close(answer, expected, atol=2e-6, rtol=1e-5)
    assert asked == ([(2, 4, 6, 8), (2, 2, 6, 8)] * 2 if rows == 2 else [])


@pytest.mark.parametrize("kind", MODELS)
def test_elsewhere_not_a_bit_changes_and_the_exchange_is_made_once(kind):
    model = small(kind)
    expected = model(TOKENS).last_hidden_state
    assert torch.equal(fused(fused(model))(TOKENS).last_hidden_state, expected)
    home = modeling_llama if kind == "llama" else modeling_qwen2
    rotation = home.apply_rotary_pos_emb
    assert isinstance(rotation, _Rotation) and not isinstance(rotation._plain, _Rotation)
