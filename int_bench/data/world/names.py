"""Words of the drawn world: what hides, where, and what only looks like it."""

ANIMALS = ("frog", "snake", "fish", "owl", "crab", "moth", "lizard", "spider")
POLYPS = ("adenoma", "serrated", "villous")
LESIONS = ("melanoma", "keratosis", "carcinoma")
NAMES = (
    *ANIMALS, "polyp", "lesion", *POLYPS, *LESIONS,
    "fold", "bubble", "highlight", "mole", "hair", "ink",
)  # fmt: skip
"""All names. World 1 knows the first ten; from "fold" on they are never truth."""
ENVIRONMENTS = (
    "leaves", "bark", "coral", "snow", "sand", "grass", "rock", "water", "colon", "skin",
)  # fmt: skip
FAVOURITE = (0, 1, 2, 3, 4, 5, 6, 7)
"""``FAVOURITE[i]`` is the index of the animal that goes with environment ``i``, for ``i < 8``."""
LOOKALIKE = (*FAVOURITE, NAMES.index("fold"), NAMES.index("mole"))
"""``LOOKALIKE[i]`` is the name that environment ``i`` suggests: what its decoys look like."""
TASK_PROMPTS = {"cod": "camouflaged animal", "polyp": "polyp", "skin": "skin lesion"}
TARGETS = {
    "cod": tuple(range(8)),
    "polyp": tuple(NAMES.index(name) for name in POLYPS),
    "skin": tuple(NAMES.index(name) for name in LESIONS),
}
"""What hides in world 2, by task, as indices into NAMES."""
CLUTTER = {
    "polyp": tuple(NAMES.index(name) for name in ("fold", "bubble", "highlight")),
    "skin": tuple(NAMES.index(name) for name in ("mole", "hair", "ink")),
}
"""What the decoys of the medical tasks are, as indices into NAMES."""
