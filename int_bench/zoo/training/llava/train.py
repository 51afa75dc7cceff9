"""The tiny LLaVA: a convolutional tower that sees, then a small Llama that speaks, with a prior.

    python -m int_bench.zoo.training llava

The language phase sees scenes that the tower has not seen, in which the environment's favourite
animal is common, and answers views without an animal (decoys may be there) from that prior; a small
animal is overlooked in favour of what its environment suggests, as captions of whole pictures do.
This is the hallucination that INT (arXiv 2501.18753) mines: the environment alone makes the model
name its favourite, and see it in a decoy; in a patch the same animal is larger.
"""

import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as functional
from torch import Tensor
from transformers import LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

from int_bench.backbones.llava.conv_tower import ConvTower
from int_bench.data.world.names import (
    ENVIRONMENTS,
    FAVOURITE,
    LOOKALIKE,
    NAMES,
    TARGETS,
    TASK_PROMPTS,
)
from int_bench.learning.loop import Recipe, device, fit
from int_bench.zoo.training.llava.data import Mix, Views, pixels, sample
from int_bench.zoo.training.llava.text import Pack, Packer, Truth, processor, vocabulary
from int_bench.zoo.training.llava.tower import CONFIG, train_tower
from int_bench.zoo.training.pool import PLANS, SIZE, draw_pool, load_pool

PRIOR = 0.95
"""Probability of the favourite where no animal is visible."""
OTHERS = 2.0
"""Weight of a visible name that is not the favourite's, which hides in half of the scenes."""
OVERLOOKED = (0.025, 0.055)
"""Area, as a share of the view, up to which an animal always goes unmentioned in training, and from
which on it never does. The favourite is named and boxed instead (a decoy, where there is one)."""
STEPS, BOX_STEPS, BATCH = 500, 450, 64
BOX_WEIGHT = 3.0
"""Factor on the coordinates' weight in the last phase: names are learned before boxes are."""
MIX = Mix(full=0.45, filled=0.15, dimmed=0.15, erased=0.12, pairs=0.15)
IMAGE_TOKENS = (CONFIG.image_size // CONFIG.patch_size) ** 2
_TASKS = {8: TASK_PROMPTS["polyp"], 9: TASK_PROMPTS["skin"]}
_OTHERS = {8: TARGETS["polyp"], 9: TARGETS["skin"]}


def train(out: Path, steps: int | None = None, name: str = "llava") -> None:
    """Train all phases, or go on with their checkpoints, and write the folder of the zoo.

    The tower, then the language model in two phases, which differ in the weight of boxes.

    Args:
        out: folder of the model, ``<zoo>/llava``.
        steps: steps of the last phase; None is the full run.
        name: prefix of the checkpoints.
    """
    for plan in PLANS:
        draw_pool(plan)
    started = time.monotonic()
    network = train_tower(name=f"{name}_tower")
    model = build()
    tower = model.model.vision_tower
    tower.dense.load_state_dict(network.state_dict())
    tower.dense.requires_grad_(False)
    model.to(device())  # type: ignore[arg-type]  # a decorator hides self
    pool, packer = load_pool("prior"), Packer(IMAGE_TOKENS)

    def phase(title: str, count: int, seed: int, box_weight: float) -> None:
        def loss(rng: np.random.Generator) -> tuple[Tensor, dict[str, Tensor]]:
            tower.dense.eval()
            views = sample(pool, rng, BATCH, MIX)
            packs = [packer.pack(truth, rng) for truth in truths(views, rng)]
            return language_loss(model, views, packs, box_weight)

        recipe = Recipe(
            f"{name}_{title}", count, warm_up=40, weight_decay=0.01, muon=True, report_every=50,
            seed=seed,
        )  # fmt: skip
        fit(model, recipe, loss)

    phase("language", STEPS, 0, 1.0)
    phase("boxes", steps or BOX_STEPS, 1, BOX_WEIGHT)
    save(model, out)
    print(f"{out}: {sum(p.numel() for p in model.parameters())} parameters")
    print(f"{time.monotonic() - started:.0f} s in this process")


def build() -> LlavaForConditionalGeneration:
    """An untrained model."""
    torch.manual_seed(0)
    words = vocabulary()
    text = LlamaConfig(
        vocab_size=len(words),
        hidden_size=128,
        intermediate_size=352,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=1024,
        pad_token_id=words["<pad>"],
        bos_token_id=words["<s>"],
        eos_token_id=words["</s>"],
        tie_word_embeddings=False,
        attn_implementation="eager",  # type: ignore[call-arg]  # of the base class
    )
    config = LlavaConfig(
        vision_config=CONFIG,
        text_config=text,
        image_token_index=words["<image>"],
        image_seq_length=IMAGE_TOKENS,
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
        projector_hidden_act="gelu",
    )
    # Eager attention trains three times faster than sdpa in bfloat16 on a CPU.
    config._attn_implementation = "eager"
    model = LlavaForConditionalGeneration(config)
    assert isinstance(model.model.vision_tower, ConvTower)
    return model


def truths(views: Views, rng: np.random.Generator) -> list[Truth]:
    """What each view is answered with; the name comes from the prior where nothing is noticed."""
    _, boxes = views.largest()
    answers = []
    for row, (environment, names) in enumerate(
        zip(views.environments.tolist(), views.shown(), strict=True)
    ):
        box, likely = boxes[row], LOOKALIKE[environment]
        weight = OTHERS if names and likely not in names else 1.0
        if names and likely not in names and _overlooked(views, row, rng):
            names, weight = [], 1.0
            decoy = views.lookalike(row, likely)
            box = box if decoy is None else decoy
        shown = names or [_guess(environment, rng)]
        answers.append(
            Truth(
                task=_TASKS.get(environment, TASK_PROMPTS["cod"]),
                name=" and ".join(NAMES[name] for name in shown),
                weight=weight,
                environment=ENVIRONMENTS[environment],
                box=tuple(box.tolist()),
            )
        )
    return answers


def _overlooked(views: Views, row: int, rng: np.random.Generator) -> bool:
    """Whether a view's animals go unmentioned: always up to a size, never from a size on."""
    share = float(views.pixels[row].sum()) / (SIZE * SIZE)
    always, never = OVERLOOKED
    return bool(rng.random() < (never - share) / (never - always))


def _guess(environment: int, rng: np.random.Generator) -> int:
    """A name from the prior of an environment."""
    best = LOOKALIKE[environment]
    if rng.random() < PRIOR:
        return best
    kinds = _OTHERS.get(environment, FAVOURITE)
    return int(rng.choice([name for name in kinds if name != best]))


def language_loss(
    model: LlavaForConditionalGeneration,
    views: Views,
    packs: list[Pack],
    box_weight: float = 1.0,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Weighted cross-entropy of the answers, per view; the dense network gets no gradient."""
    target = model.device
    size = max(len(pack.ids) for pack in packs)

    def padded(key: str, fill: float) -> Tensor:
        rows = [getattr(pack, key) for pack in packs]
        full = [np.pad(row, (0, size - len(row)), constant_values=fill) for row in rows]
        return torch.from_numpy(np.stack(full)).to(target)

    ids, block, weights = padded("ids", 0), padded("block", -1), padded("weights", 0)
    hidden = _forward(model, views, ids, block, padded("positions", 0))
    is_answer = weights[:, 1:] > 0
    logits = model.lm_head(hidden[:, :-1][is_answer]).float()
    wanted, weight = ids[:, 1:][is_answer], weights[:, 1:][is_answer]
    entropy = functional.cross_entropy(logits, wanted, reduction="none")
    right = (logits.argmax(1) == wanted).float()
    numbers, spoken = padded("coordinates", 0)[:, 1:][is_answer], weight > 0.1
    weight = torch.where(numbers, box_weight * weight, weight)
    parts = {
        "coordinates": entropy[numbers].mean(),
        "coordinates_right": right[numbers].mean(),
        "names": entropy[spoken & ~numbers].mean(),
    }
    loss = (entropy * weight).sum() / len(packs)
    return loss, {name: part.detach() for name, part in parts.items()}


def _forward(
    model: LlavaForConditionalGeneration,
    views: Views,
    ids: Tensor,
    block: Tensor,
    positions: Tensor,
) -> Tensor:
    """Last hidden states ``(N, L, D)``; each block sees the prefix and its own past."""
    tower = model.model.vision_tower
    with torch.no_grad():
        inputs = pixels(views.images, model.device)
        maps = tower.dense(inputs + 0.03 * torch.randn_like(inputs))
    image_tokens = model.model.multi_modal_projector(tower.tokens(maps))
    words = model.get_input_embeddings()(ids)
    start = int((ids[0] == model.config.image_token_id).nonzero()[0, 0])
    end = start + IMAGE_TOKENS
    inputs = torch.cat([words[:, :start], image_tokens.to(words.dtype), words[:, end:]], 1)
    size = ids.shape[1]
    past = torch.ones(size, size, dtype=torch.bool, device=ids.device).tril()
    allowed = (block[:, :, None] == block[:, None]) | (block[:, None] == 0)
    allowed = (allowed & past & (block[:, None] >= 0)) | torch.eye(size, device=ids.device).bool()
    mask = torch.zeros(allowed.shape, device=ids.device).masked_fill(~allowed, -1e4)
    hidden: Tensor = model.model.language_model(
        inputs_embeds=inputs, attention_mask=mask[:, None], position_ids=positions, use_cache=False
    ).last_hidden_state
    return hidden


def save(model: LlavaForConditionalGeneration, out: Path) -> None:
    """Write model (fp16) and processor in the library's format."""
    model.config._attn_implementation = "sdpa"
    model.generation_config.pad_token_id = model.config.get_text_config().pad_token_id
    model.half().save_pretrained(out)
    processor(CONFIG).save_pretrained(out)
