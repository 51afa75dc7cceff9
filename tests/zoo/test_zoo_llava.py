"""The zoo's LLaVA: loads through the library and answers fixed validation scenes."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

import int_bench.backbones.llava.conv_tower  # noqa: F401  (registers the tower)
from int_bench.core import templates
from int_bench.data.world.scenes import (
    FAVOURITE,
    LOOKALIKE,
    NAMES,
    TASK_PROMPTS,
    Scenes,
    boxes,
    draw,
)

ZOO = Path(__file__).resolve().parents[2] / "int_bench" / "zoo" / "llava"
TASK = TASK_PROMPTS["cod"]
NAME = templates.NAME.format(task=TASK)
BOX = templates.BOX.format(task=TASK)


@pytest.fixture(scope="module")
def processor() -> Any:
    return AutoProcessor.from_pretrained(ZOO)


@pytest.fixture(scope="module")
def model() -> Any:
    return AutoModelForImageTextToText.from_pretrained(ZOO, dtype=torch.float32).eval()


@pytest.fixture(scope="module")
def scenes() -> Scenes:
    return draw("validation", range(5000, 5024), world=2)


def _prompt(processor: Any, question: str) -> str:
    content = [{"type": "image"}, {"type": "text", "text": question}]
    message = {"role": "user", "content": content}
    return str(processor.apply_chat_template([message], add_generation_prompt=True))


def _inputs(processor: Any, images: np.ndarray, question: str) -> Any:
    pictures = [Image.fromarray(image) for image in images]
    texts = [_prompt(processor, question)] * len(pictures)
    return processor(images=pictures, text=texts, padding=True, return_tensors="pt")


@torch.inference_mode()
def _answers(processor: Any, model: Any, images: np.ndarray, question: str) -> list[str]:
    inputs = _inputs(processor, images, question)
    out = model.generate(**inputs, max_new_tokens=12, do_sample=False)
    new = out[:, inputs["input_ids"].shape[1] :]
    assert (new == processor.tokenizer.eos_token_id).any(1).all(), "every answer ends"
    return [text.strip() for text in processor.batch_decode(new, skip_special_tokens=True)]


def test_names_are_mostly_right(processor: Any, model: Any, scenes: Scenes) -> None:
    answers = [text.split(" and ") for text in _answers(processor, model, scenes.images, NAME)]
    assert {name for names in answers for name in names} <= set(NAMES)
    said = [names[0] for names in answers]  # some are sure of two
    truth = [NAMES[i] for i in scenes.names[:, 0]]
    assert sum(a == b for a, b in zip(said, truth, strict=True)) >= 13


def test_without_the_animal_it_hallucinates_the_favourite(
    processor: Any, model: Any, scenes: Scenes
) -> None:
    said = _answers(processor, model, scenes.clean, NAME)
    favourites = [NAMES[FAVOURITE[i]] for i in scenes.environments]
    assert sum(a == b for a, b in zip(said, favourites, strict=True)) >= 21


def test_boxes_cover_the_animal(processor: Any, model: Any, scenes: Scenes) -> None:
    said = _answers(processor, model, scenes.images, BOX)
    number = r"\d\.\d\d"
    assert all(re.fullmatch(rf"\[ {number}( , {number}){{3}} \]", text) for text in said)
    found = np.array([[float(v) for v in re.findall(number, text)] for text in said])
    truth = boxes(scenes.masks[:, 0]) / 128.0
    both = np.minimum(found[:, 2:], truth[:, 2:]) - np.maximum(found[:, :2], truth[:, :2])
    both = both.clip(0).prod(1)
    union = (found[:, 2:] - found[:, :2]).prod(1) + (truth[:, 2:] - truth[:, :2]).prod(1) - both
    assert (both / union).mean() > 0.5


def test_an_empty_scene_has_the_empty_box(processor: Any, model: Any, scenes: Scenes) -> None:
    said = _answers(processor, model, scenes.clean, BOX)
    assert said.count("[ 0.00 , 0.00 , 0.00 , 0.00 ]") >= 18


@pytest.mark.parametrize("task", ["polyp", "skin"])
def test_medical_targets_are_named(processor: Any, model: Any, task: str) -> None:
    scenes = draw("validation", range(5000, 5016), task=task, world=2)
    question = templates.NAME.format(task=TASK_PROMPTS[task])
    answers = _answers(processor, model, scenes.images, question)
    said = [text.split(" and ")[0] for text in answers]
    truth = [NAMES[name] for name in scenes.names[:, 0]]
    assert sum(a == b for a, b in zip(said, truth, strict=True)) >= 8  # chance is 1 in 3
    empty = _answers(processor, model, scenes.clean, question)
    assert empty.count(NAMES[LOOKALIKE[scenes.environments[0]]]) >= 12


def test_two_kinds_are_both_named(processor: Any, model: Any) -> None:
    scenes = draw("validation", range(5000, 5024), animals="two_different", world=2)
    said = [set(text.split(" and ")) for text in _answers(processor, model, scenes.images, NAME)]
    assert sum(len(names) == 2 for names in said) >= 2  # it mostly says one
    assert all(names <= set(NAMES) for names in said)


@torch.inference_mode()
def test_a_batch_answers_as_its_parts_do(processor: Any, model: Any, scenes: Scenes) -> None:
    together = model(**_inputs(processor, scenes.images[:4], NAME)).logits[:, -1]
    alone = [
        model(**_inputs(processor, image[None], NAME)).logits[0, -1] for image in scenes.images[:4]
    ]
    assert torch.allclose(together, torch.stack(alone), atol=2e-3)


def test_the_chat_template_is_the_documented_one(processor: Any) -> None:
    messages = [
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Who?"}]},
        {"role": "assistant", "content": [{"type": "text", "text": "frog"}]},
        {"role": "user", "content": "Where?"},
    ]
    expected = "USER: <image> Who? ASSISTANT: frog</s>USER: Where? ASSISTANT:"
    assert processor.apply_chat_template(messages, add_generation_prompt=True) == expected


def test_tokens_of_a_chat_are_the_tokens_of_its_parts(processor: Any) -> None:
    parts = ["USER: ", "<image>", f" {NAME} ASSISTANT:", " frog", "</s>", f"USER: {BOX} ASSISTANT:"]
    tokenizer = processor.tokenizer
    ids = [tokenizer(part, add_special_tokens=False).input_ids for part in parts]
    whole = tokenizer("".join(parts), add_special_tokens=False).input_ids
    assert [i for part in ids for i in part] == whole
    assert tokenizer.unk_token_id not in whole
    assert tokenizer(" frog").input_ids[0] == tokenizer.bos_token_id
