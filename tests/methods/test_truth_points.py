"""Point prompts of the truth: where they lie, and what is made of them."""

import numpy as np
import pytest

from int_bench.core.instances import Instance
from int_bench.core.requests import Segment
from int_bench.errors import SampleError
from tests.fakes import red, scene
from tests.methods.running import method, of, run, sample


def clicked(*overrides):
    prediction, asked = run(method("sam_point", *overrides), one=sample(truth=red(scene())))
    return prediction, of(Segment, asked)


def test_the_first_point_is_final_and_the_others_lie_on_the_object():
    prediction, asked = clicked()
    assert len(asked) == len(prediction.iterations) == 5
    assert prediction.chosen == (0,) * 5
    assert all(s.box is None and len(s.points) == 1 and not s.multimask for s in asked)
    places = [(int(s.points[0].x), int(s.points[0].y)) for s in asked]
    assert all(red(scene())[y, x] for x, y in places)
    assert len(set(places)) > 2
    told = prediction.iterations[3].details["masks"][0]["points_image"]
    assert told == [[asked[3].points[0].x, asked[3].points[0].y, 1.0]]


def test_points_are_keyed_and_a_prefix_is_stable():
    first, second = clicked()[1], clicked()[1]
    assert [s.points for s in first] == [s.points for s in second]
    assert [s.points for s in clicked("method.positions=2")[1]] == [s.points for s in first[:2]]


def test_the_annotated_point_comes_first_and_the_object_is_clicked_not_its_group():
    pixels = scene()
    own = np.zeros(pixels.shape[:2], dtype=bool)
    own[9:11, 13:15] = True
    thing = Instance("a", "frog", own, (13, 9, 15, 11), (14.25, 9.75))
    one = sample(truth=red(pixels))
    object.__setattr__(one, "objects", (thing,))
    _, asked = run(method("sam_point"), one=one)
    points = [s.points[0] for s in of(Segment, asked)]
    assert (points[0].x, points[0].y) == (14.25, 9.75)
    assert all(own[int(p.y), int(p.x)] for p in points)


@pytest.mark.parametrize("name", ["sam_point", "plm_point"])
def test_they_read_the_truth_and_fail_without_one(name):
    assert method(name).wants_truth
    with pytest.raises(SampleError, match="Sample one has no"):
        run(method(name), one=sample())
