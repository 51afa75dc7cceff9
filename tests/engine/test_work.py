"""What the models did: hand-counted totals, and that failed calls are not hidden."""

from __future__ import annotations

import json

import numpy as np
import pytest

from int_bench.core.protocols import gather
from int_bench.core.requests import Answer
from int_bench.core.types import Picture
from int_bench.engine.broker import Broker
from int_bench.engine.jobs import Job
from int_bench.engine.work import RoleWork, Work, work_of
from int_bench.errors import OutOfMemory
from tests.fakes import RedIsAFrog

COUNTERS = {
    "segmenter.images_encoded": 3,
    "segmenter.segment.calls": 2,
    "segmenter.segment.requests": 8,
    "segmenter.segment.hits": 6,
    "segmenter.segment.rows": 2,
    "vlm.answer.calls": 1,
    "vlm.answer.failed_calls": 2,
    "vlm.answer.requests": 4,
    "vlm.answer.rows": 4,
    "vlm.score.calls": 3,
    "vlm.score.requests": 6,
    "vlm.score.hits": 3,
    "vlm.score.rows": 3,
    "aligner.rows": 0,
}


def test_verbs_are_summed_and_the_models_own_counters_kept():
    work = work_of(2, COUNTERS, {"vlm": 3.0, "segmenter": 1.0})
    assert list(work.roles) == ["segmenter", "vlm"]  # the aligner did nothing
    vlm, segmenter = work.roles["vlm"], work.roles["segmenter"]
    expected = {"calls": 4, "failed_calls": 2, "requests": 10, "rows": 7, "hits": 3, "shared": 0}
    assert vlm == RoleWork(3.0, expected, {})
    assert (vlm.avoided, segmenter.avoided) == (0.3, 0.75)
    assert segmenter.counted == {"images_encoded": 3}


def test_json_and_terminal_say_the_same():
    work = work_of(2, COUNTERS, {"vlm": 3.0, "segmenter": 1.0})
    as_json = json.loads(json.dumps(work.as_json()))
    assert as_json["images"] == 2
    assert as_json["roles"]["vlm"]["seconds_per_image"] == 1.5
    lines = work.lines()
    assert lines[3].split() == ["vlm", "3.00", "1.500", "4", "10", "7", "3", "30", "%"]
    assert lines[4].split(maxsplit=1) == ["segmenter", "images_encoded 3"]
    assert lines[5].split(maxsplit=1) == ["vlm", "failed_calls 2"]


def test_without_work_there_is_nothing_to_say():
    assert Work().lines() == [] and work_of(3, {}, {}).lines() == []
    assert Work().as_json() == {"images": 0, "roles": {}}


class Small(RedIsAFrog):
    """Has memory for two requests."""

    def answer(self, requests):
        if len(requests) > 2:
            raise OutOfMemory
        return super().answer(requests)


def questions(count):
    async def ask_all(ask):
        image = Picture(np.zeros((2, 2, 3), np.uint8))
        return await gather(ask(Answer(image, str(n))) for n in range(count))

    return Job(0, ask_all)


def test_calls_that_failed_are_counted_apart_and_rows_are_what_was_computed():
    vlm = Small()
    broker = Broker({"vlm": vlm}, max_batch=8)
    assert [outcome.error for outcome in broker.run([questions(4), questions(4)])] == [None] * 2
    role = work_of(2, broker.counters, broker.seconds).roles["vlm"]
    expected = {"calls": 2, "failed_calls": 1, "requests": 8, "rows": 4, "hits": 4, "shared": 0}
    assert dict(role.counts) == expected and role.avoided == 0.5
    assert role.counted == {"rows": 4} == dict(vlm.counters)
    assert role.seconds > 0


def test_the_command_reports_it_and_a_finished_run_reports_none(command):
    words = ("run", "method=centre_box", "--limit", "2", "--json")
    for images in (2, 0):
        work = json.loads(command(*words)[1])["work"]
        assert (work["images"], work["roles"]) == (images, {})


@pytest.mark.slow
def test_the_command_reports_the_work_of_the_shipped_models(command):
    words = ["run", "method.prompter.generation.grid.sets=[original]", "method.iterations=1"]
    code, out, err = command(*words, "--limit", "1", "-v")
    assert code == 0, err
    assert "Work of the models for 1 images:" in out and "vision_passes" in out
