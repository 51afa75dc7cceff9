"""Choices and ranges are read from source: aliases, imports, lists, unions, class constants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

import pytest

from int_bench.config import binding
from int_bench.config.identity import named
from int_bench.core.limits import (
    Above,
    Count,
    Device,
    MultipleOf,
    NotEmpty,
    Share,
    Text,
    Within,
)
from int_bench.errors import UsageError
from tests.config import aliases
from tests.config.aliases import Base, Declares, Set, Weight

HERE = __name__
Own = Literal["pad", "squash"]


class Part:
    """A part of another."""


@dataclass
class Options:
    """One of each kind."""

    base: Base = "original"
    own: Own = "pad"
    attribute: aliases.Base = "original"
    world: Literal[1, 2] = 1
    switch: Literal["auto"] | bool = "auto"
    sets: Annotated[Sequence[Set], NotEmpty()] = ("original",)
    weight: Weight = 0.3
    share: Share = 0.5
    count: Count = 1
    maybe: Annotated[int, Within(low=1, high=9)] | None = None
    offset: Annotated[float, Within(-1, 1)] = 0.0
    radius: Annotated[float, Above(0)] = 1.0
    side: Annotated[int, MultipleOf(8)] = 8
    seed: Annotated[int, Within(0, 9223372036854775807)] = 0
    free: float = 0.0
    device: Device = "auto"
    prompt: Text = "animal"
    part: Part | None = None
    unknown: Any = None


class Child(Options, Declares):
    """Inherits the fields of one and the constants of the other."""

    NAME: ClassVar[str] = "child"


ACCEPTED = [
    ("base", "recursive"),
    ("own", "squash"),
    ("attribute", "recursive"),
    ("world", 2),
    ("switch", True),
    ("switch", "auto"),
    ("sets", ["halves", "original"]),
    ("weight", 1),
    ("maybe", None),
    ("maybe", 9),
    ("offset", -1),
    ("seed", 2**40),
    ("free", -1e30),
    ("device", "cuda:12"),
    ("part", {"_target_": f"{HERE}.Part"}),
    ("unknown", object()),
]
REFUSED = [
    (
        "base",
        "recursiv",
        "must be original or recursive, not 'recursiv'. Did you mean 'recursive'?",
    ),
    ("own", "pads", "must be pad or squash, not 'pads'. Did you mean 'pad'?"),
    ("attribute", "recusive", "Did you mean 'recursive'?"),
    ("base", None, "must be original or recursive, not None."),
    ("base", ["original"], "must be original or recursive, not ['original']."),
    ("world", 3, "must be 1 or 2, not 3."),
    ("world", True, "must be 1 or 2, not True."),
    ("switch", "yes", "must be auto or true or false, not 'yes'."),
    ("sets", ["original", "halfs"], "Did you mean 'halves'?"),
    ("sets", "halves", "must be a list (original or halves) that is not empty, not 'halves'."),
    ("sets", [], "that is not empty, not []."),
    ("weight", 1.5, "must be a number from 0 to 1, not 1.5."),
    ("weight", float("nan"), "must be a number from 0 to 1, not nan."),
    ("weight", "much", "must be a number from 0 to 1, not 'much'."),
    ("share", True, "must be a number from 0 to 1, not True."),
    ("count", 0, "must be a whole number of at least 1, not 0."),
    ("count", 1.0, "must be a whole number of at least 1, not 1.0."),
    ("count", 2**31, "must be a whole number of at least 1, not 2147483648."),
    ("maybe", 10, "must be a whole number from 1 to 9 or null, not 10."),
    ("offset", -2, "from -1 to 1, not -2."),
    ("radius", 0, "must be a number above 0, not 0."),
    ("radius", float("inf"), "must be a number above 0, not inf."),
    ("side", 12, "must be a whole number that is a multiple of 8, not 12."),
    ("seed", 10**50, "not a huge number."),
    ("free", float("nan"), "must be a number, not nan."),
    ("free", 10**400, "not a huge number."),
    ("device", "gpu", "must be a text (auto, cpu, cuda or cuda:N), not 'gpu'."),
    ("prompt", " ", "must be a text that is not empty, not ' '."),
    ("part", 5, "must be a Part (_target_: ...) or null, not 5."),
    ("part", {}, "must be a Part"),
]


def check(key: str, value: Any, name: str = "Options") -> None:
    binding.check({"_target_": f"{HERE}.{name}", key: value}, "method")


@pytest.mark.parametrize(("key", "value"), ACCEPTED)
def test_what_the_annotation_admits_passes(key, value):
    check(key, value)
    check(key, value, "Child")


@pytest.mark.parametrize(("key", "value", "sentence"), REFUSED)
def test_what_it_does_not_admit_is_refused_in_a_sentence(key, value, sentence):
    with pytest.raises(UsageError) as refusal:
        check(key, value)
    assert str(refusal.value).startswith(f"method.{key} must be ")
    assert str(refusal.value).endswith(sentence) or sentence in str(refusal.value)
    assert len(str(refusal.value)) < 200


@dataclass
class Fields:
    """Fields as dataclasses write them."""

    needed: int = field(kw_only=True)
    given: Weight = field(default=0.3, kw_only=True)
    made: list[str] = field(default_factory=list)
    hidden: int = field(init=False, default=1)


def test_fields_of_dataclasses_have_the_defaults_that_they_say():
    found = binding.signature(f"{HERE}.Fields")
    assert [name for name, p in found.items() if p.required] == ["needed"]
    assert named({"_target_": f"{HERE}.Fields", "needed": 1})["given"] == 0.3
    assert list(found) == ["needed", "given", "made"]


def test_constants_of_classes_are_read_through_their_bases():
    child = f"{HERE}.Child"
    assert binding.constant(child, "NAME") == "child"
    assert binding.constant(child, "RUNTIME") == ("device", "max_batch")
    assert binding.constant(child, "PRECISION") == {"E1": "float16"}
    assert binding.constant(child, "REMOTE", False) is False
    assert binding.constant(f"{HERE}.check", "RUNTIME", ()) == ()
