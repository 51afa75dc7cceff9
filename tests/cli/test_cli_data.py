"""``int-bench data check`` and ``data fetch``: what they print, exit codes, and the terms first."""

from __future__ import annotations

import hashlib
import io
import json
import re
import shutil
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler

import numpy as np
import pytest
from PIL import Image

from int_bench.cli.assets import data as cli_data
from tests.file_host import serving


def folder_of(pairs, *more):
    return ["dataset=folder", f"dataset.images={pairs / 'images'}", masks_of(pairs), *more]


def masks_of(pairs):
    return f"dataset.masks={pairs / 'masks'}"


def save(array, path):
    Image.fromarray(np.asarray(array, np.uint8)).save(path)


class TestCheckOfADataset:
    def test_a_sound_set_is_clean(self, command, pairs):
        code, out, _ = command("data", "check", *folder_of(pairs, "dataset.expected=6"))
        assert code == 0
        assert out.splitlines() == [
            "folder: 6 samples, 6 expected; 0 errors, 0 warnings, 0 notes",
            "Nothing is wrong or odd.",
        ]

    def test_findings_are_named_grouped_and_coded(self, command, pairs):
        for number in (0, 1):
            (pairs / "masks" / f"a{number}.png").unlink()
        (pairs / "images" / "a3.png").write_bytes(b"")
        save(np.zeros((24, 32)), pairs / "masks" / "a4.png")
        code, out, _ = command("data", "check", *folder_of(pairs, "dataset.expected=6"))
        assert code == 4
        lines = out.splitlines()
        assert lines[0] == "folder: 4 samples, 6 expected; 4 errors, 0 warnings, 1 notes"
        for head in ("missing_mask (2)", "count (1)", "unreadable (1)"):
            assert f"error   {head}" in lines
        assert "note    mask_empty (1)" in lines
        assert lines.index("error   unreadable (1)") < lines.index("note    mask_empty (1)")

    def test_json_holds_every_finding(self, command, pairs):
        for number in range(6):
            save(np.full((24, 32), 255), pairs / "masks" / f"a{number}.png")
        words = ["data", "check", *folder_of(pairs)]
        code, out, _ = command(*words, "--json")
        found = json.loads(out)
        assert code == 4 and len(out.splitlines()) == 1
        assert (found["samples"], found["errors"], found["notes"]) == (6, 0, 6)
        full = {group["kind"]: group for group in found["findings"]}["mask_full"]
        assert full["count"] == 6 and full["subjects"] == [f"a{i}.png" for i in range(6)]
        assert full["severity"] == "note" and len(full["messages"]) == 6
        text = command(*words)[1]
        assert "a4.png" in text and "a5.png" not in text and "and 1 more" in text

    @pytest.mark.parametrize("more", [[], ["--json"]])
    def test_a_set_that_is_not_here_is_missing(self, command, more):
        code, out, _ = command("data", "check", "dataset=camo", *more)
        assert code == 3 and "missing_folder" in out and "set data_root" in out

    def test_drawn_scenes_are_checked_like_stored_ones(self, command):
        code, out, _ = command("data", "check")
        assert code == 0 and out.startswith("camoworld: 8 samples, 8 expected; 0 errors")


class TestCheckOfPredictions:
    @pytest.fixture
    def maps(self, pairs, tmp_path):
        """Six sound maps beside the ground truth of ``pairs``."""
        folder = tmp_path / "maps"
        folder.mkdir()
        for path in (pairs / "masks").iterdir():
            (folder / path.name).write_bytes(path.read_bytes())
        return folder

    def check(self, command, maps, pairs, *more):
        return command("data", "check", "--pred", maps, "--gt", pairs / "masks", *more)

    def test_sound_maps_are_clean(self, command, maps, pairs):
        code, out, _ = self.check(command, maps, pairs)
        assert code == 0 and out.startswith("maps: 6 samples; 0 errors")

    def test_each_fault_is_named(self, command, maps, pairs):
        (maps / "a0.png").rename(maps / "a0_pred.png")
        save(np.eye(10) * 255, maps / "a1.png")
        save(np.zeros((24, 32)), maps / "a2.png")
        save(np.eye(24, 32), maps / "a3.png")
        save(np.repeat(np.eye(24, 32)[..., None] * 255, 3, axis=2), maps / "a4.png")
        (maps / "a5.png").write_bytes((maps / "a5.png").read_bytes()[:60])
        code, out, _ = self.check(command, maps, pairs, "--json")
        kinds = {group["kind"]: group["subjects"] for group in json.loads(out)["findings"]}
        assert code == 4
        assert kinds == {
            "missing_map": ["a0"],
            "extra_map": ["a0_pred"],
            "size_mismatch": ["a1.png"],
            "constant": ["a2.png"],
            "zero_one": ["a3.png"],
            "colour": ["a4.png"],
            "unreadable": ["a5.png"],
        }

    def test_a_fault_of_the_ground_truth_is_told_once(self, command, maps, pairs):
        (pairs / "masks" / "a1.png").write_bytes(b"")
        code, out, _ = self.check(command, maps, pairs)
        assert code == 4 and "error   unreadable (1)" in out

    def test_ground_truth_that_cannot_be_used_is_named(self, command, maps, pairs):
        save(np.eye(24, 32) * 255, pairs / "masks" / "a1.bmp")
        code, out, _ = self.check(command, maps, pairs)
        assert code == 4 and "duplicate_stem (1)" in out

    def test_missing_folders(self, command, maps, pairs):
        for words in (["--pred", "gone", "--gt", maps], ["--pred", maps, "--gt", "gone"]):
            code, out, err = command("data", "check", *words)
            assert (code, out) == (3, "") and "gone: there is no such folder" in err

    def test_options_that_do_not_go_together(self, command, maps):
        code, _, err = command("data", "check", "--pred", maps)
        assert code == 2 and "--gt" in err
        code, _, err = command("data", "check", "dataset=camo", "--pred", maps, "--gt", maps)
        assert code == 2 and "either dataset=camo or --pred" in err


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A server with the archive of a set of two pairs; returns the overrides that describe it."""
    monkeypatch.setenv("no_proxy", "*")
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w") as archive:
        for number in range(2):
            picture = io.BytesIO()
            noise = np.random.default_rng(number).integers(0, 255, (6, 8, 3), np.uint8)
            Image.fromarray(noise).save(picture, "PNG")
            archive.writestr(f"Kvasir-SEG/images/k{number}.png", picture.getvalue())
            mask = io.BytesIO()
            Image.fromarray(np.eye(6, 8, dtype=np.uint8) * 255).save(mask, "PNG")
            archive.writestr(f"Kvasir-SEG/masks/k{number}.png", mask.getvalue())
    served = tmp_path / "served"
    served.mkdir()
    content = memory.getvalue()
    (served / "set.zip").write_bytes(content)
    handler = partial(Quiet, directory=str(served))
    sha = hashlib.sha256(content).hexdigest()
    with serving(handler) as url:
        entry = f"{{url:'{url}set.zip',folder:Kvasir-SEG,bytes:{len(content)},sha256:'{sha}'}}"
        yield ["dataset=kvasir", "dataset.expected=2", f"dataset.archives=[{entry}]"]


class TestFetch:
    def test_terms_come_first_and_nothing_happens_without_consent(self, command, here, site):
        code, out, err = command("data", "fetch", *site)
        assert code == 2 and "--yes" in err
        assert "licence: free for research and education" in out
        assert "source:  datasets.simula.no" in out
        assert re.search(r"/set\.zip \([\d.]+ (bytes|kB), sha256 ", out)
        assert not (here / "data").exists()
        assert re.search(r"space:   [\d.]+ (bytes|kB) needed, \d+\.\d [GT]B free", out)
        out = command("data", "fetch", "dataset=kvasir")[1]
        assert "space:   not known, " in out  # the size of its archive is not published

    @pytest.mark.parametrize("answer, code", [("y", 0), ("n", 2), ("", 2)])
    def test_a_person_is_asked(self, command, here, site, monkeypatch, answer, code):
        monkeypatch.setattr(cli_data.sys.stdin, "isatty", lambda: True, raising=False)
        monkeypatch.setattr("builtins.input", lambda _: answer)
        assert command("data", "fetch", *site)[0] == code
        assert (here / "data" / "Kvasir-SEG").exists() == (code == 0)

    def test_with_consent_the_set_arrives_and_is_clean(self, command, here, site):
        code, out, err = command("data", "fetch", *site, "--yes")
        assert code == 0, err
        assert "kvasir: 2 samples, verified" in out and "set.zip: " in err
        assert [path.name for path in (here / "data").iterdir()] == ["Kvasir-SEG"]
        assert command("data", "check", "dataset=kvasir", "dataset.expected=2")[0] == 0
        code, out, _ = command("data", "fetch", *site)
        assert code == 0 and out.startswith("kvasir: 2 samples in ")

    def test_a_refused_archive_is_one_sentence(self, command, here, site):
        (here / "served" / "set.zip").write_bytes(b"<html>moved</html>")
        code, _, err = command("data", "fetch", *site, "--yes")
        assert code == 3 and "another file" in err and "Traceback" not in err
        assert not (here / "data" / "Kvasir-SEG").exists()

    def test_folders_that_are_not_whole_are_named(self, command, here, site):
        (here / "data" / "Kvasir-SEG").mkdir(parents=True)
        code, _, err = command("data", "fetch", *site, "--yes")
        assert code == 3 and "move them away and fetch again" in err

    @pytest.mark.parametrize(
        "name, count", [("camo", 250), ("chameleon", 76), ("cod10k", 2026), ("colondb", 380)]
    )
    def test_sets_without_a_download_come_with_instructions(self, command, name, count):
        code, out, _ = command("data", "fetch", f"dataset={name}")
        assert code == 3
        for text in ("licence: ", "source:  ", f"count:   {count} pairs", "Google Drive file 1"):
            assert text in out
        assert "images:  the first of these under data: TestDataset/" in out
        assert "masks:   the first of these under data: TestDataset/" in out

    def test_drawn_sets_need_no_download(self, command):
        code, out, _ = command("data", "fetch")
        assert code == 0 and "nothing to download" in out


class TestWhatIsNamed:
    def test_the_list_tells_task_count_terms_and_state(self, command):
        code, out, _ = command("data", "list")
        lines = out.splitlines()
        at = next(index for index, line in enumerate(lines) if line.startswith("dataset=cod10k"))
        told = [line.split(":")[0].strip() for line in lines[at + 1 : at + 5]]
        assert code == 0 and told == ["task", "licence", "source", "missing"]
        assert lines[at + 1].split() == ["task:", "cod,", "2026", "images"]
        assert "non-commercial" in lines[at + 2]

    def test_eval_names_failed_and_extra_maps(self, command, pairs, tmp_path):
        maps = tmp_path / "maps"
        shutil.copytree(pairs / "masks", maps)
        (maps / "a0.png").write_bytes(b"")
        save(np.zeros((24, 32)), maps / "of_nobody.png")
        code, _, err = command("eval", "--pred", maps, "--gt", pairs / "masks")
        assert code == 4
        assert f"a0: {maps / 'a0.png'} is empty (0 bytes)." in err.splitlines()
        assert "prediction of_nobody has no ground truth and is not scored" in err

    def test_eval_names_a_few_and_says_where_the_others_are(self, command, pairs, tmp_path):
        maps = tmp_path / "maps"
        shutil.copytree(pairs / "masks", maps)
        for index in range(8):
            save(np.zeros((24, 32)), maps / f"more{index}.png")
        code, _, err = command("eval", "--pred", maps, "--gt", pairs / "masks")
        assert code == 0 and "more4" in err and "more5" not in err
        assert f"and 3 more; `int-bench data check --pred {maps} --gt" in err
