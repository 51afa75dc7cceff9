"""What a training takes at full size, by the same path on a few pixels."""

import pytest

from scripts.bench.untrained.full_size import CASES, at_full_size, fitting_of, measured, proposing


@pytest.mark.parametrize("name", ["sapnet_r50", "plm"])
def test_a_step_of_an_example_is_measured(name, tmp_path):
    fitting = fitting_of(CASES[name], full=False, scratch=tmp_path)
    one = measured(fitting)
    trained = sum(p.numel() for p in fitting.model.parameters() if p.requires_grad)
    assert one["trained M"] == trained / 1e6
    assert one["weights and optimizer GB"] >= 16e-9 * trained
    # A convolution's backward pass takes twice its forward pass: more operations than weights.
    assert one["TFLOP"] * 1e12 > 6 * trained and one["activations GB"] > 0 and one["CPU s"] > 0


def test_hours_and_memory_are_of_the_batch():
    one = {"TFLOP": 1.8, "activations GB": 2.0, "weights and optimizer GB": 0.5}
    whole = at_full_size(CASES["sapnet_r50"], one, rate=18.0)
    assert whole == {"GB": 32.5, "s a step": pytest.approx(1.6), "hours": pytest.approx(352 / 9)}


def test_two_prompts_and_six_masks_of_an_object():
    made = proposing(full=False)
    assert made["TFLOP"] > 0 and made["stored kB"] > 6 * 8 / 1e3
