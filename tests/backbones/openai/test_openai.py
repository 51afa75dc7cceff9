"""The endpoint backbone against a server on this machine that fails in every named way."""

from __future__ import annotations

import base64
import io
import json

import numpy as np
import PIL.Image
import pytest

from int_bench import config
from int_bench.backbones.openai import http_chat
from int_bench.backbones.openai.http_chat import ChatClient, Pace
from int_bench.backbones.openai.model import OpenAI
from int_bench.config.identity import identity
from int_bench.core.requests import Answer, ContrastiveAnswer, FirstToken, Score, Turn
from int_bench.core.types import Picture, Sample
from int_bench.engine.broker import Broker
from int_bench.engine.jobs import Job
from int_bench.errors import MissingAsset, SampleError, UsageError
from tests.backbones.openai.endpoint import Reply, says, serving, vlm
from tests.fakes import RedMask, red, scene


def test_a_question_with_its_picture_and_history(tmp_path, picture, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "secret-1")
    with serving(says("  [0, 0, 1, 1]\n")) as endpoint:
        model = vlm(endpoint, tmp_path)
        request = Answer(picture, "And the box?", (Turn("Name?", "frog"),), max_tokens=20)
        assert model.answer([request]) == ["[0, 0, 1, 1]"]
    (body,) = endpoint.bodies
    assert endpoint.paths == ["/v1/chat/completions"] and endpoint.keys == ["Bearer secret-1"]
    assert (body["model"], body["max_tokens"], body["temperature"]) == ("eye-1", 20, 0.0)
    assert "seed" not in body
    first, second, third = body["messages"]
    assert [m["role"] for m in body["messages"]] == ["user", "assistant", "user"]
    assert (second["content"], third["content"]) == ("frog", "And the box?")
    assert first["content"][1] == {"type": "text", "text": "Name?"}
    url = first["content"][0]["image_url"]["url"]
    sent = np.asarray(PIL.Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))))
    assert sent.shape == (30, 30, 3), "padded to the square that boxes refer to"
    assert (sent[5:25] == picture.pixels).all() and (sent[0] == (122, 117, 104)).all()


def test_answers_are_kept_on_disk_by_request_and_model(tmp_path, picture):
    with serving(says("one"), says("two"), says("three")) as endpoint:
        request = Answer(picture, "Name?")
        assert vlm(endpoint, tmp_path).answer([request]) == ["one"]
        again = vlm(endpoint, tmp_path)
        assert again.answer([request]) == ["one"]
        assert again.counters == {"cache_hits": 1}
        assert again.answer([Answer(picture, "Where?")]) == ["two"]
        other = OpenAI("eye-2", endpoint.url, cache_dir=str(tmp_path / "answers"))
        assert other.answer([request]) == ["three"]
    assert len(endpoint.bodies) == 3


def test_a_damaged_file_of_the_cache_is_asked_again(tmp_path, picture):
    with serving(says("one"), says("two")) as endpoint:
        model = vlm(endpoint, tmp_path)
        model.answer([Answer(picture, "Name?")])
        (file,) = (tmp_path / "answers").iterdir()
        file.write_text('{"answer"')
        assert model.answer([Answer(picture, "Name?")]) == ["two"]
        assert json.loads(file.read_text())["answer"] == "two"


def test_an_unwritable_cache_is_one_sentence(tmp_path, picture):
    (tmp_path / "answers").write_text("a file")
    with (
        serving(says("one")) as endpoint,
        pytest.raises(UsageError, match=r"backbone\.vlm\.cache_dir"),
    ):
        vlm(endpoint, tmp_path).answer([Answer(picture, "Name?")])


PASSING = {
    "a rate limit": Reply("slow down", 429, Retry_After="0.01"),
    "a server error": Reply("oops", 503),
    "nonsense": Reply("<html>"),
    "another shape": Reply({"error": "?"}),
    "a list": Reply([]),
    "an empty answer": says(""),
    "no content": says(None),
}


@pytest.mark.parametrize("name", PASSING)
def test_what_may_pass_is_tried_again(tmp_path, picture, name):
    with serving(PASSING[name], PASSING[name], says("frog")) as endpoint:
        model = vlm(endpoint, tmp_path)
        assert model.answer([Answer(picture, "Name?")]) == ["frog"]
    assert model.counters == {"requests_sent": 3, "retries": 2}


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (Reply("slow down", 429), "HTTP 429 .*slow down"),
        (Reply("<html>"), "not JSON: '<html>'"),
        (Reply({"error": "?"}), "not a chat completion"),
        (says("  "), "an empty answer"),
        (says("a frog \ud83d"), "half a letter"),
    ],
)
def test_attempts_are_bounded_and_the_last_reason_is_told(tmp_path, picture, reply, reason):
    with serving(reply) as endpoint:
        model = vlm(endpoint, tmp_path, retries=2)
        with pytest.raises(SampleError, match=f"failed 3 times, last: {reason}"):
            model.answer([Answer(picture, "Name?")])
    assert model.counters["requests_sent"] == 3


def test_nobody_listens(tmp_path, picture):
    with serving(says("")) as endpoint:
        pass
    with pytest.raises(SampleError, match=r"failed 2 times, last: .*refused"):
        vlm(endpoint, tmp_path, retries=1).answer([Answer(picture, "Name?")])


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (says(None, refusal="I cannot help."), "The model refused: 'I cannot help.'"),
        (Reply("image too large", 400), "HTTP 400 .*image too large"),
        (Reply("", 302, Location="http://127.0.0.1:1/v1"), "HTTP 302"),
    ],
)
def test_a_refusal_fails_the_sample_at_once(tmp_path, picture, reply, message):
    with serving(reply) as endpoint, pytest.raises(SampleError, match=message):
        vlm(endpoint, tmp_path).answer([Answer(picture, "Name?")])
    assert len(endpoint.bodies) == 1


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_wrong_key_or_model_ends_the_run(tmp_path, picture, status):
    with (
        serving(Reply("no such key", status)) as endpoint,
        pytest.raises(MissingAsset, match=r"no such key.*backbone\.vlm\.model"),
    ):
        vlm(endpoint, tmp_path).answer([Answer(picture, "Name?")])
    assert len(endpoint.bodies) == 1


def test_one_refused_sample_leaves_the_others_alone(tmp_path, picture):
    other = Picture(np.full((4, 4, 3), 9, dtype=np.uint8))
    with serving(says(None, refusal="no"), says("frog")) as endpoint:
        broker = Broker({"vlm": vlm(endpoint, tmp_path)}, max_batch=1)

        async def name(ask, image):
            return await ask(Answer(image, "Name?"))

        jobs = [Job(i, lambda ask, im=im: name(ask, im)) for i, im in enumerate((picture, other))]
        outcomes = {outcome.key: outcome for outcome in broker.run(jobs)}
    assert isinstance(outcomes[0].error, SampleError) and outcomes[1].value == "frog"


def test_the_method_of_the_table_over_its_own_configuration(tmp_path):
    """60 x 40 pixels in a square of 60: y is 0.3 x 60 - 10 .. 0.5 x 60 - 10."""
    with serving(says("I think that it is at [0.2, 0.3, 0.4, 0.5].")) as endpoint:
        loaded = config.load_config(
            [
                "method=vlm_api_sam",
                "backbone/vlm=openai",
                f"backbone.vlm.base_url={endpoint.url}",
                f"backbone.vlm.cache_dir={tmp_path / 'answers'}",
            ]
        )
        models = {"vlm": config.build(loaded.backbone["vlm"], "vlm"), "segmenter": RedMask()}
        method = config.build_method(loaded)
        one = Sample("one", Picture(scene()), "camouflaged animal", 0)
        jobs = [Job(0, lambda ask: method.segment(one, ask))]
        (outcome,) = Broker(models).run(jobs)
    assert outcome.error is None
    assert outcome.value.final.box_image == pytest.approx((12, 8, 24, 20))
    assert (outcome.value.final.masks.hard == red(scene())).all()


def test_a_run_is_known_by_model_and_address_not_by_its_pace_or_folders():
    plain = config.load_config(["backbone/vlm=openai"])
    paced = ["backbone.vlm.cache_dir=x", "backbone.vlm.retries=1", "backbone.vlm.timeout_s=1"]
    same = config.load_config(["backbone/vlm=openai", *paced])
    other = config.load_config(["backbone/vlm=openai", "backbone.vlm.model=eye-2"])
    identities = [identity(one, {}) for one in (plain, same, other)]
    assert identities[0] == identities[1] != identities[2]


def test_a_batch_keeps_its_order(tmp_path, picture):
    with serving(says("same")) as endpoint:
        model = vlm(endpoint, tmp_path, max_batch=4)
        assert model.answer([Answer(picture, f"{n}?") for n in range(9)]) == ["same"] * 9
    assert len(endpoint.bodies) == 9


def test_content_in_parts_is_joined_and_sampling_sends_its_seed(tmp_path, picture):
    parts = [{"type": "text", "text": "a "}, {"type": "text", "text": "frog"}]
    with serving(says(parts)) as endpoint:
        request = Answer(picture, "Name?", temperature=0.5, seed=2**31 + 5)
        assert vlm(endpoint, tmp_path).answer([request]) == ["a frog"]
    assert (endpoint.bodies[0]["temperature"], endpoint.bodies[0]["seed"]) == (0.5, 5)


def test_requests_keep_their_pace(monkeypatch):
    monkeypatch.setattr(http_chat.time, "monotonic", lambda: 7.0)
    waited, pace = [], Pace(600)

    class Stopped:
        wait = waited.append

    for _ in range(4):
        pace.wait(Stopped)
    assert waited == pytest.approx([0.0, 0.1, 0.2, 0.3])


def test_it_gives_no_probabilities(picture):
    model = OpenAI("eye-1", "http://localhost:1")
    for verb, request in (
        ("score", Score(picture, "?", ("frog",))),
        ("first_token", FirstToken(picture, "?")),
        ("contrast", ContrastiveAnswer(picture, None, "?")),
    ):
        with pytest.raises(UsageError, match="not the probabilities"):
            getattr(model, verb)([request])


def test_only_http_is_spoken():
    with pytest.raises(UsageError, match="no http"):
        ChatClient("file:///etc/passwd", 1.0, 0, Pace(0), lambda name: None)
