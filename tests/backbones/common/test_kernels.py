"""Fused kernels: their values in Triton's interpreter, and that they compile for GPUs."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest
import torch

from int_bench.backbones.common import kernels
from int_bench.backbones.common.kernels import PLAIN

pytest.importorskip("triton")
CHECKED = kernels._checked  # a phantom of other tests may stand in its place while these run
CPU = torch.device("cpu")


INTERPRETED = """
import torch
from int_bench.backbones.common import fused_kernels
from int_bench.backbones.common.kernels import TOLERANCE, Kernels, differences

given = Kernels(*(getattr(fused_kernels, name) for name in Kernels._fields))
gaps = differences(given, torch.device("cpu"))
assert set(gaps) == set(Kernels._fields) and max(gaps.values()) <= TOLERANCE, gaps
wrong = given._replace(swiglu=lambda first, second: first * second)
assert differences(wrong, torch.device("cpu"))["swiglu"] > TOLERANCE
print("the same")
"""


def test_the_fused_functions_are_the_plain_ones():
    """In a process of its own: Triton decides when it is imported how functions run."""
    told = {**os.environ, "TRITON_INTERPRET": "1"}
    asked = [sys.executable, "-c", INTERPRETED]
    done = subprocess.run(asked, env=told, capture_output=True, text=True, check=False)
    if "InterpreterError" in done.stderr and "only 0-dimensional arrays" in done.stderr:
        pytest.skip("the interpreter of this Triton does not know this numpy")  # 3.6 and 2.5
    assert done.stdout.endswith("the same\n"), done.stderr[-2000:]


def test_without_a_compiler_torch_computes_and_says_why(monkeypatch):
    def fail(*_: Any) -> Any:
        raise RuntimeError("Failed to find C compiler")

    CHECKED.cache_clear()
    monkeypatch.setattr(kernels, "_checked", CHECKED)
    monkeypatch.setattr(kernels, "differences", fail)
    try:
        with pytest.warns(UserWarning, match="not used on this GPU.*Failed to find C compiler"):
            assert kernels.kernels(torch.device("cuda")) is PLAIN
        assert kernels.kernels(CPU) is PLAIN
    finally:
        CHECKED.cache_clear()


HALF, FULL, WHOLE = "*fp16", "*fp32", "i32"
SIGNATURES: dict[str, tuple[dict[str, str], dict[str, Any]]] = {
    "_sum_up": (
        {"x": HALF, "early": HALF, "sums": FULL},
        {"EARLY": True, "SPAN": 256, "P": 32, "C": 64},
    ),
    "_weigh": (
        {"sums": FULL, "early": HALF, "weight": HALF, "bias": HALF, "terms": FULL,
         "count": "fp32", "eps": "fp32"},
        {"EARLY": True, "S": 16, "K": 64},
    ),
    "_scale": ({"x": HALF, "terms": FULL, "y": HALF}, {"SILU": True, "P": 32, "C": 64}),
    "_add": ({"x": HALF, "other": HALF, "bias": HALF}, {"N": 2048}),
    "_gate": ({"first": HALF, "second": HALF, "y": HALF}, {"SILU": False, "N": 2048}),
    "_turn": ({"x": HALF, "cos": HALF, "sin": HALF, "y": HALF}, {"HALF": 64, "H": 8}),
}  # fmt: skip


@pytest.mark.services
@pytest.mark.parametrize("name", SIGNATURES)
def test_a_kernel_compiles_for_a_gpu_and_reads_whole_vectors(name):
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from int_bench.backbones.common import fused_kernels

    pointers, constants = SIGNATURES[name]
    kernel = getattr(fused_kernels, name)
    names = kernel.arg_names
    signature = {n: pointers.get(n, "constexpr" if n in constants else WHOLE) for n in names}
    odd = ("size", "spans", "count", "eps") if name == "_weigh" else ("spans",)
    divisible = {
        (place,): [["tt.divisibility", 16]]
        for place, n in enumerate(names)
        if n not in (*odd, *constants)
    }
    values = {(names.index(n),): value for n, value in constants.items()}
    source = ASTSource(kernel, signature, constexprs=values, attrs=divisible)
    made = triton.compile(source, target=GPUTarget("cuda", 90, 32))
    assert made.asm["cubin"]
    assert "ld.global.v" in made.asm["ptx"] or name == "_weigh"
