"""The run loop: independence, faults, resuming after a kill at any point."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import signal
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from int_bench.core.protocols import gather
from int_bench.core.requests import Inpaint
from int_bench.core.seeding import derive_seed
from int_bench.core.types import Iteration, Masks, Picture, Prediction, Stencil
from int_bench.data.dataset import SampleFile
from int_bench.data.subset import Part
from int_bench.engine.broker import Broker
from int_bench.errors import MissingAsset, SampleError
from int_bench.runs.execute import Variant, run
from int_bench.runs.reader import Run
from tests.runs.test_store import opened


@dataclass(frozen=True)
class Plan:
    """What is to be done, without a configuration."""

    dataset: Any
    samples: Sequence[SampleFile]
    task_prompt: str
    seed: int = 0
    trials: int = 1
    traced: bool = False


@dataclass(frozen=True)
class Tiny:
    """Six noise images; ``broken`` cannot be decoded."""

    count: int = 6
    broken: frozenset[str] = frozenset()
    name: str = "tiny"

    def samples(self):
        return tuple(SampleFile(f"s{index}", truth_name="frog") for index in range(self.count))

    def load_image(self, sample):
        if sample.id in self.broken:
            raise SampleError(f"{sample.id} cannot be decoded")
        return np.random.default_rng(int(sample.id[1:])).integers(0, 255, (9, 12, 3), np.uint8)

    def load_mask(self, sample):
        return np.eye(9, 12, dtype=bool)

    def manifest(self):
        return "tiny"


class Noise:
    """An inpainter whose answer depends on all of a request and on nothing else."""

    def __init__(self):
        self.identity, self.counters = {}, Counter()

    def inpaint(self, requests):
        self.counters["rows"] += len(requests)
        return [self._one(request) for request in requests]

    @staticmethod
    def _one(request):
        rng = np.random.default_rng([request.seed, int(request.image.digest[:8], 16)])
        return rng.integers(0, 255, request.image.pixels.shape, np.uint8)


class Steps:
    """A method of ``steps`` iterations with two calls each, seeded by the sample."""

    def __init__(self, steps=3):
        self.steps = steps

    async def segment(self, sample, ask):
        image, masks = sample.image, []
        stencil = Stencil(np.ones(image.size, dtype=bool))
        for step in range(self.steps):
            seeds = [derive_seed(sample.seed, step, k) for k in range(2)]
            first, second = await gather(
                ask(Inpaint(image, stencil, sample.task, "", seed)) for seed in seeds
            )
            masks.append(first[..., 0] > second[..., 0])
            image = Picture(first)
        soft = [mask.astype(np.float32) for mask in masks]
        steps = zip(masks, soft, strict=True)
        iterations = tuple(Iteration(Masks(h, s), f"step {i}") for i, (h, s) in enumerate(steps))
        return Prediction(iterations, tuple(range(self.steps)))


def plan_of(dataset=None, trials=1, seed=0, limit=None):
    dataset = Part(dataset or Tiny(), limit)
    return Plan(dataset, dataset.samples(), "camouflaged animal", seed=seed, trials=trials)


def go(folder: Path, plan=None, method=None, in_flight=4, max_batch=1):
    plan = plan or plan_of()
    broker = Broker({"inpainter": Noise()}, max_batch=max_batch, in_flight=in_flight)
    with opened(folder) as store:
        run(plan, [Variant("steps", method or Steps(), store)], broker)
    records = Run(folder).records
    states = [records.status((t, s.id)) for t in range(plan.trials) for s in plan.samples]
    return (states.count("ok"), states.count("failed")), broker


def masks_of(folder: Path) -> dict[str, str]:
    files = sorted((folder / "masks").rglob("*.png"))
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The masks of an uninterrupted run."""
    folder = tmp_path_factory.mktemp("whole")
    go(folder)
    return masks_of(folder)


def test_every_sample_gets_its_masks_and_its_record(tmp_path, whole):
    (ok, failed), _ = go(tmp_path)
    assert (ok, failed) == (6, 0)
    assert len(whole) == 6 * 4
    records = Run(tmp_path).records
    assert [record.prompt for record in records.values()] == ["step 2"] * 6
    assert records[0, "s0"].counters["inpainter.inpaint.rows"] == 6
    assert records[0, "s0"].size == (9, 12)


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)
@given(
    in_flight=st.integers(1, 7),
    max_batch=st.integers(1, 5),
    first=st.integers(1, 6),
    order=st.permutations(range(6)),
)
def test_masks_do_not_depend_on_company_order_limit_or_resuming(
    tmp_path_factory, whole, in_flight, max_batch, first, order
):
    folder = tmp_path_factory.mktemp("run")
    shuffled = [Tiny().samples()[index] for index in order]
    go(folder, replace(plan_of(), samples=shuffled[:first]), None, in_flight, max_batch)
    go(folder, replace(plan_of(), samples=shuffled), None, in_flight)
    assert masks_of(folder) == whole


def test_a_finished_run_makes_no_call(tmp_path):
    go(tmp_path)
    _, broker = go(tmp_path)
    assert broker.counters == {}


def test_trials_differ_and_each_has_its_own_folder(tmp_path):
    go(tmp_path, plan_of(trials=2))
    masks = masks_of(tmp_path)
    for name in ("final/s0.png", "1/s5.png"):
        assert masks[f"masks/0/{name}"] != masks[f"masks/1/{name}"]


def test_another_seed_gives_other_masks(tmp_path, whole):
    go(tmp_path, plan_of(seed=1))
    assert not set(masks_of(tmp_path).values()) & set(whole.values())


def test_one_bad_sample_ends_nothing_and_is_tried_again(tmp_path, whole):
    done, _ = go(tmp_path, plan_of(Tiny(broken=frozenset({"s2"}))))
    assert done == (5, 1)
    assert Run(tmp_path).records[0, "s2"].error == "s2 cannot be decoded"
    done, broker = go(tmp_path)
    assert done == (6, 0) and masks_of(tmp_path) == whole
    assert broker.counters["inpainter.inpaint.rows"] == 6


class Failing(Steps):
    """Fails on one sample in the middle of its calls."""

    def __init__(self, error, steps=3):
        super().__init__(steps)
        self.error = error

    async def segment(self, sample, ask):
        found = await super().segment(sample, ask)
        if sample.seed == derive_seed(0, 0, "s3"):
            raise self.error
        return found


def test_a_methods_bug_fails_its_sample_with_type_and_text(tmp_path):
    done, _ = go(tmp_path, method=Failing(ZeroDivisionError("division\nby zero")))
    assert done == (5, 1)
    assert Run(tmp_path).records[0, "s3"].error == "ZeroDivisionError: division by zero"


def test_what_every_sample_would_meet_ends_the_run_and_keeps_what_is_done(tmp_path, whole):
    with pytest.raises(MissingAsset, match="gone"):
        go(tmp_path, method=Failing(MissingAsset("gone")), in_flight=1)
    assert list(Run(tmp_path).records) == [(0, "s0"), (0, "s1"), (0, "s2")]
    go(tmp_path)
    assert masks_of(tmp_path) == whole


def test_what_is_stored_when_a_run_is_interrupted_is_told(tmp_path, monkeypatch):
    broker, told = Broker({"inpainter": Noise()}, in_flight=1), []
    outcomes = broker.run

    def interrupted(jobs):
        yield from islice(outcomes(jobs), 3)
        raise KeyboardInterrupt

    monkeypatch.setattr(broker, "run", interrupted)
    with pytest.raises(KeyboardInterrupt), opened(tmp_path) as store:
        variants = [Variant("steps", Steps(), store)]
        run(plan_of(), variants, broker, lambda _, record: told.append(record.key))
    assert told == list(Run(tmp_path).records) == [(0, "s0"), (0, "s1"), (0, "s2")]


def test_variants_share_what_they_have_in_common(tmp_path):
    backbone = Noise()
    broker, plan = Broker({"inpainter": backbone}), plan_of()
    with ExitStack() as stack:
        folders = [stack.enter_context(opened(tmp_path / str(n))) for n in (2, 3, 4)]
        steps = zip((2, 3, 4), folders, strict=True)
        variants = [Variant(str(n), Steps(n), folder) for n, folder in steps]
        run(plan, variants, broker)
    assert backbone.counters["rows"] == 6 * 4 * 2  # the longest alone
    for name in ("1/s0.png", "2/s5.png"):
        assert len({masks_of(tmp_path / str(n))[f"masks/0/{name}"] for n in (2, 3, 4)}) == 1


class Oracle:
    """Answers with the ground truth."""

    wants_truth = True

    async def segment(self, sample, ask):
        truth = Iteration(Masks(sample.truth, sample.truth.astype(np.float32)), sample.truth_name)
        return Prediction((truth,), (0,))


class Blind:
    """Notes whether it saw the ground truth."""

    async def segment(self, sample, ask):
        assert sample.truth is None and sample.truth_name is None
        mask = np.zeros(sample.image.size, dtype=bool)
        return Prediction((Iteration(Masks(mask, mask.astype(np.float32)), ""),), (0,))


def test_only_oracles_see_the_ground_truth(tmp_path):
    done, _ = go(tmp_path / "oracle", method=Oracle())
    assert done == (6, 0)
    assert Run(tmp_path / "oracle").records[0, "s0"].prompt == "frog"
    assert go(tmp_path / "blind", method=Blind())[0] == (6, 0)


def run_and_die(folder: Path, call: int) -> None:
    """Run, and end this process by SIGKILL at its n-th flush."""
    left, real = [call], os.fsync

    def fsync(handle: int) -> None:
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        real(handle)

    os.fsync = fsync
    go(folder)


def killed_at(folder: Path, call: int) -> bool:
    """Run in a child process that kills itself at its n-th write; whether it was killed.

    The children come from a server without threads: one that is forked from this process, with the
    threads of numerical libraries in it, can hang.
    """
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload([__name__])
    child = server.Process(target=run_and_die, args=(folder, call))
    child.start()
    child.join()
    return child.exitcode == -signal.SIGKILL


def test_a_run_killed_at_any_write_and_resumed_equals_an_uninterrupted_one(tmp_path, whole):
    """At every fifth flush of some eighty: of masks, folders, lines and run.json."""
    point, killed = 1, 0
    while killed_at(tmp_path / str(point), point):
        folder, killed = tmp_path / str(point), killed + 1
        before = finished(folder)
        _, broker = go(folder)
        assert broker.counters.get("inpainter.inpaint.rows", 0) == 6 * (6 - before)
        assert masks_of(folder) == whole and not Run(folder).verify(thorough=True)
        assert not list(folder.rglob(".*"))  # nothing half-written is left
        point += 5
    assert killed >= 8


def finished(folder: Path) -> int:
    """How many samples are done in a folder that may hold no run yet."""
    if not (folder / "run.json").exists() or not (folder / "records").exists():
        return 0
    records = Run(folder).records
    return sum(records.status(key) == "ok" for key in records)
