"""Known answers on real maps: the COD10K authors' MATLAB toolbox, and PySODMetrics' own record.

The maps are no part of the project; INT_BENCH_REAL names the folder that holds them.
"""

import dataclasses
import json
import os
from functools import cache
from pathlib import Path

import numpy as np
import py_sod_metrics
import pytest
from PIL import Image

from int_bench.data.folders import PairedFolders
from int_bench.data.images import read_map
from int_bench.metrics.rules import FAMILY, NATIVE
from int_bench.metrics.summary import aggregate

REAL = Path(os.environ.get("INT_BENCH_REAL", Path(__file__).parents[3] / "shared" / "real"))
VECTORS = REAL / "metric_vectors"
pytestmark = pytest.mark.skipif(not VECTORS.is_dir(), reason="INT_BENCH_REAL names no real maps")

NAMES = {
    "Smeasure": "S",
    "wFmeasure": "wF",
    "MAE": "MAE",
    "adpEm": "adpE",
    "meanEm": "meanE",
    "maxEm": "maxE",
    "adpFm": "adpF",
    "meanFm": "meanF",
    "maxFm": "maxF",
}
MATLAB_NAMES = {
    "Sm": "S",
    "wFm": "wF",
    "mae": "MAE",
    "adpEm": "adpE",
    "meanEm": "meanE",
    "maxEm": "maxE",
    "adpFm": "adpF",
    "meanFm": "meanF",
    "maxFm": "maxF",
}
MATLAB_TOLERANCE = {"S": 1e-9, "MAE": 1e-9, "adpE": 1e-9, "adpF": 1e-9, "wF": 1e-8}
"""Curve values (mean, max of F and E) differ by the convention of the threshold: 5e-5."""


@cache
def scores(folder: str, beta2: float = 1.0):
    """Measures by id of every prediction of ``folder`` that has ground truth."""
    protocol = dataclasses.replace(NATIVE, weighted_beta2=beta2)
    truths = PairedFolders(folder, images=None, masks=str(REAL / folder / "masks"))
    maps = {path.stem: path for path in (REAL / folder / "preds").iterdir()}
    return {
        sample.id: protocol.score(read_map(maps[sample.id]), truths.load_mask(sample)).measures
        for sample in truths.samples()
        if sample.id in maps
    }


@cache
def expected(key: str):
    return json.loads((VECTORS / "expected_pysodmetrics.json").read_text())[key]


@pytest.mark.parametrize("matlab, ours", MATLAB_NAMES.items())
def test_agrees_with_the_matlab_toolbox(matlab, ours):
    stored = REAL / "cod10k_codtoolbox" / "expected" / "2020-CVPR-SINet.json"
    answer = json.loads(stored.read_text())
    found = aggregate([list(scores("cod10k_codtoolbox").values())])[ours]
    assert found == pytest.approx(answer[matlab], abs=MATLAB_TOLERANCE.get(ours, 5e-5), rel=0)


SETS = {
    "cod10k_codtoolbox": ("cod10k_codtoolbox", ""),
    "kvasir": ("kvasir", ""),
    "cvc-colondb": ("cvc-colondb", ""),
    "isic2017": ("isic2017", ""),
    "pysodmetrics": ("metric_vectors/pysodmetrics", ".png"),
}


@pytest.mark.parametrize("key", SETS)
def test_every_stored_value_of_every_image(key):
    folder, suffix = SETS[key]
    found = scores(folder)
    stored = {name.removesuffix(suffix): row for name, row in expected(key)["per_image"].items()}
    assert set(found) == set(stored)
    for sample, measures in found.items():
        for theirs, ours in NAMES.items():
            assert measures.values[ours] == pytest.approx(
                stored[sample][theirs], abs=1e-12, rel=0
            ), (sample, ours)


@pytest.mark.parametrize("key", SETS)
def test_every_stored_mean_with_maxima_of_the_mean_curve(key):
    found = aggregate([list(scores(SETS[key][0]).values())])
    for theirs, ours in NAMES.items():
        assert found[ours] == pytest.approx(expected(key)["mean"][theirs], abs=1e-12, rel=0), ours


@pytest.mark.parametrize("key", SETS)
def test_weighted_f_of_the_predecessors(key):
    found = aggregate([list(scores(SETS[key][0], beta2=0.3).values())])["wF"]
    assert found == pytest.approx(expected(key)["mean"]["wFmeasure_beta2_0p3"], abs=1e-12, rel=0)


def test_the_maps_of_the_s_measure_demo():
    rows = expected("smeasure_demo")["per_image"]
    assert len(rows) == 12
    for name, row in rows.items():
        prediction = read_map(VECTORS / "smeasure_demo" / "FG" / name)
        truth = np.asarray(
            Image.open(VECTORS / "smeasure_demo" / "GT" / f"{name.split('_')[0]}.png")
        )
        measures = NATIVE.score(prediction, truth.reshape(truth.shape[:2]) > 128).measures
        for theirs, ours in NAMES.items():
            assert measures.values[ours] == pytest.approx(row[theirs], abs=1e-12, rel=0), name


def test_e_measure_demo():
    folder = VECTORS / "emeasure_demo"
    prediction, truth = (
        np.asarray(Image.open(folder / name).convert("L")) > 128
        for name in ("Foreground Map.png", "Ground Truth.png")
    )
    # The mean over thresholds of a hard mask: 255 times its own value, once that of all-foreground.
    mean = NATIVE.score(prediction, truth).measures.values["meanE"]
    assert (256 * mean - 0.25) / 255 == pytest.approx(0.860563391475622, abs=2e-6)


@pytest.mark.parametrize("name", ["cju414lf2l1lt0801rl3hjllj", "cju43eigtm6ev0801mv0m96t1"])
def test_family_equals_the_library_on_pillows_nearest_resize(name):
    """The family protocol, recomputed with Pillow and PySODMetrics called directly."""
    prediction = Image.open(REAL / "kvasir" / "preds" / f"{name}.png").convert("L")
    truth = Image.open(REAL / "kvasir" / "masks" / f"{name}.jpg").convert("L")
    square = [
        np.asarray(file.resize((1024, 1024), Image.Resampling.NEAREST))
        for file in (prediction, truth)
    ]
    values = FAMILY.score(np.asarray(prediction), np.asarray(truth) > 128).measures.values
    steps = {
        "wF": (py_sod_metrics.WeightedFmeasure(beta=0.3), lambda r: r["wfm"]),
        "MAE": (py_sod_metrics.MAE(), lambda r: r["mae"]),
        "S": (py_sod_metrics.Smeasure(), lambda r: r["sm"]),
        "meanE": (py_sod_metrics.Emeasure(), lambda r: r["em"]["curve"].mean()),
    }
    for variant, (metric, read) in steps.items():
        metric.step(*square)
        assert values[variant] == pytest.approx(read(metric.get_results()), abs=1e-12, rel=0)
