"""The page in a real browser: sort, filter, open, compare, by mouse and by keys."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.report.html.browser import browser, needed
from tests.report.html.traced import LeftMask, Rude, traced_run, write_scenes

pytestmark = pytest.mark.services
NAMES = ["a", "b\"q'", "<i onclick=alert(1)>c", "d\u202ed", "e", "f"]
ENTER, ESCAPE, LEFT, RIGHT = "\ue007", "\ue00c", "\ue012", "\ue014"


@pytest.fixture(scope="module")
def page():
    needed()
    with browser() as opened:
        yield opened


@pytest.fixture
def runs(command, tmp_path):
    needed()
    write_scenes(tmp_path / "scenes", NAMES)
    first = traced_run(command, tmp_path / "scenes", "one")
    return first, traced_run(
        command, tmp_path / "scenes", "two", segmenter=LeftMask(), selection={"negative": False}
    )


def written(command, *words) -> Path:
    code, _, err = command("report", *words, "--out", "page.html")
    assert code == 0, err
    return Path("page.html")


def quiet(page) -> None:
    """Nothing in the console, nothing asked of anybody, and no text became an element."""
    assert page.complaints() == [] and page.requests() == []
    assert (
        page.js("return document.querySelectorAll('i[onclick], img[src=x], main b i').length") == 0
    )
    assert page.js("return document.title").endswith("int-bench")


def ids(page) -> list[str]:
    return [text.split("\n")[0] for text in page.texts(".card .words .id:first-child")]


def test_sort_filter_and_search(command, runs, page):
    page.open(written(command, runs[0]), "#images")
    assert len(page.all(".card")) == len(NAMES)
    shown = [float(text.split()[-1]) for text in page.texts(".card .score")]
    assert shown == sorted(shown) and len(set(shown)) > 3
    page.choose("#sort", "best")
    assert [float(text.split()[-1]) for text in page.texts(".card .score")] == shown[::-1]
    find = (
        "return [...document.querySelector('#metric').options].find((o) => o.text.includes('MAE'))"
    )
    page.choose("#metric", page.js(find + ".value"))
    errors = [float(text.split()[-1]) for text in page.texts(".card .score")]
    assert errors == sorted(errors)
    page.choose("#sort", "id")
    assert ids(page) == ["<i onclick=alert(1)>c", "a", "b\"q'", "d\\u202ed", "e", "f"]
    page.choose("#filter", "failed")
    assert page.all(".card") == [] and page.texts("#shown") == ["0 of 6 images"]
    page.choose("#filter", "all")
    page.press("/")
    page.press("onclick")
    assert ids(page) == ["<i onclick=alert(1)>c"]
    quiet(page)


def test_an_image_tells_its_story(command, runs, page):
    page.open(written(command, runs[0]), "#images")
    page.all(".card")[0].click()
    page.press()
    assert page.texts("#image h3")[:2] == [
        "Which mask, and why",
        "How the names fared: weights of Eq. 6 after each iteration",
    ]
    assert "Iteration 1: frog" in page.texts("#image h3")[2]
    lead = page.texts(".panel .lead")
    assert lead[0].startswith("The rule: Eq. 13: the mask nearest") and "was taken" in lead[0]
    assert "frog ends with the weight" in lead[1]
    assert len(page.all(".costs .taken .tag")) == 1
    assert page.texts(".names tbody tr.won td:first-child")[0] == "frog"
    assert "frog most: " in page.texts("[data-iteration='1'] .wide > p")[0]
    captions = page.texts("[data-iteration='1'] .shots figcaption")
    assert captions == ["what it saw: the image, X₁", "what was erased (white)",
                        "with the object erased, Eq. 4: X′₁", "soft mask M₁"]  # fmt: skip
    # The pictures are there: the first view is green, with a red square.
    colour = page.js(
        "const c = document.createElement('canvas'); const pen = c.getContext('2d', {"
        "willReadFrequently: true}); const at = (x, y) => [...pen.getImageData(x, y, 1, 1).data];"
        "pen.drawImage(document.querySelector('#image canvas'), 0, 0, 60, 40);"
        "return [at(18, 14), at(48, 32)]"
    )
    assert colour[0][0] > colour[0][1] + 60 and colour[1][1] > colour[1][0] + 60
    patches = page.all("[data-iteration='1'] tr[data-patch]")
    assert len(patches) == 9
    before = page.js(
        "return document.querySelectorAll('[data-iteration=\"1\"] .patches .vlm').length"
    )
    patches[5].click()
    after = page.js(
        "return document.querySelectorAll('[data-iteration=\"1\"] .patches .vlm').length"
    )
    assert after <= 1 < before or after < before
    page.all("[data-iteration='1'] summary")[0].click()
    assert any(Rude.NAME in text for text in page.texts("[data-iteration='1'] .chat dd"))
    quiet(page)


def test_the_keyboard_is_enough(command, runs, page):
    page.open(written(command, runs[0]))
    page.press("g")
    first = ids(page)
    page.press(RIGHT)
    page.press(RIGHT)
    page.press(ENTER)
    assert page.texts("#image h2") == [first[1]]
    page.press(RIGHT)
    assert page.texts("#image h2") == [first[2]]
    page.press(LEFT)
    page.press("2")
    top = page.js(
        "return document.querySelector('[data-iteration=\"2\"]').getBoundingClientRect().top"
    )
    assert abs(top - 64) < 40
    page.press(ESCAPE)
    focus = page.js("return document.activeElement.querySelector('.id').textContent")
    assert focus == first[1]
    dark = "return getComputedStyle(document.body).backgroundColor"
    colour = page.js(dark)
    page.press("t")
    assert page.js(dark) != colour
    page.press("?")
    assert page.texts("dialog h2") == ["Keys"]
    page.press(ESCAPE)
    page.press("o")
    assert "Scores" in page.texts("#overview h2")
    quiet(page)


def test_two_runs_side_by_side(command, runs, page):
    page.open(written(command, *runs), "#images")
    assert page.texts("#sort option:checked") == ["B lost most"]
    changes = [text.split() for text in page.texts(".card .score")]
    lost = [float(words[-3]) - float(words[-1]) for words in changes]
    assert lost == sorted(lost, reverse=True) and lost[0] > 0
    page.choose("#filter", "names")
    assert page.all(".card") == []  # both found the frog
    page.choose("#filter", "differ")
    assert len(page.all(".card")) == len(NAMES)
    page.all(".card")[0].click()
    page.press()
    assert page.texts("#image .cols h2") == ["A: int", "B: int"]
    assert len(page.all(".big canvas")) == 6
    rows = len(page.all("#image .cols"))
    page.all("#image .check input")[0].click()
    assert len(page.all("#image .cols")) <= rows
    page.press("o")
    page.all("#facts-differ")[0].click()
    assert "Data set" not in page.texts("#facts th")
    quiet(page)


def test_a_dot_opens_its_image(command, runs, page):
    page.open(written(command, runs[0]))
    page.js("document.querySelector('circle[data-image=\"2\"]').dispatchEvent(new Event('click'))")
    page.press()
    assert page.texts("#image h2") == [sorted(NAMES)[2]]
    quiet(page)
