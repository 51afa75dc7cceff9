"""The engine against the predecessor's order on a CPU: work, time, exactness, scaling.

    OMP_NUM_THREADS=1 python -m scripts.bench.engine

Three parts: the vision-language model alone on a small random LLaVA with the true 576 image tokens
(nine patches, four iterations); INT end to end on the shipped models; and four times the images.
Times are CPU seconds of one thread, both sides in turn; ratios are medians over rounds.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from int_bench.core.requests import Answer, Turn
from scripts.bench import zoo
from scripts.bench.dialogues import (
    QUESTIONS,
    Patches,
    PlainLlava,
    Said,
    converse,
    draw_patches,
    engine,
)
from scripts.bench.plain import one_by_one, run_plain
from scripts.bench.replay import closed_forms
from scripts.bench.report import ROOT, Row, finish
from scripts.bench.timing import in_turn, one_thread, timed
from scripts.bench.untrained.llava import SMALL, TINY, LlavaSize, random_llava

ROWS_PER_CALL = 64
AS_PRINTED = ("method.prompter.requery=each_iter",)
"""Eq. (2) asks for candidates in every iteration; greedy answers about the same patches repeat."""


def plain_chats(plain: PlainLlava, patches: Patches) -> list[Said]:
    """The chats of one image, one call per turn and stream."""
    ask = one_by_one({"vlm": plain}, forgetful=False)
    return run_plain([lambda ask: converse(patches, ask)], ask)[0]


def prompt_lengths(plain: PlainLlava, patches: Patches, said: Sequence[Said]) -> list[list[int]]:
    """Tokens of the prompt of each turn of each patch, by the library's own tokenisation."""
    lengths = []
    for k, picture in enumerate(patches.originals):
        turns: list[Turn] = []
        row = []
        for n, (question, _) in enumerate(QUESTIONS):
            row.append(plain.prompt_length(Answer(picture, question, tuple(turns))))
            turns.append(Turn(question, said[k * len(QUESTIONS) + n][0]))
        lengths.append(row)
    return lengths


def chats(size: LlavaSize, patches: int, iterations: int, rounds: int) -> list[Row]:
    """Counters and CPU time of the vision-language part of one image."""
    drawn = draw_patches(patches, iterations)
    plain = PlainLlava(random_llava(size))
    vlm = random_llava(size)

    def ours() -> list[Said]:
        nonlocal vlm
        vlm = random_llava(size, max_batch=ROWS_PER_CALL, prefix_cache_mb=1024)
        return engine(vlm, [drawn], ROWS_PER_CALL, in_flight=1)[0]

    engine(random_llava(size), [draw_patches(1, 1)], 1, 1)  # warm up
    pair, theirs, mine = in_turn(lambda: plain_chats(plain, drawn), ours, rounds)
    lengths = prompt_lengths(plain, drawn, theirs)
    expected = closed_forms.predecessor(lengths, iterations)
    wanted = closed_forms.engine(lengths, iterations)
    same = [a[0] for a in theirs] == [b[0] for b in mine]
    rows = []
    for name, closed, least in (
        ("vision_passes", wanted.vision_passes, expected.vision_passes),
        ("prefill_tokens", wanted.prefill_tokens, expected.prefill_tokens),
    ):
        label, before = name.replace("_", " "), plain.counters[name] / rounds
        rows.append(Row(f"{label}, predecessor's order", before, "", "==", least))
        rows.append(Row(f"{label}, engine", vlm.counters[name], "", "==", closed))
    passes = vlm.counters["vision_passes"] * rounds / plain.counters["vision_passes"]
    tokens = vlm.counters["prefill_tokens"] * rounds / plain.counters["prefill_tokens"]
    full = iterations >= 4
    return [
        *rows,
        Row("vision passes, share left", passes, "", "<=", 1 / 7 if full else None),
        Row("prefill tokens, share left", tokens, "", "<=", 1 / 6 if full else None),
        Row("chats with the same text", float(same), "", "==", 1.0),
        Row("largest difference of log-probabilities", _gap(theirs, mine), "", "<=", 1e-4),
        Row("CPU time, predecessor's order", min(pair.slow), "s"),
        Row("CPU time, engine", min(pair.fast), "s"),
        Row("VLM part, times faster", pair.ratio, "x", ">=", 4.0 if full else None),
    ]


def _gap(first: list[Said], second: list[Said]) -> float:
    """The largest difference of two chats' log-probabilities."""
    pairs = (
        abs(x - y)
        for (_, a), (_, b) in zip(first, second, strict=True)
        for p, q in zip(a, b, strict=True)
        for x, y in zip(p, q, strict=True)
    )
    return max(pairs, default=0.0)


def end_to_end(images: int, iterations: int, in_flight: int, bars: bool) -> list[Row]:
    """INT on the shipped models: one call per request and nothing kept, E0, and E1."""
    sizes = zoo.Zoo(images, iterations, AS_PRINTED)
    zoo.engine(zoo.Zoo(1, 1, AS_PRINTED), zoo.E1, 1)  # load and warm up
    jobs = len(sizes.jobs())
    slow, plain = timed(lambda: zoo.plain(sizes))
    alone, exact = timed(lambda: zoo.engine(sizes, zoo.E0, in_flight))
    quick, batched = timed(lambda: zoo.engine(sizes, zoo.E1, in_flight))
    ids = list(plain)
    shard = zoo.engine(sizes, zoo.E0, 3, ids=ids[1::6][::-1])
    same = all(zoo.identical(plain, run.masks) for run in (exact, shard))
    agree = zoo.agreement(plain, batched.masks)
    # What both orders must compute bounds the lead: all else free, this is what is left.
    ceilings = [slow / run.inside for run in (exact, batched)]
    return [
        Row(f"zoo, {jobs} images, one call per request: CPU time", slow, "s"),
        Row("zoo, E0: CPU time", alone, "s"),
        Row("zoo, E1: CPU time", quick, "s"),
        Row("zoo, E0: masks byte-identical (in flight, order, shard)", float(same), "", "==", 1.0),
        Row("zoo, E0, times faster", slow / alone, "x", ">=", 2.2 if bars else None),
        Row("zoo, E1, times faster", slow / quick, "x", ">=", 4.5 if bars else None),
        Row("zoo, E0, at most with the same calls, all around them free", ceilings[0], "x"),
        Row("zoo, E1, at most with the same calls, all around them free", ceilings[1], "x"),
        Row("zoo, E1: hard-mask pixels equal", 100 * agree, "%", ">=", 99.99),
    ]


def scaling(images: int, iterations: int, bars: bool) -> list[Row]:
    """Four times the images: CPU time and resident memory, caches bounded tightly."""
    options = ("backbone.vlm.prefix_cache_mb=16", "backbone.vlm.feature_cache_mb=4",
               "backbone.segmenter.cache_mb=4", "backbone.aligner.cache_mb=4")  # fmt: skip
    sizes = zoo.Zoo(4 * images, iterations, options)
    ids = list(sizes.jobs())
    zoo.engine(sizes, zoo.E1, 4, memo_mb=8, ids=ids[:images])
    # Scenes differ in cost, so all of them are run both ways.
    groups = [
        timed(partial(zoo.engine, sizes, zoo.E1, 4, memo_mb=8, ids=ids[at : at + images]))
        for at in range(0, len(ids), images)
    ]
    together, whole = timed(lambda: zoo.engine(sizes, zoo.E1, 4, memo_mb=8))
    once = sum(seconds for seconds, _ in groups) / len(groups)
    peak = max(group.bytes for _, group in groups)
    return [
        Row(f"{len(ids)} images against {images}: CPU time", together / once, "x", "<=",
            4.2 if bars else None),
        Row("... and memory", whole.bytes / max(peak, 1), "x", "<=", 1.1 if bars else None),
    ]  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all parts; 1 if a bar is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tiny", action="store_true", help="smallest sizes; no bars on time")
    parser.add_argument("--rounds", type=int, default=1, help="of the chats")
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "bench")
    given = parser.parse_args(arguments)
    one_thread()
    size, patches, iterations = (TINY, 3, 2) if given.tiny else (SMALL, 9, 4)
    images, cycles, base = (2, 1, 1) if given.tiny else (16, iterations, 2)
    rows = chats(size, patches, iterations, given.rounds)
    rows += end_to_end(images, cycles, 16, bars=not given.tiny)
    rows += scaling(base, 1, bars=not given.tiny)
    sizes = {"patches": patches, "iterations": iterations, "zoo_images": images,
             "zoo_iterations": cycles, "tiny": given.tiny}  # fmt: skip
    return finish("engine", rows, sizes, given.out)


if __name__ == "__main__":
    sys.exit(main())
