"""Wrong values of options: one sentence with the key and what is accepted, exit code 2, no trace.

All of it holds for ``--dry-run``, which loads no model, and nothing is written anywhere.
"""

from __future__ import annotations

import pytest

from int_bench.cli.app import exit_code
from int_bench.config import building
from int_bench.config.annotations import Either, Many, Scalar
from int_bench.config.binding import signature
from int_bench.config.places import CONF

PROMPTER, MASKER = "method.prompter", "method.masker"
GRID, ERASURE = f"{PROMPTER}.generation.grid", f"{PROMPTER}.selection.erasure"

BAD = [
    # What the run does.
    ("seed=-1", "seed must be a whole number from 0 to"),
    ("seed=1.5", "seed must be a whole number"),
    ("seed=true", "seed must be a whole number"),
    ("seed=99999999999999999999999", "seed must be a whole number"),
    ("seed=null", "seed must be a whole number"),
    ("trials=0", "trials must be a whole number from 1 to 1000"),
    ("trials=1e9", "trials must be"),
    ("limit=-3", "limit must be a whole number of at least 1 or null, not -3."),
    ("limit=0", "limit must be"),
    ("limit=many", "limit must be"),
    ("limit=99999999999", "limit must be"),
    ("in_flight=0", "in_flight must be a whole number from 1 to 4096 or auto"),
    ("in_flight=atuo", "Did you mean 'auto'?"),
    ("in_flight=1000000", "in_flight must be"),
    ("overlap=2", "overlap must be true or false or auto"),
    ("overlap=maybe", "overlap must be"),
    ("memo_mb=-1", "memo_mb must be a whole number of at least 0"),
    ("memo_mb=inf", "memo_mb must be"),
    ("cpu_threads=0", "cpu_threads must be a whole number from 1 to 1024 or null"),
    ("cpu_threads=1.5", "cpu_threads must be"),
    ("keep=iteration", "Did you mean 'iterations'?"),
    ("exactness=E3", "exactness must be auto, E0, E1 or E2"),
    ("exactness=null", "exactness must be"),
    ("device=tpu", "device must be a text (auto, cpu, cuda or cuda:N), not 'tpu'."),
    ("device=cuda:x", "device must be"),
    ("device=0", "device must be"),
    ("models_dir=", "models_dir must be a text that is not empty"),
    ("metrics.backend=gpu", "metrics.backend must be histogram or reference"),
    ("similarity_scale=0", "method.masker.weighing.scale must be a number above 0"),
    ("similarity_scale=inf", "scale must be"),
    # The task.
    ("task.iterations=0", "task.iterations must be a whole number from 1 to 100"),
    ("task.iterations=100000", "task.iterations must be"),
    ("task.prompt=", "task.prompt must be a text that is not empty"),
    ("task.prompt=5", "task.prompt must be"),
    # The method.
    ("method.iterations=0", "method.iterations must be a whole number from 1 to 100"),
    ("method.iterations=2.5", "method.iterations must be"),
    ("method.w=nan", "method.w must be a number from 0 to 1, not nan."),
    ("method.w=-0.1", "method.w must be"),
    ("method.w=1.1", "method.w must be"),
    ("method.w=much", "method.w must be"),
    ("method.base=foo", "method.base must be once, original or recursive, not 'foo'."),
    ("method.base=recursiv", "Did you mean 'recursive'?"),
    ("method.final=closet", "Did you mean 'closest'?"),
    (f"{PROMPTER}.requery=twice", "requery must be once or each_iter"),
    (f"{PROMPTER}.vlm_image=dimmed", "vlm_image must be original or reweighted"),
    (f"{PROMPTER}.generation.chat=chitchat", "chat must be int_chat, paper_literal or promac"),
    (f"{PROMPTER}.generation.temperature=-1", "temperature must be a number of at least 0"),
    (f"{PROMPTER}.generation.temperature=inf", "temperature must be"),
    (f"{PROMPTER}.generation.caption=maybe", "caption must be true or false"),
    (f"{PROMPTER}.generation.preprocess=stretch", "preprocess must be pad, center_crop or squash"),
    (f"{GRID}.overlap=2", "overlap must be a number from 0 to 1, not 2."),
    (f"{GRID}.overlap=-1", "overlap must be"),
    (f"{GRID}.sets=[original,halfs]", "Did you mean 'halves'?"),
    (f"{GRID}.sets=[]", "that is not empty"),
    (f"{GRID}.sets=original", "sets must be a list (original, halves or quarters)"),
    (f"{GRID}.quarters=strips", "quarters must be grid or longest_side"),
    (f"{PROMPTER}.selection.reading=seqgeo", "Did you mean 'seq_geo'?"),
    (f"{PROMPTER}.selection.samples=0", "samples must be a whole number from 1 to 100"),
    (f"{PROMPTER}.selection.temperature=0", "temperature must be a number above 0"),
    (f"{PROMPTER}.selection.clamp=rel", "Did you mean 'relu'?"),
    (f"{ERASURE}.dilation=-1", "dilation must be a number from 0 to 1, not -1."),
    (f"{ERASURE}.threshold=7", "threshold must be"),
    (f"{ERASURE}.max_cover=nan", "max_cover must be"),
    (f"{ERASURE}.scope=patches", "Did you mean 'patch'?"),
    (f"{PROMPTER}.progress.mode=progresive", "Did you mean 'progressive'?"),
    (f"{PROMPTER}.progress.floor=-0.1", "floor must be"),
    (f"{MASKER}.boxes.box_threshold=7", "box_threshold must be a number from 0 to 1, not 7."),
    (f"{MASKER}.boxes.source=detectr", "Did you mean 'detector'?"),
    (f"{MASKER}.points.max_points=-1", "max_points must be a whole number of at least 0"),
    (f"{MASKER}.points.upsample=0", "upsample must be a number from 0.5 to 16"),
    (f"{MASKER}.output=onion", "Did you mean 'union'?"),
    (f"{MASKER}.semantic=1", "semantic must be true or false"),
    (f"{PROMPTER}.generation=5", "generation has parts"),
    # The data set.
    ("dataset.count=0", "dataset.count must be a whole number from 1 to 1000000"),
    ("dataset.count=few", "dataset.count must be"),
    ("dataset.size=0", "dataset.size must be a whole number from 16 to 4096"),
    ("dataset.size=1e6", "dataset.size must be"),
    ("dataset.split=tset", "Did you mean 'test'?"),
    ("dataset.world=3", "dataset.world must be 1 or 2"),
    ("dataset.level=hrad", "Did you mean 'hard'?"),
    ("dataset.name=/abs", "dataset.name becomes a folder of --out; '/abs' cannot be one."),
    ("dataset.name=../up", "'../up' cannot be one."),
    ("dataset.name=..", "'..' cannot be one."),
    ("dataset.name=", "dataset.name"),
    ("dataset.name=a:b", "'a:b' cannot be one."),
    ("dataset.name='a\nb'", "cannot be one."),
    (f"dataset.name={'x' * 101}", "longer than 100 bytes"),
    ("dataset.seed=-1", "dataset.seed must be a whole number from 0 to"),
    # The models.
    ("backbone.vlm.max_batch=0", "backbone.vlm.max_batch must be"),
    ("backbone.vlm.device=tpu", "backbone.vlm.device must be"),
    ("backbone.vlm.dtype=float64", "backbone.vlm.dtype must be"),
    ("backbone.vlm.preprocess=crop", "backbone.vlm.preprocess must be"),
    ("backbone.vlm.max_side=0", "backbone.vlm.max_side must be"),
    ("backbone.vlm.prefix_cache_mb=-1", "backbone.vlm.prefix_cache_mb must be"),
    ("backbone.inpainter.steps=0", "backbone.inpainter.steps must be"),
    ("backbone.inpainter.size=0", "backbone.inpainter.size must be"),
    ("backbone.inpainter.feather=-1", "backbone.inpainter.feather must be"),
    ("backbone.inpainter.padding=refect", "Did you mean 'reflect'?"),
    ("backbone.detector.nms=2", "backbone.detector.nms must be"),
    ("backbone.detector.max_boxes=-1", "backbone.detector.max_boxes must be"),
    ("backbone.segmenter.cache_mb=-1", "backbone.segmenter.cache_mb must be"),
    ("backbone.aligner.attention=qk", "backbone.aligner.attention must be"),
    ("backbone.aligner.templates=surgey", "Did you mean 'surgery'?"),
    # Grammar that has no meaning here.
    ("seed=interval(1,2)", "several values"),
    ("seed={a:1", "The value of 'seed={a:1' cannot be read; close its quotes and brackets."),
    ('seed="a', "cannot be read"),
    (f"seed={'9' * 5000}", "cannot be read"),
    ("seed=${sed}", "sed"),
    ("seed=range(3,1)", "has no values"),
    ("limit=${limit}", "limit"),
]


@pytest.mark.parametrize(("word", "sentence"), BAD)
def test_a_wrong_value_is_one_sentence_and_leaves_nothing(word, sentence, tmp_path, capsys):
    assert exit_code(["run", "--dry-run", "--out", str(tmp_path / "runs"), word]) == 2
    said = capsys.readouterr()
    assert said.out == "" and sentence in said.err and len(said.err) < 400
    assert said.err.startswith("int-bench: ") and said.err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def unlimited(kind) -> bool:
    """Whether a kind takes any finite number."""
    if isinstance(kind, Either):
        return any(map(unlimited, kind.kinds))
    if isinstance(kind, Many):
        return unlimited(kind.item)
    return isinstance(kind, Scalar) and kind.name in ("int", "float") and not kind.limits


@pytest.mark.parametrize("target", sorted(building._named_under(CONF)))
def test_every_number_that_the_configuration_can_set_has_a_range(target):
    assert [name for name, p in signature(target).items() if unlimited(p.kind)] == []
