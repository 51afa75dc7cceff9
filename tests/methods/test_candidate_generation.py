"""HCG: chats, parsing and pooling."""

from __future__ import annotations

from typing import Any

from int_bench.core.geometry import Grid
from int_bench.core.types import Picture, Sample
from int_bench.engine.broker import Broker
from int_bench.engine.jobs import Job
from int_bench.methods.candidate_generation import CandidateGeneration, Pool
from tests.fakes import RedIsAFrog, scene


def generate(say: Any = None, **options: Any) -> tuple[Pool, list[Any]]:
    asked: list[Any] = []

    class Vlm(RedIsAFrog):
        def answer(self, requests: Any) -> list[str]:
            asked.extend(requests)
            return [say(r) for r in requests] if say else super().answer(requests)

    sets = options.pop("sets", ("original", "halves"))
    generation = CandidateGeneration(Grid(sets), **options)
    image = Picture(scene())
    sample = Sample("s", image, "camouflaged animal", 3)
    broker = Broker({"vlm": Vlm()}, max_batch=16)
    outcome = next(broker.run([Job(0, lambda ask: generation.generate(sample, image, ask))]))
    assert outcome.error is None, outcome.error
    assert outcome.value is not None
    return outcome.value, asked


def test_pool_keeps_provenance_in_order_of_appearance() -> None:
    pool, _ = generate()
    assert [(c.key, c.patches) for c in pool.candidates] == [("frog", (0, 1, 3)), ("crab", (2, 4))]
    assert pool.environments == ("leaves",)
    whole = pool.candidates[0].boxes[0]
    assert whole is not None and [round(v) for v in whole] == [12, 8, 24, 20]


def test_boxes_of_all_patches_agree_in_the_image_frame() -> None:
    pool, _ = generate(sets=("original", "halves", "quarters"))
    for box in pool.candidates[0].boxes:
        assert box is not None and [round(v) for v in box] == [12, 8, 24, 20]


def test_the_chat_carries_its_history_and_the_caption_comes_first() -> None:
    _, asked = generate(caption=True, sets=("original",))
    assert [len(request.history) for request in asked] == [0, 1, 2, 3]
    assert "describe" in asked[0].question
    assert asked[3].history[1].answer == "frog"


def test_sampling_seeds_differ_by_patch_and_turn_and_greedy_has_none() -> None:
    _, asked = generate(temperature=0.2)
    assert len({request.seed for request in asked}) == len(asked) == 15
    _, greedy = generate()
    assert {request.seed for request in greedy} == {0}


def test_refused_names_and_several_names() -> None:
    answers = {"name": "Leaves", "environment": "leaves", "box": "[0,0,0,0]"}

    def say(request: Any) -> str:
        kind = (
            "environment"
            if "environment" in request.question
            else "box"
            if "box" in request.question
            else "name"
        )
        return answers[kind]

    pool, _ = generate(say)
    assert pool.names == ("camouflaged animal",)
    answers["name"] = "a frog, the Snake and none"
    assert generate(say)[0].names == ("frog",)
    assert generate(say, several="each")[0].names == ("frog", "Snake")
    joint = generate(say, several="joint")[0]
    assert joint.names == ("frog and Snake",)
    assert [c.key for c in joint.candidates] == ["frog and snake"]
    assert all(a.box_image is None for a in pool.answers)


def test_one_joint_name_whatever_its_order_and_without_what_is_refused() -> None:
    answers = iter(["an owl and a frog", "frog, owls", "frog and leaves", "none", "Owls and owl"])

    def say(request: Any) -> str:
        if "environment of" in request.question:
            return "leaves"
        if "box" in request.question:
            return ""
        return next(answers)

    pool, _ = generate(say, several="joint")
    assert [(c.key, c.surface) for c in pool.candidates] == [
        ("frog and owl", "owl and frog"),
        ("frog", "frog"),
        ("owl", "Owls"),
    ]
    assert [c.patches for c in pool.candidates] == [(0, 1), (2,), (4,)]


def test_the_papers_literal_query() -> None:
    def say(request: Any) -> str:
        return "[0.2, 0.2, 0.4, 0.4]" if "box" in request.question else "frog leaves"

    pool, asked = generate(say, chat="paper_literal", sets=("original",))
    assert pool.names == ("frog",) and pool.environments == ("leaves",)
    assert len(asked) == 2


def pooled(*answers: str, chat: str = "int_chat") -> list[str]:
    """The candidates from one answer about each patch, in turn."""
    left = iter(answers)

    def say(request: Any) -> str:
        question = request.question
        return next(left) if "ame of the" in question and "environment of" not in question else ""

    sets = ("original", "halves") if len(answers) > 1 else ("original",)
    pool, _ = generate(say, sets=sets, chat=chat)
    return list(pool.names)


def test_forms_of_one_name_are_one_candidate_as_first_written() -> None:
    found = pooled("octopus", "Octopuses", "N/A", "There is no animal.", "An octopus (hidden)")
    assert found == ["octopus"]


def test_a_description_stays_with_its_name() -> None:
    assert pooled("a black and white snake") == ["black and white snake"]


def test_without_any_name_the_task_is_the_candidate() -> None:
    assert pooled("N/A", "no animal", "None.", "...", "unknown") == ["camouflaged animal"]


def test_one_answer_with_separators_gives_whole_names() -> None:
    for answer in ("leaf insect, forest", "Leaf insect; Forest"):
        pool, _ = generate(
            lambda request, said=answer: said if "Output the name" in request.question else "",
            sets=("original",),
            chat="paper_literal",
        )
        assert [name.lower() for name in pool.names] == ["leaf insect"]
        assert [name.lower() for name in pool.environments] == ["forest"]
