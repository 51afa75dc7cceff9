"""Downloads from a server that breaks, lies or stalls: resumed or refused, never used."""

from __future__ import annotations

import io
import ssl
import threading
import urllib.error
from email.message import Message
from urllib.request import HTTPRedirectHandler

import pytest

from int_bench.data.fetching import download as downloading
from int_bench.data.fetching.download import Patience, download, size_of
from int_bench.errors import MissingAsset
from tests.file_host import SWIFT, Handler, hosting, serving


@pytest.fixture
def host(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    with hosting() as state:
        yield state


CONTENT = bytes(range(256)) * 40


def get(host, part, size=None, patience=SWIFT):
    seen = []
    download(f"{host.url}a.zip", part, size, lambda *args: seen.append(args), patience)
    return seen


class TestDownload:
    @pytest.fixture
    def part(self, tmp_path, host):
        host.files["a.zip"] = CONTENT
        return tmp_path / "a.zip.part"

    @pytest.mark.parametrize("size", [len(CONTENT), None])
    def test_a_file_arrives_whole_and_is_not_asked_for_again(self, host, part, size):
        seen = get(host, part, size)
        assert part.read_bytes() == CONTENT
        assert seen[-1] == ("a.zip", len(CONTENT), len(CONTENT))
        get(host, part, size)
        # without a published size the server has to say that nothing follows
        assert host.log == ([None] if size else [None, f"bytes={len(CONTENT)}-"])

    def test_a_broken_connection_is_resumed_where_it_broke(self, host, part):
        host.break_after = 4000
        get(host, part, len(CONTENT))
        assert part.read_bytes() == CONTENT
        assert host.log == [None, "bytes=4000-", "bytes=8000-"]

    def test_a_later_call_resumes_what_an_earlier_one_left(self, host, part):
        part.write_bytes(CONTENT[:5000])
        get(host, part)
        assert part.read_bytes() == CONTENT and host.log == ["bytes=5000-"]

    def test_a_server_without_ranges_sends_all_anew(self, host, part):
        host.ranges = False
        part.write_bytes(b"x" * 5000)
        get(host, part, len(CONTENT))
        assert part.read_bytes() == CONTENT

    def test_a_part_that_is_longer_than_the_file_is_dropped(self, host, part):
        part.write_bytes(b"x" * 20_000)
        get(host, part)
        assert part.read_bytes() == CONTENT and host.log == ["bytes=20000-", None]

    def test_bytes_from_elsewhere_in_the_file_are_not_appended(self, host, part):
        part.write_bytes(CONTENT[:5000])
        host.shift = 7
        with pytest.raises(MissingAsset, match="broke off at 5000 bytes and 3 attempts"):
            get(host, part)
        assert part.read_bytes() == CONTENT[:5000]

    def test_a_server_that_names_no_length_is_read_to_the_end(self, host, part):
        host.sized = False
        get(host, part)
        assert part.read_bytes() == CONTENT

    def test_passing_errors_are_tried_again(self, host, part):
        host.statuses = [503, 429]
        get(host, part)
        assert part.read_bytes() == CONTENT and len(host.log) == 3

    def test_attempts_are_bounded_and_the_part_is_kept(self, host, part):
        part.write_bytes(CONTENT[:100])
        host.statuses = [503] * 9
        with pytest.raises(
            MissingAsset, match=r"broke off at 100 bytes and 3 attempts.*503.*resume"
        ):
            get(host, part)
        assert len(host.log) == 3 and part.read_bytes() == CONTENT[:100]

    def test_attempts_that_bring_something_do_not_count(self, host, part):
        host.break_after = len(CONTENT) // 10
        get(host, part, len(CONTENT))
        assert part.read_bytes() == CONTENT and len(host.log) == 10

    def test_a_server_that_sends_nothing_is_given_up(self, host, part):
        host.break_after = 0
        with pytest.raises(MissingAsset, match="broke off at 0 bytes and 3 attempts"):
            get(host, part, len(CONTENT))

    @pytest.mark.parametrize("status", [403, 404, 410])
    def test_a_file_that_is_gone_is_not_tried_again(self, host, part, status):
        host.statuses = [status]
        with pytest.raises(MissingAsset, match=f"answers {status}"):
            get(host, part)
        assert len(host.log) == 1 and not part.exists()

    def test_another_size_than_published_is_refused_before_a_byte(self, host, part):
        with pytest.raises(MissingAsset, match=rf"{len(CONTENT)} bytes.*12345 were published"):
            get(host, part, 12345)
        assert size_of(part) == 0 and len(host.log) == 1

    def test_nobody_there(self, host, part):
        with pytest.raises(MissingAsset, match="3 attempts brought no more"):
            download("http://127.0.0.1:9/a.zip", part, None, lambda *args: None, SWIFT)

    def test_a_full_disk_is_named_before_writing(self, host, part, monkeypatch):
        monkeypatch.setattr(downloading.shutil, "disk_usage", lambda _: type("U", (), {"free": 9}))
        with pytest.raises(MissingAsset, match=r"\d+ bytes free.*data_root=DIR"):
            get(host, part)
        assert size_of(part) == 0

    def test_an_unknown_certificate_is_refused_with_the_way_around_it(self, part, monkeypatch):
        calls = []

        def fail(*args, **kwargs):
            calls.append(args)
            error = ssl.SSLCertVerificationError(1, "x")
            error.verify_message = "unable to get local issuer certificate"
            raise urllib.error.URLError(error)

        monkeypatch.setattr(downloading, "urlopen", fail)
        place = part.parent.parent / "a.zip"
        with pytest.raises(MissingAsset, match=rf"local issuer.*browser as {place} and run"):
            download("https://example.org/a.zip", part, None, lambda *args: None, SWIFT)
        assert len(calls) == 1


def test_a_server_that_stalls_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    release = threading.Event()

    class Stalling(Handler):
        def do_GET(self):
            release.wait()

    with serving(Stalling) as url:
        try:
            with pytest.raises(MissingAsset, match=r"2 attempts.*timed out"):
                download(f"{url}a", tmp_path / "p", None, lambda *args: None, Patience(2, 0.0, 0.1))
        finally:
            release.set()


def test_a_secret_goes_to_no_server_that_the_first_one_refers_to():
    request = downloading._request("http://here/file", "Bearer key")
    onward = HTTPRedirectHandler().redirect_request(
        request, io.BytesIO(), 302, "", Message(), "http://elsewhere/file"
    )
    assert request.get_header("Authorization") == "Bearer key"
    assert onward.full_url == "http://elsewhere/file" and not onward.has_header("Authorization")
    assert onward.get_header("Accept-encoding") == "identity"
