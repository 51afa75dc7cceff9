"""What CONTRIBUTING asks of names, docstrings and sentences, over the whole package."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import int_bench

PACKAGE = Path(int_bench.__file__).parent
NODES = {
    str(path.relative_to(PACKAGE)): list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    for path in sorted(PACKAGE.rglob("*.py"))
}
MEANINGLESS = {"one", "ones", "each", "found", "it", "thing", "things", "stuff", "foo", "tmp"}
SECTION = re.compile(r"(Args|Attributes|Raises):")
ENTRY = re.compile(r"    [\w.*]+(?: \([^)]*\))?: +(\S+)")
SENTENCES = {"UserError", "UsageError", "MissingAsset", "SampleError", "OutOfMemory", "BadArchive"}
# What is typed keeps its spelling, also at the beginning of a sentence.
TYPED = re.compile(r"[\w.]+=|(dataset|backbone|method)\.\w|task\b|ablate\b")


def names_of(nodes: list[ast.AST]) -> set[str]:
    """Every name that a module gives: variables, arguments, attributes, functions, classes."""
    names = set()
    for node in nodes:
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            names.add(node.attr)
        elif isinstance(node, ast.arg):
            names.add(node.arg)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
    return {name.lstrip("_") for name in names}


def entries_of(nodes: list[ast.AST]) -> list[str]:
    """The first word of each entry of all docstrings of a module."""
    words = []
    for node in nodes:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        inside = False
        for line in (ast.get_docstring(node) or "").splitlines():
            inside = bool(SECTION.fullmatch(line)) or (inside and line.startswith((" ", "\n")))
            entry = ENTRY.match(line)
            if inside and entry:
                words.append(entry[1])
    return words


def opening(node: ast.expr) -> str:
    """How a text in the source begins; nothing if it begins with what is known at run time only."""
    while isinstance(node, ast.BinOp):
        node = node.left
    if isinstance(node, ast.JoinedStr) and node.values:
        node = node.values[0]
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def sentences_of(nodes: list[ast.AST]) -> list[str]:
    """How the sentences of the errors begin that a user reads."""
    return [
        opening(node.exc.args[0])
        for node in nodes
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and node.exc.args
        if ast.unparse(node.exc.func).rpartition(".")[2] in SENTENCES
    ]


def test_names_mean_something():
    for place, nodes in NODES.items():
        assert not names_of(nodes) & MEANINGLESS, place


def test_entries_of_docstrings_begin_in_lower_case():
    # An acronym, a symbol of the paper or a value is no word that could begin in lower case.
    words = {"None", "False", "True", "Reading"}
    for place, nodes in NODES.items():
        entries = [word for word in entries_of(nodes) if re.fullmatch(r"[A-Z][a-z]+,?", word)]
        assert set(entries) <= words, place


def test_sentences_begin_in_upper_case_or_with_what_is_typed():
    for place, nodes in NODES.items():
        for text in sentences_of(nodes):
            assert not text[:1].islower() or TYPED.match(text), (place, text)
