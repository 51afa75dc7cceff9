"""What every table must say about a run: kept in its ``run.json`` as ``stamps``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from int_bench.config import RunConfig, binding
from int_bench.config.annotations import TARGET
from int_bench.data.dataset import SampleFile
from int_bench.data.world.dataset import is_drawn
from int_bench.runs.training.guard import stamp

TINY = (
    "TINY MODELS ON PHOTOGRAPHS: they were trained on drawn scenes alone, so these numbers say"
    " nothing about a method"
)

MIXED = "MIXED DEVICES"
"""How the stamp begins of a run whose samples were computed on different kinds of device."""


def stamps_of(config: RunConfig, samples: Sequence[SampleFile]) -> tuple[str, ...]:
    """The stamps of a run, in capitals where its numbers mean something else than they seem to.

    Args:
        config: of the run.
        samples: that it works on; the first one is looked at.
    """
    stamps = []
    if samples and _shipped(config) and not is_drawn(samples[0]):
        stamps.append(TINY)
    trained = stamp(config, samples)
    stamps += [] if trained is None else [trained]
    selection = config.method.get("prompter", {}).get("selection", {})
    if selection.get("reading") == "sampled" and selection.get("negative", True):
        stamps.append(
            f"SAMPLED PROBABILITIES: p(c | X) is the share of {selection.get('samples')} sampled"
            " answers that give the name, not a probability that the model told"
        )
    return (*stamps, *_own(config))


def _own(config: RunConfig) -> Iterator[str]:
    """What the classes of the models say of themselves, as ``STAMP``."""
    for node in config.backbone.values():
        said = binding.constant(str(node.get(TARGET)), "STAMP")
        if said:
            yield str(said)


def _shipped(config: RunConfig) -> bool:
    nodes = config.backbone.values()
    return any(str(node.get("checkpoint")).startswith("zoo:") for node in nodes)
