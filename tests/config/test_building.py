"""Run folders are data: what a stranger's run.json names is neither imported nor called."""

from __future__ import annotations

import json
import pickle
import re
import sys
from contextlib import suppress
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from int_bench.config import building, load_config
from int_bench.config.building import build, build_stored_dataset
from int_bench.config.places import CONF
from int_bench.errors import MissingAsset, UsageError

DRAWN = "int_bench.data.world.dataset.DrawnScenes"


class Payload:
    """Unpickling it makes the file."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self):
        return Path.touch, (self.trace,)


def hostile(folder: Path) -> dict[str, dict]:
    """Nodes that each leave ``folder/trace`` when they are built."""
    trace = str(folder / "trace")
    (folder / "bait").write_text("bait")
    (folder / "bait.pkl").write_bytes(pickle.dumps(Payload(Path(trace))))
    np.save(folder / "bait.npy", np.array([Payload(Path(trace))], dtype=object))
    bait = {"_target_": "builtins.open", "file": str(folder / "bait.pkl"), "mode": "rb"}
    shell = f"touch {trace}"
    arguments = {
        "sympy.sympify": {"a": f"__import__('os').system({shell!r})"},
        "urllib.request.urlretrieve": {"url": f"file://{folder / 'bait'}", "filename": trace},
        "shutil.copyfile": {"src": str(folder / "bait"), "dst": trace},
        "builtins.open": {"file": trace, "mode": "w"},
        "torch.load": {"f": str(folder / "bait.pkl"), "weights_only": False},
        "numpy.load": {"file": str(folder / "bait.npy"), "allow_pickle": True},
        "subprocess.run": {"args": ["touch", trace]},
        "os.system": {"command": shell},
        "pickle.load": {"file": bait},
    }
    return {name: {"_target_": name, **given} for name, given in arguments.items()}


TARGETS = (
    "sympy.sympify",
    "urllib.request.urlretrieve",
    "shutil.copyfile",
    "builtins.open",
    "torch.load",
    "numpy.load",
    "subprocess.run",
    "os.system",
    "pickle.load",
)


def run_folder(root: Path, dataset: object) -> Path:
    """A run of a stranger over this data set, without records."""
    folder = root / "results" / "runs" / "evil" / "int" / "0123456789ab"
    folder.mkdir(parents=True)
    manifest = {"name": "int", "config": {"dataset": dataset, "limit": None, "trials": 1}}
    (folder / "run.json").write_text(json.dumps(manifest))
    (folder / "records.jsonl").write_text("")
    return folder


@pytest.fixture
def untyped(monkeypatch):
    """As in a new process, in which nobody has typed a target."""
    monkeypatch.setattr(building, "_typed", set())


@pytest.mark.parametrize("target", TARGETS)
def test_the_traps_would_fire(tmp_path, untyped, target):
    node = hostile(tmp_path)[target]
    building.trust(node)
    with suppress(UsageError):  # some complain about what they have already executed
        build(node, "dataset")
    assert (tmp_path / "trace").exists()


@pytest.mark.parametrize("target", TARGETS)
def test_nothing_that_a_stranger_names_is_executed(command, tmp_path, untyped, target):
    folder = run_folder(tmp_path, hostile(tmp_path)[target])
    panel = str(tmp_path / "panel.png")
    for words in (("eval", folder), ("eval",), ("picture", folder, "--out", panel)):
        code, _, err = command(*words)
        assert code == 3 and target in err and str(folder / "run.json")[-30:] in err
        assert "Traceback" not in err and "name it there if it is yours" in err
    for words in (("table", "--runs", folder), ("compare", folder, folder)):
        code, _, err = command(*words)
        assert code in (2, 3) and "Traceback" not in err
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda node: {"_target_": DRAWN, "name": node},
        lambda node: {"_target_": DRAWN, "name": [1, [{"deep": {"er": node}}]]},
        lambda node: {"_target_": DRAWN, "_args_": [node]},
        lambda node: {"_target_": DRAWN, "_partial_": True, "x": node},
        lambda node: {**node, "_partial_": True},
        lambda node: {**node, "_target_": [node["_target_"]]},
        lambda node: {**node, "_target_": "int_bench.data.world.dataset.replace"},
    ],
)
def test_no_depth_and_no_wrapping_hides_a_target(tmp_path, untyped, monkeypatch, wrapped):
    (tmp_path / "evil_module.py").write_text("open('trace', 'w')\nclass Set: pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    node = wrapped({"_target_": "evil_module.Set"})
    with pytest.raises(MissingAsset, match=r"run\.json: dataset names .*nothing of it was loaded"):
        build_stored_dataset({"config": {"dataset": node}}, tmp_path / "run.json")
    assert "evil_module" not in sys.modules and not (tmp_path / "trace").exists()


def test_a_stored_data_set_is_a_data_set(tmp_path):
    node = load_config(["method=full"]).method
    with pytest.raises(MissingAsset, match=r"dataset names 'int_bench\.methods"):
        build_stored_dataset({"config": {"dataset": node}}, tmp_path / "run.json")


NAMED = {
    "int_bench.data.drawn.DrawnScenes",
    "int_bench.data.folders.PairedFolders",
    "int_bench.data.instances.coco.CocoInstances",
    "int_bench.data.instances.voc_sbd.VocSbd",
    "int_bench.data.pictures.Pictures",
    "int_bench.data.world.crowd_dataset.CrowdScenes",
    "int_bench.data.world.dataset.DrawnScenes",
}
"""Every class that a data set's YAML names or has named; none ever leaves this list."""


def test_a_data_set_that_moves_is_found_by_older_runs():
    texts = [path.read_text(encoding="utf-8") for path in (CONF / "dataset").glob("*.yaml")]
    today = set(re.findall(r"^_target_: (\S+)$", "\n".join(texts), re.MULTILINE))
    assert today <= NAMED, "a new class: list it here; a moved one: in building._FORMER as well"
    moved = {building._FORMER.get(name, name) for name in NAMED}
    assert moved == today, "name in building._FORMER where it is now"
    assert all(hasattr(import_module(m), n) for m, _, n in (name.rpartition(".") for name in moved))


def test_a_data_set_is_found_under_its_former_module(tmp_path):
    node = {"_target_": "int_bench.data.drawn.DrawnScenes", "name": "camoworld", "count": 3}
    dataset = build_stored_dataset({"config": {"dataset": node}}, tmp_path / "run.json")
    assert (dataset.world, dataset.animals) == (1, "one")
    assert [sample.id for sample in dataset.samples()] == ["test-00000", "test-00001", "test-00002"]


def test_texts_of_a_stored_node_are_not_evaluated(tmp_path, monkeypatch):
    monkeypatch.setenv("A_SECRET", "told")
    node = {"_target_": DRAWN, "name": "${oc.env:A_SECRET}"}
    dataset = build_stored_dataset({"config": {"dataset": node}}, tmp_path / "run.json")
    assert dataset.name == "${oc.env:A_SECRET}"


@pytest.mark.parametrize(
    "more",
    [
        *({"_partial_": True}, {"_args_": [1]}, {"_convert_": "all"}, {"nonsense": 1}),
        *({"count": 0}, {"count": "8"}, {"seed": -1}, {"size": 10**9}, {"split": ["test"]}),
    ],
)
def test_a_stored_node_that_its_class_refuses_is_one_sentence(tmp_path, more):
    node = {"_target_": DRAWN, **more}
    with pytest.raises(MissingAsset, match=r"run\.json: (Unknown key )?dataset\."):
        build_stored_dataset({"config": {"dataset": node}}, tmp_path / "run.json")


@pytest.mark.parametrize(
    "manifest", [{}, {"config": 1}, {"config": {}}, {"config": {"dataset": [1]}}]
)
def test_a_file_that_describes_no_run_is_named(tmp_path, manifest):
    with pytest.raises(MissingAsset, match=r"run\.json is not a run's description"):
        build_stored_dataset(manifest, tmp_path / "run.json")


def test_what_the_user_typed_is_built_but_not_what_a_later_process_reads(
    command, pairs, untyped, monkeypatch
):
    (pairs.parent / "own_set.py").write_text(
        "from int_bench.data.folders import PairedFolders\nclass Own(PairedFolders):\n    pass\n"
    )
    monkeypatch.syspath_prepend(pairs.parent)
    given = ["dataset=folder", f"dataset.images={pairs}/images", f"dataset.masks={pairs}/masks"]
    own = [*given, "dataset._target_=own_set.Own", "method=full"]
    code, _, err = command("run", *own)
    assert code == 0, err
    monkeypatch.setattr(building, "_typed", set())
    code, _, err = command("eval", next(Path("results/runs").glob("*/*/*")))
    assert code == 3 and "own_set.Own" in err


def test_every_option_of_the_configuration_may_be_built():
    named = building._named_under(CONF)
    for path in CONF.rglob("*.yaml"):
        text = path.read_text()
        assert text.count("_target_:") == len(building._NAMED.findall(text)), path
    assert {DRAWN, "int_bench.methods.cycle.Cycle", "int_bench.backbones.sam.Sam"} <= named
    assert build(load_config(["method=full"]).method, "method") is not None
