"""Runs a method of a YAML file on one scene, and remembers what the models were asked."""

from __future__ import annotations

from functools import cache
from typing import Any

from int_bench import config
from int_bench.core.requests import Request
from int_bench.core.types import Picture, Prediction, Sample
from int_bench.engine.broker import Broker
from int_bench.engine.jobs import Job
from tests.fakes import all_fakes, scene


@cache
def method(name: str, *overrides: str) -> Any:
    """The method that conf/method/NAME.yaml describes."""
    return config.build_method(config.load_config([f"method={name}", *overrides]))


def sample(pixels: Any = None, task: str = "camouflaged animal", **truth: Any) -> Sample:
    return Sample("one", Picture(scene() if pixels is None else pixels), task, 7, **truth)


def run(
    segmenting: Any, models: dict[str, Any] | None = None, one: Sample | None = None
) -> tuple[Prediction, list[Request[Any]]]:
    """The prediction, and every request in the order of the calls."""
    asked: list[Request[Any]] = []
    models = {**all_fakes(), **(models or {})}
    for model in models.values():
        model._seen = asked.extend
    broker = Broker(models, max_batch=64)
    outcome = next(broker.run([Job(0, lambda ask: segmenting.segment(one or sample(), ask))]))
    if outcome.error:
        raise outcome.error
    assert outcome.value is not None
    return outcome.value, asked


def of(kind: type[Any], asked: list[Request[Any]]) -> list[Any]:
    return [request for request in asked if isinstance(request, kind)]
