"""From a model's text to names and boxes: tolerant of what models write, strict about its use.

A name is kept as the model wrote it, because its probability as an answer is scored later; only
what is around it is taken off. Two names count as the same if their :func:`canonical` keys agree.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Iterator

from int_bench.core.types import Box

_DIGITS = r"[-+]?(?:\d++(?:\.\d*+)?+|\.\d++)(?:e[-+]?\d++)?+"
_NUMBER = re.compile(rf"(?<![\w.]){_DIGITS}(?!\.?(?!px\b)\w)", re.IGNORECASE)
"""A number that stands alone: not the one in "x0", nor any in the version "0.1.2"."""
_BARE_NUMBER = re.compile(rf"{_DIGITS}|[-+]?0x[\da-f]+", re.IGNORECASE)
_BRACKETS = re.compile(r"[\[(]([^\[\]()]*)[\])]")
_THOUSANDTHS = ("<box>", "<|box_start|>")
"""Marks of models (InternVL, Qwen-VL) whose boxes are in thousandths of the square."""

_NOTHING = """
none nothing nobody unanswerable unknown unidentified unclear undefined uncertain null nil na no not
nan inf infinity yes image picture photo photograph background sorry ninguno ninguna nada aucun
aucune rien keine keiner nichts nessuno nenhum нет ничего 无 没有 なし 없음
"""
NO_NAMES = frozenset(_NOTHING.split()) | {"n/a", "not applicable", "not available"}
"""Answers that name nothing."""
_DESCRIBING = """
black white brown green red blue yellow orange grey gray pink purple golden silver tan beige cream
dark light pale bright dull colorful colourful small large big tiny little long short slender young
old adult baby juvenile male female spotted striped mottled banded speckled patterned textured furry
hairy fuzzy smooth rough flat round raised wet dry dead rocky sandy grassy muddy leafy mossy wooded
dense shallow deep warm cold
"""
_MODIFIERS = frozenset(_DESCRIBING.split())
"""Words that describe a name and are none: "black and white snake" is one name."""
_LABELS = (
    "label|name|names|animal|object|class|category|answer|species|common name|environment|habitat"
)

_CONTROL = re.compile(
    r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"
    r"|\x1b?[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]"
)
"""What terminals take for commands: escape sequences (ECMA-48), and control characters."""
_THOUGHT = re.compile(r"<think>.*?(?:</think>|$)", re.DOTALL | re.IGNORECASE)
_ANSWER = re.compile(
    r"<answer>(.*?)(?:</answer>|$)|\\boxed\{(?:\\text\{)?([^{}]+)\}", re.DOTALL | re.IGNORECASE
)
_FIELD = re.compile(rf"""["']({_LABELS})["']\s*:\s*["']([^"'\n]+)["']""", re.IGNORECASE)
_EMPTY = re.compile(
    rf"""["'](?:{_LABELS})["']\s*:\s*(?:["']\s*["']|null|\[\s*\])|\\boxed\{{\s*\}}|\[/?INST\]|```(?:json)?""",
    re.IGNORECASE,
)
"""Frames of answers with nothing in them."""
_COORDINATES = re.compile(r"<box>.*?(?:</box>|$)|[\[(][\s\d.,%-]+[\])]", re.DOTALL)
_TAG = re.compile(r"<\|im_start\|>\w*|<\|[^<>|]*\|>|</?[a-z_]+\d*(?:\s[^<>]*)?>", re.IGNORECASE)
_BOLD = re.compile(r"(\*\*|__|\*|`)(?!\s)([^*_`\n]+?)(?<!\s)\1")
_BULLET = re.compile(r"(?:^\s*|\n\s*)(?:[-*•#>]+|\(?\d+[.)])\s+|\s\(?\d+[.)]\s+")
_LABEL = re.compile(r"^[^:\n\"]{1,60}[:：]\s*(?=\S)")
_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[\"'(\[]?[^\W\da-z_])|[。！？]|\n+")
_CLAUSE = re.compile(
    r"[,;]?\s+(?:but|however|although|though|rather|instead)\b,?\s*", re.IGNORECASE
)
_NEGATION = re.compile(
    r"\b(?:no|not|cannot|unable|without|neither|never|nor|isn'?t|aren'?t|doesn'?t|don'?t|can'?t|"
    r"couldn'?t|wasn'?t|sorry|unclear|(?:impossible|difficult|hard)\s+to)\b(?!-)",
    re.IGNORECASE,
)
_REMARK = re.compile(r"\b(?:with|without|that|which|who|whose|where)\b", re.IGNORECASE)
_DENIED = re.compile(r"^(?:no|not|never|none|neither|nor)\b(?!-)", re.IGNORECASE)
_HEDGE = (
    r"(?:(?:most |very |more )?(?:likely|probably|possibly|perhaps|actually|indeed|clearly)\s+)"
)
_KIND = (
    r"(?:(?:type|kind|species|sort|form|total|example|pair|group|couple|school|number)s?\s+of\s+)"
)
_SAYS = re.compile(
    rf"\b(?:is|are|was|be|looks?\s+like|resembles?|(?:appears?|seems?|likely)\s+to\s+be)\s+"
    rf"(?:(?:called|named|known\s+as|identified\s+as|that\s+of|of)\s+)*{_HEDGE}?(?=\S)"
    rf"|\b(?:as|shows?|features?|depicts?|contains?|displays?|see)\s+"
    rf"(?=(?:an?|the|some|two|three|several)\s|\")",
    re.IGNORECASE,
)
_LEAD = re.compile(
    rf"^(?:(?:an?|the|some|one|its?|this|that|these|those|either|both|maybe|perhaps|probably|possibly|likely|"
    rf"specifically|namely|called|named|two|three|four|five|six|several|many|various|few|\d+)\s+"
    rf"|{_HEDGE}|{_KIND})(?=\S)",
    re.IGNORECASE,
)
_SIZE = re.compile(r"^(?:about\s+)?\d[\d.]*(?:\s*[x×]\s*\d[\d.]*)?\s*(?:mm|cm|%)\s*", re.IGNORECASE)
_PLACED = (
    "hiding|hidden|blending|blended|camouflaged|camouflaging|sitting|resting|perched|perching|lying|"
    "standing|located|concealed|disguised|surrounded|swimming|crawling|climbing|living"
)
_TAIL = re.compile(
    r"\s+[-–—]+\s+.*$|[:：].*$|(?:^|\s+)(?:that|which|who|whose|with|without|within|in|on|at|inside|"
    r"under|among|amongst|amidst|against|near|from|due|because|since|by|for|as|to|while|where|based|"
    r"making|showing|is|are|was|has|have|can|could|may|might|would)\b.*$"
    rf"|\s+(?:{_PLACED})\b.*$|^(?:{_PLACED})$"
    r"|^(?:it|they|he|she|this|there|i|we|you|here|sure|okay|ok|certainly|well)\b.*$",
    re.IGNORECASE | re.DOTALL,
)
_QUOTED = re.compile(r'"([^"]+)"')
_PARENTHESES = re.compile(r"(?<=\S)\s*(?:\([^()]*\)?|（[^（）]*）?)")
_ARTICLE = re.compile(r"^(?:a|an|the|some|one)\s+", re.IGNORECASE)
_SPLIT = re.compile(
    r"(\s*(?:,\s*(?:and|or)\s+|[,;/\n|、，；]+\s*|\band\s*/\s*or\b|\band\b|\bor\b|&)\s*)",
    re.IGNORECASE,
)
_BLANKS = re.compile(r"[^\S\n]+")
_EDGES = " \t\r\n.!?'\"`*_()[]{}<>:：。！？-–—"
_MOST_WORDS = 5
_LONGEST = 4000
"""Characters of an answer that are looked at."""

MIN_AREA_SQUARE = 1e-4
"""Smallest usable box, as a share of the square that the model saw."""


def parse_box(text: str, side: int = 336) -> Box | None:
    """The first box in an answer, in 0..1 of the square that the model saw; None if there is none.

    Accepts ``[]`` and ``()``, integers, decimals and exponents, corners in any order. The scale
    is read from the largest number: below 2 fractions, up to 100 per cent, beyond that pixels of
    the square; thousandths between the marks of models that write them so. Boxes are clipped to
    0..1, so that one that leads slightly outside is kept, and refused below an area of 1e-4.

    Args:
        text: the model's answer.
        side: side of the square in pixels, for answers in pixels.

    >>> parse_box("The box is [0, .7, 0.72, 1.0].")
    (0.0, 0.7, 0.72, 1.0)
    >>> parse_box("(75, 20, 25, 80)")
    (0.25, 0.2, 0.75, 0.8)
    >>> parse_box("[0.12, 0.30, 1.01, 0.96]")
    (0.12, 0.3, 1.0, 0.96)
    >>> parse_box("[0.00, 0.00, 0.00, 0.00]") is None
    True
    """
    text = text[:_LONGEST]
    groups = [_NUMBER.findall(group) for group in _BRACKETS.findall(text)]
    numbers = next((group for group in groups if len(group) >= 4), _NUMBER.findall(text))
    if len(numbers) < 4:
        return None
    values = [float(number) for number in numbers[:4]]
    if not all(map(math.isfinite, values)):
        return None
    scale = _scale(max(values), text, side)
    a, b, c, d = (min(max(value / scale, 0.0), 1.0) for value in values)
    box = (min(a, c), min(b, d), max(a, c), max(b, d))
    return box if (box[2] - box[0]) * (box[3] - box[1]) >= MIN_AREA_SQUARE else None


def _scale(largest: float, text: str, side: int) -> float:
    if any(mark in text for mark in _THOUSANDTHS):
        return 1000.0
    if "%" in text:
        return 100.0
    # Per cent below 2 would be a box of no use: it is a fraction that leads outside.
    return 1.0 if largest < 2.0 else 100.0 if largest <= 100.0 else float(max(side, 1))


def parse_names(text: str) -> tuple[str, ...]:
    """The names in an answer, in its order, as the model wrote them (surface forms).

    What follows "is", "looks like" and the like wins, in it what is quoted or bold; else what is
    quoted; else the answer itself. Clauses that deny ("there is no polyp") name nothing. Several
    names are separated by commas, semicolons, slashes, line ends, "and" or "or"; descriptions
    before a name ("black and white snake") are part of it. Articles, counts, remarks in
    parentheses and what follows the name in its sentence are taken off.

    >>> parse_names("The camouflaged animal is a leaf insect.")
    ('leaf insect',)
    >>> parse_names("Frog, a snake and frog")
    ('Frog', 'snake', 'frog')
    >>> parse_names("a black and white snake")
    ('black and white snake',)
    >>> parse_names("N/A"), parse_names("There is no polyp.")
    ((), ())
    """
    text = text[:_LONGEST]
    fields = _FIELD.findall(text)
    if fields:
        first_key = fields[0][0]
        return tuple(name for key, value in fields if key == first_key for name in _pieces(value))
    clauses = [
        clause
        for sentence in _SENTENCE.split(_plain(text))
        for clause in _CLAUSE.split(sentence)
        if clause and not _denies(clause)
    ]
    for find in (_said, _quoted, _bare):
        names = tuple(name for clause in clauses for part in find(clause) for name in _pieces(part))
        if names:
            return names
    return ()


def _plain(text: str) -> str:
    """The answer without thoughts, tags and marks; what is bold is quoted."""
    text = _CONTROL.sub("", text)
    text = unicodedata.normalize("NFC", _EMPTY.sub(" ", _THOUGHT.sub("", text)))
    answer = _ANSWER.search(text)
    if answer:
        text = answer.group(1) or answer.group(2) or ""
    text = _TAG.sub(" ", _COORDINATES.sub(" ", text)).translate(
        str.maketrans("“”„«»‘’", '"""""\'\'')
    )
    text = _BULLET.sub("\n", text.strip()).strip()
    return _BOLD.sub(lambda m: m[2] if m[2].rstrip().endswith((":", "：")) else f'"{m[2]}"', text)


def _denies(clause: str) -> bool:
    """Whether a clause denies; what is said of a name ("a frog without a tail") does not."""
    head = _REMARK.split(_QUOTED.sub("", clause), maxsplit=1)[0]
    return _NEGATION.search(head) is not None or _is_none(clause)


def _is_none(name: str) -> bool:
    return canonical(name) in NO_NAMES or name.strip(_EDGES).casefold() in NO_NAMES


def _said(clause: str) -> Iterator[str]:
    """What a sentence says that something is: what follows the last verb that says so."""
    matches = list(_SAYS.finditer(clause))
    if matches:
        tail = _PARENTHESES.sub(" ", clause[matches[0].end() :])
        yield from list(_quoted(tail)) or [tail]


def _quoted(clause: str) -> Iterator[str]:
    yield from (quoted for quoted in _QUOTED.findall(clause) if len(quoted.split()) <= _MOST_WORDS)


def _bare(clause: str) -> Iterator[str]:
    yield _LABEL.sub("", clause)


def _pieces(text: str) -> Iterator[str]:
    """The names in a list of names."""
    parts = _SPLIT.split(_BLANKS.sub(" ", _PARENTHESES.sub(" ", text)))
    names = [_trimmed(part) for part in parts[::2]]
    separators = [*parts[1::2], ""]
    held = ""
    has_name = False
    for position, (name, separator) in enumerate(zip(names, separators, strict=True)):
        if not name:
            continue
        following = names[position + 1] if position + 1 < len(names) else ""
        if _describes(name) and _is_described(following):
            held += name + separator
            continue
        whole, held = held + name, ""
        if (has_name and _describes(whole)) or _is_none(whole) or _DENIED.match(whole):
            continue
        if _BARE_NUMBER.fullmatch(whole) or not any(map(str.isalpha, whole)):
            continue
        if _length(whole) <= _MOST_WORDS:
            has_name = True
            yield whole


def _trimmed(part: str) -> str:
    """A name without what leads to it and what follows it."""
    part, before = part.strip(_EDGES), None
    while part != before:
        before = part
        part = _SIZE.sub("", _LEAD.sub("", part)).strip(_EDGES)
    part = _TAIL.sub("", part).strip(_EDGES)
    return _TAIL.sub("", part).strip(_EDGES)


def _describes(text: str) -> bool:
    words = re.split(r"[\s,;]+", text.casefold())
    return all(word in _MODIFIERS or word in ("and", "or", "&") for word in words)


def _is_described(following: str) -> bool:
    words = following.casefold().split()
    return len(words) > 1 or (len(words) == 1 and words[0] in _MODIFIERS)


def _length(name: str) -> int:
    return sum(word.casefold() not in ("and", "or", "of", "the", "&") for word in name.split())


def canonical(name: str) -> str:
    """The key under which names count as the same: lower case, no article or punctuation, singular.

    Letters of any language are kept; a hyphen is a space.

    >>> [canonical(name) for name in ("The Frogs.", "grass", "Octopuses", "Butterflies")]
    ['frog', 'grass', 'octopus', 'butterfly']
    """
    text = unicodedata.normalize("NFKC", name).casefold()
    kept = "".join(
        " " if mark in "-‐‑–—" else mark
        for mark in text
        if mark in "-‐‑–—" or unicodedata.category(mark)[0] not in "PSC" or mark.isspace()
    )
    words = _ARTICLE.sub("", " ".join(kept.split())).split()
    head = words.index("of") - 1 if "of" in words[1:] else len(words) - 1
    if words:
        words[head] = _singular(words[head])
    return " ".join(words)


_PAIRS = """
mice:mouse dormice:dormouse geese:goose lice:louse oxen:ox men:man women:woman children:child
leaves:leaf wolves:wolf calves:calf halves:half hooves:hoof elves:elf larvae:larva octopi:octopus
octopodes:octopus platypi:platypus cacti:cactus fungi:fungus algae:alga emus:emu gnus:gnu buses:bus
gases:gas lenses:lens magpies:magpie collies:collie prairies:prairie pixies:pixie movies:movie
cookies:cookie zombies:zombie canoes:canoe toes:toe shoes:shoe does:doe roes:roe floes:floe
species:species series:series lens:lens gas:gas atlas:atlas canvas:canvas pancreas:pancreas
bias:bias alias:alias chaos:chaos cosmos:cosmos rhinoceros:rhinoceros asbestos:asbestos
"""
_IRREGULAR = dict(pair.split(":") for pair in _PAIRS.split())
"""Singulars by the plurals that follow no rule, and words in -s that are no plurals."""


def _singular(word: str) -> str:
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if len(word) <= 3 or not word.endswith("s") or word.endswith(("ss", "us", "is")):
        return word
    if word.endswith("ies"):
        return word[:-3] + "y"
    if word.endswith(("ches", "shes", "xes", "sses", "oes")):
        return word[:-2]
    if word.endswith("uses") and not word.endswith(("ouses", "auses")):
        return word[:-2]
    return word[:-1]


def distinct(words: Iterable[str]) -> tuple[str, ...]:
    """The words without those that count as the same, in order of first appearance."""
    first: dict[str, str] = {}
    for word in words:
        first.setdefault(canonical(word), word)
    return tuple(first.values())


def without(words: Iterable[str], key: str) -> tuple[str, ...]:
    """The words whose canonical form is not ``key``."""
    return tuple(word for word in words if canonical(word) != key)
