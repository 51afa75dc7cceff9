"""The command line: ``int-bench run | eval | table | compare | ablate | methods | ...``.

Only Typer is imported here; each command imports what it needs when it runs, so that ``--help``
and completion stay fast. Exit codes: :class:`int_bench.errors.Exit`.
"""

from __future__ import annotations

import atexit
import gc
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from int_bench.cli import views
from int_bench.cli.assets.app import data_app, help_alone, models_app
from int_bench.cli.words.options import (
    Columns,
    DryRun,
    Ids,
    IdsFile,
    Json,
    Limit,
    Out,
    Overrides,
    PrintConfig,
    Profile,
    Verbose,
    Verify,
    complete_metric,
    complete_table,
)
from int_bench.errors import Exit, UserError

_USAGE_ERRORS: tuple[type[Exception], ...] = (
    typer.BadParameter,
    *(base for base in typer.BadParameter.__bases__ if issubclass(base, Exception)),
)
"""What Typer raises for a wrong command line; of these classes it exports only BadParameter."""

_SELDOM = 10_000
"""New objects between two looks for garbage while a command is prepared."""
_HELP = {"help_option_names": ["-h", "--help"]}
app = typer.Typer(
    name="int-bench",
    context_settings=_HELP,
    help="Task-generic promptable segmentation with INT: run it, score masks, take it apart.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=False,
)
app.add_typer(data_app, name="data")
app.add_typer(models_app, name="models")


def _say_version(asked: bool) -> None:
    if asked:
        from int_bench import __version__

        print(f"int-bench {__version__}")
        raise typer.Exit()


@app.callback(invoke_without_command=True)
def general(
    ctx: typer.Context,
    config_dir: Annotated[
        list[Path] | None,
        typer.Option(
            "--config-dir",
            metavar="DIR",
            help="Further data sets, methods, backbones as YAML; before or behind the command.",
        ),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Print it.")
    ] = False,
) -> None:
    """Task-generic promptable segmentation with INT: run it, score masks, take it apart."""
    # exit_code has taken --config-dir from the command line, wherever it stood; here it is
    # explained.
    help_alone(ctx)


_RUN = """Segment a data set and score the masks; given again it resumes.

Several methods over the same models, in one table: method=int,promac or method=all."""
_ABLATE = """The full method beside its variants, sharing what they can.

module=HCG,PSNM,PNM,SMG (or all; SAPNet's PDG,PNPG,BMS,MPS are trained): without a part.
patches=original,halves,quarters,original+halves (or o,h,q,oh,ohq, all); iterations=1..6."""


@app.command("ablate", help=_ABLATE)
@app.command("run", help=_RUN)
def run(  # noqa: PLR0913 - an option each
    context: typer.Context,
    overrides: Overrides = None,
    limit: Limit = None,
    out: Out = None,
    dry_run: DryRun = False,
    json: Json = False,
    profile: Profile = None,
    verbose: Verbose = False,
    ids: Ids = None,
    ids_file: IdsFile = None,
    print_config: PrintConfig = False,
    columns: Columns = None,
) -> int:
    """``run`` and ``ablate`` take the same options."""
    from int_bench.cli.run import ablate_command, run_command
    from int_bench.cli.screen import Command

    verb, words = str(context.info_name), tuple(overrides or ())
    selected = (ids, ids_file, print_config, columns)
    command = Command(verb, words, limit, out, dry_run, json, profile, verbose, *selected)
    return ablate_command(command) if verb == "ablate" else run_command(command)


@app.command()
def segment(
    words: Annotated[
        list[str],
        typer.Argument(help="Pictures, folders of them, and overrides.", metavar="PATH..."),
    ],
    prompt: Annotated[
        str | None, typer.Option("--prompt", help='What to look for, e.g. "shadow".')
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", help="Folder of masks, overlays and the table.")
    ] = Path("results/segments"),
    dry_run: DryRun = False,
    json: Json = False,
    report: Annotated[
        bool, typer.Option("--report", help="Write report.html: every picture, and why.")
    ] = False,
) -> int:
    """Segment one's own pictures; no ground truth is needed.

    Writes NAME_mask.png, NAME_overlay.png and segments.csv; the same command again resumes.
    """
    from int_bench.cli.segment import SegmentOptions, segment_command

    return segment_command(SegmentOptions(tuple(words), prompt, out, json, dry_run, report))


@app.command("eval")
def evaluate(  # noqa: PLR0913 - an option each
    runs: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[RUN]...",
            help="Run folders, roots of them, or hashes; all of results/runs without.",
        ),
    ] = None,
    pred: Annotated[Path | None, typer.Option("--pred", help="Folder of anybody's masks.")] = None,
    gt: Annotated[Path | None, typer.Option("--gt", help="Folder of ground truth.")] = None,
    missing: Annotated[
        str, typer.Option("--missing", help="error, empty (counts as an empty mask) or skip.")
    ] = "error",
    json: Json = False,
    method: Annotated[
        str | None,
        typer.Option(
            "--method", metavar="[DATASET/]NAME", help="Keep the scores of --pred, for tables."
        ),
    ] = None,
    backend: Annotated[
        str, typer.Option("--metrics-backend", help="histogram, or reference: PySODMetrics.")
    ] = "histogram",
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, metavar="N", help="Scoring processes.")
    ] = None,
    ids: Ids = None,
    ids_file: IdsFile = None,
    columns: Columns = None,
) -> int:
    """Score stored masks; no model is needed. Of --ids, scores are printed and not kept."""
    from int_bench.cli.score import EvalOptions, eval_command
    from int_bench.scoring.score import Rules

    rules = Rules(missing, backend, workers)  # type: ignore[arg-type]
    options = EvalOptions((pred, gt), rules, method, json, ids, ids_file, columns)
    return eval_command(runs or [], options)


for view in (views.picture, views.report, views.train, views.propose):
    app.command()(view)


@app.command()
def table(  # noqa: PLR0913 - an option each
    words: Annotated[
        list[str] | None,
        typer.Argument(
            help="1-3c, plm, sapnet:N", metavar="[TABLE] [DIR]...", autocompletion=complete_table
        ),
    ] = None,
    runs: Annotated[
        list[Path] | None,
        typer.Option("--runs", metavar="DIR [DIR]...", help="Run folders, or roots of them."),
    ] = None,
    form: Annotated[
        str | None, typer.Option("--format", help="terminal, md, latex, csv or json.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="File to write to.")] = None,
    margin: Annotated[
        float, typer.Option("--margin", min=0, help="A difference that does not matter.")
    ] = 0.01,
    against: Annotated[
        str | None, typer.Option("--against", help="Method to compare the others with, in pairs.")
    ] = None,
    verify: Verify = False,
    columns: Columns = None,
) -> int:
    """A table of the paper and ours, or of runs, with intervals."""
    from int_bench.cli.tables import table_command
    from int_bench.report.columns import chosen_columns
    from int_bench.report.rows import Settings

    shown = chosen_columns(columns, per_sample=True)
    settings = Settings(margin=margin, against=against, columns=shown)
    return table_command(words or [], runs or [], settings, form, out, verify)


@app.command()
def compare(  # noqa: PLR0913 - an option each
    run_a: Annotated[Path, typer.Argument(help="The run folder that is compared with.")],
    run_b: Annotated[Path, typer.Argument(help="The other run folder.")],
    metric: Annotated[
        str,
        typer.Option(
            "--metric",
            help="Of the list of samples, e.g. family.wF.",
            autocompletion=complete_metric,
        ),
    ] = "native.S",
    common: Annotated[
        bool, typer.Option("--common", help="Only the samples that both have a score of.")
    ] = False,
    most: Annotated[int, typer.Option("-n", "--count", min=0, help="List N samples.")] = 10,
    json: Json = False,
    verify: Verify = False,
) -> int:
    """Compare two runs, sample by sample.

    Difference, interval, p, wins, and what changed most.
    """
    from int_bench.cli.tables import compare_command

    return compare_command((run_a, run_b), metric, common, most, json, verify)


@app.command()
def check(
    run_dir: Annotated[Path, typer.Argument(help="A run folder.")],
    verify: Annotated[bool, typer.Option("--verify", help="Compare every byte.")] = False,
) -> int:
    """Say what of a run folder is torn, gone or changed."""
    from int_bench.cli.folders import check_command

    return check_command(run_dir, verify)


@app.command()
def status(
    run_dir: Annotated[Path, typer.Argument(help="A run folder.")],
    json: Json = False,
) -> int:
    """Say how far a run is, and how long it may take."""
    from int_bench.cli.folders import status_command

    return status_command(run_dir, json)


@app.command()
def upgrade(
    run_dir: Annotated[Path, typer.Argument(help="A run folder of an earlier format.")],
) -> int:
    """Rewrite a run folder of an earlier format as today's."""
    from int_bench.cli.folders import upgrade_command

    return upgrade_command(run_dir)


@app.command()
def methods() -> int:
    """The methods and their settings."""
    from int_bench.cli.assets.listing import list_methods

    return list_methods()


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and exit with its code; errors that a user can mend are one sentence."""
    from int_bench.cli import process

    # What is imported and composed stays: looking through it for garbage over and over, and once
    # more at the end, is a third of a dry run's time.
    gc.set_threshold(_SELDOM)
    atexit.register(gc.freeze)
    words = sys.argv[1:] if arguments is None else arguments
    with process.terminable(), process.output(), process.announced(words):
        code = exit_code(arguments)
        if code == Exit.INTERRUPTED:
            process.leave_at_once(code)
        try:
            sys.stdout.flush()
        except process.ReaderLeft:
            pass
        except UserError as error:
            code = process.complain(str(error), error.exit_code) if code == Exit.DONE else code
        else:
            sys.exit(code)
    process.drop_output()
    sys.exit(code)


def exit_code(arguments: Sequence[str] | None) -> int:
    """Run a command and return its code."""
    from int_bench.cli import process
    from int_bench.core.named_folders import name_folders, take_folders

    try:
        process.check_working_folder()
        given = take_folders(sys.argv[1:] if arguments is None else arguments)
        code = app(args=given, prog_name="int-bench", standalone_mode=False) or Exit.DONE
        if code == Exit.INTERRUPTED and not isinstance(code, Exit):
            raise KeyboardInterrupt  # Typer has made a number of it, and nothing has been said
        return int(code)
    except process.ReaderLeft:
        return Exit.DONE
    except UserError as error:
        return process.complain(str(error), error.exit_code)
    except _USAGE_ERRORS as error:
        known = getattr(getattr(error, "ctx", None), "command_path", "int-bench")
        return process.complain(f"{_message_of(error)} See `{known} --help`.", Exit.USAGE)
    except (KeyboardInterrupt, typer.Abort):
        said = "Interrupted; the same command does again what is not there yet."
        return process.complain(said, Exit.INTERRUPTED)
    finally:
        name_folders(())


def _message_of(error: BaseException) -> str:
    message = str(error.format_message()) if hasattr(error, "format_message") else str(error)
    return message if message.endswith((".", "?")) else f"{message}."
