"""Unpacking of archives that are sound, damaged or hostile: all of it or nothing."""

from __future__ import annotations

import io
import shutil
import stat
import zipfile

import numpy as np
import pytest

from int_bench.data.fetching import download as downloading
from int_bench.data.fetching.unpack import BadArchive, unpack
from int_bench.errors import MissingAsset
from tests.file_host import zipped


def everything_in(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def flipped(content):
    """One bit of the stored data, so that only the CRC-32 can tell."""
    place = content.index(b"0123456789")
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


DAMAGED = {
    "truncated": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
    "a page": lambda content: b"<html>Please log in</html>",
    "flipped": flipped,
    "no file": lambda content: zipped({}),
}


class TestUnpack:
    @pytest.fixture
    def into(self, tmp_path):
        (tmp_path / "in").mkdir()
        return tmp_path / "in"

    def put(self, into, content):
        path = into.parent / "a.zip"
        path.write_bytes(content)
        return path

    @pytest.mark.parametrize("top", ["Set/", "set/", ""])
    def test_the_folder_of_the_archive_or_the_archive_itself(self, into, top):
        files = {f"{top}images/1.png": b"one", f"{top}2.txt": b"two"}
        unpack(self.put(into, zipped(files)), "Set", into)
        assert everything_in(into) == {"Set/images/1.png": b"one", "Set/2.txt": b"two"}

    def test_litter_and_other_folders_are_left_out(self, into):
        files = {"Set/a": b"a", "__MACOSX/Set/._a": b"x", "Set/.DS_Store": b"x", "other/b": b"b"}
        unpack(self.put(into, zipped(files)), "Set", into)
        assert everything_in(into) == {"Set/a": b"a"}

    UNSAFE = ("../evil", "Set/../../evil", "/evil", "Set/..\\..\\evil", "C:\\evil", "C:/evil")

    @pytest.mark.parametrize("name", UNSAFE)
    def test_a_name_that_leads_out_refuses_the_whole_archive(self, into, name):
        path = self.put(into, zipped({"Set/a": b"a", name: b"evil"}))
        with pytest.raises(BadArchive, match="leads out of its folder"):
            unpack(path, "Set", into)
        assert not list(into.iterdir())
        assert [one.name for one in into.parent.iterdir() if one != into] == ["a.zip"]

    def test_a_link_refuses_the_whole_archive(self, into):
        link = zipfile.ZipInfo("Set/link")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        path = self.put(into, zipped({"Set/a": b"a"}))
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr(link, "/etc")
        with pytest.raises(BadArchive, match="'Set/link', a link"):
            unpack(path, "Set", into)
        assert not list(into.iterdir())

    def test_a_file_that_comes_twice_refuses_the_whole_archive(self, into):
        path = self.put(into, zipped({"Set/a": b"a"}))
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr("set/a", b"b")
        with pytest.raises(BadArchive, match="holds a twice"):
            unpack(path, "Set", into)
        assert not list(into.iterdir())

    @pytest.mark.parametrize("fault", DAMAGED)
    def test_a_damaged_archive_leaves_nothing(self, into, fault):
        memory = io.BytesIO()
        with zipfile.ZipFile(memory, "w") as archive:  # stored, not deflated
            archive.writestr("Set/a", b"first")
            archive.writestr("Set/b", b"0123456789" * 50)
        path = self.put(into, DAMAGED[fault](memory.getvalue()))
        with pytest.raises(BadArchive, match=r"a\.zip (is damaged|holds no file)"):
            unpack(path, "Set", into)
        assert not list(into.iterdir())

    def test_any_changed_byte_is_refused_or_harmless(self, into):
        sound = zipped({"Set/a": b"first" * 40, "Set/b": bytes(range(200))})
        rng = np.random.default_rng(0)
        for _ in range(150):
            content = bytearray(sound)
            content[rng.integers(len(content))] ^= 1 << int(rng.integers(8))
            try:
                unpack(self.put(into, bytes(content)), "Set", into)
            except BadArchive:
                assert not list(into.iterdir())
                continue
            # names and times are not covered by a checksum; contents are
            found = set(everything_in(into).values())
            assert found <= {b"first" * 40, bytes(range(200))}
            shutil.rmtree(into / "Set")

    def test_no_room_is_named_before_writing(self, into, monkeypatch):
        monkeypatch.setattr(downloading.shutil, "disk_usage", lambda _: type("U", (), {"free": 2}))
        with pytest.raises(MissingAsset, match="are needed"):
            unpack(self.put(into, zipped({"Set/a": b"abc"})), "Set", into)
        assert not list(into.iterdir())

    def test_a_bomb_is_refused_before_anything_is_written(self, into):
        path = self.put(into, zipped({"Set/a": bytes(1 << 27)}))
        assert path.stat().st_size < 1 << 18
        with pytest.raises(BadArchive, match=r"would unpack to 134217728, more than 100 times"):
            unpack(path, "Set", into)
        assert not list(into.iterdir())

    @pytest.mark.parametrize("depth", [33, 2000])
    def test_folders_nested_beyond_measure_are_refused(self, into, depth):
        path = self.put(into, zipped({"Set/" + "d/" * depth + "a": b"a"}))
        with pytest.raises(BadArchive, match=rf"nests {depth + 1} folders, more than 32"):
            unpack(path, "Set", into)
        assert not list(into.iterdir())
