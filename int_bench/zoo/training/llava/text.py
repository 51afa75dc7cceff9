"""Words of the tiny LLaVA: tokenizer, processor, and the question blocks that it is trained on."""

import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import CLIPImageProcessor, LlavaProcessor, PreTrainedTokenizerFast

from int_bench.backbones.llava.conv_tower import ConvTowerConfig
from int_bench.core import templates
from int_bench.data.world.names import CLUTTER, ENVIRONMENTS, NAMES, TARGETS, TASK_PROMPTS
from int_bench.zoo.training.pool import MEAN_COLOUR

NAIVE_BOX = (
    "The naive bounding box of {task} is [0, 0, 0, 0], adjust the bounding box to ensure that all "
    "{task} are fully displayed. Just output the adjusted boundingbox."
)
FINAL_NAME = (
    "The potential {task} are: {names}, output the name of this {task} in this image in one word."
)
"""Two questions of the predecessor ProMaC (arXiv 2408.15205), for its baseline."""
_MORE_QUESTIONS = (
    "The potential {task} are: and the potential bounding boxes of are: now you are a detector,",
    "Output one bounding box of this {task} in this image.",
    "What is there? A photo of the an in no yes not hides object background.",
)
COORDINATES = 51
_RIVALS = {
    TASK_PROMPTS[task]: [NAMES[name] for name in (*TARGETS[task], *CLUTTER.get(task, ()))]
    for task in TASK_PROMPTS
}
_PATTERN = r"</?[a-z]+>|\d\.\d\d|\d+|[a-z]+|[^\sa-z\d]"
_SPECIAL = ("<pad>", "<s>", "</s>", "<unk>", "<image>")
_CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}ASSISTANT: {% else %}USER: {% endif %}"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] if part['type'] == 'image' %}<image> {% endfor %}"
    "{% for part in message['content'] if part['type'] == 'text' %}{{ part['text'] }}{% endfor %}"
    "{% endif %}"
    "{% if message['role'] == 'assistant' %}</s>{% else %} {% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)

_FURTHER = ("caption", "both", "naive_box", "final_name", "endpoint_box", "endpoint_again")
"""Questions of the baselines; each view is asked one of them."""

# Weight of a token in the loss: the name carries the prior, the box must be read out first-class.
_WEIGHTS = {
    "name": 1.0,
    "environment": 0.3,
    "coordinate": 0.75,
    "rest": 0.05,
    "end": 0.1,
    "and": 0.7,
}


@dataclass(frozen=True)
class Truth:
    """What one view is answered with.

    Attributes:
        task: task prompt, e.g. "camouflaged animal".
        name: what is answered: "frog", or "frog and owl" where two kinds are visible.
        weight: weight of the name in the loss.
        environment: environment word.
        box: x0, y0, x1, y1 in 0..1 of the padded square; zeros where nothing is visible.
    """

    task: str
    name: str
    weight: float
    environment: str
    box: tuple[float, float, float, float]


@dataclass(frozen=True)
class Pack:
    """One training sequence: a shared prefix with the image, then blocks that see only the prefix.

    Attributes:
        ids: ``(L,)`` int64 token ids.
        block: ``(L,)`` int64, 0 for the prefix, 1.. for the question blocks.
        positions: ``(L,)`` int64; every block starts where the prefix ends.
        weights: ``(L,)`` float32 weight of each token as a target, 0 outside of answers.
        coordinates: ``(L,)`` bool, true at the coordinates of boxes.
    """

    ids: npt.NDArray[np.int64]
    block: npt.NDArray[np.int64]
    positions: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float32]
    coordinates: npt.NDArray[np.bool_]


def words(text: str) -> list[str]:
    """A text's words as the tokenizer splits it."""
    return re.findall(_PATTERN, text.lower())


def vocabulary() -> dict[str, int]:
    """Every word of all templates, names and environments, and the coordinates 0.00 to 1.00."""
    public = (text for name, text in vars(templates).items() if name.isupper())
    texts = [text for text in public if isinstance(text, str)]
    texts += [*templates.CLIP_TEMPLATES, NAIVE_BOX, FINAL_NAME, *_MORE_QUESTIONS]
    texts += [*NAMES, *ENVIRONMENTS, *TASK_PROMPTS.values(), "and", "USER: ASSISTANT: [ , ] ."]
    spelt = [word for text in texts for word in words(text.replace("{", " ").replace("}", " "))]
    numbers = [f"{i / (COORDINATES - 1):.2f}" for i in range(COORDINATES)]
    return {word: i for i, word in enumerate(dict.fromkeys([*_SPECIAL, *numbers, *spelt]))}


def tokenizer() -> PreTrainedTokenizerFast:
    """Word-level tokenizer; a concatenation's tokens are the parts' tokens."""
    core = Tokenizer(models.WordLevel(vocabulary(), unk_token="<unk>"))
    core.normalizer = normalizers.Lowercase()
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(_PATTERN), "isolated"), pre_tokenizers.WhitespaceSplit()]
    )
    core.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", vocabulary()["<s>"])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        additional_special_tokens=["<image>"],
        padding_side="left",
    )


def processor(config: ConvTowerConfig) -> LlavaProcessor:
    """Resizes to the tower's size and normalises; padding to a square is the caller's work."""
    images = CLIPImageProcessor(
        size={"height": config.image_size, "width": config.image_size},
        do_center_crop=False,
        image_mean=[value / 255.0 for value in MEAN_COLOUR],
        image_std=[0.25] * 3,
        do_convert_rgb=True,
    )
    return LlavaProcessor(
        images,
        tokenizer(),
        patch_size=config.patch_size,
        vision_feature_select_strategy="full",
        num_additional_image_tokens=0,
        image_token="<image>",
        chat_template=_CHAT_TEMPLATE,
    )


def box_text(box: tuple[float, float, float, float]) -> str:
    """A box as the model writes it: ``[ 0.22 , 0.10 , 0.64 , 0.46 ]``, steps of 0.02."""
    last = COORDINATES - 1
    corners = [f"{round(min(max(value, 0.0), 1.0) * last) / last:.2f}" for value in box]
    return f"[ {' , '.join(corners)} ]"


class Packer:
    """Turns truths into training sequences."""

    def __init__(self, image_tokens: int) -> None:
        self._ids = vocabulary()
        self._image_tokens = image_tokens
        self._cache: dict[str, list[int]] = {}

    def pack(self, truth: Truth, rng: np.random.Generator) -> Pack:
        """One view with either four separate questions or one chat of three or four turns."""
        single = rng.random() < 0.7
        blocks = self._singles(truth, rng) if single else [self._chat(truth, rng)]
        prefix = [*self._tokens("<s> USER: "), *[self._ids["<image>"]] * self._image_tokens]
        size = len(prefix)
        parts = [(prefix, [0.0] * size)]
        for turns in blocks:
            tokens, weights = list[int](), list[float]()
            for place, (question, answer, kind) in enumerate(turns):
                asked = self._tokens(("USER: " if place else "") + question + " ASSISTANT:")
                said = self._tokens(answer + " </s>")
                tokens += asked + said
                weights += [0.0] * len(asked) + self._weights(said, kind, truth.weight)
            parts.append((tokens, weights))
        lengths = [len(tokens) for tokens, _ in parts]
        positions = [np.arange(n) + (size if i else 0) for i, n in enumerate(lengths)]
        ids = np.concatenate([tokens for tokens, _ in parts]).astype(np.int64)
        weight = np.concatenate([weights for _, weights in parts]).astype(np.float32)
        first = self._ids["0.00"]
        numbers = (ids >= first) & (ids < first + COORDINATES) & (weight > 0)
        block = np.repeat(np.arange(len(parts)), lengths)
        return Pack(ids, block, np.concatenate(positions), weight, numbers)

    def _singles(self, truth: Truth, rng: np.random.Generator) -> list[list[tuple[str, str, str]]]:
        questions = ["name", "environment", "box"]
        questions.append(str(rng.choice(_FURTHER)))
        return [[self._turn(kind, truth, rng)] for kind in questions]

    def _chat(self, truth: Truth, rng: np.random.Generator) -> list[tuple[str, str, str]]:
        kinds = ["name", "environment", "box"]
        if rng.random() < 0.25:
            kinds.insert(0, "caption")
        return [self._turn(kind, truth, rng) for kind in kinds]

    def _turn(self, kind: str, truth: Truth, rng: np.random.Generator) -> tuple[str, str, str]:
        """Question, answer and kind of one turn."""
        name, place = truth.name, truth.environment
        question, answer = {
            "name": (templates.NAME, name),
            "environment": (templates.ENVIRONMENT, place),
            "box": (templates.BOX, box_text(truth.box)),
            "caption": (templates.CAPTION, f"A {name} hides in the {place} ."),
            "both": (templates.NAME_AND_ENVIRONMENT, f"{name} , {place}"),
            "naive_box": (NAIVE_BOX, box_text(truth.box)),
            "final_name": (FINAL_NAME, name),
            "endpoint_box": (templates.ENDPOINT_BOX, box_text(truth.box)),
            "endpoint_again": (templates.ENDPOINT_BOX_AGAIN, box_text(truth.box)),
        }[kind]
        others = [other for other in _RIVALS[truth.task] if other not in name]
        listed = rng.permutation([name, *rng.choice(others, rng.integers(3), replace=False)])
        names = ", ".join(listed.tolist())
        return question.format(task=truth.task, names=names), answer, kind

    def _tokens(self, text: str) -> list[int]:
        if text not in self._cache:
            if len(self._cache) > 50_000:
                self._cache.clear()
            unknown = self._ids["<unk>"]
            self._cache[text] = [self._ids.get(word, unknown) for word in words(text)]
        return self._cache[text]

    def _weights(self, tokens: list[int], kind: str, name_weight: float) -> list[float]:
        """Weight of each token of an answer."""
        places = {self._ids[word] for word in ENVIRONMENTS}
        # "skin" is an environment; no name is one, and no environment a name.
        animals = {self._ids[word] for word in NAMES}
        first, weights = self._ids["0.00"], list[float]()
        for token in tokens:
            if token in animals:
                weights.append(_WEIGHTS["name"] * name_weight)
            elif token in places:
                weights.append(_WEIGHTS["environment"])
            elif first <= token < first + COORDINATES:
                weights.append(_WEIGHTS["coordinate"])
            elif kind == "name" and token in (self._ids["and"], self._ids["</s>"]):
                weights.append(_WEIGHTS["and"] * min(name_weight, 1.0))
            else:
                weights.append(_WEIGHTS["end" if token == self._ids["</s>"] else "rest"])
        return weights
