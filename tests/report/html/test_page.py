"""``int-bench report``: one file, whatever the run lacks, and text stays text."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from int_bench.report.html.maker import MIB
from int_bench.report.html.page import gather
from int_bench.runs.reader import Run
from tests.conftest import write_pairs
from tests.report.html.traced import Rude, traced_run, write_scenes

NAMES = ["a<b>&amp;", "b\"quote'", "c\u202eright\u2067", "d frog"]


class Tags(HTMLParser):
    """Every element with its attributes, and the data blocks."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.blocks: dict[str, str] = {}
        self._block = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._block = str(dict(attrs).get("id") or "") if tag == "script" else ""

    def handle_data(self, data):
        if self._block:
            self.blocks[self._block] = self.blocks.get(self._block, "") + data

    def handle_endtag(self, tag):
        self._block = ""

    @property
    def data(self):
        return json.loads(self.blocks["data"])


@pytest.fixture
def traced(command, tmp_path):
    write_scenes(tmp_path / "scenes", NAMES)
    return traced_run(command, tmp_path / "scenes", "one")


def report(command, *words) -> tuple[Tags, str, str]:
    code, out, err = command("report", *words, "--out", "r.html")
    assert code == 0, err
    text = Path("r.html").read_text()
    assert out.startswith("r.html (")
    return Tags(text), text, err


def test_the_page_is_whole_and_allows_nothing_but_itself(command, traced):
    page, text, err = report(command, traced)
    assert err == ""
    policy = next(a["content"] for t, a in page.tags if t == "meta" and "Content" in str(a))
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'sha256-")
    for tag, attrs in page.tags:
        assert tag not in ("iframe", "object", "embed", "base")
        assert "style" not in attrs and not any(key.startswith("on") for key in attrs)
        for key in ("src", "href", "action"):
            assert str(attrs.get(key) or "data:").startswith(("data:", "#"))
    assert "http" not in text.replace("http-equiv", "").replace("http://www.w3.org/2000/svg", "")
    assert len(page.data["images"]) == len(NAMES)


def test_the_story_of_an_image_is_there(command, traced):
    page, _, _ = report(command, traced)
    story = json.loads(page.blocks["story-3"])
    (run,) = story["runs"]
    first, second, _ = run["steps"]
    assert first["prompt"] == "frog" and run["chosen"] is not None
    frog = next(c for c in first["candidates"] if c["name"] == "frog")
    assert max(b - a for b, a in zip(frog["before"], frog["after"], strict=True)) == (
        pytest.approx(frog["difference"], abs=1e-3)
    )
    for step in run["steps"]:
        assert step["sheet"].startswith("data:image/webp") and step["mask"] and "cost" in step
        assert {"view", "erased", "hole"} <= set(step["pictures"]) and step["soft"]
    assert first["answers"][0]["said"] and "said" not in second["answers"][0]
    assert [image["runs"][0]["scores"][0] for image in page.data["images"]] == [
        pytest.approx(value, abs=1e-3) for value in _scores(traced)
    ]


def _scores(folder):
    from int_bench.cli.results import load_run

    return list(load_run(folder).by_sample("native.S").values())


def test_text_stays_text(command, traced):
    page, text, _ = report(command, traced)
    ids = [image["id"] for image in page.data["images"]]
    assert ids[:2] == NAMES[:2] and ids[2] == "c\\u202eright\\u2067"
    answers = json.loads(page.blocks["story-0"])["runs"][0]["steps"][0]["answers"]
    said = [turn["answer"] for answer in answers for turn in answer["said"]]
    assert Rude.NAME in said and "<img" not in text
    assert ("Task prompt", ("</script><b>it",)) in [
        (f.name, f.values) for f in gather([traced]).facts
    ]
    assert "<b>it" not in text and "&lt;b&gt;it" in text
    assert not re.search(r"</script>(?!\s*(<script|</body>))", text)


def test_two_runs_are_one_page(command, traced, tmp_path):
    other = traced_run(command, tmp_path / "scenes", "two", selection={"negative": False})
    page, text, _ = report(command, traced, other)
    assert [run["label"] for run in page.data["runs"]] == ["A: int", "B: int"]
    assert all(len(image["runs"]) == 2 and "moved" in image for image in page.data["images"])
    assert "B = B: int on folder" in text and "B against A, image by image" in text
    code, _, err = command("report", traced, traced)
    assert code == 2 and "is given twice" in err


def test_what_is_broken_is_a_placeholder_and_counted(command, traced):
    run = Run(traced)
    run.mask(0, NAMES[0]).write_bytes(b"no mask")
    run.trace(0, NAMES[1], 2).write_bytes(b"no sheet")
    run.trace(0, NAMES[2], 1).unlink()
    run.mask(0, NAMES[3], "soft_1").unlink()
    page, _, err = report(command, traced)
    assert "Scores: " in err and "2 traces" in err and "1 masks of iterations" in err
    states = [image["runs"][0]["state"] for image in page.data["images"]]
    assert states == ["broken", "done", "done", "done"]
    steps = {n: json.loads(page.blocks[f"story-{n}"])["runs"][0]["steps"] for n in range(4)}
    assert steps[1][1]["sheet"] is None and steps[1][0]["sheet"]
    assert steps[3][0]["mask"] is None and steps[3][1]["mask"]
    assert page.data["images"][1]["runs"][0]["scores"][0] is not None


def test_details_that_anybody_wrote_break_nothing(command, traced):
    """Records of before details were typed, and of another program."""
    wrong = {"candidates": [5, {"name": []}], "patches": "x", "costs": "a", "pictures": {"view": 3}}
    for path in (traced / "records").iterdir():
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        for line in lines:
            line["iterations"] = [{**step, "details": wrong} for step in line["iterations"]]
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    page, _, _ = report(command, traced)
    steps = json.loads(page.blocks["story-0"])["runs"][0]["steps"]
    assert steps[0]["candidates"] == [] and "cost" not in steps[0]


@pytest.fixture
def plain(command, tmp_path):
    """Runs without traces over pairs: ``plain(words)``."""
    pairs = write_pairs(tmp_path / "pairs", 6)

    def call(*words, masks=True):
        places = [f"dataset.images={pairs / 'images'}"]
        places += [f"dataset.masks={pairs / 'masks'}"] * masks
        ran = command("run", "dataset=folder", *places, "method=centre_box", "--json", *words)
        assert ran[0] == 0, ran[2]
        return Path(json.loads(ran[1])["run_dir"]), pairs

    return call


def test_runs_without_traces_without_truth_and_without_records(command, plain):
    folder, pairs = plain()
    page, text, _ = report(command, folder)
    assert page.data["truth"] and "keep=soft" in text
    bare, _ = plain("seed=1", masks=False)
    page, _, _ = report(command, bare)
    assert not page.data["truth"] and page.data["metrics"] == []
    assert all(image["runs"][0]["state"] == "done" for image in page.data["images"])
    masks = folder / "masks/0/final"
    said = command("eval", "--pred", masks, "--gt", pairs / "masks", "--method", "theirs")
    assert said[0] == 0, said[2]
    theirs = next(Path("results/runs").glob("*/theirs/*"))
    page, _, _ = report(command, theirs)
    assert page.data["metrics"] and len(page.data["images"]) == 6


def test_a_data_set_that_is_gone_leaves_masks(command, plain):
    folder, pairs = plain()
    pairs.rename(pairs.with_name("moved"))
    page, _, err = report(command, folder)
    assert "Images and ground truth are not here" in err
    shot = json.loads(page.blocks["shot-0"])
    assert shot["thumb"] is None and shot["labels"].startswith("data:image/png")


def test_a_budget_is_kept_and_what_it_left_out_is_said(traced, monkeypatch):
    whole = gather([traced])
    assert whole.left_out == [] and len(whole.stories) == 4
    monkeypatch.setattr("int_bench.report.html.maker.SHELL", 0)
    monkeypatch.setattr("int_bench.report.html.maker.MEASURED", 2)
    shots = [{k: s[k] for k in s if k != "runs"} for s in whole.stories.values()]
    budget = len(json.dumps(whole.entries)) + len(json.dumps(shots)) // 2
    small = gather([traced], budget)
    assert 0 < len(small.stories) < 4
    worst = min(range(4), key=lambda i: small.entries[i]["runs"][0]["scores"][0])
    assert worst in small.stories
    assert "images (the worst first)" in small.left_out[0] and "--budget" in small.left_out[0]
    assert "of 2 of 4 images" in small.left_out[1]
    told = sum(len(json.dumps(story)) for story in small.stories.values())
    assert told + len(json.dumps(small.entries)) <= budget
    assert MIB == 1024**2


def test_what_cannot_be_asked_for_is_said(command, plain, here):
    folder, _ = plain()
    (here / "file").write_text("")
    for words, code, said in (
        ((here / "nowhere",), 3, "no such folder"),
        ((folder, "--budget", "0.1"), 2, "--budget"),
        ((folder, "--out", here / "file" / "r.html"), 2, "cannot be written"),
    ):
        ended, out, err = command("report", *words)
        assert (ended, out) == (code, "") and said in err and len(err.splitlines()) == 1
