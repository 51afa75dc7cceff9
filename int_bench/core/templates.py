"""Every text that is sent to a model, with its source.

``{task}`` is the task-generic prompt ("camouflaged animal"); ``{name}`` is a candidate or the
instance-specific prompt; ``{environment}`` is a comma-joined list of environments.
"""

# INT, Section 3.1: hallucination-driven candidate generation.
CAPTION = "This image is from {task} detection task, describe the {task} in one sentence."
NAME = "Name of the {task} in one word."
ENVIRONMENT = "Name of the environment of the {task} in one word."
BOX = "This image pertains to the {task} detection task, output the bounding box of the {task}."

# INT, Section 3.1, the combined query as printed (`prompts=paper_literal`).
NAME_AND_ENVIRONMENT = "Output the name of the {task} and its environment in one word."

# ProMaC, the predecessor: its box question, as released.
PROMAC_BOX = (
    "The naive bounding box of {task} is [0, 0, 0, 0], adjust the bounding box to ensure that all "
    "{task} are fully displayed. Just output the adjusted boundingbox."
)

# ProMaC, the chat about the whole image that follows those about its patches. The released texts
# have "the ponow you are a detector" in the first one; it is mended here.
PROMAC_WHOLE_BOX = (
    "The potential {task} are: {names}, now you are a detector, output the boundingbox of the "
    "{task}."
)
PROMAC_WHOLE_NAME = (
    "The potential {task} are: {names}, and the potential bounding boxes of {task} are: {boxes}, "
    "now you are a detector, output the name of this {task} in this image in one word."
)
PROMAC_FINAL_BOX = "Output one bounding box of this {task} in this image."

# ProMaC, positive and negative prompt of its inpainter (INT's Eq. 4 rewords them).
PROMAC_POSITIVE = "{environments}, high quality, detailed, blended to the original image."
PROMAC_NEGATIVE = "{names}, is a {task}"

# GenSAM, the synonyms over which it averages, by task-generic prompt. Reading: it has several sets
# for polyps, this is one; it has none for skin lesions.
GENSAM_SYNONYMS = {
    "camouflaged animal": ("camouflaged animal", "disguised animal", "hidden animal"),
    "polyp": ("polyp", "tumor", "growth"),
}

# A chat service that was never told how LLaVA writes boxes. Reading: the paper does not print what
# it asked GPT-4V; this is INT's box question with the format spelled out.
ENDPOINT_BOX = (
    "This image pertains to the {task} detection task, output the bounding box of the {task} as "
    "[x0, y0, x1, y1], four fractions of the image's width and height between 0 and 1."
)
ENDPOINT_BOX_AGAIN = (
    "Output nothing but one bounding box of the {task} as [x0, y0, x1, y1], four numbers between "
    "0 and 1."
)

# The chat about one patch, as (what the answer holds, question) in order.
# Reading: the slots of the paper's prompts are lost in its released text; ``int_chat`` asks for
# name and environment in two questions, as the predecessor did, since one answer each parses
# reliably.
CHATS = {
    "int_chat": (("name", NAME), ("environment", ENVIRONMENT), ("box", BOX)),
    "paper_literal": (("name_and_environment", NAME_AND_ENVIRONMENT), ("box", BOX)),
    "promac": (
        ("caption", CAPTION),
        ("name", NAME),
        ("environment", ENVIRONMENT),
        ("box", PROMAC_BOX),
    ),
}

# INT, Eq. (4): positive and negative prompt of the inpainter.
INPAINT_POSITIVE = (
    "{environment}, high quality, detailed, and well-Integrated with the original image."
)
INPAINT_NEGATIVE = "{name} is not a {task}."

# GroundingDINO wants lower-case phrases that end in a full stop.
DETECT = "{name}."
# What joins several names to one prompt; to the detector each is a phrase of its own.
AND = " and "

# CLIP: the templates that Spatial CLIP averages over; similarity uses the bare word (Eq. 10).
CLIP_TEMPLATES = (
    "a photo of a {name}.",
    "a blurry photo of a {name}.",
    "a close-up photo of a {name}.",
    "a photo of the {name}.",
    "a photo of the hidden {name}.",
    "a cropped photo of the {name}.",
    "a bright photo of a {name}.",
    "a dark photo of the {name}.",
)
