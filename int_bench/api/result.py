"""What a method found in one image, and how it shows itself."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Pillow

from int_bench.core.files import write_file
from int_bench.core.text import shown
from int_bench.core.types import Box, HardMask, Image, Iteration, Prediction, SoftMask
from int_bench.report.panels import PanelRow, draw_panel


@dataclass(frozen=True, repr=False)
class Result:
    """The segmentation of one image.

    Attributes:
        name: what the image is called.
        task: the task-generic prompt.
        image: (H, W, 3) uint8 RGB.
        prediction: all iterations, and which of them was chosen.
    """

    name: str
    task: str
    image: Image
    prediction: Prediction

    @property
    def mask(self) -> HardMask:
        """(H, W) bool, True on the object."""
        return self.prediction.final.masks.hard

    @property
    def soft(self) -> SoftMask:
        """(H, W) float32 in 0..1: the mask that dims the next view (Eq. 12)."""
        return self.prediction.final.masks.soft

    @property
    def prompt(self) -> str:
        """The instance-specific prompt of the final mask."""
        return self.prediction.final.prompt

    @property
    def iterations(self) -> tuple[Iteration, ...]:
        """All iterations, the first one first."""
        return self.prediction.iterations

    @property
    def boxes(self) -> tuple[Box, ...]:
        """The boxes (x0, y0, x1, y1 in pixels of the image) that the final mask came from.

        The prompt's own box first, then those that the segmenter was given.
        """
        final = self.prediction.final
        own = [final.box_image] if final.box_image is not None else []
        masks = final.details.get("masks", ())
        prompted = [box for part in masks for box in part.get("boxes_image", ())]
        detected = [part["box_image"] for part in final.details.get("detections", ())]
        prompted += [box for box in detected if box is not None]
        boxes = (tuple(float(value) for value in box) for box in (*own, *prompted))
        return tuple(dict.fromkeys(boxes))  # type: ignore[arg-type]

    def why(self) -> str:
        """In words: what each iteration was asked to segment, why, and which mask was chosen."""
        chosen = self.prediction.chosen[-1]
        lines = [f"{shown(self.task)} in {shown(self.name)}: {_named(self.prompt)}"]
        for index, iteration in enumerate(self.iterations):
            mark = " (chosen)" if index == chosen else ""
            lines.append(f"iteration {index + 1}{mark}: {_named(iteration.prompt)}")
            lines += [f"  {line}" for line in _reasons(iteration.details)]
        return "\n".join(lines)

    def save(self, path: str | Path) -> Path:
        """Write the mask as a PNG of 0 and 255; the path.

        Raises:
            UsageError: it cannot be written there.
        """
        place = Path(path).expanduser()
        levels = np.where(self.mask, 255, 0).astype(np.uint8)
        write_file(place, _png(Pillow.fromarray(levels)))
        return place

    def picture(self) -> Pillow.Image:
        """Image, soft mask of each iteration, final mask, and the names' weights."""
        steps = self.iterations
        return draw_panel(
            [
                PanelRow(
                    title=self.name,
                    image=self.image,
                    truth=None,
                    soft=[step.masks.soft for step in steps],
                    final=self.mask,
                    prompts=[step.prompt for step in steps],
                    candidates=[step.details.get("candidates", []) for step in steps],
                )
            ]
        )

    def __repr__(self) -> str:
        height, width = self.mask.shape
        share = float(self.mask.mean())
        return f"Result({self.name!r}, {self.prompt!r}, {height} x {width}, {share:.1%} masked)"

    def _repr_png_(self) -> bytes:
        """What a notebook shows: :meth:`picture`."""
        return _png(self.picture())

    def _repr_html_(self) -> str:
        """What a notebook shows where it may: the picture, and :meth:`why` below it."""
        code = base64.b64encode(self._repr_png_()).decode()
        return (
            f'<figure><img alt="{html.escape(self.name)}" src="data:image/png;base64,{code}">'
            f"<figcaption><pre>{html.escape(self.why())}</pre></figcaption></figure>"
        )


def _png(picture: Pillow.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def _named(prompt: str) -> str:
    """An instance-specific prompt as :meth:`Result.why` prints it."""
    return shown(prompt) or "(no name)"


def _reasons(details: Mapping[str, Any]) -> Iterator[str]:
    """What a method wrote down about one iteration, a line for each kind."""
    candidates = sorted(details.get("candidates", ()), key=lambda item: -item["weight"])
    for item in candidates:
        fall, weight = item["difference"], item["weight"]
        where = ", ".join(item["patches"])
        yield (
            f"{shown(item['name'])}: named in {where}; erasing lowers its probability by "
            f"{fall:.2f} at most; weight {weight:.2f}"
        )
    shares = [part for part in details.get("masks", ()) if part.get("weight") is not None]
    if shares:
        parts = (f"{part['patch']} {part['weight']:.2f}" for part in shares)
        yield f"weights of the patches' masks: {', '.join(parts)}"
    for part in details.get("detections", ()):
        box = ", ".join(f"{value:.0f}" for value in part["box_image"] or ())
        yield f"detected with score {part['score']:.2f}" + (f" at ({box})" if box else "")
