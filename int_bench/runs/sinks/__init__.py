"""Trackers that are told of runs as they go: Weights & Biases, MLflow, Trackio.

A sink is a class that ``conf/sink`` names. It is told and decides nothing: no option of it is part
of a run's identity, the run does not wait for it, and whatever it raises is said once and ends the
telling alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol


@dataclass(frozen=True)
class Told:
    """A run, as trackers know it.

    Attributes:
        name: what tables call it.
        digest: of its identity: the same run goes on under it.
        dataset: the data set's name.
        folder: the run folder.
        config: its configuration by dotted key; plain values, no secrets.
    """

    name: str
    digest: str
    dataset: str
    folder: str
    config: Mapping[str, Any]


class Log(Protocol):
    """One run in a tracker."""

    def add(self, values: Mapping[str, float], step: int) -> None:
        """Numbers after so many samples."""
        ...

    def end(self, scores: Mapping[str, float], whole: bool) -> None:
        """The run is over.

        Args:
            scores: of the data set, ``<protocol>.<metric>``; empty without ground truth.
            whole: whether it came to its end; else it was interrupted or failed.
        """
        ...


class Sink(Protocol):
    """Opens runs in a tracker; ``LIBRARY`` is the module that it needs, and the extra's name."""

    LIBRARY: ClassVar[str]

    def open(self, run: Told) -> Log:
        """A run begins, or goes on; called by one thread, which imports the library."""
        ...
