"""The key of an endpoint is sent, and found nowhere else."""

from __future__ import annotations

import pytest

from int_bench.core.requests import Answer
from int_bench.errors import MissingAsset, SampleError, UsageError
from tests.backbones.openai.endpoint import Reply, says, serving, vlm
from tests.conftest import write_pairs

KEY = 'sk-a/b+c"d-0123456789'
ECHOES = {
    "400": Reply("refused, you sent {headers}", 400),
    "400 in JSON": Reply({"error": "you sent {headers}"}, 400),
    "401": Reply("who are you? {headers}", 401),
    "429": Reply("too fast, {headers}", 429, Retry_After="0"),
    "an answer": says("I was asked with {headers}"),
    "no completion": Reply({"error": "{headers}"}),
    "not JSON": Reply("<pre>{headers}"),
    "a refusal": says(None, refusal="{headers}"),
    **{f"cut at {n}": Reply("x" * n + "{headers}", 400) for n in range(10, 60, 8)},
}


def holding(root, key, part=12):
    """What of the files under ``root`` holds the key or a longer part of it."""
    files = [path for path in root.rglob("*") if path.is_file()]
    return [path for path in files if key[:part].encode() in path.read_bytes()]


@pytest.mark.parametrize("name", ECHOES)
def test_a_server_that_echoes_the_key_does_not_make_it_known(tmp_path, picture, monkeypatch, name):
    monkeypatch.setenv("OPENAI_API_KEY", f"  {KEY}\n")
    told = ""
    with serving(ECHOES[name]) as endpoint:
        model = vlm(endpoint, tmp_path, retries=1)
        try:
            (told,) = model.answer([Answer(picture, "Name?")])
        except (SampleError, MissingAsset) as error:
            told = str(error)
    assert endpoint.keys[0] == f"Bearer {KEY}", "sent without the newline"
    assert told and KEY not in told and KEY[:5] not in told
    assert "[key]" in told or name.startswith("cut")
    assert not holding(tmp_path, KEY)


def test_a_refused_key_is_not_told_by_the_run_that_it_ends(command, pairs, monkeypatch):
    key = "sk-0123456789abcdef"
    monkeypatch.setenv("OPENAI_API_KEY", f"{key}\n")
    with serving(ECHOES["401"]) as endpoint:
        words = [
            "dataset=folder",
            f"dataset.images={pairs}/images",
            f"dataset.masks={pairs}/masks",
            "method=vlm_api_sam",
            "backbone/vlm=openai",
            "backbone.vlm.cache_dir=answers",
            f"backbone.vlm.base_url={endpoint.url}",
            "backbone/segmenter=zoo_sam",
        ]
        code, out, err = command("run", *words, "--limit", "1")
        assert endpoint.keys[0] == f"Bearer {key}"
    assert code == 3 and "Traceback" not in err
    assert key[:12] not in out + err and not holding(pairs.parent, key)


FAULTS = [
    *(Reply("you sent {headers}", status) for status in (400, 402, 405, 409, 413, 422, 429, 500)),
    *(Reply({"error": {"message": "{headers}"}}, status) for status in (400, 429, 503)),
    Reply("x" * 40 + "{headers}", 418, Retry_After="{headers}"),
    Reply("", 302, Location="http://127.0.0.1:1/{headers}"),
    Reply({"error": "{headers}"}),
    Reply(["{headers}"]),
    Reply("<pre>{headers}"),
    Reply('{"choices": [{"message": {"content": "{headers}'),
    Reply({"choices": []}),
    says(None, refusal="I was asked with {headers}"),
    says("I was asked with {headers}"),
    says([{"type": "text", "text": "{headers}"}]),
    says(f"the key is {KEY.replace('/', '%2F')} \ud83d"),
    says({"key": "{headers}"}),
]


def test_no_file_of_a_run_through_all_faults_holds_the_key(command, tmp_path, monkeypatch):
    pairs = write_pairs(tmp_path / "pairs", len(FAULTS))
    monkeypatch.setenv("OPENAI_API_KEY", f"{KEY}\n")
    with serving(*FAULTS) as endpoint:
        words = [
            "dataset=folder",
            f"dataset.images={pairs}/images",
            f"dataset.masks={pairs}/masks",
            "method=vlm_api_sam",
            "backbone/vlm=openai",
            "backbone.vlm.cache_dir=answers",
            "backbone.vlm.retries=0",
            "backbone.vlm.requests_per_minute=0",
            f"backbone.vlm.base_url={endpoint.url}",
        ]
        code, out, err = command("run", *words)
        assert len(endpoint.bodies) >= len(FAULTS) >= 20
    assert code == 4 and "Traceback" not in err
    assert KEY[:5] not in out + err and not holding(tmp_path, KEY)
    assert holding(tmp_path, "[key]", 5), "what was replaced is seen"


@pytest.mark.parametrize("key", ["sk-1\nX-Evil: 1", "sk-1\t2", "sk-1 2", "sk-\u00e4", "sk-\x7f1"])
def test_a_key_that_no_header_may_hold_is_refused_before_any_request(tmp_path, monkeypatch, key):
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with serving(says("frog")) as endpoint:
        with pytest.raises(UsageError, match="The key in OPENAI_API_KEY holds") as refused:
            vlm(endpoint, tmp_path)
        assert not endpoint.bodies
    assert key not in str(refused.value)


def test_a_blank_key_is_none(tmp_path, picture, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", " \n")
    with serving(says("frog")) as endpoint:
        vlm(endpoint, tmp_path).answer([Answer(picture, "Name?")])
    assert endpoint.keys == [None]
