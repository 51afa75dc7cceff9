"""``int-bench segment``: one's own pictures, without ground truth; masks, overlays and a table."""

from __future__ import annotations

import io
import json
import re
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image as Pillow
from PIL.PngImagePlugin import PngInfo

from int_bench.cli import plan
from int_bench.cli.process import terminable
from int_bench.cli.run import Progress
from int_bench.cli.screen import drawn, quiet_libraries, say
from int_bench.cli.views import report_command
from int_bench.config import build_method, load_config
from int_bench.core.files import expanded, write_file
from int_bench.core.named_folders import options_typed
from int_bench.core.text import many, shown
from int_bench.core.types import Image
from int_bench.data.images import read_mask
from int_bench.data.pictures import pictures_in
from int_bench.errors import Exit, MissingAsset, SampleError, UsageError
from int_bench.report.overlay import overlay
from int_bench.report.segments import segments_table, shortened
from int_bench.runs.execute import Variant
from int_bench.runs.executors.compute import OnRecord, compute
from int_bench.runs.layout import file_name, mask_file
from int_bench.runs.preflight.checks import preflight
from int_bench.runs.prepare import Prepared, prepare
from int_bench.runs.reader import Run
from int_bench.runs.records import OK, Record
from int_bench.runs.segments import Segment, segment_of, segments, take_earlier
from int_bench.runs.sinks.telling import Trackers, trackers
from int_bench.runs.variants import RunRequest

DEFAULT_OUT = Path("results/segments")
_SOFTWARE = "int-bench segment"
_OVERRIDE = re.compile(r"[A-Za-z_][\w./]*=.*", re.DOTALL)
_TABLE = "segments.csv"
_BUDGET = 20.0  # MiB of the report


@dataclass(frozen=True)
class SegmentOptions:
    """What was typed.

    Attributes:
        words: pictures, folders of them, and overrides.
        prompt: the task-generic prompt.
        out: the folder to write to.
        json: print one line of JSON.
        dry_run: check all and say what would be done.
        report: write ``report.html`` as well, made of traces.
    """

    words: tuple[str, ...]
    prompt: str | None
    out: Path = DEFAULT_OUT
    json: bool = False
    dry_run: bool = False
    report: bool = False

    @property
    def text(self) -> str:
        """The command line that does the same again."""
        prompt = [] if self.prompt is None else ["--prompt", self.prompt]
        report = ["--report"] if self.report else []
        words = [*self.words, *prompt, "--out", str(self.out), *report, *options_typed()]
        return shlex.join(["int-bench", "segment", *words])


def segment_command(options: SegmentOptions) -> int:
    """Segment pictures and write the masks beside their names.

    Returns:
        The exit code: 0, 4 if a picture failed, 130 if interrupted.

    Raises:
        MissingAsset: a picture is not there, or a folder holds none.
        UsageError: no prompt, or a file that is not ours would be overwritten.
    """
    quiet_libraries()
    files, overrides = _sorted_out(options.words)
    request = _request(options, files, overrides)
    (run,) = prepare([request])
    method = build_method(run.config)
    report = preflight([request], [run], [method])
    taken = 0 if options.dry_run or report.faults else take_earlier(run)
    if taken:
        say(f"{many(taken, 'picture')} of an earlier command: nothing of them has changed.")
        (run,) = prepare([request])
        report = preflight([request], [run], [method])
    ended = plan.looked_over(report, [run], options.dry_run)
    if ended is not None:
        return ended
    started = time.monotonic()
    try:
        with terminable(), trackers([run], say) as told:
            export = Export(run, options.out, told)
            export.check(files)
            compute([run], [method], run.config, export.watch, tell=say)
            export.rest()
            told.scored(run.path, {})
    except KeyboardInterrupt:
        say(f"Interrupted: what is done is safe. Go on with: {options.text}")
        return Exit.INTERRUPTED
    segmented = list(segments(Run(run.path), run.keys))
    _print(options, run, segmented, time.monotonic() - started)
    if options.report:
        # The page's line is no part of the result.
        with redirect_stdout(sys.stderr):
            report_command([run.path], options.out / "report.html", _BUDGET)
    return Exit.DONE if all(segment.status == OK for segment in segmented) else Exit.INCOMPLETE


def _sorted_out(words: Sequence[str]) -> tuple[list[Path], list[str]]:
    """The picture files, each once, and the overrides.

    Raises:
        MissingAsset: what is neither; nothing is computed then.
        UsageError: no picture.
    """
    files: dict[Path, Path] = {}
    overrides = []
    for word in words:
        place = expanded(word)
        if place.is_dir():
            inside = [path for path in pictures_in(place) if not _is_ours(path)]
            if not inside:
                raise MissingAsset(f"{place} holds no picture; folders within are not looked at.")
            files |= {path.resolve(): path.absolute() for path in inside}
        elif place.exists():
            files[place.resolve()] = place.absolute()
        elif _OVERRIDE.fullmatch(word):
            overrides.append(word)
        else:
            raise MissingAsset(f"{place}: there is no such picture or folder.")
    if not files:
        raise UsageError("Say which pictures: files, or folders of them.")
    return list(files.values()), overrides


def _request(options: SegmentOptions, files: Sequence[Path], overrides: list[str]) -> RunRequest:
    """The configuration: the pictures as a data set, the prompt as a task of one's own."""
    keys = {word.partition("=")[0] for word in overrides}
    if options.prompt is None and not {"task", "task.prompt"} & keys:
        raise UsageError('Say what to look for: --prompt "shadow", or a task such as task=polyp.')
    if options.prompt is not None and not options.prompt.strip():
        raise UsageError("--prompt is empty; say what to look for.")
    for key in ("dataset", "out"):
        if key in keys:
            raise UsageError(f"{key}= is set by segment itself; leave it out.")
    given = [*overrides, "dataset=pictures"]
    if options.report and "keep" not in keys:
        given.append("keep=trace")
    if "task" not in keys:
        given += ["task=custom", *([] if "task.prompt" in keys else ["task.prompt=custom"])]
    config = load_config([*given, *(["models=tiny"] if "models" not in keys else [])])
    # Set as they are: neither is looked at for quotes or references.
    task = config.task if options.prompt is None else replace(config.task, prompt=options.prompt)
    dataset = {**config.dataset, "files": [str(path) for path in files]}
    return RunRequest(replace(config, task=task, dataset=dataset, out=options.out / "runs"))


class Export:
    """Writes ``NAME_mask.png`` and ``NAME_overlay.png`` of what a run has finished.

    Args:
        run: the prepared run.
        out: the folder to write to.
        told: the trackers of the run.
    """

    def __init__(self, run: Prepared, out: Path, told: Trackers | None = None) -> None:
        self._run, self.out, self._told = run, out, told
        self._samples = {sample.id: sample for sample in run.samples}
        self._written: set[tuple[int, str]] = set()

    def mask(self, trial: int, sample_id: str) -> Path:
        """Where the mask of a picture is written."""
        return self._place(trial, sample_id, "mask")

    def overlay(self, trial: int, sample_id: str) -> Path:
        """Where the picture with its mask over it is written."""
        return self._place(trial, sample_id, "overlay")

    def _place(self, trial: int, sample_id: str, what: str) -> Path:
        which = f"_trial{trial + 1}" if self._run.trials > 1 else ""
        return self.out / f"{file_name(sample_id)}{which}_{what}.png"

    def check(self, sources: Sequence[Path]) -> None:
        """Refuse, before a model is loaded, to write over what this command has not written.

        Raises:
            UsageError: a file is in the way.
        """
        places = [place(*key) for key in self._run.keys for place in (self.mask, self.overlay)]
        known = {path.resolve() for path in sources}
        for path in places:
            if path.resolve() in known or (path.exists() and not _is_ours(path)):
                raise UsageError(
                    f"{path} is there and was not written by this command; choose another folder "
                    "with --out."
                )
        table = self.out / _TABLE
        if table.exists() and not table.read_bytes().startswith(b"id,"):
            raise UsageError(f"{table} is there and is none of ours; choose another --out.")

    @contextmanager
    def watch(self, total: int, done: int) -> Iterator[OnRecord]:
        """Progress, and each picture's files as soon as it is done."""
        with Progress(None, told=self._told).watch(total, done) as told:

            def on_record(variant: Variant, record: Record) -> None:
                told(variant, record)
                mask = variant.folder.path / mask_file(record.trial, "final", record.name)
                self._write(segment_of(self._run.path, record, mask))

            yield on_record

    def rest(self) -> None:
        """What was finished by an earlier command."""
        keys = [key for key in self._run.keys if key not in self._written]
        for segment in segments(Run(self._run.path), keys):
            self._write(segment)

    def _write(self, segment: Segment) -> None:
        if segment.mask is None:
            return
        key = (segment.trial, segment.id)
        try:
            hard = read_mask(segment.mask)
            image = self._run.dataset.load_image(self._samples[segment.id])
        except SampleError as error:  # gone since it was segmented
            say(f"{segment.id}: {error}")
            return
        write_file(self.mask(*key), _png(np.where(hard, 255, 0).astype(np.uint8)))
        write_file(self.overlay(*key), _png(overlay(image, hard)))
        self._written.add(key)


def _png(pixels: Image) -> bytes:
    """A PNG that says who wrote it, so that the next command may write it anew."""
    note, buffer = PngInfo(), io.BytesIO()
    note.add_text("Software", _SOFTWARE)
    Pillow.fromarray(pixels).save(buffer, "PNG", pnginfo=note)
    return buffer.getvalue()


def _is_ours(path: Path) -> bool:
    if not path.name.endswith(("_mask.png", "_overlay.png")):
        return False
    try:
        with Pillow.open(path) as file:
            return bool(file.info.get("Software") == _SOFTWARE)
    except (OSError, SyntaxError, ValueError):
        return False


def _print(
    options: SegmentOptions, run: Prepared, segmented: Sequence[Segment], seconds: float
) -> None:
    """The table, in a file and on the screen, or one line of JSON."""
    table = segments_table(run.config.task.prompt, [(run.label, s) for s in segmented])
    write_file(options.out / _TABLE, table.to_csv().encode())
    if options.json:
        export = Export(run, options.out)
        rows = []
        for segment in segmented:
            key, made = (segment.trial, segment.id), segment.status == OK
            files = {"mask": export.mask(*key), "overlay": export.overlay(*key)}
            places = {name: str(path) if made else None for name, path in files.items()}
            rows.append({**segment.as_json(), **places})
        result = {"pictures": rows, "out": str(options.out), "run_dir": str(run.path)}
        print(json.dumps({**result, "seconds": round(seconds, 3)}))
        return
    print(drawn(shortened(table, str(options.out / _TABLE))), end="")
    failed = sum(segment.status != OK for segment in segmented)
    more = f", {failed} failed" if failed else ""
    print(f"{len(segmented) - failed} masks and overlays in {shown(str(options.out))}{more}.")
