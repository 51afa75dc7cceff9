"""What variants of one command share: counted by hand on fakes, bounded on the shipped models."""

from __future__ import annotations

import json
from contextlib import ExitStack

import numpy as np
import pytest

from int_bench.config import load_config
from int_bench.core.protocols import gather
from int_bench.core.requests import Answer
from int_bench.core.types import Picture
from int_bench.engine.broker import Broker
from int_bench.engine.jobs import Job
from int_bench.engine.work import Sharing, Tally
from int_bench.errors import UsageError
from int_bench.runs.execute import Variant, run
from int_bench.runs.prepare import prepare, with_all_models
from int_bench.runs.variants import RunRequest
from tests.fakes import RedIsAFrog
from tests.runs.test_run import Noise, Steps, plan_of
from tests.runs.test_store import opened


def asking(key, owner, *questions):
    async def start(ask):
        image = Picture(np.zeros((8, 8, 3), dtype=np.uint8))
        return await gather(ask(Answer(image, question)) for question in questions)

    return Job(key, start, owner)


def counted(jobs, **options):
    """Rows, hits and shared of each job by its key."""
    broker = Broker({"vlm": RedIsAFrog()}, **options)
    kinds = ("rows", "hits", "shared")
    return {
        outcome.key: tuple(outcome.counters.get(f"vlm.answer.{kind}", 0) for kind in kinds)
        for outcome in broker.run(jobs)
    }


@pytest.mark.parametrize("in_flight", [1, 3])
def test_an_owners_first_hit_on_anothers_answer_is_shared(in_flight):
    """The same in memory (one job at a time) and in flight."""
    jobs = [asking(0, "a", "x", "y"), asking(1, "b", "x", "z", "x"), asking(2, "a", "x", "z")]
    found = counted(jobs, in_flight=in_flight)
    # a asks x, y and z alone, b x and z: the third job's x is its own owner's, its z is not.
    assert found == {0: (2, 0, 0), 1: (1, 2, 1), 2: (0, 2, 1)}


def test_jobs_without_owners_share_nothing():
    found = counted([Job(k, asking(k, None, "x").start) for k in range(3)])
    assert [shared for _, _, shared in found.values()] == [0, 0, 0]


def test_what_was_forgotten_is_a_row_again():
    jobs = [asking(0, "a", "x"), asking(1, "b", "x")]
    assert counted(jobs, in_flight=1, memo_bytes=0) == {0: (1, 0, 0), 1: (1, 0, 0)}


def test_a_call_that_failed_is_shared_by_nobody():
    class Broken(RedIsAFrog):
        def answer(self, requests):
            raise ValueError("broken")

    broker = Broker({"vlm": Broken()}, in_flight=2)
    found = list(broker.run([asking(0, "a", "x"), asking(1, "b", "x")]))
    assert all(outcome.error for outcome in found)
    assert broker.counters.get("vlm.answer.shared", 0) == 0


def tallies_of(folder, steps, done=()):
    """Run variants of these many steps over one broker; those in ``done`` have run before."""
    for number in done:
        tallies_of(folder, (number,))
    broker, plan = Broker({"inpainter": Noise()}), plan_of()
    tallies = {f"steps {n}": Tally() for n in steps}
    with ExitStack() as stack:
        variants = [
            Variant(f"steps {n}", Steps(n), stack.enter_context(opened(folder / str(n))))
            for n in steps
        ]
        run(plan, variants, broker, lambda one, record: tallies[one.name].add(record.counters))
    return Sharing(tallies)


def test_rows_and_shared_are_what_each_variant_makes_alone(tmp_path):
    """Six images, two calls a step: the longest computes all that the others need."""
    sharing = tallies_of(tmp_path / "together", (4, 2, 3))
    for number in (4, 2, 3):
        alone = tallies_of(tmp_path / f"alone {number}", (number,))
        expected = 6 * 2 * number
        assert alone.rows == alone.variants[f"steps {number}"].alone == expected
        assert sharing.variants[f"steps {number}"].alone == expected
    assert (sharing.rows, sharing.saved, sharing.ratio) == (48, 60, 1.0)
    assert sharing.lines() == [
        "Model rows that variants share:",
        "steps 4  48 rows alone",
        "steps 2  24 rows alone",
        "steps 3  36 rows alone",
        "all together 48 rows: 60 saved by sharing, 1.00 times those of steps 4 alone",
    ]
    found = json.loads(json.dumps(sharing.as_json()))
    assert found["variants"]["steps 2"] == {
        "images": 6,
        "rows_alone": 24,
        "verbs": {"inpainter.inpaint": {"rows": 0, "shared": 24}},
    }


def test_a_resumed_command_counts_what_it_worked_on(tmp_path):
    sharing = tallies_of(tmp_path, (2, 3, 4), done=(2,))
    assert [one.images for one in sharing.variants.values()] == [0, 6, 6]
    assert (sharing.rows, sharing.saved, sharing.ratio) == (48, 36, None)
    assert sharing.lines()[-1] == "all together 48 rows: 36 saved by sharing"
    again = tallies_of(tmp_path, (2, 3, 4))
    assert again.lines() == [] and again.as_json() is None


def test_one_variant_shares_nothing_worth_saying(tmp_path):
    assert tallies_of(tmp_path, (2,)).lines() == [] and Sharing().as_json() is None


def test_the_models_of_several_methods_are_joined_and_two_for_a_role_refused():
    full, concept = load_config(["method=full"]), load_config(["method=sam3"])
    models = with_all_models(prepare([RunRequest(full), RunRequest(concept)])).backbone
    assert models == concept.backbone and "concept_segmenter" not in full.backbone
    whole, other = load_config([]), load_config(["ablation=no_pnm", "backbone/inpainter=telea"])
    with pytest.raises(UsageError, match="int and int-no_pnm want different models as inpainter"):
        with_all_models(prepare([RunRequest(whole), RunRequest(other)]))


@pytest.mark.slow
def test_all_modules_cost_at_most_2_2_full_runs(command):
    """On the shipped models: the broker's promise for the paper's table of modules."""
    words = ("exactness=E1", "in_flight=16", "dataset.split=validation", "dataset.count=2")
    code, out, err = command("ablate", "module=all", *words, "--json")
    assert code == 0, err
    sharing = json.loads(out)["sharing"]
    assert next(iter(sharing["variants"])) == "int" and len(sharing["variants"]) == 5
    assert sharing["rows"] <= 2.2 * sharing["variants"]["int"]["rows_alone"]
    total = sum(one["rows_alone"] for one in sharing["variants"].values())
    assert total == sharing["rows"] + sharing["saved"]
