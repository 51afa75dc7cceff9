"""The HTML report of a large traced run: processor time, size, and how fast it opens and sorts.

    OMP_NUM_THREADS=1 python -m scripts.bench.page [--images N]

The run is made here, of images as large as photographs: every image has masks, soft masks and a
trace of five iterations with nine patches and six names each. Opening and sorting are measured in
headless chromium, where it and its driver are installed: the bars are on the busy time of the
page's thread, since the clock also shows what else the machine does.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage

from int_bench.config import load_config
from int_bench.core.details import CandidateDetails, Details, MaskDetails, PatchDetails
from int_bench.core.geometry import Grid
from int_bench.core.types import Iteration, Masks, Prediction
from int_bench.data.world.scenes import draw
from int_bench.methods.tracing import patch_box, small_mask, small_view
from int_bench.report.html.maker import MIB
from int_bench.report.html.page import gather
from int_bench.report.html.render import render
from int_bench.runs.kept.encoding import encoded, places
from int_bench.runs.prepare import prepare
from int_bench.runs.records import OK, Record, Step
from int_bench.runs.variants import RunRequest
from scripts.bench.report import ROOT, Row, finish

NAMES = ("moth", "frog", "snake", "owl", "crab", "spider")
_DISTINCT = 8
"""Pictures that the images are made of, each shown many times under another name."""


def predict(image: np.ndarray, truth: np.ndarray, rng: np.random.Generator) -> Prediction:
    """Five iterations as INT would leave them, each with all that a trace holds."""
    size = (truth.shape[0], truth.shape[1])
    patches = Grid().cut(size)
    iterations = []
    for step, mask in enumerate(np.roll(truth, 9 * step, axis=1) for step in range(5)):
        soft = np.clip(mask * 0.8 + rng.random(size) * 0.1, 0, 1).astype(np.float32)
        pictures = {
            "view": small_view(image),
            "hole": small_mask(mask, 320),
            "erased": small_view(np.where(mask[..., None], 90, image).astype(np.uint8)),
            **{f"mask_{p.name}": small_mask(soft[p.y0 : p.y1, p.x0 : p.x1]) for p in patches},
        }
        points = np.column_stack([rng.integers(0, min(size), (30, 2)), np.arange(30) % 2])
        details = Details(
            patches=[PatchDetails(patch=p.name, box_image=patch_box(p)) for p in patches],
            candidates=[
                CandidateDetails(
                    name=name,
                    patches=[patches[i].name],
                    difference=0.5 / (i + 1),
                    weight=1 / (i + 2),
                    before=rng.random(len(patches)).tolist(),
                    after=rng.random(len(patches)).tolist(),
                )
                for i, name in enumerate(NAMES)
            ],
            masks=[
                MaskDetails(
                    patch=p.name,
                    boxes_image=[patch_box(p)],
                    points_image=points.tolist(),
                    similarity=0.3,
                    weight=0.5,
                )
                for p in patches
            ],
            costs=[float(100 - step)],
        )
        iterations.append(Iteration(Masks(mask, soft), NAMES[step], None, details, pictures))
    return Prediction(tuple(iterations), (0, 0, 0, 0, 4))


def make_run(folder: Path, count: int, size: tuple[int, int]) -> Path:
    """A scored run of ``count`` images of ``size`` (height, width); its folder."""
    rng = np.random.default_rng(0)
    scenes = draw("test", tuple(range(_DISTINCT)), world=2)
    for part in ("images", "masks"):
        (folder / part).mkdir()
    predictions = []
    for number in range(_DISTINCT):
        image = PillowImage.fromarray(scenes.images[number]).resize(size[::-1])
        truth = PillowImage.fromarray(scenes.masks[number].any(axis=0)).resize(size[::-1])
        image.save(folder / f"{number}.jpg", quality=92)
        truth.save(folder / f"{number}.png")
        predictions.append(predict(np.asarray(image), np.asarray(truth), rng))
    for number in range(count):
        for part, suffix in (("images", "jpg"), ("masks", "png")):
            source = folder / f"{number % _DISTINCT}.{suffix}"
            (folder / part / f"{number:05d}.{suffix}").hardlink_to(source)
    words = ["dataset=folder", f"dataset.images={folder / 'images'}", "keep=trace", "method=int"]
    words += [f"dataset.masks={folder / 'masks'}", f"out={folder / 'runs'}"]
    run = prepare([RunRequest(load_config(words))])[0]
    files = [encoded(prediction, "trace") for prediction in predictions]
    with run.open({}) as store:
        items = []
        for number in range(count):
            steps = tuple(
                Step(i.prompt, None, {**i.details, "pictures": places(i.pictures)})
                for i in predictions[number % _DISTINCT].iterations
            )
            record = Record(f"{number:05d}", 0, OK, size=size, prompt=steps[-1].prompt,
                            chosen=(0, 0, 0, 0, 4), iterations=steps)  # fmt: skip
            items.append((record, files[number % _DISTINCT]))
        for first in range(0, count, 50):
            store.commit_all(items[first : first + 50])
    subprocess.run([sys.executable, "-m", "int_bench", "eval", run.path], check=True,
                   stdout=subprocess.DEVNULL)  # fmt: skip
    return run.path


def watch(path: Path) -> dict[str, float]:
    """Until the page's images are shown, and until they are sorted anew: thread and clock."""
    from selenium import webdriver
    from selenium.webdriver.chrome.options import Options
    from selenium.webdriver.chrome.service import Service

    options = Options()
    options.binary_location = str(shutil.which("chromium"))
    for word in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage"):
        options.add_argument(word)
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    drawn = "return new Promise((done) => requestAnimationFrame(() => setTimeout(done)))"

    def busy() -> float:
        metrics = driver.execute_cdp_cmd("Performance.getMetrics", {})["metrics"]
        return float(next(m["value"] for m in metrics if m["name"] == "TaskDuration"))

    try:
        driver.get("about:blank")
        driver.execute_cdp_cmd("Performance.enable", {"timeDomain": "threadTicks"})
        started = time.perf_counter()
        driver.get(f"{path.absolute().as_uri()}#images")
        driver.execute_script(drawn)
        opened, first = time.perf_counter(), busy()
        driver.execute_script(
            "const s = document.querySelector('#sort'); s.value = 'best';"
            f"s.dispatchEvent(new Event('change')); {drawn}"
        )
        ordered = time.perf_counter()
        return {
            "opens": first,
            "opens, by the clock": opened - started,
            "sorts": busy() - first,
            "sorts, by the clock": ordered - opened,
        }
    finally:
        driver.quit()


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; 1 if a bar is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", type=int, default=250)
    parser.add_argument("--size", type=int, nargs=2, default=(480, 640), help="height and width")
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "bench")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as scratch:
        run = make_run(Path(scratch), given.images, tuple(given.size))
        page = Path(scratch) / "page.html"
        started = time.process_time()
        page.write_text(render(gather([run])), encoding="utf-8")
        seconds = time.process_time() - started
        rows = [
            Row("processor time of the page", seconds, "s", "<=", 60),
            Row("size of the page", page.stat().st_size / MIB, "MiB", "<=", 20),
        ]
        if shutil.which("chromium") and shutil.which("chromedriver"):
            rows += [
                Row(what, seconds, "s", "<=", None if "clock" in what else 1)
                for what, seconds in watch(page).items()
            ]
    return finish("page", rows, {"images": given.images, "size": list(given.size)}, given.out)


if __name__ == "__main__":
    sys.exit(main())
