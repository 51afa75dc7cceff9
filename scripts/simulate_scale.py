"""A run on many GPUs by simulation: how long, how much is lost, and what the file system holds.

    python -m scripts.simulate_scale
    python -m scripts.simulate_scale --images 100000 --gpus 64 --shards 4096

Workers claim shards as those of ``executor=slurm`` do: one finishes shard after shard; one that is
lost gives its shard back when it was warned (a preemption), or after ``patience`` seconds without a
sign of life, and comes back after ``requeue`` seconds and loading its models. What was stored
stays; the image in flight is lost.
"""

from __future__ import annotations

import argparse
import hashlib
import heapq
import random
from collections import deque
from dataclasses import dataclass

FAILURES = 50_700.0
"""GPU hours between two failures: 419 in 54 days on 16,384 GPUs (The Llama 3 Herd of Models)."""
PREEMPTIONS = 24.0
"""GPU hours between two preemptions of a task; assumed, as every cluster has its own."""
RECORD, MASK = 15_100, 3_240
"""Bytes of a record, and of a mask of 128 x 128, on average over two images of the drawn world."""


@dataclass(frozen=True)
class Plan:
    """What is simulated.

    Attributes:
        images: of the data set.
        gpus: workers.
        shards: that the records are spread over.
        seconds: of an image, on average; each one's is drawn, log-normal with a spread of a half.
        load: seconds until a worker has its models.
        patience: seconds until a silent worker's shard is taken.
        requeue: seconds until a lost worker is back in the queue's turn.
        failures: GPU hours between two failures.
        preemptions: GPU hours between two preemptions.
        iterations: masks of an image, and one more.
    """

    images: int = 1_000_000
    gpus: int = 512
    shards: int = 64
    seconds: float = 60.0
    load: float = 120.0
    patience: float = 60.0
    requeue: float = 600.0
    failures: float = FAILURES
    preemptions: float = PREEMPTIONS
    iterations: int = 6


@dataclass
class Outcome:
    """What came out, in seconds of a GPU where nothing else is said.

    Attributes:
        makespan: seconds from the first to the last.
        useful: computing what was stored.
        lost: on images that were in flight when their worker went.
        loading: models.
        away: waiting to be back.
        idle: with nothing to claim while others work.
        deaths: how many workers were lost.
    """

    makespan: float = 0.0
    useful: float = 0.0
    lost: float = 0.0
    loading: float = 0.0
    away: float = 0.0
    idle: float = 0.0
    deaths: int = 0


def simulate(plan: Plan, seed: int = 0) -> Outcome:
    """One run, event by event: a worker's attempt at a shard is one event."""
    chance = random.Random(seed)
    work: list[deque[float]] = [deque() for _ in range(plan.shards)]
    for image in range(plan.images):
        digest = hashlib.sha256(f"{image}\0{0}".encode()).digest()
        seconds = plan.seconds * chance.lognormvariate(-0.125, 0.5)
        work[int.from_bytes(digest[:8], "big") % plan.shards].append(seconds)
    waiting = [(0.0, shard) for shard in range(plan.shards) if work[shard]]
    heapq.heapify(waiting)
    workers = [(plan.load, worker) for worker in range(plan.gpus)]
    outcome = Outcome(loading=plan.load * plan.gpus)
    rates = (1 / plan.failures / 3600, 1 / plan.preemptions / 3600)
    while waiting and workers:
        now, worker = heapq.heappop(workers)
        ready, shard = heapq.heappop(waiting)
        start = max(now, ready)
        outcome.idle += start - now
        life = start + chance.expovariate(sum(rates))
        end = start
        while work[shard] and end + work[shard][0] <= life:
            end += work[shard].popleft()
        outcome.useful += end - start
        if not work[shard]:
            heapq.heappush(workers, (end, worker))
            outcome.makespan = max(outcome.makespan, end)
            continue
        warned = chance.random() < rates[1] / sum(rates)
        outcome.deaths += 1
        outcome.lost += life - end
        outcome.loading += plan.load
        outcome.away += plan.requeue
        heapq.heappush(waiting, (life + (0 if warned else plan.patience), shard))
        heapq.heappush(workers, (life + plan.requeue + plan.load, worker))
    outcome.idle += sum(max(0.0, outcome.makespan - at) for at, _ in workers)
    return outcome


def report(plan: Plan, outcome: Outcome) -> str:
    """Two tables: time, and the file system."""
    ideal = plan.images * plan.seconds / plan.gpus
    total = plan.gpus * outcome.makespan
    masks = plan.images * (plan.iterations + 1)
    size = masks * MASK + plan.images * RECORD
    rows = [
        ("makespan", f"{outcome.makespan / 3600:.1f} h, ideal {ideal / 3600:.1f} h"),
        ("workers lost", f"{outcome.deaths:,}"),
        ("computing what was stored", f"{outcome.useful / total:.1%} of all GPU time"),
        ("lost with images in flight", f"{outcome.lost / total:.2%}"),
        ("loading models", f"{outcome.loading / total:.2%}"),
        ("waiting to be back", f"{outcome.away / total:.2%}"),
        ("nothing to claim", f"{outcome.idle / total:.1%}"),
        ("files", f"{masks + 4 * plan.shards:,}"),
        ("entries of the largest folder", f"{plan.images:,}"),
        ("store", f"{size / 1e9:.1f} GB at {MASK} bytes a mask"),
        ("lines of a shard", f"{plan.images / plan.shards:,.0f}"),
        ("files made a second", f"{masks / outcome.makespan:.0f}"),
    ]
    wide = max(len(name) for name, _ in rows)
    head = f"{plan.images:,} images, {plan.gpus} GPUs, {plan.shards:,} shards"
    return "\n".join([head, *(f"{name:<{wide}}  {value}" for name, value in rows)])


def main() -> None:
    """Read options and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    for name, value in vars(Plan()).items():
        parser.add_argument(f"--{name}", type=type(value), default=value)
    parser.add_argument("--seed", type=int, default=0)
    given = vars(parser.parse_args())
    seed = given.pop("seed")
    plan = Plan(**given)
    print(report(plan, simulate(plan, seed)))


if __name__ == "__main__":
    main()
