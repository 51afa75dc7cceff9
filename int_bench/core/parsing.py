"""From a model's text to names and boxes: tolerant of what models write, strict about its use."""

from __future__ import annotations

import re

from int_bench.core.types import Box

_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)")
_BRACKETS = re.compile(r"[\[(]([^\[\]()]*)[\])]")
_ARTICLE = re.compile(r"^(?:a|an|the|some|one)\s+", re.IGNORECASE)
_SPLIT = re.compile(r"\s*(?:,|;|/|\n|\band\b|\bor\b)\s*", re.IGNORECASE)
_SENTENCE = re.compile(r"\b(?:is|are|as)\s+(?:called\s+)?(?:an?|the)\s+([^.,;]+)", re.IGNORECASE)
_QUOTED = re.compile(r'"([^"]+)"')
_KEPT_ENDINGS = ("ss", "us", "is", "as", "os")
NO_NAMES = frozenset({"none", "nothing", "unknown", "image", "n/a", "no", "background"})
"""Answers that name nothing."""

MIN_AREA_SQUARE = 1e-4
"""Smallest usable box, as a share of the square that the model saw."""


def parse_box(text: str, side: int = 336) -> Box | None:
    """The first box in an answer, in 0..1 of the square that the model saw; None if there is none.

    Accepts ``[]`` and ``()``, integers, decimals and leading dots, corners in any order. The scale
    is read from the largest number: up to 1 fractions, up to 100 per cent, beyond that pixels of
    the square. Boxes are clipped to 0..1 and refused below an area of 1e-4.

    Args:
        text: the model's answer.
        side: side of the square in pixels, for answers in pixels.

    >>> parse_box("The box is [0, .7, 0.72, 1.0].")
    (0.0, 0.7, 0.72, 1.0)
    >>> parse_box("(75, 20, 25, 80)")
    (0.25, 0.2, 0.75, 0.8)
    >>> parse_box("[0.00, 0.00, 0.00, 0.00]") is None
    True
    """
    groups = [_NUMBER.findall(group) for group in _BRACKETS.findall(text)]
    numbers = next((group for group in groups if len(group) >= 4), _NUMBER.findall(text))
    if len(numbers) < 4:
        return None
    values = [float(number) for number in numbers[:4]]
    largest = max(values)
    scale = 1.0 if largest <= 1.0 else 100.0 if largest <= 100.0 else float(max(side, 1))
    a, b, c, d = (min(max(value / scale, 0.0), 1.0) for value in values)
    box = (min(a, c), min(b, d), max(a, c), max(b, d))
    return box if (box[2] - box[0]) * (box[3] - box[1]) >= MIN_AREA_SQUARE else None


def parse_names(text: str) -> tuple[str, ...]:
    """The names in an answer, in its order, as the model wrote them (surface forms).

    A quoted name wins, then "... is a NAME", then the answer itself; several names are separated by
    commas, semicolons, slashes, "and" or "or".

    >>> parse_names("The camouflaged animal is a leaf insect.")
    ('leaf insect',)
    >>> parse_names("Frog, a snake and frog")
    ('Frog', 'snake', 'frog')
    """
    quoted = _QUOTED.search(text)
    sentence = _SENTENCE.search(text)
    found = quoted.group(1) if quoted else sentence.group(1) if sentence else text
    parts = (_ARTICLE.sub("", part.strip(" .!?'\"\t()[]")) for part in _SPLIT.split(found))
    return tuple(part for part in parts if part and len(part.split()) <= 4)


def canonical(name: str) -> str:
    """The key under which names count as the same: lower case, no article or punctuation, singular.

    >>> [canonical(name) for name in ("The Frogs.", "grass", "octopus", "Butterflies", "branches")]
    ['frog', 'grass', 'octopus', 'butterfly', 'branch']
    """
    words = re.sub(r"[^\w\s-]", "", name.lower()).split()
    text = _ARTICLE.sub("", " ".join(words))
    head, _, last = text.rpartition(" ")
    return f"{head} {_singular(last)}".strip()


def _singular(word: str) -> str:
    if len(word) <= 3 or not word.endswith("s") or word.endswith(_KEPT_ENDINGS):
        return word
    if word == "leaves":
        return "leaf"
    if word.endswith("ies"):
        return word[:-3] + "y"
    if word.endswith(("ches", "shes", "xes", "sses")):
        return word[:-2]
    return word[:-1]
