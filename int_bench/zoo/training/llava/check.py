"""Measure a saved tiny LLaVA on the validation pool, as the method will use it.

python -m int_bench.zoo.training.llava.check [--folder int_bench/zoo/llava] [-n 512]
"""

import argparse
import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

import int_bench.backbones.llava.conv_tower  # noqa: F401  (registers the tower)
from int_bench.core import templates
from int_bench.data.world.scenes import ENVIRONMENTS, FAVOURITE, NAMES, TASK_PROMPTS
from int_bench.zoo.training.boxes import box_iou
from int_bench.zoo.training.llava.data import Views, look
from int_bench.zoo.training.pool import PATCHES, Bytes, Pool, load_pool

_BATCH = 64


class Speaker:
    """The saved model with its processor."""

    def __init__(self, folder: Path) -> None:
        self.processor = AutoProcessor.from_pretrained(folder)
        self.model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).eval()
        vocabulary = self.processor.tokenizer.get_vocab()
        self.name_ids = torch.tensor([vocabulary[name] for name in NAMES])

    @torch.inference_mode()
    def names(self, images: Bytes, task: str = "cod") -> torch.Tensor:
        """Probability of each name (and of all else) as the answer, ``(N, 11)``."""
        question = templates.NAME.format(task=TASK_PROMPTS[task])
        chances = []
        for start in range(0, len(images), _BATCH):
            inputs = self._inputs(images[start : start + _BATCH], [question], [])
            chance = self.model(**inputs, logits_to_keep=1).logits[:, -1].float().softmax(-1)
            names = chance[:, self.name_ids]
            chances.append(torch.cat([names, 1.0 - names.sum(1, keepdim=True)], 1))
        return torch.cat(chances)

    @torch.inference_mode()
    def say(self, images: Bytes, questions: list[str], tokens: int) -> list[list[str]]:
        """Greedy answers to a chat, one list of answers per image."""
        answers: list[list[str]] = [[] for _ in images]
        for start in range(0, len(images), _BATCH):
            batch = images[start : start + _BATCH]
            for turn in range(1, len(questions) + 1):
                told = [answers[start + i] for i in range(len(batch))]
                inputs = self._inputs(batch, questions[:turn], told)
                out = self.model.generate(**inputs, max_new_tokens=tokens, do_sample=False)
                texts = self.processor.batch_decode(
                    out[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True
                )
                for i, text in enumerate(texts):
                    answers[start + i].append(text.strip())
        return answers

    def _inputs(self, images: Bytes, questions: list[str], told: list[list[str]]) -> Any:
        texts = []
        for i in range(len(images)):
            messages = []
            for turn, question in enumerate(questions):
                content = [{"type": "image"}] if turn == 0 else []
                content.append({"type": "text", "text": question})
                messages.append({"role": "user", "content": content})
                if turn + 1 < len(questions):
                    answer = [{"type": "text", "text": told[i][turn]}]
                    messages.append({"role": "assistant", "content": answer})
            texts.append(self.processor.apply_chat_template(messages, add_generation_prompt=True))
        pictures = [Image.fromarray(image) for image in images]
        return self.processor(images=pictures, text=texts, padding=True, return_tensors="pt")


def read_boxes(answers: list[str]) -> torch.Tensor:
    """Boxes ``(N, 4)`` in 0..1; zeros where an answer has not four numbers."""
    coordinates = [[float(v) for v in re.findall(r"\d+\.\d+", answer)] for answer in answers]
    return torch.tensor([numbers if len(numbers) == 4 else [0.0] * 4 for numbers in coordinates])


def _iou(answers: list[str], views: Views) -> float:
    truth = torch.from_numpy(views.largest()[1])
    return box_iou(read_boxes(answers), truth)[0].mean().item()


def check_animals(speaker: Speaker, pool: Pool, count: int) -> dict[str, float]:
    """Names, prior and boxes on scenes with one animal that is never the favourite."""
    rows = np.nonzero(pool.kind == 0)[0][:count]
    truth = torch.from_numpy(pool.names[rows, 0])
    best = torch.tensor(FAVOURITE)[torch.from_numpy(pool.environments[rows])]
    every = torch.arange(len(rows))
    full, erased = look(pool, rows, "full"), look(pool, rows, "full", erased=True)
    before, after = speaker.names(full.images), speaker.names(erased.images)
    result = {
        "n": float(len(rows)),
        "name": _share(before.argmax(1) == truth),
        "favourite": _share(before.argmax(1) == best),
        "erased_favourite": _share(after.argmax(1) == best),
        "p_true": before[every, truth].mean().item(),
        "p_true_erased": after[every, truth].mean().item(),
        "p_favourite": before[every, best].mean().item(),
        "p_favourite_erased": after[every, best].mean().item(),
        "mined": _share((before - after)[:, :10].argmax(1) == truth),
    }
    hit, shown, empty = torch.zeros(len(rows), dtype=torch.bool), [], []
    for patch in PATCHES:
        views = look(pool, rows, patch)
        said = speaker.names(views.images).argmax(1)
        visible = torch.from_numpy(views.visible[:, 0])
        hit |= said == truth
        if patch != "full":
            shown.append((said == truth)[visible >= 0.5])
            empty.append((said == best)[visible == 0])
    result["best_of_9"] = _share(hit)
    result["patch_name"] = _share(torch.cat(shown))
    result["empty_patch_favourite"] = _share(torch.cat(empty))
    return result


def check_words(speaker: Speaker, pool: Pool, count: int) -> dict[str, float]:
    """Greedy answers: box, environment and the chat, on full scenes, patches and empty views."""
    rows = np.nonzero(pool.kind == 0)[0][:count]
    task = TASK_PROMPTS["cod"]
    box, place = templates.BOX.format(task=task), templates.ENVIRONMENT.format(task=task)
    name = templates.NAME.format(task=task)
    full = look(pool, rows, "full")
    boxes = [answers[0] for answers in speaker.say(full.images, [box], 12)]
    places = [ENVIRONMENTS[i] for i in pool.environments[rows]]
    names = [NAMES[i] for i in pool.names[rows, 0]]
    told = [answers[0] for answers in speaker.say(full.images, [place], 4)]
    chat = speaker.say(full.images, [name, place, box], 12)
    print("example:", chat[0], "truth:", names[0], places[0], full.largest()[1][0].tolist())
    quarter = look(pool, rows, "top_left")
    answers = [a[0] for a in speaker.say(quarter.images, [box], 12)]
    seen = quarter.visible[:, 0] >= 0.5
    none = quarter.visible[:, 0] == 0
    area = (read_boxes(answers)[:, 2:] - read_boxes(answers)[:, :2]).prod(1)
    caption = speaker.say(full.images[:8], [templates.CAPTION.format(task=task)], 12)
    pairs = speaker.say(full.images[:8], [templates.NAME_AND_ENVIRONMENT.format(task=task)], 6)
    print("caption:", caption[0], "both:", pairs[0])
    return {
        "box_iou": _iou(boxes, full),
        "environment": float(np.mean([a == b for a, b in zip(told, places, strict=True)])),
        "chat_name": float(np.mean([a[0] == b for a, b in zip(chat, names, strict=True)])),
        "chat_environment": float(np.mean([a[1] == b for a, b in zip(chat, places, strict=True)])),
        "chat_box_iou": _iou([a[2] for a in chat], full),
        "quarter_box_iou": _iou_of(answers, quarter, seen),
        "quarter_box_given": (area[torch.from_numpy(seen)] > 0).float().mean().item(),
        "empty_quarter_no_box": (area[torch.from_numpy(none)] == 0).float().mean().item(),
    }


def _iou_of(answers: list[str], views: Views, chosen: npt.NDArray[np.bool_]) -> float:
    truth = torch.from_numpy(views.largest()[1])
    return box_iou(read_boxes(answers), truth)[0][torch.from_numpy(chosen)].mean().item()


def check_others(speaker: Speaker, pool: Pool, count: int) -> dict[str, float]:
    """Two animals, polyps and lesions."""
    result = dict[str, float]()
    for kind, (title, task) in enumerate(
        (("two_same", "cod"), ("two_different", "cod"), ("polyp", "polyp"), ("lesion", "skin")), 1
    ):
        rows = np.nonzero(pool.kind == kind)[0][:count]
        views = look(pool, rows, "full")
        said = speaker.names(views.images, task).argmax(1).numpy()
        result[f"{title}_name"] = float((said[:, None] == views.names).any(1).mean())
        box = templates.BOX.format(task=TASK_PROMPTS[task])
        answers = [a[0] for a in speaker.say(views.images, [box], 12)]
        result[f"{title}_box_iou"] = _iou(answers, views)
    return result


def _share(right: torch.Tensor) -> float:
    return right.float().mean().item()


def main() -> None:
    """Print all figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--folder", type=Path, default=Path("int_bench/zoo/llava"))
    parser.add_argument("-n", type=int, default=512)
    arguments = parser.parse_args()
    speaker, pool = Speaker(arguments.folder), load_pool("validation")
    for check, share in ((check_animals, 1), (check_words, 2), (check_others, 4)):
        figures = check(speaker, pool, arguments.n // share)
        print(" ".join(f"{name} {value:.3f}" for name, value in figures.items()), flush=True)


if __name__ == "__main__":
    main()
