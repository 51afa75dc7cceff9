"""INT on hand-made backbones whose every answer can be worked out by hand.

The scene is green with one red square. The fake VLM says "frog" where it sees red and "crab"
where it does not; p(frog) is the share of red pixels, p(crab) is always one half.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from int_bench.core.geometry import Grid, Patch, fill_box
from int_bench.core.types import Picture, Prediction, Sample
from int_bench.engine.broker import Broker
from int_bench.engine.jobs import Job
from int_bench.methods.candidate_generation import CandidateGeneration, PatchAnswer, Pool
from int_bench.methods.cycle import Cycle
from int_bench.methods.mask_generation import BoxFinder, SemanticMaskGeneration, Weighing
from int_bench.methods.negative_mining import NegativeMining, Progress
from int_bench.methods.points import PointPicker
from int_bench.methods.prompt_selection import Erasure, PromptSelection
from tests.fakes import all_fakes, red, scene


def build(
    iterations: int = 3,
    sets: tuple[str, ...] = ("original", "halves", "quarters"),
    selection: dict[str, Any] | None = None,
    erasure: dict[str, Any] | None = None,
    masker: dict[str, Any] | None = None,
    prompter: dict[str, Any] | None = None,
) -> Cycle:
    grid = Grid(sets)
    mining = NegativeMining(
        CandidateGeneration(grid),
        PromptSelection(Erasure(**(erasure or {})), **(selection or {})),
        **{"progress": Progress(), **(prompter or {})},
    )
    masks = SemanticMaskGeneration(grid, BoxFinder(), PointPicker(), **(masker or {}))
    return Cycle(mining, masks, iterations)


def sample(pixels: Any = None) -> Sample:
    return Sample("one", Picture(scene() if pixels is None else pixels), "camouflaged animal", 7)


def run(method: Cycle, models: dict[str, Any] | None = None, pixels: Any = None) -> Prediction:
    broker = Broker(models or all_fakes(), max_batch=64)
    outcome = next(broker.run([Job(0, lambda ask: method.segment(sample(pixels), ask))]))
    if outcome.error:
        raise outcome.error
    assert outcome.value is not None
    return outcome.value


def test_the_whole_method_finds_the_square() -> None:
    prediction = run(build())
    assert len(prediction.iterations) == 3
    assert prediction.final.prompt == "frog"
    assert (prediction.final.masks.hard == red(scene())).all()


def test_the_hallucinated_name_is_most_frequent_and_still_loses() -> None:
    """Red lies in the left-top quarter: 4 of 9 patches say frog, 5 say crab."""
    details = run(build(1)).final.details
    names = [answer["names"][0] for answer in details["answers"]]
    assert names.count("frog") == 4 and names.count("crab") == 5
    by_name = {c["name"]: c for c in details["candidates"]}
    assert by_name["crab"]["difference"] == 0.0
    # p(frog) is largest in the top-left quarter: 144 of 30x20 pixels, and 0 once the box is erased.
    assert by_name["frog"]["difference"] == pytest.approx(144 / 600, abs=1e-5)
    assert details["winning_patch"] == "top_left"


def test_without_negative_mining_the_hallucination_wins() -> None:
    assert run(build(1, selection={"negative": False})).final.prompt == "crab"


def test_nothing_is_erased_without_negative_mining() -> None:
    models = all_fakes()
    run(build(2, selection={"negative": False}), models)
    assert models["inpainter"].counters["rows"] == 0


def test_each_patch_and_question_is_asked_once_however_many_iterations_run() -> None:
    one, five = all_fakes(), all_fakes()
    run(build(1), one)
    run(build(5), five)
    # 9 patches x 3 questions; scores of 9 originals and of those erased patches that differ.
    originals = 9 * 3 + 9
    assert one["vlm"].counters["rows"] == originals + 4
    extra = five["vlm"].counters["rows"] - one["vlm"].counters["rows"]
    assert extra == 6, "the dilated mask reaches two more patches; later masks are equal"


def test_patches_that_the_mask_does_not_touch_are_not_scored_again() -> None:
    models = all_fakes()
    broker = Broker(models, max_batch=64)
    list(broker.run([Job(0, lambda ask: build(1).segment(sample(), ask))]))
    assert broker.counters["vlm.score.requests"] == 18
    assert broker.counters["vlm.score.hits"] == 5


def test_hcg_off_uses_one_patch_everywhere() -> None:
    models = all_fakes()
    prediction = run(build(1, sets=("original",)), models)
    assert models["vlm"].counters["rows"] == 3 + 2
    assert [mask["patch"] for mask in prediction.final.details["masks"]] == ["original"]


def test_smg_off_asks_neither_detector_nor_similarity() -> None:
    models = all_fakes()
    prediction = run(build(1, masker={"semantic": False}), models)
    assert models["detector"].counters["rows"] == 0
    assert models["aligner"].counters["rows"] == 1
    assert (prediction.final.masks.hard == red(scene())).all()


def test_uniform_weighing_asks_no_similarity() -> None:
    broker = Broker(all_fakes(), max_batch=64)
    method = build(1, masker={"weighing": Weighing("uniform")})
    list(broker.run([Job(0, lambda ask: method.segment(sample(), ask))]))
    assert "aligner.similarity.rows" not in broker.counters


def test_a_part_without_a_detection_is_segmented_only_where_asked() -> None:
    """The detector finds the square in 4 of the 9 patches."""
    for unboxed, patches in (("nothing", 4), ("points", 9)):
        models = all_fakes()
        prediction = run(build(1, masker={"unboxed": unboxed}), models)
        assert models["segmenter"].counters["rows"] == patches
        assert (prediction.final.masks.hard == red(scene())).all()


@pytest.mark.parametrize(
    "options",
    [
        {"erasure": {"scope": "patch"}},
        {"erasure": {"first_mask": "image_box"}},
        {"selection": {"reading": "first_token"}},
        {"selection": {"reading": "seq_prob"}},
        {"selection": {"reading": "vocab_max"}},
        {"selection": {"reading": "sampled"}},
        {"selection": {"compete": "own"}},
        {"masker": {"output": "soft"}},
        {"masker": {"weighing": Weighing("minmax")}},
        {"prompter": {"progress": Progress("independent")}},
        {"prompter": {"progress": Progress("freeze_first")}},
        {"prompter": {"progress": Progress(over="patch")}},
        {"prompter": {"progress": Progress(floor=0.0)}},
        {"prompter": {"requery": "each_iter"}},
    ],
    ids=str,
)
def test_every_named_alternative_finds_the_square_too(options: dict[str, Any]) -> None:
    prediction = run(build(3, **options))
    assert prediction.final.prompt == "frog"
    assert (prediction.final.masks.hard == red(scene())).all()


def test_sampled_answers_are_drawn_anew_in_each_iteration_and_the_same_in_each_run() -> None:
    drawn = []
    for _ in range(2):
        models, asked = all_fakes(), list[Any]()
        models["vlm"]._seen = asked.extend
        method = build(2, selection={"reading": "sampled", "samples": 2})
        run(method, models)
        drawn.append([(r.image.digest, r.seed) for r in asked if getattr(r, "temperature", 0) > 0])
    assert drawn[0] == drawn[1]
    assert len({seed for _, seed in drawn[0]}) == len(drawn[0])  # no two draws share a seed
    # 9 patches, whole and erased, 2 answers each, in 2 iterations: none is answered from memory.
    assert len(drawn[0]) == 2 * 9 * 2 * 2


def test_candidate_softmax_lets_the_image_prior_in() -> None:
    """Renormalised over frog and crab, erasing frog raises crab: still frog, by a larger margin."""
    details = run(build(1, selection={"reading": "cand_softmax"})).final.details
    by_name = {c["name"]: c["difference"] for c in details["candidates"]}
    assert by_name["frog"] == pytest.approx(0.24 / 0.74, abs=1e-4)


def test_without_any_evidence_the_answer_for_the_whole_image_stands() -> None:
    prediction = run(build(2, erasure={"first_mask": "none"}))
    assert prediction.iterations[0].prompt == "frog"
    assert all(c["weight"] == 1.0 for c in prediction.iterations[0].details["candidates"])


def test_an_image_without_the_object_still_ends_with_a_mask() -> None:
    green = np.zeros((20, 30, 3), dtype=np.uint8)
    green[..., 1] = 120
    prediction = run(build(2), pixels=green)
    assert prediction.final.prompt == "crab"
    assert prediction.final.masks.hard.shape == (20, 30)


def test_two_separate_objects_are_both_segmented() -> None:
    pixels = scene()
    pixels[25:35, 40:55] = (200, 40, 40)
    prediction = run(build(2), pixels=pixels)
    assert (prediction.final.masks.hard & red(pixels)).sum() >= 0.9 * red(pixels).sum()


def test_prefixes_of_one_run_equal_shorter_runs() -> None:
    long = run(build(4))
    for length in (1, 2, 3):
        short = run(build(length))
        assert (long.iterations[long.chosen[length - 1]].masks.hard == short.final.masks.hard).all()
        assert long.chosen[length - 1] == short.chosen[-1]


def test_the_polyp_task_falls_back_to_the_generic_prompt() -> None:
    """Where every name equals the task-generic prompt, that prompt is the one candidate."""
    models = all_fakes()
    models["vlm"]._say = lambda r: "[0, 0, 1, 1]" if "box" in r.question else "polyp"
    polyp = Sample("p", Picture(scene()), "polyp", 0)
    outcome = next(Broker(models, 64).run([Job(0, lambda ask: build(1).segment(polyp, ask))]))
    assert outcome.value is not None and outcome.value.final.prompt == "polyp"


@pytest.mark.parametrize("sets", [("halves",), ("quarters",), ("halves", "quarters")])
@pytest.mark.parametrize("mode", ["softmax_minmax", "minmax", "sum", "none", "uniform"])
def test_the_square_is_found_without_the_whole_image(sets: tuple[str, ...], mode: str) -> None:
    """Its box lies whole in the left and the top half and in the top-left quarter."""
    prediction = run(build(2, sets=sets, masker={"weighing": Weighing(mode)}))
    assert prediction.final.prompt == "frog"
    assert (prediction.final.masks.hard == red(scene())).all()


def test_small_weights_and_no_whole_image_leave_the_best_mask() -> None:
    """Shares of two halves sum to 1, so that none is above 0.7."""
    masker = {"weighing": Weighing("sum")}
    masks = run(build(1, sets=("halves",), masker=masker)).final.details["masks"]
    weights = [mask["weight"] for mask in masks if mask["weight"] is not None]
    assert len(weights) == 2 and max(weights) <= 0.7


@pytest.mark.parametrize("sets", [("halves",), ("quarters",)])
def test_an_empty_image_without_the_whole_as_patch_has_an_empty_mask(sets: tuple[str, ...]) -> None:
    green = scene()
    green[8:20, 12:24] = (40, 120, 40)
    prediction = run(build(2, sets=sets), pixels=green)
    assert prediction.final.prompt == "crab"
    assert not prediction.final.masks.hard.any()


def test_no_patch_stands_for_the_whole_image_when_the_first_mask_is_chosen() -> None:
    """The box of the left half is not that of the whole image: the smallest box is erased."""
    size = (40, 60)
    left, right = Patch("left", 0, 0, 30, 40), Patch("right", 30, 0, 60, 40)
    boxes = ((0.0, 0.0, 30.0, 40.0), (40.0, 10.0, 50.0, 20.0))
    answers = tuple(
        PatchAnswer(patch, ("frog",), "leaves", box)
        for patch, box in zip((left, right), boxes, strict=True)
    )
    mask = Erasure(first_mask="image_box").mask(Pool(answers, ()), None, size)
    assert (mask == fill_box(boxes[1], size)).all()
    whole = replace(answers[0], patch=Patch("original", 0, 0, 60, 40))
    mask = Erasure(first_mask="image_box").mask(Pool((whole, answers[1]), ()), None, size)
    assert (mask == fill_box(boxes[0], size)).all()
