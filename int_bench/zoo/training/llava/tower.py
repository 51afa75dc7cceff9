"""First phase of the tiny LLaVA: its vision tower learns names, boxes and environments densely.

The training scenes are de-biased (every animal as often in every environment), so the tower sees
what is there; the prior comes in with the language model.
"""

import numpy as np
import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from int_bench.backbones.llava.conv_tower import ConvTowerConfig, DenseMaps, DenseNetwork
from int_bench.data.world.names import TARGETS
from int_bench.data.world.scenes import boxes
from int_bench.learning.loop import Recipe, device, fit
from int_bench.zoo.training.boxes import box_iou
from int_bench.zoo.training.llava.data import Mix, Views, look, pixels, sample
from int_bench.zoo.training.pool import SIZE, Pool, load_pool

CONFIG = ConvTowerConfig(
    widths=(32, 64, 128, 160), num_names=1 + max(max(names) for names in TARGETS.values())
)
"""Names that are never truth (folds, moles, ...) are background to the tower, as decoys are."""
STEPS, AGAIN, BATCH = 2000, 2000, 64
_CELL = 8


def train_tower(steps: int = STEPS, name: str = "llava_tower") -> DenseNetwork:
    """Train the dense network, or go on with its checkpoints.

    It still learns when the learning rate has fallen, and has not begun to know its scenes by
    heart, so that a second run follows from a higher rate.
    """
    target = device()
    torch.manual_seed(0)
    network = DenseNetwork(CONFIG).to(target)
    network = network.to(memory_format=torch.channels_last)
    pool, validation = load_pool("train"), load_pool("validation")

    def loss(rng: np.random.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        views = sample(pool, rng, BATCH, Mix())
        inputs = pixels(views.images, target)
        inputs = inputs + 0.06 * torch.randn_like(inputs)
        return dense_loss(network(inputs), views)

    first = Recipe(name, steps, learning_rate=3e-3, report_every=200)
    again = Recipe(f"{name}_again", AGAIN, learning_rate=2.5e-3, report_every=200, seed=1)
    for recipe in (first, again):
        fit(network, recipe, loss, lambda: evaluate(network, validation))
    return network


def dense_loss(maps: DenseMaps, views: Views) -> tuple[Tensor, dict[str, Tensor]]:
    """Names per cell, boxes inside the animals and the environment.

    Returns:
        The weighted sum and its parts.
    """
    target = maps.names.device
    share = functional.avg_pool2d(torch.from_numpy(views.masks).to(target).float(), _CELL)
    occupied, slot = share.max(1)
    names = torch.from_numpy(views.names).to(target)
    cell_names = names[:, :, None, None].expand_as(share).gather(1, slot[:, None])[:, 0]
    labels = torch.where(occupied > 0.5, cell_names + 1, 0)
    # Cells on the outline carry no clear label; the few object cells count four times.
    weight = ((occupied > 0.6) | (occupied < 0.1)).float() * torch.where(occupied > 0.5, 4.0, 1.0)
    cells = functional.cross_entropy(maps.names, labels, reduction="none")
    name_loss = (cells * weight).sum() / weight.sum()
    truth = torch.from_numpy(boxes(views.masks) / SIZE).to(target)
    truth = truth[torch.arange(len(truth), device=target)[:, None, None], slot]
    inside = occupied > 0.4
    predicted, wanted = maps.boxes.permute(0, 2, 3, 1)[inside], truth[inside]
    box_loss = (1.0 - box_iou(predicted, wanted)[1]).mean() + 2.0 * (
        predicted - wanted
    ).abs().mean()
    environments = torch.from_numpy(views.environments).to(target)
    environment_loss = functional.cross_entropy(maps.environments, environments)
    parts = {"names": name_loss, "boxes": box_loss, "environments": environment_loss}
    return name_loss + 0.5 * box_loss + 0.2 * environment_loss, {
        name: part.detach() for name, part in parts.items()
    }


def evaluate(network: nn.Module, pool: Pool, count: int = 384) -> dict[str, float]:
    """Name, environment and box IoU on full views, and name on quarters that show the animal."""
    rows = np.nonzero(pool.kind == 0)[0][:count]
    full, quarter = look(pool, rows, "full"), look(pool, rows, "top_left")
    target = next(network.parameters()).device
    result = dict[str, float]()
    for title, views in (("full", full), ("quarter", quarter)):
        shown = np.nonzero(views.visible[:, 0] >= 0.3)[0]
        maps = network(pixels(views.images[shown], target))
        front = 1.0 - maps.names.softmax(1)[:, 0]
        votes = (front[:, None] * maps.names[:, 1:].log_softmax(1)).sum((2, 3))
        names = torch.from_numpy(views.names[shown, 0]).to(target)
        result[f"{title}_name"] = (votes.argmax(1) == names).float().mean().item()
        weight = front.flatten(1) ** 3
        weight = weight / weight.sum(1, keepdim=True)
        box = (maps.boxes.flatten(2) * weight[:, None]).sum(2)
        truth = torch.from_numpy(boxes(views.masks[shown, 0]) / SIZE).to(target)
        result[f"{title}_box"] = box_iou(box, truth)[0].mean().item()
        places = torch.from_numpy(views.environments[shown]).to(target)
        right = maps.environments.argmax(1) == places
        result[f"{title}_environment"] = right.float().mean().item()
    return result
