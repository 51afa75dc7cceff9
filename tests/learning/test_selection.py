"""Training of a selector: small, whole, resumed bit for bit, and what its adapter selects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch

from int_bench.backbones.common import adapter
from int_bench.backbones.selector import Selector
from int_bench.backbones.selector.options import RELEASED, Choices, Pnpg, Prm, Psm
from int_bench.core.requests import ObjectBag, Proposals, Segmentation, SelectProposal
from int_bench.core.types import Picture
from int_bench.data.subset import Part
from int_bench.data.world.crowd_dataset import CrowdScenes
from int_bench.data.world.dataset import DrawnScenes
from int_bench.errors import MissingAsset, SampleError, UsageError
from int_bench.learning.loop import fit
from int_bench.learning.propose import propose
from int_bench.learning.selection import SelectionTraining
from int_bench.learning.training import Fitting
from int_bench.methods.sapnet.proposing import Proposing

SCENES = CrowdScenes(split="train", count=3, size=64)
SMALL = SelectionTraining(
    steps=4, batch=2, width=16, pnpg=Pnpg(background=8), prm=Prm(start_step=1)
)


class Squares:
    """Proposes squares of three sizes around the point, or the box in place of the second."""

    identity: ClassVar[dict[str, str]] = {"class": "Squares"}

    def __init__(self, most: int | None = None) -> None:
        self.calls, self.most = 0, most

    def proposals(self, requests: Sequence[Proposals]) -> list[tuple[Segmentation, ...]]:
        self.calls += 1
        if self.most is not None and self.calls > self.most:
            raise KeyboardInterrupt
        return [tuple(self._squares(request)) for request in requests]

    @staticmethod
    def _squares(request: Proposals) -> list[Segmentation]:
        height, width = request.image.size
        rows, columns = np.mgrid[0:height, 0:width] + 0.5
        (point,) = request.points
        away = np.maximum(abs(rows - point.y), abs(columns - point.x))
        return [
            Segmentation(np.where(away < radius, 1, -1).astype(np.float32), 1 - radius / 100)
            for radius in (3.0, 8.0, 20.0)
        ]


def begin(training: SelectionTraining, scratch: Path) -> Fitting:
    fitting = training.begin(SCENES, SCENES, {"segmenter": Squares()}, scratch)  # type: ignore[dict-item]
    return replace(fitting, recipe=replace(fitting.recipe, cache=scratch, save_every=0.0))


def trained(training: SelectionTraining, place: Path) -> Path:
    fitting = begin(training, place)
    fit(fitting.model, fitting.recipe, fitting.loss)
    folder = place / "final"
    folder.mkdir()
    fitting.export(folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(SMALL, tmp_path_factory.mktemp("whole"))


def test_stopped_after_any_step_it_ends_with_the_same_weights(folder, tmp_path):
    fitting = begin(SMALL, tmp_path)
    calls = 0

    def stopping(generator):
        nonlocal calls
        calls += 1
        if calls in (2, 4):
            raise KeyboardInterrupt
        return fitting.loss(generator)

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            fit(fitting.model, fitting.recipe, stopping)
        fitting = begin(SMALL, tmp_path)
    fit(fitting.model, fitting.recipe, fitting.loss)
    (tmp_path / "final").mkdir()
    fitting.export(tmp_path / "final")
    name = adapter.WEIGHTS_FILE
    assert (tmp_path / "final" / name).read_bytes() == (folder / name).read_bytes()


def test_the_second_stage_waits_for_its_step(tmp_path):
    fitting = begin(replace(SMALL, prm=Prm(start_step=2)), tmp_path)
    told = [set(fitting.loss(np.random.default_rng(step))[1]) for step in range(4)]
    assert told == [{"psm"}] * 2 + [{"psm", "positive", "negative"}] * 2


@pytest.mark.parametrize(
    "changed",
    [
        {"psm": Psm(pdg="off"), "prm": Prm(enabled=False)},
        {"psm": Psm(exponent=1.0, overlap="box"), "pnpg": Pnpg(ppg="off", npg="none")},
        {"psm": RELEASED.psm, "pnpg": RELEASED.pnpg, "prm": RELEASED.prm, "bms": RELEASED.bms},
    ],
    ids=["mil_single", "no_pnpg", "released"],
)
def test_every_variant_trains_and_selects(changed, tmp_path):
    training = replace(SMALL, steps=1, **changed)
    final = trained(training, tmp_path)
    selector = Selector(str(final), device="cpu")
    (selections,) = selector.select([request()])
    assert selector.loaded.choices == training.choices
    assert len(selections) == 2
    assert all(0 <= selection.index < 6 for selection in selections)


def test_reports_measure_the_training_objects(tmp_path):
    fitting = begin(SMALL, tmp_path)
    assert fitting.validate is not None
    with torch.no_grad():
        figures = fitting.validate()
    assert set(figures) == {"bags", "mIoU_box"}
    assert 0 < figures["mIoU_box"] < 1


def request(category: str | None = None) -> SelectProposal:
    """The two first objects of the first scene with squares around their points."""
    first = SCENES.samples()[0]
    image = Picture(SCENES.load_image(first))
    bags = []
    for instance in SCENES.objects(first)[:2]:
        x, y = instance.point
        boxes = [(x - r, y - r, x + r, y + r) for r in (3.0, 5.0, 8.0, 12.0, 20.0)]
        bags.append(ObjectBag(category or instance.category, instance.point, (*boxes, None)))
    return SelectProposal(image, tuple(bags))


def test_a_proposal_without_a_mask_is_not_selected(folder):
    selector = Selector(str(folder), device="cpu")
    answers = selector.select([request(), request(), SelectProposal(request().image, ())])
    assert answers[0] == answers[1]
    assert answers[2] == ()
    assert all(s.index != 5 and s.scores[5] == 0 and s.psm != 5 for s in answers[0])
    assert selector.counters == {"images": 3, "objects": 4}


def test_a_class_that_was_not_trained_is_a_sentence(folder):
    with pytest.raises(SampleError, match="not trained on the class 'cat'; it knows red green"):
        Selector(str(folder), device="cpu").select([request("cat")])


def test_an_adapter_of_another_kind_is_refused(tmp_path):
    adapter.write(tmp_path, "sam_plm", "none", {}, {"a": torch.zeros(1)})
    with pytest.raises(MissingAsset, match="is a sam_plm, and this model takes a sapnet_selector"):
        Selector(str(tmp_path), device="cpu").select([request()])


def test_an_adapter_that_does_not_say_its_choices_is_refused(tmp_path):
    adapter.write(tmp_path, "sapnet_selector", "none", {"width": 16}, {"a": torch.zeros(1)})
    with pytest.raises(MissingAsset, match="does not say what its selector was trained as"):
        Selector(str(tmp_path), device="cpu").select([request()])


def test_choices_come_back_from_an_adapters_description():
    import json

    assert Choices.of(json.loads(json.dumps(RELEASED.as_json()))) == RELEASED


def test_bags_that_were_interrupted_are_the_same_in_the_end(tmp_path):
    scenes = CrowdScenes(split="train", count=20, size=32)
    whole = propose(scenes, Squares(), Proposing(), tmp_path / "whole", lambda text: None)
    with pytest.raises(KeyboardInterrupt):
        propose(scenes, Squares(most=1), Proposing(), tmp_path / "cut", lambda text: None)
    squares = Squares()
    again = propose(scenes, squares, Proposing(), tmp_path / "cut", lambda text: None)
    assert squares.calls == 2, "what was made is not made again"
    assert (again.folder / "bags.jsonl").read_bytes() == (whole.folder / "bags.jsonl").read_bytes()
    assert [image.sample for image in again] == [f"train-{n:05d}-0" for n in range(20)]


@pytest.mark.parametrize("limit", [None, 2])
def test_data_without_objects_is_refused(tmp_path, limit):
    plain = DrawnScenes(name="plain", count=4)
    data = plain if limit is None else Part(plain, limit)
    with pytest.raises(UsageError, match="plain knows no objects"):
        propose(data, Squares(), Proposing(), tmp_path, print)
