"""What the zoo's models are shown: decoys as figures, cut dimming, two names, questions of all."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from int_bench.core import templates
from int_bench.data.world.names import LOOKALIKE, NAMES, TASK_PROMPTS
from int_bench.data.world.scenes import draw
from int_bench.zoo.training import views
from int_bench.zoo.training.clip import loss as clip_loss
from int_bench.zoo.training.grounding_dino import check
from int_bench.zoo.training.grounding_dino import data as detection
from int_bench.zoo.training.grounding_dino.train import build_processor
from int_bench.zoo.training.llava.data import look
from int_bench.zoo.training.llava.text import Packer, vocabulary
from int_bench.zoo.training.llava.train import OVERLOOKED, truths
from int_bench.zoo.training.pool import KINDS, SIZE, Pool


@pytest.fixture(scope="module")
def pool() -> Pool:
    """Six scenes of each of the seven kinds."""
    parts = [draw("train", range(6), task=t, animals=a, world=2) for t, a, _ in KINDS]
    keys = ("images", "clean", "masks", "names", "decoys", "decoy_names", "environments")
    arrays = {key: np.concatenate([getattr(part, key) for part in parts]) for key in keys}
    return Pool(**arrays, kind=np.repeat(np.arange(len(KINDS)), 6))


def test_a_target_is_an_animal_or_where_asked_a_decoy(pool: Pool) -> None:
    rows = np.arange(len(pool.kind))
    rng = np.random.default_rng(0)
    animals = views.take(pool, rows, rng)
    assert (animals.target < 2).all()
    assert (animals.target_name() >= 0).all()
    decoys = views.take(pool, rows, rng, decoys=1.0)
    there = torch.from_numpy((pool.decoy_names >= 0).any(1))
    assert (decoys.target[there] >= 2).all()
    assert (decoys.target[~there] < 2).all()
    assert (decoys.target_mask().sum((1, 2)) > 0).all()


def test_cut_dimming_never_brightens_and_leaves_some_of_the_target(pool: Pool) -> None:
    batch = views.take(pool, np.arange(24), np.random.default_rng(1))
    same = views.dim_cut(batch, np.random.default_rng(2), 0.0)
    assert torch.equal(same, batch.images)
    dimmed = views.dim_cut(batch, np.random.default_rng(2), 1.0)
    assert (dimmed <= batch.images + 1e-3).all()
    share = dimmed.sum((1, 2, 3)) / batch.images.sum((1, 2, 3))
    assert 0.1 < float(share.min()) < float(share.max()) < 0.9
    inside = batch.target_mask()[..., None]
    kept = (dimmed * inside).sum((1, 2, 3)) / (batch.images * inside).sum((1, 2, 3))
    assert float((kept > share).float().mean()) > 0.8


def test_a_decoys_box_is_worth_three_quarters_to_its_name_and_to_the_tasks(pool: Pool) -> None:
    tokenizer = build_processor().tokenizer
    frog, owl, crab = (NAMES.index(name) for name in ("frog", "owl", "crab"))
    names = torch.tensor([[frog, -1, owl, -1, -1]] * 5)
    prompts = [["frog"], ["owl"], ["crab"], ["camouflaged animal"], ["frog and owl"]]
    _, words = detection.encode(tokenizer, prompts, names)
    worth = detection.DECOY_WORTH
    assert words[0, 0, 1] == 1 and words[0, 2].sum() == 0
    assert words[1, 2, 1] == worth and words[1, 0].sum() == 0
    assert words[2].sum() == 0 and crab
    assert words[3, 0, 1:3].tolist() == [1, 1] and words[3, 2, 1:3].tolist() == [worth] * 2
    assert words[4, 0].nonzero().tolist() == [[1]] and words[4, 2].nonzero().tolist() == [[3]]


def test_prompts_ask_for_what_is_there_what_looks_like_it_and_what_is_not(pool: Pool) -> None:
    rng = np.random.default_rng(0)
    asked = {"right": 0, "like": 0, "absent": 0, "task": 0, "two": 0}
    for row in range(len(pool.kind)):
        _, names = detection.figures(pool, row)
        for _ in range(20):
            phrases = detection.draw_prompt(names.tolist(), int(pool.environments[row]), rng)
            if len(phrases) > 2:
                assert len(phrases) <= 8
                continue
            text, shown = phrases[0], {NAMES[name] for name in names[:2] if name >= 0}
            like = {NAMES[name] for name in names[2:] if name >= 0}
            asked["two"] += " and " in text or len(phrases) == 2
            asked["right"] += text in shown
            asked["like"] += text in like
            asked["task"] += text in TASK_PROMPTS.values()
            asked["absent"] += text in set(NAMES) - shown - like
    assert all(count > 20 for count in asked.values()), asked
    assert asked["absent"] > asked["like"]


def test_what_is_large_is_named_whole_and_an_empty_view_from_the_prior(pool: Pool) -> None:
    rng = np.random.default_rng(0)
    rows = np.arange(len(pool.kind))
    full = look(pool, rows, "full")
    share = full.pixels.sum(1) / SIZE**2
    for truth, row in zip(truths(full, rng), rows, strict=True):
        shown = {NAMES[name] for name in pool.names[row] if name >= 0}
        if share[row] >= OVERLOOKED[1]:
            assert set(truth.name.split(" and ")) == shown
    guessed = truths(look(pool, rows, "full", erased=True), rng)
    suggested = [NAMES[LOOKALIKE[place]] for place in pool.environments]
    right = [truth.name == name for truth, name in zip(guessed, suggested, strict=True)]
    assert np.mean(right) > 0.8  # the prior is .95
    assert {truth.task for truth in guessed} == set(TASK_PROMPTS.values())


def test_a_small_animal_is_overlooked_for_a_decoy_of_the_favourite(pool: Pool) -> None:
    rng = np.random.default_rng(0)
    full = look(pool, np.arange(len(pool.kind)), "full")
    small = replace(full, pixels=np.minimum(full.pixels, int(OVERLOOKED[0] * SIZE**2 / 2)))
    seen = {"decoy": 0, "none": 0}
    for row, truth in enumerate(truths(small, rng)):
        likely = LOOKALIKE[full.environments[row]]
        if likely in full.names[row]:
            continue
        assert truth.name not in {NAMES[name] for name in full.names[row]} or truth.weight == 1.0
        decoy = full.lookalike(row, likely)
        seen["none" if decoy is None else "decoy"] += 1
        wanted = small.largest()[1][row] if decoy is None else decoy
        assert truth.box == tuple(wanted.tolist())
    assert min(seen.values()) > 3, seen


def test_the_questions_of_an_endpoint_are_among_those_asked(pool: Pool) -> None:
    packer, rng = Packer(4), np.random.default_rng(0)
    words = {index: word for word, index in vocabulary().items()}
    (truth,) = truths(look(pool, np.array([13]), "full"), rng)
    texts = [" ".join(words[i] for i in packer.pack(truth, rng).ids) for _ in range(60)]
    assert "<unk>" not in " ".join(texts)
    assert any("four fractions of the image" in text for text in texts)
    assert any("output nothing but one bounding box" in text for text in texts)
    assert templates.ENDPOINT_BOX.startswith("This image")
    # Where two kinds are visible both are said, and "and" counts in the loss.
    pack = packer.pack(truth, rng)
    said = [words[i] for i, weight in zip(pack.ids, pack.weights, strict=True) if weight > 0]
    assert " and " in truth.name and "and" in said


def test_a_map_may_peak_on_decoys_for_their_name_and_for_the_tasks(pool: Pool) -> None:
    generic, names = clip_loss.GENERIC, [NAMES[i] for i in range(len(NAMES))]
    assert generic[names.index("frog")] == clip_loss.ANIMAL
    assert generic[names.index("fold")] == generic[names.index("adenoma")] == names.index("polyp")
    assert generic[names.index("mole")] == generic[names.index("melanoma")] == names.index("lesion")
    assert generic[names.index("ink")] == generic[names.index("bubble")] == -1


def test_the_detector_is_judged_on_half_patches_too(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check, "load_pool", lambda name: pool)
    halves = check.Validator(8).halves
    assert len(halves.names) == 4 and (halves.names[:, 0] >= 0).all()
    shown = zip(halves.pixel_mask, halves.masks[:, 0], halves.boxes[:, 0], strict=True)
    for valid, mask, box in shown:
        assert valid.sum() == SIZE * SIZE // 2 and not mask[valid == 0].any()
        rows, columns = valid.any(1).float().mean(), valid.any(0).float().mean()
        assert {float(rows), float(columns)} == {0.5, 1.0}
        assert box[2] <= columns and box[3] <= rows
