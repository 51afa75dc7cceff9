"""Configuration from outside the package: folders of the user's and plug-ins."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

from int_bench.config import load_config, places
from int_bench.core import named_folders
from int_bench.errors import Exit, MissingAsset, UsageError

PLURAL = """
# The task-generic prompt in the plural, from beside the YAML file.
class Plural:
    roles = frozenset()
    def __init__(self, ending: str = "s") -> None:
        self.ending = ending
    async def segment(self, sample, ask):
        from int_bench.methods.trivial import CentreBox
        return await CentreBox().segment(sample, ask)
"""


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.fixture
def mine(tmp_path, pairs, monkeypatch):
    """A folder with a data set, a task, a backbone's settings and a method of the user's."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    module = f"plural_of_{tmp_path.name}".replace("-", "_")
    yield write(
        tmp_path / "mine",
        {
            "dataset/pond.yaml": "# The pond.\n_target_: int_bench.data.folders.PairedFolders\n"
            f"name: pond\ntask: eel\nimages: {pairs / 'images'}\nmasks: {pairs / 'masks'}\n",
            "task/eel.yaml": "name: eel\nprompt: an eel\niterations: 2\n",
            "backbone/inpainter/grey.yaml": "# Grey.\n"
            "_target_: int_bench.backbones.opencv.ClassicInpainter\nfill: blackout\n",
            "method/plural.yaml": f"# In the plural.\n_target_: {module}.Plural\nending: es\n",
            f"{module}.py": PLURAL,
        },
    )
    named_folders.name_folders([])


def test_a_folder_adds_a_data_set_a_task_a_backbone_and_a_method(command, mine):
    words = ("dataset=pond", "method=plural", "backbone/inpainter=grey", "--limit", "2")
    code, out, err = command("run", *words, "--config-dir", mine, "--json")
    assert code == Exit.DONE, err
    manifest = json.loads((Path(json.loads(out)["run_dir"]) / "run.json").read_text())
    assert manifest["identity"]["task"] == "an eel" and manifest["name"] == "plural"
    assert manifest["identity"]["method"]["class"].startswith("local:plural_of_")
    # What was run is read again only where the folder is named again.
    code, _, err = command("eval", json.loads(out)["run_dir"], "--config-dir", mine)
    assert code == Exit.DONE, err
    code, _, err = command("run", *words)
    assert code == Exit.USAGE and "Unknown dataset 'pond'" in err


def test_the_environment_names_folders_as_well(command, mine, monkeypatch):
    monkeypatch.setenv("INT_BENCH_CONF", str(mine))
    code, out, _ = command("methods")
    assert code == Exit.DONE and re.search("method=plural +In the plural", out)
    assert "dataset=pond" in command("data", "list")[1]
    assert load_config(["backbone/inpainter=grey"]).backbone["inpainter"]["fill"] == "blackout"


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("dataset/pond.yaml", "_target_: int_bench.data.folders.PairedFolders\nname: p\nimage: x\n",
         "pond.yaml, line 3: Unknown key dataset.image"),
        ("dataset/pond.yaml", "_target_: int_bench.data.folders.PairedFolders\n"
         "name: p\nimages: x\n\nexpected: 0\n", "pond.yaml, line 5: dataset.expected must be"),
        ("dataset/pond.yaml", "a: [1\n", "line 2 of"),
        ("dataset/pond.yaml", "- 1\n", "pond.yaml holds no keys"),
        ("dataset/pond.yaml", "_target_: nowhere.Pond\nname: p\n", "there is no module 'nowhere'"),
        ("models/pond.yaml", "# @package _global_\ndefaults:\n  - tiny\nsede: 1\n",
         "pond.yaml, line 4: Unknown key 'sede'. Did you mean 'seed'?"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_a_file_is_named_with_its_line(command, tmp_path, file, text, said):
    folder = write(tmp_path / "mine", {file: text})
    group = file.partition("/")[0]
    code, _, err = command("run", f"{group}=pond", "--config-dir", folder)
    assert code == Exit.USAGE and said in err and len(err.splitlines()) == 1


def test_a_module_that_raises_is_named_and_hides_nothing(command, mine):
    write(mine, {"broken_pond.py": "raise RuntimeError('no pond today')\nclass Pond: ...\n"})
    write(mine, {"dataset/broken.yaml": "_target_: broken_pond.Pond\n"})
    code, _, err = command("run", "dataset=broken", "method=full", "--config-dir", mine)
    assert code == Exit.USAGE and "broken_pond.Pond refused: no pond today" in err
    out = command("data", "list", "--config-dir", mine)[1]
    assert "no pond today" in out and "here: 6 samples" in out


def test_a_name_that_is_taken_is_refused_when_it_is_asked_for(command, tmp_path):
    folder = write(tmp_path / "mine", {"dataset/camo.yaml": "name: camo\n"})
    code, _, err = command("run", "dataset=camo", "--config-dir", folder)
    assert code == Exit.USAGE and str(folder / "dataset" / "camo.yaml") in err
    assert command("run", "method=full", "--limit", "1", "--config-dir", folder)[0] == Exit.DONE


@pytest.mark.parametrize(
    ("words", "said", "kind"),
    [
        (["--config-dir"], "needs a folder", Exit.USAGE),
        (["--config-dir", "gone"], "there is no such folder of configuration", Exit.MISSING),
        (["--config-dir=."], "holds none of the folders", Exit.USAGE),
    ],
)
def test_a_folder_that_holds_nothing_is_refused(command, words, said, kind):
    code, _, err = command("run", *words)
    assert code == kind and said in err and len(err.splitlines()) == 1


def test_a_class_that_replaces_another_need_not_take_its_options():
    given = ["backbone.inpainter._target_=int_bench.backbones.opencv.ClassicInpainter"]
    config = load_config([*given, "backbone.inpainter.fill=telea"])
    assert set(config.backbone["inpainter"]) == {"_target_", "fill"}
    whole = load_config(["method._target_=int_bench.methods.trivial.Full"])
    assert whole.method == {"_target_": "int_bench.methods.trivial.Full"}


def test_an_entry_point_names_a_folder_and_a_wrong_one_hides_no_other(tmp_path, monkeypatch):
    points = "[int_bench.conf]\na_pond = no_such_pond.conf\npond = pond_of_ours.conf\n"
    write(
        tmp_path,
        {
            "pond-1.dist-info/METADATA": "Metadata-Version: 2.1\nName: pond\nVersion: 1\n",
            "pond-1.dist-info/entry_points.txt": points,
            "pond_of_ours/__init__.py": "raise RuntimeError('not imported to be found')\n",
            "pond_of_ours/conf/task/eel.yaml": "name: eel\nprompt: an eel\niterations: 2\n",
        },
    )
    monkeypatch.syspath_prepend(tmp_path)
    places._plugins.cache_clear()
    try:
        assert "eel" in places.options("task")
        assert load_config(["task=eel"]).task.prompt == "an eel"
        assert places.faults() == ("Plug-in a_pond of pond: there is no folder no_such_pond.conf.",)
    finally:
        monkeypatch.undo()
        places._plugins.cache_clear()
    with pytest.raises(UsageError):
        load_config(["task=eel"])


def test_a_choice_that_is_not_there_names_the_folders():
    with pytest.raises(MissingAsset, match="conf"):
        places.file_of("task", "eel")
