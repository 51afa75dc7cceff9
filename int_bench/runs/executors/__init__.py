"""Who computes what of a run is not finished: this process, or workers elsewhere.

An executor is a class that ``conf/executor`` names. It decides no result: none of its options is
part of a run's identity, and in exactness class E0 every one of them leaves the same run folder.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from int_bench.config import RunConfig
    from int_bench.core.protocols import Method
    from int_bench.runs.executors.compute import Done, Listeners
    from int_bench.runs.prepare import Prepared


class Executor(Protocol):
    """Runs what is not finished, stores it, and mends what is torn.

    ``attaches`` says whether it goes on with an array that is at it already; ``mixed``, whether one
    run may be computed on different kinds of device outside exactness class E0.
    """

    attaches: ClassVar[bool]

    @property
    def mixed(self) -> bool:
        """As above."""
        ...

    def compute(
        self,
        runs: Sequence[Prepared],
        methods: Sequence[Method],
        config: RunConfig,
        listeners: Listeners,
    ) -> Done:
        """See :func:`int_bench.runs.executors.compute.compute`; something is left to be done."""
        ...
