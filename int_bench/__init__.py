"""INT (arXiv 2501.18753) and its predecessors for task-generic promptable segmentation.

    import int_bench
    model = int_bench.load("method=int", "models=tiny", task="camouflaged animal")
    result = model.segment("photo.jpg")  # .mask, .prompt, .boxes, .iterations, .why()
    run = int_bench.run("dataset=camoworld", limit=8)  # .scores, .masks, .records, .path
    int_bench.score(pred="DIR", gt="DIR")  # .metrics, .samples, .floor

What is wrong with a call is one of :mod:`int_bench.errors`, in the sentence of the command line.
Importing this reads neither the models' libraries nor the configuration's; the first call does.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from int_bench.api.model import Model, load
    from int_bench.api.result import Result
    from int_bench.api.runs import Run, read_run, run
    from int_bench.api.scores import Scores, score

__version__ = "0.1.0"
__all__ = [
    "Model",
    "Result",
    "Run",
    "Scores",
    "__version__",
    "load",
    "read_run",
    "run",
    "score",
]

_HOMES = {
    "Model": "model",
    "Result": "result",
    "Run": "runs",
    "Scores": "scores",
    "load": "model",
    "read_run": "runs",
    "run": "runs",
    "score": "scores",
}
"""The module of ``int_bench.api`` that each name comes from."""


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"int_bench.api.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
