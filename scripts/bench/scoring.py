"""Scoring candidate names on resident prefixes against one forward pass per name.

    OMP_NUM_THREADS=1 python -m scripts.bench.scoring

Nine names of one to four tokens behind the same question about several pictures, on a small random
LLaVA with the true 576 image tokens. The engine packs all names of a picture into one row behind
keys and values that are already there; the plain way is a forward pass of the whole prompt for
every name. CPU seconds of one thread, both in turn, median of ratios.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from int_bench.core.requests import Score, TokenLogProbs
from int_bench.core.templates import NAME
from scripts.bench.dialogues import PlainLlava, draw_patches
from scripts.bench.report import ROOT, Row, finish
from scripts.bench.timing import in_turn, one_thread, timed
from scripts.bench.untrained.llava import NAMES, SMALL, TASK, TINY, random_llava


def largest_gap(first: Sequence[TokenLogProbs], second: Sequence[TokenLogProbs]) -> float:
    """The largest difference of two lists of answers."""
    return max(
        abs(x - y)
        for a, b in zip(first, second, strict=True)
        for p, q in zip(a, b, strict=True)
        for x, y in zip(p, q, strict=True)
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; 1 if a bar is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tiny", action="store_true", help="smallest sizes; no bar on time")
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "bench")
    given = parser.parse_args(arguments)
    one_thread()
    size, pictures, rounds = (TINY, 2, 1) if given.tiny else (SMALL, 9, 2)
    question = NAME.format(task=TASK)
    drawn = draw_patches(pictures, 1).originals
    requests = [Score(picture, question, NAMES) for picture in drawn]
    vlm = random_llava(size, max_batch=pictures, prefix_cache_mb=1024)
    plain = PlainLlava(vlm)
    first, _ = timed(lambda: vlm.score(requests))
    pair, theirs, ours = in_turn(lambda: plain.score(requests), lambda: vlm.score(requests), rounds)
    tokens = sum(len(name.split()) for name in NAMES) * pictures
    rows = [
        Row("log-probabilities per call", tokens, "", "==", sum(map(len, sum(ours, ())))),
        Row("one forward per name: CPU time", min(pair.slow), "s"),
        Row("packed, prefixes computed on the way: CPU time", first, "s"),
        Row("packed, prefixes resident: CPU time", min(pair.fast), "s"),
        Row("times faster, prefixes resident", pair.ratio, "x", ">=", None if given.tiny else 20),
        Row("largest difference of log-probabilities", largest_gap(theirs, ours), "", "<=", 1e-5),
    ]
    sizes = {"pictures": pictures, "names": len(NAMES), "rounds": rounds, "tiny": given.tiny}
    return finish("scoring", rows, sizes, given.out)


if __name__ == "__main__":
    sys.exit(main())
