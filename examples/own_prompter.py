"""A prompter of one's own in INT's cycle: it knows the name; boxes and masks stay INT's.

python examples/own_prompter.py
"""

from dataclasses import dataclass

import int_bench
from int_bench.core.protocols import Ask
from int_bench.data.world.scenes import draw
from int_bench.methods.cycle import Cycle, Proposal, State


@dataclass(frozen=True)
class Told:
    """Names the object without looking; a real one asks: ``await ask(Answer(state.view, ...))``."""

    name: str
    roles: frozenset[str] = frozenset()  # of the models that it asks

    async def propose(self, state: State, ask: Ask) -> Proposal:
        """The same name in every iteration."""
        return Proposal(self.name)


model = int_bench.load("method=int", "models=tiny", "method.iterations=2")
assert isinstance(model.method, Cycle)
mine = model.with_method(Cycle(Told("owl"), model.method.masker, iterations=2))
result = mine.segment(draw("test", [0]).images[0])
print(result.why())
