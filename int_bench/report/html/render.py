"""A page of data as one HTML file: the only place where text becomes mark-up.

Jinja escapes every text. Data for the script stands in blocks that no text can end (``tojson``
writes ``<``, ``>`` and ``&`` as escapes), and the script makes text nodes of it. The policy in the
page's head allows this very style and script and pictures that stand in the file, and nothing else,
so that no part of the page can load or send anything.
"""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

from jinja2 import DictLoader, Environment, StrictUndefined
from markupsafe import Markup

import int_bench
from int_bench.core.text import shown
from int_bench.report.html.overview import charts
from int_bench.report.html.page import Page
from int_bench.report.html.story import RULES

_SCRIPTS = ("core.js", "gallery.js", "story.js", "names.js", "main.js")
_CONFUSED = 12
"""Wrong names in the table of names."""


@dataclass(frozen=True)
class Headline:
    """A number that stands at the top."""

    name: str
    value: str
    more: str = ""


def render(page: Page) -> str:
    """The file."""
    style, script = _file("style.css"), _script()
    template = _environment().get_template("page.html.j2")
    labels = [shown(side.label) for side in page.sides]
    title = f"{' and '.join(labels)} on {shown(page.sides[0].run.dataset)}"
    return template.render(
        title=title,
        policy=_policy(style, script),
        style=Markup(style),
        script=Markup(script),
        version=int_bench.__version__,
        page=_content(page, labels),
    )


def _content(page: Page, labels: Sequence[str]) -> dict[str, Any]:
    """What the template asks for."""
    rules = [side.at("method", "final") for side in page.sides]
    return {
        "two": len(labels) > 1,
        "labels": labels,
        "facts": page.facts,
        "differences": page.differences,
        "warnings": page.warnings,
        "left_out": page.left_out,
        "tables": page.tables,
        "charts": charts(page),
        "headline": list(_headline(page)),
        "names": _names(page, labels),
        "entries": page.entries,
        "shots": {
            number: {key: part for key, part in told.items() if key != "runs"}
            for number, told in page.stories.items()
        },
        "stories": {
            number: {"runs": told["runs"]}
            for number, told in page.stories.items()
            if "runs" in told
        },
        "data": {
            "runs": [
                {"label": label, "rule": rule, "words": RULES.get(str(rule), "")}
                for label, rule in zip(labels, rules, strict=True)
            ],
            "metrics": page.metrics,
            "images": page.entries,
            "truth": bool(page.measured.areas),
        },
    }


def _headline(page: Page) -> Iterator[Headline]:
    """How many images, how well, how often the name is right."""
    yield Headline("images", str(len(page.entries)))
    states = Counter(run["state"] for entry in page.entries for run in entry["runs"])
    for state in ("failed", "missing", "broken"):
        if states[state]:
            yield Headline(state, str(states[state]))
    for side in page.sides:
        mean = side.scores.mean("native.S") if side.scores else None
        if mean is not None:
            more = side.label if len(page.sides) > 1 else "mean over images"
            yield Headline("Sα, native", f"{mean:.3f}", shown(more))
    for number, side in enumerate(page.sides):
        right = [entry["runs"][number].get("right") for entry in page.entries]
        known = [value for value in right if value is not None]
        if known:
            more = shown(side.label) if len(page.sides) > 1 else ""
            yield Headline("names right", f"{sum(known)} of {len(known)}", more)


def _names(page: Page, labels: Sequence[str]) -> dict[str, Any] | None:
    """Which wrong names there are most often, where the data set knows the right ones."""
    wrong: Counter[tuple[str, str, str]] = Counter()
    known = 0
    for entry in page.entries:
        for label, run in zip(labels, entry["runs"], strict=True):
            known += "right" in run
            if run.get("right") is False:
                wrong[entry["truth"], label, run["prompt"]] += 1
    if not known:
        return None
    rows = [
        {"truth": truth, "run": label, "named": named, "count": count}
        for (truth, label, named), count in wrong.most_common(_CONFUSED)
    ]
    amount = sum(wrong.values())
    sentence = f"{known - amount} of {known} names are right."
    if len(wrong) > _CONFUSED:
        sentence += f" The {_CONFUSED} most frequent of {len(wrong)} confusions:"
    return {"sentence": sentence, "rows": rows}


def _environment() -> Environment:
    names = ("page.html.j2", "charts.html.j2")
    environment = Environment(
        loader=DictLoader({name: _file(name) for name in names}),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["plain"] = lambda text: shown(str(text))
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False}
    return environment


def _script() -> str:
    parts = "\n".join(map(_file, _SCRIPTS))
    return f'"use strict";(() => {{\n{parts}}})();'


def _policy(style: str, script: str) -> str:
    rules = {
        "default-src": "'none'",
        "img-src": "data:",
        "style-src": f"'sha256-{_sha256(style)}'",
        "script-src": f"'sha256-{_sha256(script)}'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    return "; ".join(f"{key} {value}" for key, value in rules.items())


def _sha256(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _file(name: str) -> str:
    folder = resources.files("int_bench.report.html") / "templates"
    return (folder / name).read_text(encoding="utf-8")
