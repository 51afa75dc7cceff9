"""Every YAML composes and binds to its constructor; identity holds what decides results only."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra

from int_bench import config
from int_bench.config import binding
from int_bench.config.compose import load_training
from int_bench.config.identity import digest, identity
from int_bench.config.places import CONF, groups, options
from int_bench.errors import UsageError

REAL_SETS = {
    "cod10k": "cod",
    "camo": "cod",
    "chameleon": "cod",
    "kvasir": "polyp",
    "colondb": "polyp",
    "isic": "skin",
}
ODD_PATHS = ["/a b/c=d", "/x,y/(z)", "it's/here", "C:\\data", "~/data", "ü/é", "a\\'b/c\\"]
EVERY_CHOICE = [
    (group, name)
    for group in groups()
    for name in options(group)
    if group != "dataset" or name != "folder"
]


_SELECTOR = ("backbone.selector.checkpoint=trained",)
NEEDED = {
    "task=custom": ("task.prompt=shadow",),
    "backbone/selector=sapnet": _SELECTOR,
    "method=mil_single": _SELECTOR,
    "method=sapnet_select": _SELECTOR,
    "training=sapnet": ("backbone/selector=sapnet", *_SELECTOR),
    "training=sapnet_r50": ("backbone/selector=sapnet", *_SELECTOR),
    "training=sapnet_r101": ("backbone/selector=sapnet", *_SELECTOR),
}
"""What has no default, by the option that asks for it."""


@pytest.mark.parametrize(("group", "name"), EVERY_CHOICE)
def test_every_yaml_composes_and_binds(group, name):
    needed = NEEDED.get(f"{group}={name}", ())
    load = load_training if group == "training" else config.load_config
    loaded = load([f"{group}={name}", *needed])
    group = {"training": "method"}.get(group, group)
    assert loaded.choices[group] == name


def test_everything_binds_without_torch():
    code = (
        "import sys\n"
        "from int_bench import config\n"
        "for choice in [[], ['models=paper'], ['models=small'], ['dataset=cod10k']]:\n"
        "    config.load_config([*choice, 'device=cpu'])\n"
        "assert not {'torch', 'transformers', 'diffusers', 'open_clip'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("dataset", "task"), REAL_SETS.items())
def test_the_six_sets_default_to_the_papers_models_and_to_their_task(dataset, task):
    loaded = config.load_config([f"dataset={dataset}"])
    assert (loaded.choices["models"], loaded.task.name) == ("paper", task)
    assert loaded.task.iterations == (7 if task == "polyp" else 5)
    assert loaded.method["iterations"] == loaded.task.iterations


@pytest.mark.parametrize("dataset", ["camoworld", "camoworld_polyp", "camoworld_skin", "folder"])
def test_everything_else_defaults_to_the_tiny_models(dataset):
    given = ["dataset.images=x"] if dataset == "folder" else []
    assert config.load_config([f"dataset={dataset}", *given]).choices["models"] == "tiny"


def test_what_the_user_says_wins():
    loaded = config.load_config(
        ["dataset=kvasir", "models=tiny", "task=cod", "backbone/inpainter=telea"]
    )
    assert (loaded.choices["models"], loaded.task.name) == ("tiny", "cod")
    assert loaded.backbone["inpainter"]["fill"] == "telea"
    assert loaded.backbone["vlm"]["checkpoint"] == "zoo:llava"


def test_an_ablation_wins_over_the_method_and_the_root():
    full, without = config.load_config([]), config.load_config(["ablation=no_pnm"])
    assert full.method["prompter"]["progress"]["mode"] == "progressive"
    assert without.method["prompter"]["progress"]["mode"] == "independent"
    assert (full.method_name, without.method_name) == ("int", "int-no_pnm")


def test_null_takes_no_ablation():
    assert config.load_config(["ablation=null"]).method_name == "int"


def test_a_key_that_only_the_constructor_knows_can_be_set():
    assert config.load_config(["backbone.detector.nms=0.5"]).backbone["detector"]["nms"] == 0.5


@pytest.mark.parametrize("path", ODD_PATHS)
def test_odd_paths_arrive_as_they_were_typed(path):
    loaded = config.load_config(["dataset=folder", f"dataset.images={path}"])
    assert loaded.dataset["images"] == path


def test_conf_holds_no_interpolation_of_hydras_runtime():
    text = "".join(path.read_text() for path in CONF.rglob("*.yaml"))
    assert not re.search(r"\$\{hydra[:.]", text)


def test_another_librarys_hydra_is_left_as_it_was():
    GlobalHydra.instance().clear()
    config.load_config([])
    assert not GlobalHydra.instance().is_initialized()


SAME = ["device=cpu", "limit=3", "trials=2", "out=elsewhere", "in_flight=9", "memo_mb=1"]
SAME += ["keep=final", "backbone.vlm.max_batch=2", "models_dir=/somewhere"]
OTHER = ["seed=1", "exactness=E1", "method.w=0.4", "backbone.vlm.dtype=float16", "task=polyp"]
OTHER += ["backbone.inpainter.steps=6", "models=paper", "ablation=no_hcg", "method=empty"]
OTHER += ["backbone.segmenter.checkpoint=/my/sam"]


def digest_of(*overrides: str, manifest: str = "m") -> str:
    return digest(identity(config.load_config(overrides), {"manifest": manifest}))


@pytest.mark.parametrize("override", SAME)
def test_identity_ignores_what_cannot_change_a_result(override):
    assert digest_of(override) == digest_of()


@pytest.mark.parametrize("override", OTHER)
def test_identity_holds_what_can_change_a_result(override):
    assert digest_of(override) != digest_of()


def test_identity_holds_the_data_and_not_where_models_lie():
    assert digest_of(manifest="other") != digest_of()
    folders = ["models_dir=/a", "models_dir=/b/c"]
    first, second = (digest_of("models=paper", folder) for folder in folders)
    assert first == second


@dataclass
class Plain:
    """A target for the tests below."""

    size: int
    name: str | None = None
    share: float = 0.5


class Child(Plain):
    """Inherits its arguments."""


def function(first: int, *, second: bool = False) -> None:
    """A target that is a function."""


def target(name: str) -> str:
    return f"{__name__}.{name}"


def test_signatures_are_read_from_the_source():
    assert list(binding.signature(target("Plain"))) == ["size", "name", "share"]
    assert list(binding.signature(target("Child"))) == ["size", "name", "share"]
    assert [p.required for p in binding.signature(target("function")).values()] == [True, False]


@pytest.mark.parametrize(
    ("node", "complaint"),
    [
        ({"size": 1, "nmae": "x"}, "Did you mean 'name'?"),
        ({"name": "x"}, "lacks size"),
        ({"size": "big"}, "size must be a whole number, not"),
        ({"size": True}, "size must be a whole number, not"),
        ({"size": 1, "name": 2}, "name must be a text or null, not 2"),
    ],
)
def test_what_does_not_bind_is_named(node, complaint):
    with pytest.raises(UsageError, match=re.escape(complaint)):
        binding.check({"part": [{"_target_": target("Plain"), **node}]}, "root")


def test_what_binds_passes():
    binding.check({"_target_": target("Plain"), "size": 1, "name": None, "share": 1}, "root")


@pytest.mark.parametrize("name", ["nowhere.Thing", "int_bench.config.Nothing", "Thing"])
def test_an_unknown_target_is_named(name):
    with pytest.raises(UsageError, match=re.escape(name)):
        binding.check({"_target_": name}, "method")


def test_a_constructors_own_complaint_is_passed_on():
    with pytest.raises(UsageError, match="split"):
        config.build(config.load_config(["dataset.split=tset"]).dataset, "dataset")


def test_conf_at_the_root_is_the_packages_conf():
    root = Path(__file__).parents[2] / "conf"
    assert root.resolve() == CONF.resolve()
