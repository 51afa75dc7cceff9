"""The Python API: nothing heavy on import, the sentences of the command line, what a run gives."""

from __future__ import annotations

import io
import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import int_bench
from int_bench.api.words import words
from int_bench.data.world.scenes import draw
from int_bench.errors import MissingAsset, SampleError, UsageError


def imported_by(code: str) -> set[str]:
    script = f"{code}\nimport sys, json\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    )
    return set(json.loads(done.stdout))


def test_importing_reads_neither_torch_nor_hydra():
    heavy = {"torch", "hydra", "omegaconf", "numpy", "PIL", "rich", "typer", "int_bench.config"}
    code = "import int_bench; assert int_bench.__version__; assert 'load' in dir(int_bench)"
    assert not imported_by(code) & heavy


def test_a_method_without_models_reads_no_torch():
    code = (
        "import int_bench, numpy as np\n"
        "image = np.zeros((8, 12, 3), np.uint8)\n"
        "assert int_bench.load('method=full').segment(image).mask.all()"
    )
    assert "torch" not in imported_by(code)


class TestTheSentences:
    def test_a_wrong_word_is_the_command_lines_sentence(self, command):
        with pytest.raises(UsageError) as raised:
            int_bench.load("method=nope")
        code, _, err = command("run", "method=nope")
        assert code == 2 and str(raised.value) in err

    def test_a_name_that_is_not_offered(self):
        with pytest.raises(AttributeError, match="has no attribute 'lood'"):
            int_bench.lood  # noqa: B018

    @pytest.mark.parametrize(
        ("image", "error"),
        [
            ("absent.jpg", MissingAsset),
            (np.zeros((4, 4, 3), np.float32), UsageError),
            (np.zeros((4, 4, 4), np.uint8), UsageError),
            (np.zeros((0, 4, 3), np.uint8), UsageError),
            ("text.png", SampleError),
        ],
    )
    def test_an_image_that_is_none(self, here, image, error):
        (here / "text.png").write_text("no picture")
        with pytest.raises(error):
            int_bench.load("method=full").segment(image)

    def test_an_oracle_has_no_truth_to_read(self):
        with pytest.raises(UsageError, match="reads the ground truth"):
            int_bench.load("method=oracle_name")

    def test_a_method_that_asks_a_model_that_is_not_there(self):
        method = int_bench.load("method=grounding_sam").method
        with pytest.raises(UsageError, match="asks detector, segmenter, which method=full does"):
            int_bench.load("method=full").with_method(method)

    def test_a_keyword_of_no_known_type(self):
        with pytest.raises(UsageError, match="seed cannot be a dict"):
            words((), {"seed": {}})  # type: ignore[dict-item]

    def test_an_override_that_is_no_text(self):
        with pytest.raises(UsageError, match="3 is not KEY=VALUE"):
            int_bench.load(3)

    def test_a_mask_that_cannot_be_written(self, here):
        (here / "file").touch()
        result = int_bench.load("method=full").segment(np.zeros((4, 4, 3), np.uint8))
        assert result.why().splitlines()[1] == "iteration 1 (chosen): (no name)"
        with pytest.raises(UsageError, match=r"mask\.png cannot be written"):
            result.save("file/mask.png")


def test_keywords_are_overrides():
    given = {"task": "cod", "limit": None, "keep": "soft", "dataset.images": ["a", "b"]}
    assert words(("x=1",), given) == [
        "x=1", "task=cod", "limit=null", "keep=soft", "dataset.images=[a,b]",
    ]  # fmt: skip
    assert int_bench.load("method=full", task="a shadow", seed=3).config.task.prompt == "a shadow"


def test_every_kind_of_image_is_the_same_image(here):
    pixels = np.random.default_rng(0).integers(0, 255, (6, 9, 3), dtype=np.uint8)
    Image.fromarray(pixels).save("x.png")
    model = int_bench.load("method=centre_box")
    results = [model.segment(image) for image in ("x.png", pixels, Image.open("x.png"))]
    for result in results:
        assert np.array_equal(result.image, pixels) and result.mask.shape == (6, 9)
    assert [result.name for result in results] == ["x", "image", "image"]
    assert model.segment(pixels[..., 0]).mask.sum() == results[0].mask.sum()


def test_one_image_is_what_a_run_gives_and_shows_itself(command, here):
    """On the shipped models, bit for bit."""
    code, out, _ = command("run", "method.iterations=2", "--limit", "1", "--json")
    (stored,) = (here / json.loads(out)["run_dir"]).glob("masks/0/final/*.png")
    assert code == 0
    result = int_bench.load("method.iterations=2").segment(
        draw("demo", range(1), animals="mixed", world=2).images[0], name=stored.stem
    )
    assert np.array_equal(result.mask, np.asarray(Image.open(stored)) > 0)
    assert result.soft.dtype == np.float32 and 0 <= result.soft.min() <= result.soft.max() <= 1
    assert len(result.iterations) == 2 and len(result.boxes) > 1
    assert all(0 <= value <= 128 for box in result.boxes for value in box)
    lines = result.why().splitlines()
    assert lines[0] == f"camouflaged animal in {stored.stem}: {result.prompt}"
    chosen = result.prediction.chosen[-1] + 1
    assert f"iteration {chosen} (chosen): {result.prompt}" in lines
    assert "erasing lowers its probability by" in result.why()
    assert Image.open(io.BytesIO(result._repr_png_())).width > 1000
    assert "data:image/png;base64," in result._repr_html_()
    assert np.array_equal(np.asarray(Image.open(result.save("mask.png"))) > 0, result.mask)
