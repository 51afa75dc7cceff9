r"""The two doors for text that somebody else wrote: one before it is kept, one before it is shown.

Model answers, file names and errors may hold an API key, control characters, half a letter or a
novel. :func:`kept` makes of any of them one bounded line without secrets, for files;
:func:`shown` makes of a line what a terminal, a page or a table prints as text and as nothing else.

>>> kept("a frog\non a leaf")
'a frog\\non a leaf'
>>> shown("=HYPERLINK(1)", "csv"), shown("<b>|", "markdown")
("'=HYPERLINK(1)", '&lt;b&gt;\\|')
"""

from __future__ import annotations

import html
import json
import math
import unicodedata
from collections.abc import Mapping
from typing import Any, Literal
from urllib.parse import quote

import numpy as np

Medium = Literal["terminal", "markdown", "latex", "csv", "html"]

LONGEST = 4000
"""Characters of a kept text."""
_SHORTEST_SECRET = 6
_SHORT_ESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
_UNPRINTABLE = frozenset({"Cc", "Cs", "Zl", "Zp"})
_DIRECTING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c")
"""Marks that turn the direction of what follows: shown as escapes, kept as they are."""
_LATEX = {
    "\\": r"\textbackslash{}",
    **{mark: rf"\{mark}" for mark in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "[": "{[}",  # a bracket after the end of a row would be its argument
    "<": "$<$",
    ">": "$>$",
}
_MARKDOWN = {**{mark: f"\\{mark}" for mark in "\\|`*[]~"}, "&": "&amp;", "<": "&lt;", ">": "&gt;"}
_secrets: set[str] = set()


def keep_secret(secret: str | None) -> None:
    """From now on no text that passes :func:`kept` holds this word (an API key), in any spelling.

    A word of less than six letters ("EMPTY" for a server that asks for no key) is no secret.
    """
    if secret is not None and len(secret) >= _SHORTEST_SECRET:
        _secrets.add(secret)


def redact(text: str, secret: str | None) -> str:
    """The text with ``[key]`` for a secret, plain or as JSON and URLs write it."""
    if secret is None or len(secret) < _SHORTEST_SECRET:
        return text
    forms = {secret, json.dumps(secret)[1:-1], quote(secret), quote(secret, safe="")}
    forms |= {form.replace("/", "\\/") for form in forms}
    for form in sorted(forms, key=len, reverse=True):
        text = text.replace(form, "[key]")
    return text


def kept(text: str, longest: int = LONGEST) -> str:
    r"""One line of Unicode text as files hold it.

    Secrets become ``[key]``; control characters, line separators and lone surrogates are written as
    escapes (``\n``, ``\u2028``, ``\ud83d``); what is longer is cut, and the number of characters
    that were left out is said. A text that has passed once stays as it is.
    """
    for secret in _secrets:
        text = redact(text, secret)
    text = _escaped(text)
    if len(text) <= longest:
        return text
    # A cut text is at most ``longest`` long itself, so that it passes again unchanged.
    head = text[: longest - 40]
    return f"{head} ... ({len(text) - len(head)} more characters)"


def kept_value(value: Any) -> Any:
    """A JSON-ready value with every text in it kept; arrays become lists, no number is not finite.

    A number that is not finite becomes null.

    Raises:
        TypeError: something in it cannot be written as JSON.
    """
    if isinstance(value, str):
        return kept(value)
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, np.generic | np.ndarray):
        return kept_value(value.tolist())
    if isinstance(value, Mapping):
        return {kept(str(key)): kept_value(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [kept_value(part) for part in value]
    raise TypeError(f"{type(value).__name__} cannot be part of a record")


def whole(text: str) -> bool:
    """Whether a text is Unicode text: no half of a letter, no byte of a name that is no text."""
    return not any("\ud800" <= letter <= "\udfff" for letter in text)


def shown(text: str, medium: Medium = "terminal") -> str:
    """The text as a medium prints it: one line that is text there and neither mark-up nor command.

    Args:
        text: anything; numbers are not texts, and a table writes them by itself.
        medium: ``csv`` has an apostrophe before what a spreadsheet would take for a formula.
    """
    line = _escaped(text, _DIRECTING)
    if medium == "markdown":
        return "".join(
            rf"\{letter}" if letter == "_" and _at_an_edge(line, place) else
            _MARKDOWN.get(letter, letter)
            for place, letter in enumerate(line)
        )  # fmt: skip
    if medium == "latex":
        return "".join(_LATEX.get(letter, letter) for letter in line)
    if medium == "csv":
        return f"'{line}" if line.lstrip()[:1] in ("=", "+", "-", "@") and line.strip() else line
    return html.escape(line) if medium == "html" else line


def _at_an_edge(line: str, place: int) -> bool:
    """Whether an underscore could begin or end emphasis: not within a word."""
    around = line[max(place - 1, 0) : place] + line[place + 1 : place + 2]
    return not (len(around) == 2 and all(letter.isalnum() for letter in around))


def _escaped(text: str, also: frozenset[str] = frozenset()) -> str:
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        _escape(letter)
        if letter in also or unicodedata.category(letter) in _UNPRINTABLE
        else letter
        for letter in text
    )


def _escape(letter: str) -> str:
    code = ord(letter)
    return _SHORT_ESCAPES.get(letter) or (f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}")


_BYTES = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
_SECONDS = ((2 * 86400, 86400, "days"), (2 * 3600, 3600, "h"), (120, 60, "min"))


def in_bytes(count: float) -> str:
    """Bytes, with two or three figures.

    >>> in_bytes(26_706_000_000), in_bytes(4096), in_bytes(12)
    ('26.7 GB', '4.1 kB', '12 bytes')
    """
    for unit, name in _BYTES:
        if count >= unit:
            return f"{count / unit:.1f} {name}"
    return f"{count:.0f} bytes"


def many(count: int, name: str) -> str:
    """A number with its noun.

    >>> many(1, "image"), many(1200, "image")
    ('1 image', '1,200 images')
    """
    return f"{count:,} {name}{'' if count == 1 else 's'}"


def in_seconds(seconds: float) -> str:
    """A duration, with about two figures.

    >>> in_seconds(0.2), in_seconds(95), in_seconds(600), in_seconds(9000), in_seconds(400_000)
    ('1 s', '95 s', '10 min', '2.5 h', '4.6 days')
    """
    for least, unit, name in _SECONDS:
        if seconds >= least:
            number = seconds / unit
            return f"{number:.0f} {name}" if number >= 10 else f"{number:.1f} {name}"
    return f"{max(seconds, 1):.0f} s"
