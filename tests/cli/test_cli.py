"""The command line: speed, output, exit codes, resuming, interruption."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import int_bench
from int_bench.config.places import options
from tests.conftest import HANGING

PROGRAM = [sys.executable, "-m", "int_bench"]
VARIANTS = {"MAE", "adpF", "meanF", "maxF", "wF", "adpE", "meanE", "maxE", "S", "IoU", "Dice"}


def folder_of(pairs: Path, *more: str) -> list[str]:
    images, masks = pairs / "images", pairs / "masks"
    return ["dataset=folder", f"dataset.images={images}", f"dataset.masks={masks}", *more]


def result(out: str) -> dict:
    return json.loads(out.strip().splitlines()[-1])


def lines_in(folder: Path) -> list[bytes]:
    """All lines of records below a folder."""
    files = sorted(folder.rglob("records/*.jsonl"))
    return [line for path in files for line in path.read_bytes().split(b"\n")[:-1]]


def test_help_imports_little_and_neither_torch_nor_hydra():
    code = (
        "import sys\n"
        "from int_bench.cli.app import exit_code\n"
        "assert exit_code(['run', '--help']) == 0\n"
        "heavy = {'torch', 'hydra', 'omegaconf', 'numpy', 'rich'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "assert len(sys.modules) < 400, len(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "[KEY=VALUE]" in done.stdout and "--dry-run" in done.stdout


@pytest.mark.parametrize("verb", ["run", "eval", "ablate", "methods", "data", "models"])
def test_every_verb_explains_itself(command, verb):
    code, out, _ = command(verb, "--help")
    assert code == 0 and f"int-bench {verb}" in out


@pytest.mark.parametrize("words", [(), ("data",), ("models",)])
def test_no_headline_is_cut_in_a_terminal_of_80_columns(command, monkeypatch, words):
    monkeypatch.setenv("COLUMNS", "80")
    commands = command(*words, "--help")[1].partition("Commands:\n")[2]
    assert commands and "..." not in commands


def test_the_descriptions_of_methods_stand_in_one_column(command):
    lines = command("methods")[1].splitlines()
    for group in ("method", "ablation", "reading"):
        names = [line.split()[0] for line in lines if line.startswith(f"{group}=")]
        wide = max(map(len, names)) + 1
        rows = [line for line in lines if line.startswith(f"{group}=")]
        assert all(row[wide - 1] == " " and row[wide] not in (" ", "=") for row in rows)


def test_run_prints_the_table_and_the_folder(command):
    code, out, err = command("run", "method=centre_box", "--limit", "2")
    assert code == 0, err
    for text in ("native", "family", "M ↓", "Sα", "empty", "full", "scored", "missing"):
        assert text in out
    folder = Path(re.search(r"results/runs/camoworld/centre_box/[0-9a-f]{12}", out)[0])
    names = {"run.json", "records", "masks", "scores"}
    assert names <= {path.name for path in folder.iterdir()}


def test_json_is_the_only_line_and_holds_what_was_promised(command):
    code, out, _ = command("run", "method=centre_box", "--limit", "2", "--json")
    assert code == 0 and len(out.splitlines()) == 1
    found = result(out)
    keys = {
        "run_dir",
        "n",
        "scored",
        "failed",
        "missing",
        "trials",
        "metrics",
        "counters",
        "seconds",
    }
    keys.add("work")
    assert set(found) == keys
    assert [found[key] for key in ("n", "scored", "failed", "missing")] == [2, 2, 0, 0]
    assert set(found["metrics"]) == {"native", "family"}
    assert all(set(values) == VARIANTS for values in found["metrics"].values())


def test_the_bare_command_draws_eight_scenes(command):
    code, out, _ = command("run", "--dry-run")
    assert code == 0
    assert "camoworld: 8 images" in out and "zoo:llava" in out and "/int/" in out


def test_a_dry_run_writes_nothing_and_imports_no_torch(here):
    code = (
        "import sys\n"
        "from int_bench.cli.app import exit_code\n"
        "assert exit_code(['run', '--dry-run', 'device=cpu']) == 0\n"
        "assert 'torch' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not list(here.iterdir())


def test_the_same_command_again_does_nothing_and_says_the_same(command):
    first = result(command("run", "method=centre_box", "--limit", "2", "--json")[1])
    records = lines_in(Path(first["run_dir"]))
    again = result(command("run", "method=centre_box", "--limit", "2", "--json")[1])
    assert again["metrics"] == first["metrics"] and again["run_dir"] == first["run_dir"]
    assert lines_in(Path(first["run_dir"])) == records and len(records) == 2


def test_a_larger_limit_goes_on_in_the_same_folder(command):
    first = result(command("run", "method=full", "--limit", "1", "--json")[1])
    second = result(command("run", "method=full", "limit=3", "--json")[1])
    assert (first["run_dir"], second["n"]) == (second["run_dir"], 3)
    assert len(lines_in(Path(first["run_dir"]))) == 3


def test_eval_of_a_run_gives_the_same_numbers_from_any_folder(command, pairs, monkeypatch):
    ran = result(command("run", *folder_of(pairs, "method=centre_box"), "--json")[1])
    folder = Path(ran["run_dir"]).absolute()
    monkeypatch.chdir("/")
    code, out, _ = command("eval", folder, "--json")
    assert code == 0 and result(out)["metrics"] == ran["metrics"]


def test_eval_without_argument_scores_all_runs(command):
    for method in ("empty", "full"):
        command("run", f"method={method}", "--limit", "1", "--json")
    code, out, _ = command("eval", "--json")
    assert code == 0
    assert [one["method"] for one in result(out)["runs"]] == ["empty", "full"]


def test_eval_of_anybodys_masks(command, pairs):
    code, out, _ = command("eval", "--pred", pairs / "masks", "--gt", pairs / "masks", "--json")
    found = result(out)
    assert code == 0 and found["n"] == 6
    assert found["metrics"]["native"]["MAE"] == 0 and found["metrics"]["family"]["S"] > 0.99


def test_the_reference_backend_scores_alike(command, pairs):
    words = ["eval", "--pred", pairs / "masks", "--gt", pairs / "masks", "--json"]
    (_, fast, _), (code, slow, _) = command(*words), command(*words, "--metrics-backend=reference")
    assert code == 0
    for protocol, values in result(fast)["metrics"].items():
        assert result(slow)["metrics"][protocol] == pytest.approx(values, abs=1e-12)
    code, _, err = command(*words, "--metrics-backend=matlab")
    assert code == 2 and "histogram or reference" in err and "matlab" in err


def test_masks_that_are_named_after_their_ground_truth_by_one_rule_belong_to_it(
    command, pairs, tmp_path
):
    (tmp_path / "maps").mkdir()
    for path in (pairs / "masks").iterdir():
        (tmp_path / "maps" / f"v2-{path.stem}_pred.png").write_bytes(path.read_bytes())
    words = ("eval", "--pred", tmp_path / "maps", "--gt", pairs / "masks")
    code, out, err = command(*words, "--method", "mine", "--json")
    assert code == 0, err
    assert json.loads(out)["metrics"]["native"]["IoU"] == 1.0
    assert command("table", "--runs", "results/runs", "--verify")[0] == 0
    score = int_bench.score(pred=tmp_path / "maps", gt=pairs / "masks")
    assert score.counts.complete and score.metrics["native"]["IoU"] == 1.0
    (tmp_path / "maps" / "v2-a3_pred.png").rename(tmp_path / "maps" / "b3.png")
    code, _, err = command(*words)
    assert code == 3 and "there is b3, and a0 was expected" in err


def test_eval_names_a_missing_prediction_unless_a_policy_is_chosen(command, pairs, tmp_path):
    pred = tmp_path / "pred"
    pred.mkdir()
    for path in sorted((pairs / "masks").iterdir())[1:]:
        (pred / path.name).write_bytes(path.read_bytes())
    words = ["eval", "--pred", pred, "--gt", pairs / "masks"]
    code, out, err = command(*words)
    assert code == 4 and "a0" in err and not out
    code, out, _ = command(*words, "--missing", "empty", "--json")
    assert code == 4 and [result(out)[key] for key in ("n", "scored", "missing")] == [6, 5, 1]


def test_a_bad_sample_is_reported_and_the_run_is_incomplete(command, pairs):
    image = pairs / "images" / "a2.png"
    image.write_bytes(image.read_bytes()[:100])
    code, out, err = command("run", *folder_of(pairs, "method=full"), "--json")
    found = result(out)
    assert code == 4 and "a2" in err
    assert [found[key] for key in ("n", "scored", "failed", "missing")] == [6, 5, 1, 0]


def test_images_without_masks_are_segmented_and_not_scored(command, pairs):
    words = ["dataset=folder", f"dataset.images={pairs / 'images'}", "method=full"]
    code, out, _ = command("run", *words)
    assert code == 0 and "no ground truth" in out
    found = result(command("run", *words, "--json")[1])
    assert (found["n"], found["scored"], found["metrics"]) == (6, 0, {})


def test_trials_are_averaged(command):
    found = result(command("run", "method=full", "trials=2", "--limit", "2", "--json")[1])
    assert (found["n"], found["scored"]) == (4, 4)
    assert (Path(found["run_dir"]) / "scores" / "native.1.csv").exists()


def test_data_make_writes_pairs_that_run_reads(command):
    code, out, _ = command("data", "make", "camoworld_polyp", "--out", "drawn", "-n", "3")
    assert code == 0
    line = shlex.split(out.splitlines()[-1])
    assert line[:2] == ["int-bench", "run"] and "task=polyp" in line
    mask = np.asarray(Image.open("drawn/masks/demo-00001.png"))
    assert set(np.unique(mask)) == {0, 255}
    assert result(command(*line[1:], "method=empty", "--json")[1])["scored"] == 3


def test_the_lists_name_everything_and_what_is_missing(command):
    code, out, _ = command("data", "list")
    assert code == 0 and all(f"dataset={name}" in out for name in options("dataset"))
    assert "missing: " in out and "here: 8 samples" in out
    code, out, _ = command("models", "list")
    assert code == 0 and "llava-hf/llava-1.5-13b-hf" in out and "zoo:sam" in out
    code, out, _ = command("methods")
    assert code == 0 and "method=int" in out and "ablation=no_pnm" in out


def complete(words: list[str], shell: str = "bash") -> list[str]:
    """What the shell would be offered for the last word."""
    environment = {
        **os.environ,
        "_INT_BENCH_COMPLETE": f"complete_{shell}",
        "COMP_WORDS": "\n".join(["int-bench", *words]),
        "COMP_CWORD": str(len(words)),
        "_TYPER_COMPLETE_ARGS": shlex.join(["int-bench", *words]),
    }
    done = subprocess.run(PROGRAM, env=environment, capture_output=True, text=True)
    return done.stdout.split()


def test_bash_completes_groups_and_data_sets():
    assert "dataset=" in complete(["run", "da"])
    # bash breaks words at the equals sign
    assert complete(["run", "dataset", "=", "ch"]) == ["chameleon"]
    assert complete(["run", "task", "="]) == ["cod", "custom", "object", "polyp", "skin"]


def test_zsh_completes_the_option_as_one_word():
    assert "dataset=chameleon" in " ".join(complete(["run", "dataset=ch"], "zsh"))


def test_a_terminated_run_keeps_what_is_done_and_says_how_to_resume(here):
    words = ["run", "method=centre_box", "dataset.count=500", "keep=final", "--out", "my runs"]
    child = subprocess.Popen(
        [*PROGRAM, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    while len(lines_in(Path("my runs"))) < 5:
        assert child.poll() is None
        time.sleep(0.05)
    child.send_signal(signal.SIGTERM)
    out, err = child.communicate(timeout=HANGING)
    assert child.returncode == 130 and not out
    resume = f"int-bench {shlex.join(words)}"
    assert resume in err and "are done and safe in my runs/camoworld" in err
    assert "Traceback" not in err
    done = lines_in(Path("my runs"))
    number = int(re.search(r"(\d+) of 500 images are done", err)[1])
    assert number == len(done) >= 5


def test_the_module_runs_as_the_program_does():
    done = subprocess.run([*PROGRAM, "methods"], capture_output=True, text=True)
    assert done.returncode == 0 and "method=int" in done.stdout


def test_a_finished_run_is_scored_again_without_loading_a_model(here):
    words = ["run", "method=full", "--limit", "1", "--json"]
    code = (
        "import sys\n"
        "from int_bench.cli.app import exit_code\n"
        f"assert exit_code({words}) == 0\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([*PROGRAM, *words], check=True, capture_output=True)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_line_separators_in_file_names_survive_every_verb(command, pairs):
    for number, letter in enumerate("\u2028\u2029\u0085"):
        for kind in ("images", "masks"):
            path = pairs / kind / f"a{number}.png"
            path.rename(path.with_stem(f"a{letter}{number}"))
    words = ("run", *folder_of(pairs), "method=centre_box", "--json")
    code, out, err = command(*words, "--limit", "3")
    assert code == 0, err
    code, out, err = command(*words)
    assert code == 0, err
    run = result(out)
    assert (run["n"], run["scored"]) == (6, 6)
    for verb in (("eval", run["run_dir"]), ("table", "--runs", run["run_dir"])):
        code, _, err = command(*verb)
        assert code == 0, err
    other = result(command("run", *folder_of(pairs), "method=full", "--json")[1])
    code, _, err = command("compare", run["run_dir"], other["run_dir"])
    assert code == 0, err


def test_a_file_name_that_is_no_text_is_a_name_like_others(command, pairs):
    for kind in ("images", "masks"):
        path = pairs / kind / "a0.png"
        path.rename(path.with_stem(os.fsdecode(b"a\xff")))
    words = ("run", *folder_of(pairs), "method=centre_box", "--json")
    code, out, err = command(*words)
    assert code == 0 and "Traceback" not in err
    run = result(out)
    assert [run[key] for key in ("n", "scored", "failed", "missing")] == [6, 6, 0, 0]
    for verb in (words, ("eval", run["run_dir"]), ("table", "--runs", run["run_dir"])):
        code, _, err = command(*verb)
        assert code == 0 and "Traceback" not in err
