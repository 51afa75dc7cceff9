"""An endpoint that hangs, drips or pauses: given up in time, and at once when the run is ended."""

from __future__ import annotations

import socket
import threading
from concurrent.futures import Future

import pytest

from int_bench.backbones.openai import http_chat
from int_bench.backbones.openai.model import OpenAI
from int_bench.core.requests import Answer
from int_bench.engine.broker import Broker
from int_bench.engine.jobs import Job
from int_bench.errors import SampleError
from tests.backbones.openai.endpoint import CERTIFICATE, Reply, says, serving, vlm


@pytest.mark.parametrize("dripping", ["nothing", "head", "body"])
def test_an_answer_that_never_ends_is_given_up(tmp_path, picture, dripping):
    over = threading.Event()
    replies = {
        "nothing": Reply("late", before=over.wait),
        "head": Reply("", drips="head", until=over),
        "body": Reply("", drips="body", until=over),
    }
    with serving(replies[dripping]) as endpoint:
        model = vlm(endpoint, tmp_path, retries=2, timeout_s=0.1)
        with pytest.raises(SampleError, match=r"failed 3 times, last: no answer within 0\.1 s"):
            model.answer([Answer(picture, "Name?")])
        over.set()
    assert model.counters["requests_sent"] == 3


def test_a_refusal_whose_reason_never_ends_is_one_without_a_reason(tmp_path, picture, monkeypatch):
    """The deadline passes when the refusal has begun, whatever the clock says."""
    over, begun = threading.Event(), threading.Event()
    read = http_chat._read

    class Attempt(Future):
        def result(self, timeout=None):
            begun.wait()
            raise TimeoutError

    monkeypatch.setattr(http_chat, "Future", Attempt)
    monkeypatch.setattr(http_chat, "_read", lambda *words: (begun.set(), read(*words))[1])
    with serving(Reply("", 503, drips="body", until=over)) as endpoint:
        model = vlm(endpoint, tmp_path, retries=0)
        with pytest.raises(SampleError, match=r"last: HTTP 503 .*without a reason"):
            model.answer([Answer(picture, "Name?")])
        over.set()


def test_an_interrupted_run_does_not_sit_out_the_pause(tmp_path, picture, monkeypatch):
    """Without the stop this would take an hour."""
    monkeypatch.setattr(http_chat, "_LONGEST_PAUSE_S", 3600.0)
    with serving(Reply("slow down", 429, Retry_After="3600")) as endpoint:
        model = vlm(endpoint, tmp_path)
        pausing = threading.Event()
        monkeypatch.setattr(
            model._client, "count", lambda name: pausing.set() if name == "retries" else None
        )

        async def name(ask):
            return await ask(Answer(picture, "Name?"))

        def interrupt(self, *args):
            pausing.wait()
            raise KeyboardInterrupt

        monkeypatch.setattr(Broker, "_deliver", interrupt)
        with pytest.raises(KeyboardInterrupt):
            list(Broker({"vlm": model}).run([Job(0, name)]))
        assert len(endpoint.bodies) == 1
        monkeypatch.undo()
        endpoint.replies = [says("frog")]
        assert model.answer([Answer(picture, "Name?")]) == ["frog"], "later questions are asked"


@pytest.mark.parametrize("place", ["getaddrinfo", "create_connection"])
def test_the_deadline_covers_the_name_and_the_connection(tmp_path, picture, monkeypatch, place):
    hanging = threading.Event()

    def hang(*args, **kwargs):
        hanging.wait()
        raise OSError("nobody waits for this any more")

    monkeypatch.setattr(socket, place, hang)
    model = OpenAI("eye-1", "http://eye.example/v1", cache_dir=None, timeout_s=0.1, retries=0)
    with pytest.raises(SampleError, match=r"no answer within 0\.1 s"):
        model.answer([Answer(picture, "Name?")])
    hanging.set()


def assert_given_up(model, picture, asked, held):
    """A question is interrupted while its answer is waited for, and nothing of it goes on."""
    interrupt = threading.Thread(target=lambda: (asked.wait(), model.stop()))
    interrupt.start()
    with pytest.raises(KeyboardInterrupt):
        model.answer([Answer(picture, "Name?")])
    interrupt.join()
    held.set()
    assert not model._client._under_way


def test_a_request_under_way_is_given_up_at_once(tmp_path, picture):
    asked, held = threading.Event(), threading.Event()
    with serving(Reply("late", before=lambda: (asked.set(), held.wait()))) as endpoint:
        model = vlm(endpoint, tmp_path, timeout_s=600.0)
        assert_given_up(model, picture, asked, held)


def test_an_interrupt_of_one_question_is_one_of_all(tmp_path, picture, monkeypatch):
    """Without the stop this would take an hour."""
    monkeypatch.setattr(http_chat, "_LONGEST_PAUSE_S", 3600.0)
    with serving(Reply("slow down", 429, Retry_After="3600")) as endpoint:
        model = vlm(endpoint, tmp_path, max_batch=2)
        paused = threading.Barrier(2)

        def count(name):
            if name == "retries" and paused.wait() == 0:
                raise KeyboardInterrupt

        monkeypatch.setattr(model._client, "count", count)
        with pytest.raises(KeyboardInterrupt):
            model.answer([Answer(picture, f"{n}?") for n in range(3)])
        assert len(endpoint.bodies) == 2


def test_a_request_over_tls_is_given_up_at_once(tmp_path, picture, monkeypatch):
    asked, held = threading.Event(), threading.Event()
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    reply = Reply("late", before=lambda: (asked.set(), held.wait()))
    with serving(says("frog"), reply, tls=True) as endpoint:
        model = vlm(endpoint, tmp_path)
        assert model.answer([Answer(picture, "Before?")]) == ["frog"]
        assert_given_up(model, picture, asked, held)


def test_a_handshake_that_never_ends_is_given_up(tmp_path, picture):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"https://127.0.0.1:{silent.getsockname()[1]}/v1"
        model = OpenAI("eye-1", url, cache_dir=None, timeout_s=0.1, retries=0)
        with pytest.raises(SampleError, match=r"no answer within 0\.1 s"):
            model.answer([Answer(picture, "Name?")])
