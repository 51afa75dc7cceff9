"""What users get wrong: the designed exit code, three lines at most, the name, no traceback."""

from __future__ import annotations

import pickle
import shutil
from dataclasses import dataclass, field

import pytest
from PIL import Image

RUN = ("run", "method=full", "--limit", "2")
FOLDER = ("run", "method=full", "dataset=folder")
IMAGES = "dataset.images={pairs}/images"
MASKS = "dataset.masks={pairs}/masks"
TINY_INT = ("run", "method=int", "--limit", "1")


@dataclass(frozen=True)
class Bad:
    """A command, with {pairs} and {here} filled in, the exit code and what stderr must name."""

    words: tuple[str, ...]
    code: int
    named: tuple[str, ...]
    prepare: str | None = None
    id: str = field(default="", compare=False)


def bad(name: str, words: tuple[str, ...], code: int, *named: str, prepare: str | None = None):
    return pytest.param(Bad(words, code, named, prepare), id=name)


COMMAND_LINE = [
    bad("unknown verb", ("rnu",), 2, "rnu", "run"),
    bad("unknown option", ("run", "--limt", "2"), 2, "--limt", "--limit"),
    bad("limit of zero", ("run", "--limit", "0"), 2, "limit", "0"),
    bad("limit below zero", ("run", "--limit", "-3"), 2, "limit", "-3"),
    bad("limit that is no number", ("run", "--limit", "many"), 2, "limit", "many"),
    bad("limit given twice", ("run", "limit=1", "--limit", "2"), 2, "limit", "more than once"),
    bad("unknown data set", ("run", "dataset=cod10"), 2, "cod10", "Did you mean 'cod10k'"),
    bad("unknown models", ("run", "models=papr"), 2, "papr", "Did you mean 'paper'"),
    bad("unknown method", ("run", "method=itn"), 2, "itn", "Did you mean 'int'"),
    bad("unknown task", ("run", "task=polyps"), 2, "polyps", "Did you mean 'polyp'"),
    bad("unknown backbone", ("run", "backbone/vlm=lava"), 2, "lava", "zoo_llava"),
    bad("unknown group", ("run", "backbones/vlm=zoo_llava"), 2, "backbones/vlm", "backbone/vlm"),
    bad("typo in a key", ("run", "sed=1"), 2, "sed", "Did you mean 'seed'"),
    bad("typo in a deep key", ("run", "method.prompter.progress.mod=x"), 2, "progress.mode"),
    bad("key of a scalar", ("run", "seed.x=1"), 2, "seed.x"),
    bad("added key", ("run", "+x=1"), 2, "+x=1"),
    bad("forced key", ("run", "++seed=1"), 2, "++seed=1", "'seed=1'"),
    bad("removed key", ("run", "~method"), 2, "~method"),
    bad("duplicate override", ("run", "seed=1", "seed=2"), 2, "seed", "more than once"),
    bad("hydra's own key", ("run", "hydra.run.dir=x"), 2, "hydra.run.dir=x"),
    bad("hydra's launcher", ("run", "hydra/launcher=ray"), 2, "hydra/launcher=ray"),
    bad("one wrong seed of two", ("run", "seed=1,x"), 2, "seed must be", "'x'"),
    bad("word without a value", ("run", "camo"), 2, "'camo' is not KEY=VALUE"),
    bad("negative seed", ("run", "seed=-1"), 2, "seed", "-1"),
    bad("seed that is no number", ("run", "seed=abc"), 2, "seed", "abc"),
    bad("seed that is a fraction", ("run", "seed=1.5"), 2, "seed", "1.5"),
    bad("no data set", ("run", "dataset=null"), 2, "dataset", "null"),
    bad("whole group as a value", ("run", "backbone=tiny"), 2, "backbone=tiny", "backbone."),
    bad("unknown backend", ("run", "metrics.backend=gpu"), 2, "metrics.backend", "reference"),
    bad("unknown exactness", ("run", "exactness=E3"), 2, "E3", "E0, E1 or E2"),
    bad("no iterations", ("run", "task.iterations=0"), 2, "task.iterations", "0"),
    bad("open bracket", ("run", "seed={a:1"), 2, "seed={a:1"),
    bad("dangling interpolation", ("run", "seed=${sed}"), 2, "sed"),
    bad("text where a number belongs", ("run", "dataset.count=few"), 2, "dataset.count", "few"),
    bad("unknown target", ("run", "method._target_=a.B"), 2, "a.B"),
    bad("unknown split", (*RUN, "dataset.split=tset"), 2, "tset"),
    bad("ablate nothing", ("ablate",), 2, "module=", "PNM", "patches=", "iterations="),
    bad("ablate one thing twice", ("ablate", "module=PNM", "module=HCG"), 2, "each once"),
    bad("ablate unknown patches", ("ablate", "patches=thirds"), 2, "thirds", "quarters"),
    bad("ablate no iterations", ("ablate", "iterations=0..3"), 2, "iterations=0..3", "1..6"),
    bad("ablate iterations backwards", ("ablate", "iterations=3..1"), 2, "smaller number first"),
    bad("iterations twice", ("ablate", "iterations=2", "method.iterations=3"), 2, "leave"),
    bad("not int's", ("ablate", "module=PNM", "method=promac"), 2, "ablations are of method=int"),
    bad("patches twice", ("ablate", "patches=h", "ablation=no_pnm"), 2, "leave ablation="),
    bad("nothing iterates", ("ablate", "iterations=1..3", "method=full"), 2, "does not iterate"),
    bad("final masks only", ("ablate", "iterations=1..3", "keep=final"), 2, "keep=iterations"),
    bad("one unknown method of two", ("run", "method=int,promca"), 2, "promca", "promac"),
    bad("ablate an unknown module", ("ablate", "module=PMN"), 2, "PMN", "Did you mean 'PNM'"),
    bad("eval of both", ("eval", "x", "--pred", "a", "--gt", "b"), 2, "either"),
    bad("pred without gt", ("eval", "--pred", "a"), 2, "--gt"),
    bad("unknown policy", ("eval", "--missing", "zero"), 2, "zero", "empty"),
    bad("unknown drawn set", ("data", "make", "camo", "--out", "x"), 2, "camo", "camoworld"),
    bad("no scenes", ("data", "make", "camoworld", "--out", "x", "-n", "0"), 2, "count", "0"),
    bad("an unknown device", (*RUN, "device=tpu"), 2, "tpu"),
]
DATA = [
    bad("data set not here", ("run", "dataset=kvasir", "method=full"), 3, "kvasir-seg.zip"),
    bad("no folder given", FOLDER, 2, "dataset.images"),
    bad("folder not there", (*FOLDER, "dataset.images=/no/such"), 3, "/no/such"),
    bad("empty folder", (*FOLDER, IMAGES), 3, "pairs/images", prepare="no images"),
    bad("missing mask", (*FOLDER, IMAGES, MASKS), 3, "a1", prepare="no mask"),
    bad("extra mask", (*FOLDER, IMAGES, MASKS), 3, "extra", prepare="extra mask"),
    bad("truncated image", (*FOLDER, IMAGES, MASKS), 4, "a1", prepare="truncated"),
    bad("text as image", (*FOLDER, IMAGES, MASKS), 4, "a1", prepare="text"),
    bad("no such run", ("eval", "{here}/none"), 3, "none"),
    bad("folder that is no run", ("eval", "{pairs}"), 3, "pairs", "run.json"),
    bad("no run at all", ("eval",), 3, "results/runs"),
    bad("no such predictions", ("eval", "--pred", "{here}/x", "--gt", "{pairs}/masks"), 3, "/x"),
    bad("predictions of others", ("eval", "--pred", "{here}/p", "--gt", "{pairs}/masks"), 3, "a0",
        prepare="other masks"),
    bad("missing prediction", ("eval", "--pred", "{here}/p", "--gt", "{pairs}/masks"), 4, "a1",
        prepare="one prediction"),
    bad("unwritable output", (*RUN, "--out", "{here}/file"), 2, "/file", "--out",
        prepare="file in the way"),
    bad("unwritable scenes", ("data", "make", "camoworld", "--out", "{here}/file/x"), 2, "/file",
        prepare="file in the way"),
]  # fmt: skip
MODELS = [
    bad("missing checkpoint", (*TINY_INT, "backbone.vlm.checkpoint=/no/model"), 3, "/no/model"),
    bad("unknown zoo model", (*TINY_INT, "backbone.vlm.checkpoint=zoo:lava"), 3, "zoo:lava"),
    bad("hub id, no network", (*TINY_INT, "backbone.vlm.checkpoint=some/where"), 3, "some/where"),
    bad("wrong checkpoint", (*TINY_INT, "backbone.vlm.checkpoint={here}/wrong"), 3, "wrong",
        prepare="wrong checkpoint"),
    bad("pickled code", (*TINY_INT, "backbone.segmenter.checkpoint={here}/evil.pth",
        "backbone.segmenter.model=vit_b"), 3, "evil.pth", prepare="pickled code"),
]  # fmt: skip


class Evil:
    """Unpickling it would leave a file behind."""

    def __reduce__(self):
        return open, ("unpickled", "w")


def no_images(pairs, here):
    shutil.rmtree(pairs / "images")
    (pairs / "images").mkdir()


def truncated(pairs, here):
    image = pairs / "images" / "a1.png"
    image.write_bytes(image.read_bytes()[:80])


def prediction(name):
    def write(pairs, here):
        (here / "p").mkdir()
        Image.new("L", (32, 24)).save(here / "p" / name)

    return write


def wrong_checkpoint(pairs, here):
    (here / "wrong").mkdir()
    (here / "wrong" / "config.json").write_text('{"model_type": "bert"}')


PREPARE = {
    "no images": no_images,
    "no mask": lambda pairs, here: (pairs / "masks" / "a1.png").unlink(),
    "extra mask": lambda pairs, here: shutil.copy(
        pairs / "masks" / "a1.png", pairs / "masks" / "extra.png"
    ),
    "truncated": truncated,
    "text": lambda pairs, here: (pairs / "images" / "a1.png").write_text("not an image"),
    "other masks": prediction("b.png"),
    "one prediction": prediction("a0.png"),
    "file in the way": lambda pairs, here: (here / "file").write_text(""),
    "wrong checkpoint": wrong_checkpoint,
    "pickled code": lambda pairs, here: (here / "evil.pth").write_bytes(
        pickle.dumps({"a": Evil()})
    ),
    None: lambda pairs, here: None,
}


@pytest.mark.parametrize("case", [*COMMAND_LINE, *DATA, *MODELS])
def test_bad_input(case, command, pairs, here):
    PREPARE[case.prepare](pairs, here)
    words = [
        word.replace("{pairs}", str(pairs)).replace("{here}", str(here)) for word in case.words
    ]
    code, _, err = command(*words)
    assert code == case.code, err
    told = [line for line in err.splitlines() if line.strip()]
    lines = [line for line in told if " images per CPU-hour on " not in line]
    assert 1 <= len(lines) <= 3, err
    assert "Traceback" not in err
    for text in case.named:
        assert text in err, err
    assert not (here / "unpickled").exists()
