"""PLM and PMM as modules, and the contours that the PMM moves."""

import numpy as np
import pytest
import torch

from int_bench.backbones.sam.contours import equal_arcs, outline, redrawn, shifted
from int_bench.backbones.sam.decoding import Prompts
from int_bench.backbones.sam.plm import PlmOptions, PmmOptions, PointMatching, PromptLearning
from tests.backbones.sam.tiny_sam import randomise

CHANNELS = 16


def prompts(tokens=3, points=2):
    generator = torch.Generator().manual_seed(1)
    sparse = torch.randn(2, tokens, CHANNELS, generator=generator)
    return Prompts(sparse, torch.zeros(2, CHANNELS, 4, 4), points)


def picture():
    generator = torch.Generator().manual_seed(2)
    return torch.randn(2, CHANNELS, 4, 4, generator=generator), torch.randn(
        2, CHANNELS, 4, 4, generator=generator
    )


def plm(**options):
    return PromptLearning(CHANNELS, PlmOptions(heads=2, **options))


@pytest.mark.parametrize("tokens", ["all", "points"])
@pytest.mark.parametrize("blocks", [1, 3])
def test_a_plm_that_learned_nothing_changes_no_bit(tokens, blocks):
    before = prompts()
    after = plm(tokens=tokens, blocks=blocks)(before, *picture())
    assert torch.equal(after.sparse, before.sparse)
    assert after.dense is before.dense


def test_of_points_only_the_other_tokens_stay():
    before = prompts()
    after = randomise(plm(tokens="points"))(before, *picture())
    assert torch.equal(after.sparse[:, 2:], before.sparse[:, 2:])
    assert (after.sparse[:, :2] != before.sparse[:, :2]).all()


def test_task_tokens_follow_the_prompt():
    module = plm(task_tokens=2)
    after = module(prompts(), *picture())
    assert after.sparse.shape == (2, 5, CHANNELS)
    assert torch.equal(after.sparse[0, 3:], module.task)


def test_the_plm_by_hand():
    """Equations (1) to (3) of the module with numpy, one head, one block."""
    module = randomise(PromptLearning(CHANNELS, PlmOptions(heads=1, output="replace")))
    before, (values, position) = prompts(), picture()
    state = {name: t.numpy().astype(np.float64) for name, t in module.state_dict().items()}

    def linear(name, x):
        return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    def attend(name, q, k, v):
        q, k, v = linear(f"{name}.query", q), linear(f"{name}.key", k), linear(f"{name}.value", v)
        weights = np.exp(q @ k.T / CHANNELS**0.5)
        return linear(f"{name}.mix", weights / weights.sum(1, keepdims=True) @ v)

    def norm(name, x):
        centred = x - x.mean(1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(1, keepdims=True) + 1e-5)
        return scaled * state[f"{name}.weight"] + state[f"{name}.bias"]

    tokens = before.sparse[1].numpy().astype(np.float64)
    seen = values[1].flatten(1).numpy().T.astype(np.float64)
    keys = (values + position)[1].flatten(1).numpy().T.astype(np.float64)
    a = norm("own_norm.0", tokens + attend("own.0", tokens, tokens, tokens))
    b = norm("picture_norm.0", a + attend("picture.0", a, keys, seen))
    inner = torch.from_numpy(linear("inner", b))
    wanted = linear("outer", torch.nn.functional.gelu(inner).numpy())
    answer = module(before, values, position).sparse[1].detach().numpy()
    np.testing.assert_allclose(answer, wanted, atol=1e-4)


def contour_of_a_circle(count=24, radius=0.3):
    turns = 2 * np.pi * np.arange(count) / count
    points = 0.5 + radius * np.stack([np.sin(turns), -np.cos(turns)], axis=1)
    return torch.tensor(points, dtype=torch.float32)[None]


def test_a_pmm_that_learned_nothing_moves_no_point():
    contours = contour_of_a_circle()
    module = PointMatching(3, PmmOptions(points=24, channels=8))
    assert torch.equal(module(contours, torch.randn(1, 3, 16, 16)), contours)


def test_where_a_contour_begins_changes_nothing():
    contours, features = contour_of_a_circle(), torch.randn(1, 3, 16, 16)
    module = randomise(PointMatching(3, PmmOptions(points=24, channels=8)))
    moved = module(contours, features)
    assert (moved - contours).abs().max() > 1e-3
    rolled = module(contours.roll(7, 1), features)
    torch.testing.assert_close(rolled, moved.roll(7, 1))


def test_features_are_looked_up_at_the_points():
    """With u the coordinates themselves, a point reads where it is."""
    places = (torch.arange(32) + 0.5) / 32
    features = torch.stack([places.expand(32, 32), places[:, None].expand(32, 32)])[None]
    module = PointMatching(2, PmmOptions(points=24, channels=4, layers=1))
    with torch.no_grad():
        module.enter.weight.copy_(torch.eye(4))
        module.enter.bias.zero_()
        module.layers[0].weight.zero_()
        module.layers[0].bias.zero_()
        module.leave.weight.copy_(torch.eye(4)[:2])
    contours = contour_of_a_circle()
    torch.testing.assert_close(module(contours, features), 2 * contours)


def test_the_contour_of_a_rectangle():
    mask = np.zeros((9, 12), dtype=bool)
    mask[2:5, 3:8] = True
    mask[7, 0] = True  # another component
    contour = outline(mask)
    assert contour[0].tolist() == [3.5, 2.5]
    assert contour[1].tolist() == [4.5, 2.5]  # clockwise on the screen
    assert len(contour) == 12
    points = equal_arcs(contour, 6)  # of the way of 12 pixels
    expected = [[3.5, 2.5], [5.5, 2.5], [7.5, 2.5], [7.5, 4.5], [5.5, 4.5], [3.5, 4.5]]
    assert points.tolist() == expected


def test_no_contour_and_a_contour_of_one_pixel():
    mask = np.zeros((4, 4), dtype=bool)
    assert outline(mask) is None
    mask[1, 2] = True
    assert equal_arcs(outline(mask), 3).tolist() == [[2.5, 1.5]] * 3


def test_a_contour_that_stays_gives_the_mask_itself():
    generator = np.random.default_rng(0)
    for _ in range(20):
        noise = generator.standard_normal((5, 5))
        mask = np.kron(noise, np.ones((6, 6))) > 0
        contour = outline(mask)
        still = shifted(contour, np.zeros((12, 2)))
        assert (redrawn(mask, contour, still) == mask).all()


def test_a_contour_moves_its_component_alone_and_keeps_its_hole():
    mask = np.zeros((20, 20), dtype=bool)
    mask[4:12, 4:12] = True
    mask[7:9, 7:9] = False
    mask[16:18, 16:18] = True
    contour = outline(mask)
    moved = redrawn(mask, contour, shifted(contour, np.tile([[2.0, 0.0]], (16, 1))))
    expected = mask.copy()
    expected[4:12, 4:6] = False
    expected[4:12, 12:14] = True
    assert (moved == expected).all()


def test_moves_go_linearly_between_points():
    contour = np.array([[0.0, 0.0], [2.0, 0.0], [2.0, 2.0], [0.0, 2.0]])
    moves = np.array([[1.0, 0.0], [0.0, 0.0]])  # at the first corner and the third
    expected = contour + np.array([[1.0, 0.0], [0.5, 0.0], [0.0, 0.0], [0.5, 0.0]])
    assert shifted(contour, moves).tolist() == expected.tolist()
