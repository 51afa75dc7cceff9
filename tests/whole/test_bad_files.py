"""Bad files, each through the verb that reads it: the designed exit code, three lines at most."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from int_bench.metrics.rules import PROTOCOLS
from int_bench.runs import provenance

SIZE = (32, 24)
FOLDER = ("dataset=folder", "dataset.images={pairs}/images")
PAIRS = (*FOLDER, "dataset.masks={pairs}/masks")
FULL = ("run", "method=full", *PAIRS)
SCORED = ("eval", "--pred", "{here}/pred", "--gt", "{pairs}/masks", "--missing", "skip")
SAM = ("run", "method=int", "--limit", "1", *PAIRS, "task=cod", "--dry-run")


class Harm:
    """Unpickling it would leave a file behind."""

    def __reduce__(self):
        return open, ("executed", "w")


def as_file(form: str, mode: str = "RGB", size: tuple[int, int] = SIZE) -> bytes:
    out = io.BytesIO()
    Image.new(mode, size).save(out, form)
    return out.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    body = kind + data
    return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))


def png(width: int, height: int, data: bytes = b"", depth: int = 8, colour: int = 0) -> bytes:
    """A PNG that claims a size, with whatever lies in its pixels."""
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(data)), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def npy(values: object, **options: bool) -> bytes:
    out = io.BytesIO()
    np.save(out, np.asarray(values), **options)
    return out.getvalue()


def npy_head(text: bytes, data: bytes = b"") -> bytes:
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data


def tensors(head: bytes, data: bytes = b"") -> bytes:
    return struct.pack("<Q", len(head)) + head + data


def zipped(files: dict[str, bytes], **options: int) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", **options) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


def linked() -> bytes:
    info = zipfile.ZipInfo("Kvasir-SEG/images/a.png")
    info.external_attr = 0o120777 << 16
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(info, "/etc/passwd")
    return out.getvalue()


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n"
GREY = as_file("PNG", "L")
TAG = b'{"x":{"dtype":"F32","shape":[9],"data_offsets":[0,36]}}'
NO_IMAGE = {
    "empty": (b"", "empty"),
    "text": (b"no image at all", "starts with 'no image at "),
    "LFS pointer": (LFS, "git lfs pull"),
    "cut head": (GREY[:20], "{file}"),
    "cut pixels": (as_file("PNG")[:48], "{file}"),
    "flipped checksum": (GREY[:30] + b"\0\0" + GREY[32:], "{file}"),
    "no pixels inside": (png(*SIZE), "{file}"),
    "huge by its head": (png(60000, 60000), "60000x60000 pixels"),
    "of no width": (png(0, 24), "{file}"),
    "impossible depth": (png(*SIZE, b"\0" * 999, depth=7), "{file}"),
    "16 bits that end early": (png(*SIZE, b"\0" * 9, depth=16, colour=2), "{file}"),
    "cut JPEG": (as_file("JPEG")[:200], "{file}"),
    "JPEG of nothing": (b"\xff\xd8\xff\xd9", "{file}"),
    "cut TIFF": (as_file("TIFF")[:40], "{file}"),
    "TIFF of nothing": (b"II*\0" + b"\xff" * 30, "{file}"),
    "another kind": (as_file("TGA"), "{file}"),
    "cut GIF": (as_file("GIF", "L")[:20], "{file}"),
    "cut WebP": (as_file("WEBP")[:24], "{file}"),
    "an archive": (zipped({"a": b""}), "PK"),
}
"""What is no picture, whoever asks for one; ``{file}`` is the name that it lies under."""
NO_MAP = {
    "of objects": (npy([{}, None], allow_pickle=True), "{file}"),
    "of code": (npy(np.array([Harm()], dtype=object), allow_pickle=True), "{file}"),
    "a pickle": (pickle.dumps(Harm()), "{file}"),
    "head that is cut": (npy(np.zeros((24, 32)))[:30], "{file}"),
    "data that is cut": (npy(np.zeros((24, 32)))[:-9], "{file}"),
    "head that is no text": (npy_head(b"\xff" * 118), "{file}"),
    "head of half a bracket": (npy_head(b"{'descr': '<f8', 'shape': (3," + b" " * 80), "{file}"),
    "shape below zero": (
        npy_head(b"{'descr': '<f8', 'fortran_order': False, 'shape': (-3, 5)}\n"),
        "{file}",
    ),
    "shape beyond all memory": (
        npy_head(b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000, 9000000)}\n"),
        "{file}",
    ),
    "texts": (npy(["a", "b"]), "{file}"),
    "one number": (npy(1.0), "{file}"),
    "four axes": (npy(np.zeros((2, 2, 2, 2))), "{file}"),
    "complex": (npy(np.zeros((24, 32), complex)), "{file}"),
    "NaN": (npy(np.full((24, 32), np.nan)), "NaN"),
    "infinite": (npy(np.full((24, 32), np.inf)), "infinite"),
    "empty axis": (npy(np.zeros((0, 32))), "{file}"),
    "transposed": (npy(np.zeros((32, 24))), "transposed"),
    "an npz": (zipped({"a.npy": npy(np.zeros(3))}), "{file}"),
}
"""Predictions as NumPy files that are none."""
WEIGHTS = {
    "empty.safetensors": b"",
    "cut.safetensors": tensors(TAG)[:12],
    "head.safetensors": struct.pack("<Q", 2**62) + b"{}",
    "json.safetensors": tensors(b"{nonsense"),
    "data.safetensors": tensors(TAG, b"\0" * 4),
    "lfs.safetensors": LFS,
    "another's.safetensors": tensors(TAG, b"\0" * 36),
}
ARCHIVES = {
    "empty": (b"", "damaged"),
    "text": (b"<html>not found</html>", "damaged"),
    "cut": (zipped({"Kvasir-SEG/images/a.png": GREY})[:-30], "damaged"),
    "of no file": (zipped({}), "no file"),
    "out of its folder": (zipped({"../executed": b"x"}), "leads out"),
    "at the root": (zipped({"/executed": b"x"}), "leads out"),
    "a link": (linked(), "a link"),
    "deep": (zipped({"a/" * 60 + "b": b"x"}), "nests 60 folders"),
    "a bomb": (
        zipped({"Kvasir-SEG/images/a.png": b"\0" * (70 << 20)}, compression=zipfile.ZIP_DEFLATED),
        "times as many",
    ),
    "without pairs": (zipped({"Kvasir-SEG/images/a.png": GREY}), "kvasir"),
}
BOMB = "a0: &a0 [x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
)
YAML = {
    "open bracket": ("a: [1", 2),
    "tab": ("\t_target_: x", 2),
    "binary": (b"\xff\xfe\0\x01", 2),
    "no mapping": ("- a\n- b", 2),
    "a word": ("nonsense", 2, "no class"),
    "a Python object": ("!!python/object/apply:os.system ['touch executed']", 2),
    "unknown class": ("_target_: os.system\nname: 'touch executed'", 2, "os.system"),
    "no class": ("name: mine", 2, "dataset names no class"),
    "a default that is not there": ("defaults: [nowhere]\nname: mine", 3, "nowhere"),
    "a default that is itself": ("defaults: [mine]\nname: mine", 2, "back to itself"),
    "an unknown key": ("defaults: [folder]\nimagse: x", 2),
    "aliases that multiply": (BOMB, 2, "stand for more than 100,000 values"),
    "an alias of itself": ("a: &a [*a]", 2, "stand for more than"),
    "a key twice": ("name: a\nname: b", 2),
    "a dangling value": ("defaults: [folder]\nimages: ${nowhere}", 2, "dataset.images"),
    "an unknown resolver": (
        "defaults: [folder]\nimages: ${run:touch executed}",
        2,
        "dataset.images",
    ),
    "a number for a name": ("defaults: [folder]\nname: 5\nimages: 7", 2),
    "nothing": ("", 2, "no class"),
}
SCORES = {
    "empty": b"",
    "binary": b"\xff\0\xfe" * 50,
    "a table of others": b"id,MAE\na0,0.1\n",
    "no JSON": b"# int-bench scores {nonsense\nid\n",
    "deep JSON": b"# int-bench scores " + b"[" * 99999 + b"\n",
    "a list": b"# int-bench scores [2]\n",
    "links of another kind": b'# int-bench scores {"format": 2, "records": 5, "maps": 5}\n',
    "no rows": None,
    "a lone quote": None,
    "a null byte": None,
}
LISTS = {
    "binary": (b"\xff\xfe\0", 3, "list.txt"),
    "empty": (b"\n\n", 2, "--ids-file"),
    "unknown": (b"a0\nnobody\n", 3, "nobody"),
}


@dataclass(frozen=True)
class Bad:
    """A file below the test's folder, the words of the command, its code and what it names."""

    file: str
    content: bytes
    words: tuple[str, ...]
    code: int
    said: str


def pictures() -> Iterator[tuple[str, Bad]]:
    for name, (content, said) in NO_IMAGE.items():
        yield f"pair: {name}", Bad("pairs/images/a1.png", content, FULL, 4, said)
        yield f"map: {name}", Bad("pred/a1.png", content, SCORED, 4, said)
    for name, (content, said) in NO_MAP.items():
        yield f"npy: {name}", Bad("pred/a1.npy", content, SCORED, 4, said)


def stores() -> Iterator[tuple[str, Bad]]:
    for file, content in WEIGHTS.items():
        words = (*SAM, f"backbone.segmenter.checkpoint={{here}}/{file}")
        yield f"weights: {file}", Bad(file, content, words, 3, file)
    words = ("data", "fetch", "dataset=kvasir", "data_root={here}", "--yes")
    for name, (content, said) in ARCHIVES.items():
        yield f"archive: {name}", Bad("kvasir-seg.zip", content, words, 3, said)


def texts() -> Iterator[tuple[str, Bad]]:
    words = ("run", "--config-dir", "{here}/conf", "method=full", "dataset=mine")
    for name, (text, code, *said) in YAML.items():
        content = text if isinstance(text, bytes) else text.encode()
        case = Bad("conf/dataset/mine.yaml", content, words, code, *(said or ["mine"]))
        yield f"YAML: {name}", case
    for name, (content, code, said) in LISTS.items():
        ids = (*FULL, "--ids-file={here}/list.txt")
        yield f"--ids-file: {name}", Bad("list.txt", content, ids, code, said)
        listed = (*FULL, "dataset.list_file={here}/list.txt")
        yield f"list_file: {name}", Bad("list.txt", content, listed, 3, "")


CASES = dict([*pictures(), *stores(), *texts()])


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """The family's rules at a size that is quick to score; no address is asked."""
    monkeypatch.setitem(PROTOCOLS, "family", replace(PROTOCOLS["family"], size=(32, 32)))
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(provenance, "git_state", lambda: None)


def assert_said(ended: tuple[int, str, str], code: int, *said: str) -> None:
    got, out, err = ended
    lines = [line for line in err.splitlines() if line.strip()]
    assert got == code, (got, out, err)
    assert 1 <= len(lines) <= 2 + len(said) and len(err) < 1500, err
    assert "Traceback" not in out + err, err
    assert all(err.count(words) >= said.count(words) for words in said), err
    assert not list(Path().rglob("executed"))


@pytest.mark.parametrize("name", CASES)
def test_a_bad_file_is_a_sentence(command, pairs, here, name):
    case = CASES[name]
    for index in range(3, 6):  # of six pairs a few are enough
        for part in ("images", "masks"):
            (pairs / part / f"a{index}.png").unlink()
    place = here / case.file
    place.parent.mkdir(parents=True, exist_ok=True)
    if case.file.startswith("pred/"):
        Image.new("L", SIZE).save(here / "pred" / "a0.png")
    place.write_bytes(case.content)
    files = [place]
    if case.file.startswith("pairs/"):  # another one's ground truth is no picture either
        files.append(pairs / "masks" / "a2.png")
        files[1].write_bytes(case.content)
    words = [
        word.replace("{pairs}", str(pairs)).replace("{here}", str(here)) for word in case.words
    ]
    said = [case.said.replace("{file}", path.name) for path in files]
    assert_said(command(*words), case.code, *said)


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    """A scored run of two scenes, made once; each test puts back what it changes."""
    from int_bench.cli import app as cli

    root = tmp_path_factory.mktemp("scored")
    words = ["run", "method=full", "--limit", "2", "--out", str(root), "--json"]
    assert cli.exit_code(words) == 0
    (manifest,) = root.rglob("run.json")
    return manifest.parent


@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize("verb", ["table", "compare"])
def test_a_bad_file_of_scores_is_a_sentence(command, scored, verb, name):
    path = scored / "scores" / "native.0.csv"
    before = path.read_bytes()
    head, _, body = before.partition(b"\n")
    further = {"no rows": b"", "a lone quote": body + b'"', "a null byte": body[:40] + b"\0"}
    content = SCORES[name]
    path.write_bytes(head + b"\n" + further[name] if content is None else content)
    words = ["--runs", scored] if verb == "table" else [scored, scored]
    try:
        assert_said(command(verb, *words), 2, "native.0.csv")
    finally:
        path.write_bytes(before)
