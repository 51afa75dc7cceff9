"""What one call of a published model takes at most, beyond its weights and what it keeps.

Measured by counting the bytes of every tensor of the architecture at its full size, on pictures of
1024 x 768 (``tests/test_plan_at_full_size.py`` counts again); allocators round up some per cent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Peak(NamedTuple):
    """Bytes of a call: of the first row, and of each further one."""

    first: float
    further: float

    def of(self, rows: int) -> int:
        """Of so many rows."""
        return int(self.first + (rows - 1) * self.further)


Verbs = Mapping[str, Mapping[str, Peak]]
"""By verb and by the bits of the precision, ``32`` or ``16``."""


def _gb(first: float, further: float) -> Peak:
    return Peak(first * 1e9, further * 1e9)


_SWIN = {"detect": {"32": _gb(0.385, 0.352), "16": _gb(0.195, 0.176)}}
PEAKS: Mapping[str, Verbs] = {
    "sam_vit_h_4b8939.pth": {"segment": {"32": _gb(2.32, 0.137), "16": _gb(0.19, 0.175)}},
    "sam_vit_b_01ec64.pth": {"segment": {"32": _gb(1.73, 0.086), "16": _gb(0.12, 0.107)}},
    "IDEA-Research/grounding-dino-tiny": _SWIN,
    "groundingdino_swint_ogc.pth": _SWIN,
    "sd2-community/stable-diffusion-2-inpainting": {
        "inpaint": {"32": _gb(0.82, 0.82), "16": _gb(0.41, 0.41)}
    },
    "timm/vit_base_patch16_clip_224.openai": {
        "heatmap": {"32": _gb(0.22, 0.0055)},
        "similarity": {"32": _gb(0.01, 0.01)},
    },
}
"""By hub id, or by name for a single file; language models are computed from their tokens."""


def peaks_of(name: str, dtype: str) -> dict[str, Peak]:
    """What is known of the verbs of a checkpoint in a precision; empty if nothing is."""
    verbs = PEAKS.get(name) or PEAKS.get(name.rpartition("/")[2]) or {}
    bits = "32" if dtype == "float32" else "16"
    return {verb: peaks[bits] for verb, peaks in verbs.items() if bits in peaks}
