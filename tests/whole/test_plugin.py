"""docs/plugins.md, followed to the letter: a wheel in another environment."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")


def call(*words: str, where: Path) -> str:
    done = subprocess.run(words, cwd=where, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def environment(tmp_path) -> Path:
    """The Python of an environment that has the plug-in; other packages are borrowed from here."""
    files = dict(re.findall(r"^`(pond/[^`\n]+)`\n\n```\w+\n(.*?)^```", TEXT, re.M | re.S))
    assert len(files) == 7
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    call(*pip, "--wheel-dir", "wheels", "./pond", where=tmp_path)
    call(sys.executable, "-m", "venv", "clean", where=tmp_path)
    python = tmp_path / "clean" / "bin" / "python"
    ask = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = Path(call(str(python), "-c", ask, where=tmp_path).strip())
    (site / "borrowed.pth").write_text(f"{sysconfig.get_path('purelib')}\n{ROOT}\n")
    wheel = next((tmp_path / "wheels").glob("int_bench_pond-*.whl"))
    call(str(python), "-m", "pip", "install", "--quiet", "--no-deps", str(wheel), where=tmp_path)
    (tmp_path / "work").mkdir()
    return python


@pytest.mark.services
def test_a_wheel_adds_a_data_set_a_method_and_a_backbone(environment, tmp_path, monkeypatch):
    monkeypatch.delenv("PYTHONPATH", raising=False)
    work = tmp_path / "work"
    commands = re.findall(r"^```sh\n(.*?)^```", TEXT, re.M | re.S)[0].splitlines()
    for line in commands:
        program, *words = line.split()
        assert program == "int-bench"
        call(str(environment), "-m", "int_bench", *words, where=work)
    manifests = [
        json.loads(path.read_text()) for path in work.glob("results/runs/pond/*/*/run.json")
    ]
    by_name = {manifest["name"]: manifest["identity"] for manifest in manifests}
    prompter = by_name["plural"]["method"]["prompter"]
    assert prompter["class"] == "int-bench-pond:int_bench_pond.plural.Plural"
    inpainter = by_name["int"]["models"]["inpainter"]
    assert inpainter["class"] == "int-bench-pond:int_bench_pond.grey.Grey"
    listed = call(str(environment), "-m", "int_bench", "methods", where=work)
    assert "method=plural" in listed and "asked for the plural" in listed
