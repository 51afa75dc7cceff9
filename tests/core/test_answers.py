"""Answers in the styles of families of vision-language models, and the candidates in each.

The texts are ours, written after how such models phrase their answers; the questions are those of
``templates.py``: the name, and the environment, of a task's object in one word.
"""

from __future__ import annotations

import pytest

from int_bench.core.parsing import canonical, distinct, parse_box, parse_names

ANSWERS = {
    "llava": [
        ("Frog", ["Frog"]),
        ("frog.", ["frog"]),
        ("Leaf insect", ["Leaf insect"]),
        ("The camouflaged animal is a frog.", ["frog"]),
        ("The animal in the image is a leaf-tailed gecko.", ["leaf-tailed gecko"]),
        ("The name of the camouflaged animal is a pygmy seahorse.", ["pygmy seahorse"]),
        ("The camouflaged animal is an owl, perched on a branch.", ["owl"]),
        ("The camouflaged animal in the image is a lizard hiding in the grass.", ["lizard"]),
        ("The image features a snake.", ["snake"]),
        ("A frog is hiding in the leaves.", ["frog"]),
        ("The polyp is located in the center of the image.", ["polyp"]),
        ("The skin lesion is a mole.", ["mole"]),
        ("Forest", ["Forest"]),
        ("The environment is a forest.", ["forest"]),
        ("The environment of the camouflaged animal is a coral reef.", ["coral reef"]),
        ("Ocean floor.", ["Ocean floor"]),
        ("Grass and leaves", ["Grass", "leaves"]),
        ("None", []),
        ("Fish, crab, and shrimp", ["Fish", "crab", "shrimp"]),
    ],
    "qwen": [
        ("Pygmy seahorse", ["Pygmy seahorse"]),
        ("The camouflaged animal in the image is a **stick insect**.", ["stick insect"]),
        ("**Flounder**", ["Flounder"]),
        ("Answer: octopus", ["octopus"]),
        ("Name: Cuttlefish", ["Cuttlefish"]),
        ("<|object_ref_start|>owl<|object_ref_end|>", ["owl"]),
        ("<|im_start|>assistant\nowl<|im_end|>", ["owl"]),
        ('```json\n[{"bbox_2d": [10, 20, 30, 40], "label": "owl"}]\n```', ["owl"]),
        (
            '[{"bbox_2d": [1, 2, 3, 4], "label": "frog"}, {"bbox_2d": [5, 6], "label": "toad"}]',
            ["frog", "toad"],
        ),
        ('{"name": "sea horse", "environment": "coral"}', ["sea horse"]),
        ("There are no camouflaged animals in the picture.", []),
        ("There is no polyp.", []),
        ("The animal in the picture is a grasshopper.", ["grasshopper"]),
        ("It looks like a crab spider.", ["crab spider"]),
        ("青蛙", ["青蛙"]),
        ("青蛙。", ["青蛙"]),
        ("青蛙、蛇", ["青蛙", "蛇"]),
        ("名称：竹节虫", ["竹节虫"]),
        ("无", []),
        ("没有", []),
        ("<think>It might be a bird or a leaf.</think>\n\nowl", ["owl"]),
        ("<think>not a bird</think><answer>moth</answer>", ["moth"]),
        ("\\boxed{owl}", ["owl"]),
        ("The final answer is \\boxed{\\text{leaf insect}}.", ["leaf insect"]),
    ],
    "internvl": [
        ("Owl", ["Owl"]),
        ("The camouflaged animal is a flounder, which is blending into the sand.", ["flounder"]),
        ("<ref>owl</ref><box>[[12, 40, 300, 800]]</box>", ["owl"]),
        ("The camouflaged animal in the image appears to be a katydid.", ["katydid"]),
        ("The animal is called a nightjar.", ["nightjar"]),
        ("The animal's name is **Peacock Flounder**.", ["Peacock Flounder"]),
        ("1. Frog\n2. Snake\n3. Owl", ["Frog", "Snake", "Owl"]),
        ("- frog\n- leaf insect", ["frog", "leaf insect"]),
        ("* **Frog**\n* **Toad**", ["Frog", "Toad"]),
        ("Frog\nToad", ["Frog", "Toad"]),
        ("The object is a polyp in the colon.", ["polyp"]),
        ("I cannot determine the animal.", []),
    ],
    "gpt-4v": [
        ("Screech owl", ["Screech owl"]),
        ("The animal appears to be a crab spider.", ["crab spider"]),
        ("I'm sorry, but I can't identify the animal in this image.", []),
        ("I'm unable to provide the name.", []),
        ("It's difficult to tell, but it might be a moth.", ["moth"]),
        ("It is not clear, but it appears to be a frog.", ["frog"]),
        ('The animal could be "frog" or "toad".', ["frog", "toad"]),
        ('"Leaf insect"', ["Leaf insect"]),
        ("“Leaf insect”", ["Leaf insect"]),
        ("'Stonefish'", ["Stonefish"]),
        ("Sure! The animal is called a **flounder**.", ["flounder"]),
        ("Certainly! It is a mantis.", ["mantis"]),
        ("This is not a snake but a lizard.", ["lizard"]),
        ("Not a frog, but a toad.", ["toad"]),
        ("It is likely a type of moth, possibly an owlet moth.", ["moth", "owlet moth"]),
        ("The animal is most likely a potoo.", ["potoo"]),
        ("The camouflaged animal seems to be a species of gecko.", ["gecko"]),
        ('The "camouflaged animal" in the image is an owl.', ["owl"]),
        ("There doesn't appear to be a camouflaged animal here.", []),
        ("No animal is visible in this image.", []),
        ("I can see that there is no animal.", []),
        ("Unknown", []),
        ("N/A", []),
        ("n/a.", []),
        ("Not applicable", []),
        ("Nevus (benign)", ["Nevus"]),
        ("Melanoma or nevus", ["Melanoma", "nevus"]),
        ("The object in the image is a 5 mm sessile polyp.", ["sessile polyp"]),
        ("A frog without a tail.", ["frog"]),
        ("A lizard with no visible legs.", ["lizard"]),
    ],
    "gemini": [
        ("Flounder", ["Flounder"]),
        (
            "Based on the image, the animal is a **peacock flounder** (*Bothus lunatus*).",
            ["peacock flounder"],
        ),
        ("Peacock flounder (Bothus lunatus)", ["Peacock flounder"]),
        ("The camouflaged animal is a **black and white snake**.", ["black and white snake"]),
        ("**Answer:** Katydid", ["Katydid"]),
        ("**Environment:** Rocky seabed", ["Rocky seabed"]),
        ("Here is the name: **Tawny frogmouth**", ["Tawny frogmouth"]),
        ("Frog - a small amphibian", ["Frog"]),
        ("Seahorse — it blends with the coral.", ["Seahorse"]),
        ("The animal is a Leaf-tailed Gecko that mimics bark.", ["Leaf-tailed Gecko"]),
        ("Octopus/Cuttlefish", ["Octopus", "Cuttlefish"]),
        ("Cuttlefish and/or octopus", ["Cuttlefish", "octopus"]),
        ("The animal is either a frog or a toad.", ["frog", "toad"]),
        ("There is no camouflaged animal; the image shows only leaves.", []),
    ],
    "molmo": [
        ("Owl", ["Owl"]),
        (" Octopus", ["Octopus"]),
        ('<point x="12.1" y="33.0" alt="owl">owl</point>', ["owl"]),
        (
            '<points x1="1.0" y1="2.0" x2="3.0" y2="4.0" alt="frogs">frogs</points>',
            ["frogs"],
        ),
        ("There are none.", []),
        ("This is a mantis shrimp.", ["mantis shrimp"]),
        ("Counting the frogs shows a total of 2.", []),
    ],
    "paligemma, florence, kosmos": [
        ("<loc0123><loc0456><loc0789><loc0900> owl", ["owl"]),
        ("owl <loc0123><loc0456><loc0789><loc0900>", ["owl"]),
        ("<p>owl</p>", ["owl"]),
        ("<phrase>a leaf insect</phrase>", ["leaf insect"]),
        ("owl</s>", ["owl"]),
        ("owl [0.1, 0.2, 0.5, 0.6]", ["owl"]),
        ("unanswerable", []),
    ],
    "descriptions": [
        ("a black and white snake", ["black and white snake"]),
        ("Black & white snake", ["Black & white snake"]),
        ("A small, brown and white bird.", ["small, brown and white bird"]),
        ("brown or green frog", ["brown or green frog"]),
        ("a green and brown striped caterpillar", ["green and brown striped caterpillar"]),
        ("rocky and sandy seabed", ["rocky and sandy seabed"]),
        ("a small, furry animal", ["small, furry animal"]),
        ("black and white", ["black and white"]),
        ("snake, black and white", ["snake"]),
        ("orange and apple", ["orange", "apple"]),
        ("bird of paradise", ["bird of paradise"]),
        ("lily of the valley", ["lily of the valley"]),
        ("great horned owl", ["great horned owl"]),
        ("giant Pacific octopus", ["giant Pacific octopus"]),
        ("hard coral", ["hard coral"]),
        ("hidden leaves", ["hidden leaves"]),
        ("frog, hiding in the grass", ["frog"]),
        ("no-see-um", ["no-see-um"]),
        ("black and white snake and brown frog", ["black and white snake", "brown frog"]),
        ("frog, black and white snake", ["frog", "black and white snake"]),
    ],
    "lists and counts": [
        ("frog and snake", ["frog", "snake"]),
        ("a frog, leaf; owl/moth", ["frog", "leaf", "owl", "moth"]),
        ("The camouflaged animals are a frog, a snake and a bird.", ["frog", "snake", "bird"]),
        ("The animals are: frog, snake.", ["frog", "snake"]),
        ("2 frogs", ["frogs"]),
        ("two frogs", ["frogs"]),
        ("There are three owls.", ["owls"]),
        ("a pair of owls", ["owls"]),
        ("several small fish", ["small fish"]),
        ("a school of fish", ["fish"]),
        ("some kind of moth", ["moth"]),
        ("frog (or toad)", ["frog"]),
        ("Frog(s)", ["Frog"]),
        ("(frog)", ["frog"]),
        ("[frog]", ["frog"]),
        ("frog | toad", ["frog", "toad"]),
        ("seven-spot ladybird", ["seven-spot ladybird"]),
        ("3", []),
        ("0.5", []),
        ("1) frog 2) toad", ["frog", "toad"]),
    ],
    "nothing": [
        ("", []),
        ("...", []),
        ("no", []),
        ("No.", []),
        ("None.", []),
        ("no animal", []),
        ("No polyp", []),
        ("nothing", []),
        ("There is no polyp in this image.", []),
        ("There isn't any animal.", []),
        ("I don't see an animal.", []),
        ("I do not know.", []),
        ("Neither a frog nor a toad.", []),
        ("Unclear", []),
        ("Background", []),
        ("It is impossible to say.", []),
        ("ninguno", []),
        ("нет", []),
    ],
    "terminals": [
        ("\x1b[31mfrog\x1b[0m", ["frog"]),
        ("\x1b]0;title\x07frog", ["frog"]),
        ("\x9b1mtree \x1b[4mfrog", ["tree frog"]),
        ("a \x07frog\x00", ["frog"]),
    ],
    "numbers": [
        ("1e5, frog", ["frog"]),
        ("10e3 and 2 frogs", ["frogs"]),
        ("B2 bomber", ["B2 bomber"]),
    ],
    "other letters": [
        ("лягушка", ["лягушка"]),
        ("лягушка, змея", ["лягушка", "змея"]),
        ("मेंढक", ["मेंढक"]),
        ("ضفدع", ["ضفدع"]),
        ("カエル", ["カエル"]),
        ("개구리", ["개구리"]),
        ("กบ", ["กบ"]),
        ("caméléon", ["caméléon"]),
        ("Käfer", ["Käfer"]),
        ("araña cangrejo", ["araña cangrejo"]),
        ("βάτραχος", ["βάτραχος"]),
    ],
}
TABLE = [(family, *row) for family, rows in ANSWERS.items() for row in rows]


@pytest.mark.parametrize(("family", "answer", "names"), TABLE)
def test_the_candidates_in_an_answer(family: str, answer: str, names: list[str]) -> None:
    assert list(parse_names(answer)) == names


def test_the_table_is_long_enough_to_mean_something() -> None:
    assert len({answer for _, answer, _ in TABLE}) >= 150


SAME = [
    ("octopus", "Octopuses"),
    ("frog", "The Frogs."),
    ("leaf-tailed gecko", "leaf tailed geckos"),
    ("black and white snake", "Black and white snakes"),
    ("bird of paradise", "birds of paradise"),
    ("panda", "pandas"),
    ("wolf", "Wolves"),
    ("mouse", "mice"),
    ("mosquito", "mosquitoes"),
    ("house", "houses"),
    ("walrus", "walruses"),
    ("species", "species"),
    ("magpie", "magpies"),
    ("Käfer", "ka\u0308fer"),
    ("ЛЯГУШКА", "лягушка"),
]


@pytest.mark.parametrize(("name", "other"), SAME)
def test_forms_of_one_name_count_as_one(name: str, other: str) -> None:
    assert canonical(name) == canonical(other)
    assert distinct([name, other]) == (name,)


def test_other_names_stay_apart() -> None:
    names = ("frog", "toad", "tree frog", "मेंढक", "मंढक", "grass", "gras", "caméléon", "cameleon")
    assert distinct(names) == names


@pytest.mark.parametrize(
    ("answer", "box"),
    [
        ("[0.12, 0.30, 1.01, 0.96]", (0.12, 0.3, 1.0, 0.96)),
        ("[-0.02, 0.3, 0.5, 1.3]", (0.0, 0.3, 0.5, 1.0)),
        ("(12%, 30%, 101%, 96%)", (0.12, 0.3, 1.0, 0.96)),
        ("[10, 20, 340, 300]", (10 / 336, 20 / 336, 1.0, 300 / 336)),
        ("<ref>owl</ref><box>[[120, 40, 300, 800]]</box>", (0.12, 0.04, 0.3, 0.8)),
        ("<|box_start|>(120,40),(300,800)<|box_end|>", (0.12, 0.04, 0.3, 0.8)),
        ("[1.5, 1.6, 1.7, 1.8]", None),
        ("[1e-1, 2E-1, 5e-1, .9]", (0.1, 0.2, 0.5, 0.9)),
        ("(x0, y0, x1, y1) = (0.1, 0.2, 0.5, 0.9)", (0.1, 0.2, 0.5, 0.9)),
        ("x1=0.1, y1=0.2, x2=0.5, y2=0.9.", (0.1, 0.2, 0.5, 0.9)),
        ("10px 20px 50px 90px", (0.1, 0.2, 0.5, 0.9)),
        ("0.1-0.2-0.5-0.9", (0.1, 0.2, 0.5, 0.9)),
    ],
)
def test_boxes_that_lead_outside_are_clipped(answer: str, box: tuple[float, ...] | None) -> None:
    assert parse_box(answer) == (None if box is None else pytest.approx(box))


ENDLESS = (
    "(",
    "[1",
    "1 ",
    " ",
    "**a",
    "<|",
    "not a ",
    "a black and ",
    "is a ",
    "1! A",
    "/",
    "\n1. ",
)


@pytest.mark.parametrize("piece", ENDLESS)
def test_an_answer_that_repeats_itself_for_ever_is_read_as_well(piece: str) -> None:
    """It would take minutes if any pattern went back over what it has passed."""
    text = piece * 10_000
    assert len(parse_names(text)) <= len(text)
    assert parse_box(text) is None
