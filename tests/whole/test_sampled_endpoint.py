"""INT on an endpoint that tells no probabilities: names by the share of sampled answers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.backbones.openai.endpoint import says, serving


@pytest.mark.services
def test_int_runs_on_an_endpoint_and_says_what_its_probabilities_are(command, here):
    words = ["run", "backbone/vlm=openai", "reading=sampled", "ablation=patches_original"]
    words += ["backbone/inpainter=telea", "method.iterations=2", "--limit", "1", "--json"]
    words += [f"backbone.vlm.cache_dir={here / 'answers'}", "backbone.vlm.requests_per_minute=0"]
    with serving(says("frog, [0.3, 0.3, 0.7, 0.7]")) as endpoint:
        code, out, err = command(*words, f"backbone.vlm.base_url={endpoint.url}")
        sampled = [body for body in endpoint.bodies if body["temperature"] > 0]
        asked = len(endpoint.bodies)
        # The same command finds every answer on the disk and asks nothing.
        assert command(*words, f"backbone.vlm.base_url={endpoint.url}")[0] == 0
        assert len(endpoint.bodies) == asked
    assert code == 0, err
    run = json.loads(out)
    assert run["scored"] == 1 and "SAMPLED PROBABILITIES" in run["stamps"][0]
    # 3 samples of one patch, before and after erasing, each with a seed of its own.
    assert len(sampled) >= 6 and len({body["seed"] for body in sampled}) == len(sampled)
    described = json.loads((Path(run["run_dir"]) / "run.json").read_text())
    assert described["name"].startswith("int") and "sampled" in described["name"]
