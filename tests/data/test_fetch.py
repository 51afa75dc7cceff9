"""Fetching a set: verified, whole, in place at once, or not at all."""

from __future__ import annotations

import fcntl
import hashlib
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from int_bench.config.places import CONF
from int_bench.data.fetching import download as downloading
from int_bench.data.fetching.fetch import archives_of, fetch, missing_archives, space_needed
from int_bench.data.folders import PairedFolders
from int_bench.errors import MissingAsset, UsageError
from tests.file_host import SWIFT, hosting, zipped


@pytest.fixture
def host(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    with hosting() as state:
        yield state


def png(level, mode="L"):
    memory = io.BytesIO()
    Image.fromarray(np.full((6, 8), level, np.uint8)).convert(mode).save(memory, "PNG")
    return memory.getvalue()


IMAGES = zipped({f"Set_Input/s{i}.png": png(40 * i, "RGB") for i in range(3)})
MASKS = zipped({f"Set_Truth/s{i}_segmentation.png": png(255) for i in range(3)})


@pytest.fixture
def dataset(host, tmp_path):
    """Three pairs in two archives with published sizes and hashes."""
    host.files = {"input.zip": IMAGES, "truth.zip": MASKS}
    archives = [
        {"url": host.url + name, "folder": folder, "bytes": len(content), "sha256": sha(content)}
        for name, folder, content in (
            ("input.zip", "Set_Input", IMAGES),
            ("truth.zip", "Set_Truth", MASKS),
        )
    ]
    root = str(tmp_path / "data")
    return PairedFolders("set", ["Set_Input"], ["Set_Truth"], root, 3, archives=archives)


def sha(content):
    return hashlib.sha256(content).hexdigest()


def changed(dataset, index, **changes):
    """The same data set with another description of one archive."""
    archives = [dict(entry) for entry in dataset.archives]
    archives[index].update(changes)
    settings = {**vars(dataset), "archives": archives}
    names = PairedFolders.__dataclass_fields__
    return PairedFolders(**{key: value for key, value in settings.items() if key in names})


def in_place(dataset):
    """The folders and files under the root that are no staging."""
    root = Path(dataset.root)
    return sorted(path.name for path in root.iterdir() if not path.name.startswith(".fetching"))


class TestFetch:
    def test_a_set_arrives_verified_and_nothing_else_stays(self, dataset):
        assert space_needed(dataset) == 2 * (len(IMAGES) + len(MASKS))
        assert fetch(dataset, patience=SWIFT) == 3
        assert sorted(path.name for path in Path(dataset.root).iterdir()) == [
            "Set_Input",
            "Set_Truth",
        ]
        assert missing_archives(dataset) == ()

    def test_what_is_there_is_not_fetched_again(self, dataset, host):
        fetch(dataset, patience=SWIFT)
        assert len(host.log) == 2
        fetch(dataset, patience=SWIFT)
        assert len(host.log) == 2

    def test_never_half_a_set(self, dataset, host):
        del host.files["truth.zip"]
        with pytest.raises(MissingAsset, match="answers 404"):
            fetch(dataset, patience=SWIFT)
        assert in_place(dataset) == []
        host.files["truth.zip"] = MASKS
        host.log.clear()
        assert fetch(dataset, patience=SWIFT) == 3
        assert host.log == [None]  # the images were staged already

    def test_a_break_is_resumed_by_the_next_call(self, dataset, host):
        host.break_after = 100
        host.statuses = [200, 503, 503, 503]
        with pytest.raises(MissingAsset, match=r"broke off at 100 bytes.*resume"):
            fetch(dataset, patience=SWIFT)
        assert in_place(dataset) == []
        assert space_needed(dataset) == 2 * (len(IMAGES) + len(MASKS)) - 100
        host.break_after = None
        host.log.clear()
        assert fetch(dataset, patience=SWIFT) == 3
        assert host.log[0] == "bytes=100-"

    @pytest.mark.parametrize("index", [0, 1])
    def test_a_wrong_hash_is_refused_and_deleted(self, dataset, index):
        wrong = changed(dataset, index, sha256="0" * 64)
        with pytest.raises(MissingAsset, match=r"has sha256 .* and 0{64} was published.*deleted"):
            fetch(wrong, patience=SWIFT)
        assert in_place(wrong) == []
        assert not list(Path(wrong.root).rglob("*.part"))

    def test_a_wrong_size_is_refused(self, dataset):
        with pytest.raises(MissingAsset, match="another file"):
            fetch(changed(dataset, 0, bytes=7, sha256=None), patience=SWIFT)
        assert in_place(dataset) == []

    def test_a_part_of_another_file_is_refused_then_fetched_anew(self, dataset, host):
        part = Path(dataset.root) / ".fetching-set" / "input.zip.part"
        part.parent.mkdir(parents=True)
        part.write_bytes(b"x" * 50)
        with pytest.raises(MissingAsset, match="has sha256"):
            fetch(dataset, patience=SWIFT)
        assert fetch(dataset, patience=SWIFT) == 3

    def test_a_truncated_archive_without_a_hash_is_refused(self, dataset, host):
        host.files["input.zip"] = IMAGES[:-60]
        unpublished = changed(dataset, 0, bytes=None, sha256=None)
        with pytest.raises(MissingAsset, match=r"damaged.*deleted; run the same command again"):
            fetch(unpublished, patience=SWIFT)
        assert in_place(dataset) == [] and not list(Path(dataset.root).rglob("*.part"))
        host.files["input.zip"] = IMAGES
        assert fetch(unpublished, patience=SWIFT) == 3

    def test_archives_that_do_not_make_up_the_set_are_refused(self, dataset, host):
        fewer = zipped({f"Set_Input/s{i}.png": png(0, "RGB") for i in range(2)})
        host.files["input.zip"] = fewer
        unpublished = changed(dataset, 0, bytes=None, sha256=None)
        with pytest.raises(MissingAsset, match=r"do not make up the set.*s2"):
            fetch(unpublished, patience=SWIFT)
        assert in_place(dataset) == []
        host.files["input.zip"] = IMAGES
        assert fetch(unpublished, patience=SWIFT) == 3

    def test_an_archive_that_the_user_saved_is_verified_used_and_kept(self, dataset, host):
        root = Path(dataset.root)
        root.mkdir()
        (root / "input.zip").write_bytes(IMAGES)
        assert fetch(dataset, patience=SWIFT) == 3
        assert len(host.log) == 1 and (root / "input.zip").read_bytes() == IMAGES

    def test_an_archive_that_the_user_saved_badly_is_refused_and_kept(self, dataset):
        root = Path(dataset.root)
        root.mkdir()
        (root / "input.zip").write_bytes(IMAGES[:-1])
        with pytest.raises(MissingAsset, match=r"input\.zip has \d+ bytes.*Move .*input\.zip away"):
            fetch(dataset, patience=SWIFT)
        assert in_place(dataset) == ["input.zip"]

    def test_only_the_missing_archive_is_fetched(self, dataset, host):
        root = Path(dataset.root)
        with zipfile.ZipFile(io.BytesIO(IMAGES)) as archive:
            archive.extractall(root)
        assert fetch(dataset, patience=SWIFT) == 3
        assert len(host.log) == 1

    def test_two_at_once_do_not_mix(self, dataset, host):
        stage = Path(dataset.root) / ".fetching-set"
        stage.mkdir(parents=True)
        with (stage / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with pytest.raises(UsageError, match="Another process fetches"):
                fetch(dataset, patience=SWIFT)
        assert host.log == []

    def test_no_room_is_named_before_the_first_byte(self, dataset, host, monkeypatch):
        monkeypatch.setattr(downloading.shutil, "disk_usage", lambda _: type("U", (), {"free": 9}))
        with pytest.raises(MissingAsset, match="are needed"):
            fetch(dataset, patience=SWIFT)
        assert host.log == []

    def test_a_root_that_is_a_file(self, dataset, tmp_path):
        (tmp_path / "data").write_bytes(b"")
        with pytest.raises(UsageError, match="cannot be written"):
            fetch(dataset, patience=SWIFT)

    WRONG = (
        {"folder": "../up"},
        {"folder": "/abs"},
        {"folder": ".."},
        {"url": "file:///etc/passwd"},
        {"url": "https://example.org/"},
        {"md5": "x"},
    )

    @pytest.mark.parametrize("change", WRONG)
    def test_impossible_descriptions_are_refused(self, dataset, change):
        with pytest.raises(UsageError, match="Dataset set: archives"):
            archives_of(changed(dataset, 0, **change))


@pytest.mark.parametrize("name", ["isic", "kvasir"])
def test_what_is_described_is_what_the_set_looks_for(name):
    settings = yaml.safe_load((CONF / "dataset" / f"{name}.yaml").read_text())
    entries = settings["archives"]
    for entry in entries:
        assert set(entry) == {"url", "folder", "bytes", "sha256"}
        assert entry["url"].startswith("https://") and entry["url"].endswith(".zip")
        assert entry["bytes"] is None or entry["bytes"] > 0
        assert entry["sha256"] is None or len(bytes.fromhex(entry["sha256"])) == 32
    folders = {entry["folder"] for entry in entries}
    for part in ("images", "masks"):
        assert Path(settings[part][0]).parts[0] in folders
    assert f"int-bench data fetch dataset={name}" in settings["fetch"]
