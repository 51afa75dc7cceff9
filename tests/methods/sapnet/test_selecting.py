"""Which proposal becomes the mask, on models that answer from a list."""

from collections.abc import Generator
from typing import Any

import numpy as np
import pytest

from int_bench.core.instances import Instance
from int_bench.core.protocols import Gather
from int_bench.core.requests import Proposals, Segmentation, Selection, SelectProposal
from int_bench.core.types import Picture, Sample
from int_bench.errors import SampleError, UsageError
from int_bench.methods.sapnet.proposing import Proposing
from int_bench.methods.sapnet.selecting import BestProposal, SelectedProposal, TopProposal

SIZE = (20, 30)
SIX = Proposing()


def rectangle(x0: int, y0: int, x1: int, y1: int) -> np.ndarray:
    mask = np.zeros(SIZE, dtype=bool)
    mask[y0:y1, x0:x1] = True
    return mask


def instance(name: str, x: int) -> Instance:
    box = (float(x), 5.0, x + 8.0, 15.0)
    return Instance(name, "frog", rectangle(x, 5, x + 8, 15), box, (x + 4.0, 10.0))


LEFT, RIGHT = instance("s-0", 2), instance("s-1", 18)


def sample(*objects: Instance) -> Sample:
    image = Picture(np.zeros((*SIZE, 3), dtype=np.uint8))
    return Sample(objects[0].id if objects else "x", image, "animal", 0, objects=objects)


class Models:
    """Proposes a part, the whole and a group around the point; selects what it is told."""

    def __init__(self, selected: int = 0, psm: int = 0) -> None:
        self.asked: list[Any] = []
        self.selected, self.psm = selected, psm

    def __call__(self, request: Any) -> Any:
        return self._answered(request)

    def _answered(self, request: Any) -> Any:
        async def answer() -> Any:
            self.asked.append(request)
            if isinstance(request, Proposals):
                x = int(request.points[0].x)
                shapes = ((x - 1, 9, x + 1, 11), (x - 4, 5, x + 4, 15), (0, 4, 30, 16))
                masks = [np.where(rectangle(*s), 1, -1).astype(np.float32) for s in shapes]
                return tuple(
                    Segmentation(m, iou) for m, iou in zip(masks, (0.9, 0.8, 0.7), strict=True)
                )
            scores = tuple(0.1 * n for n in range(6))
            one = Selection(self.selected, scores, (1.0, 2.0, 3.0, 4.0), self.psm)
            return (one,) * len(request.objects)

        return answer()


def run(method: Any, item: Sample, models: Models) -> Any:
    """Drive a method without a broker: what it gathers runs one after the other."""

    def drive(coroutine: Generator[Any, Any, Any]) -> Any:
        value: Any = None
        while True:
            try:
                waiting = coroutine.send(value)
            except StopIteration as stop:
                return stop.value
            assert isinstance(waiting, Gather)
            value = [drive(part) for part in waiting.awaitables]  # type: ignore[arg-type]

    return drive(method.segment(item, models))


def test_top_is_what_sam_is_surest_of_from_the_point_alone():
    models = Models()
    final = run(TopProposal(), sample(LEFT, RIGHT), models).final
    assert np.count_nonzero(final.masks.hard) == 4
    assert len(models.asked) == 1
    assert models.asked[0].box is None
    assert final.box_image == (5.0, 9.0, 7.0, 11.0)


def test_best_is_the_proposal_nearest_to_the_truth():
    final = run(BestProposal(SIX), sample(RIGHT, LEFT), Models()).final
    assert np.array_equal(final.masks.hard, RIGHT.mask)
    bag = final.details["detections"]
    assert [d["score"] for d in bag] == [0.9, 0.8, 0.7] * 2 and all(d["area"] > 0 for d in bag)


@pytest.mark.parametrize(("stage", "index"), [("last", 5), ("psm", 1)])
def test_the_selectors_proposal_of_the_stage_is_taken(stage, index):
    models = Models(selected=5, psm=1)
    final = run(SelectedProposal(SIX, stage), sample(LEFT, RIGHT), models).final
    expected = {1: LEFT.mask, 5: rectangle(0, 4, 30, 16)}[index]
    assert np.array_equal(final.masks.hard, expected)
    box = (2.0, 5.0, 10.0, 15.0) if stage == "psm" else (1.0, 2.0, 3.0, 4.0)
    assert final.box_image == box


def test_all_objects_of_an_image_ask_the_selector_the_same():
    requests = []
    for objects in ((LEFT, RIGHT), (RIGHT, LEFT)):
        models = Models()
        run(SelectedProposal(SIX), sample(*objects), models)
        requests += [r for r in models.asked if isinstance(r, SelectProposal)]
    assert len(requests) == 2
    assert requests[0] == requests[1]
    assert [item.point for item in requests[0].objects] == [LEFT.point, RIGHT.point]
    assert len(requests[0].objects[0].boxes) == 6


def test_a_bag_of_six_is_the_point_and_the_point_with_a_shaken_box():
    first, second = SIX.requests(sample(LEFT).image, LEFT)
    assert first.box is None
    assert second.points == first.points
    assert second.box != LEFT.box
    assert np.abs(np.subtract(second.box, LEFT.box)).max() < 0.15 * 5 * 10
    assert SIX.requests(sample(LEFT).image, LEFT)[1] == second, "keyed by the object"
    moved = Proposing(seed=1).requests(sample(LEFT).image, LEFT)[1]
    assert moved.box != second.box
    still = Proposing(sigma=0.0).requests(sample(LEFT).image, LEFT)[1]
    assert still.box == LEFT.box


def test_a_bag_with_boxes_needs_an_enhancer():
    with pytest.raises(UsageError, match=r"enhancer=jitter.* or bag=point3"):
        Proposing("point3_box3", "none")


@pytest.mark.parametrize("method", [TopProposal(), BestProposal(SIX), SelectedProposal(SIX)])
def test_a_sample_that_is_no_object_is_refused(method):
    with pytest.raises(SampleError, match="no annotated object"):
        run(method, sample(), Models())
