"""Beside which published row of SAPNet's tables a run of ours belongs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from int_bench.report.sapnet.scores import Facts, InstanceScores, Measure

_MEASURES: Mapping[str, Measure] = {"7": "selection", "9": "boxes"}
"""What a table is of, where it is not AP of masks."""
_COCO, _VOC = "coco", "voc_sbd"
_METHODS = {
    "truth": "SOLOv2",
    "sam_top1": "SAM-SOLOv2",
    "mil_single": "MIL-SOLOv2",
    "sapnet": "SAPNet",
}
_SELECTIONS = {
    "sam_top1": "SAM top-1",
    "mil_single": "Single-MIL",
    "sapnet": "SAPNet",
    "oracle": "best of the bag",
}
_STAGES = {"sam_top1": "SAM-top1", "sapnet": "two stage"}
_TRUNKS = {"resnet50": ("ResNet-50", "R-50"), "resnet101": ("ResNet-101", "R-101")}
_ALL = {
    "PDG": "1",
    "mil2": "1",
    "PPG": "1",
    "NPG": "1",
    "BMS": "1",
    "MPS": "1",
    "T_min1": "0.6",
    "T_min2": "0.3",
    "T_neg1": "0.3",
    "T_neg2": "0.5",
}
"""SAPNet with all of its parts, as the columns of Tables 4, 5, 6 and 8 say it."""


def measure_of(which: str) -> Measure:
    """What Table ``which`` is of."""
    return _MEASURES.get(which, "masks")


def name_of(which: str, run: InstanceScores) -> str:
    """What Table ``which`` calls what a run learnt from, or selected by."""
    return _printed(which, run) + (", end to end" if run.facts.shared else "")


def _printed(which: str, run: InstanceScores) -> str:
    names = _SELECTIONS if which == "7" else _METHODS
    return names.get(run.facts.labels, run.label)


def belongs(which: str, texts: Mapping[str, str], run: InstanceScores) -> bool:
    """Whether a run stands beside a row, by the row's texts."""
    sets = {"2": (_VOC,), "9": (_COCO, _VOC)}
    if run.dataset not in sets.get(which, (_COCO,)):
        return False
    facts = run.facts
    if which == "7":
        return texts["method"] == _printed(which, run)
    if which in ("1", "2", "9"):
        star = texts["method"].endswith("*")  # trained without MPS
        same = texts["method"].removesuffix("*") == _printed(which, run)
        return same and texts["backbone"] in _TRUNKS.get(facts.trunk, ()) and _whole(facts, star)
    if facts.trunk != "resnet50":
        return False
    if which == "3":
        stage = "end to end" if facts.shared else _STAGES.get(facts.labels)
        return texts["training"] == stage and _whole(facts)
    return facts.labels in ("sapnet", "mil_single") and _parts(facts) == _asked(texts)


def _whole(facts: Facts, star: bool = False) -> bool:
    """Whether nothing of SAPNet was left out, as far as is known; of other labels always."""
    if facts.labels != "sapnet":
        return True
    parts = _parts(facts)
    return parts is None or ({**parts, "MPS": "1"} == _ALL and (star or facts.mps))


def _parts(facts: Facts) -> dict[str, str] | None:
    """The parts of SAPNet that a network's labels came by; None where its selector is not known.

    Thresholds of a part that is left out are as published, and without a second stage there are
    neither PPG nor NPG.
    """
    if facts.selector is None:
        return None
    psm, pnpg, prm, bms = (_options(facts.selector, key) for key in ("psm", "pnpg", "prm", "bms"))
    refined, mined = bool(prm.get("enabled")), bms.get("after") not in ("off", None)
    positive = refined and pnpg.get("ppg") not in ("off", None)
    negative = refined and pnpg.get("npg") not in ("none", None)
    flags = (psm.get("pdg") not in ("off", None), refined, positive, negative, mined, facts.mps)
    parts = {key: str(int(flag)) for key, flag in zip(_ALL, flags, strict=False)}
    if negative and pnpg.get("npg") == "off":
        parts["NPG"] = "background alone"
    if mined:
        parts |= _thresholds("T_min", bms.get("t_min"))
    if negative:
        parts |= _thresholds("T_neg", pnpg.get("t_neg"))
    return {**_ALL, **parts}


def _options(selector: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    options = selector.get(key)
    return options if isinstance(options, Mapping) else {}


def _thresholds(name: str, values: Any) -> dict[str, str]:
    known = isinstance(values, list | tuple) and all(isinstance(v, int | float) for v in values)
    return {f"{name}{n}": f"{v:g}" for n, v in enumerate(values, start=1)} if known else {}


def _asked(texts: Mapping[str, str]) -> dict[str, str]:
    """SAPNet with what a row changes."""
    both = {"PPG": texts["PNPG"], "NPG": texts["PNPG"]} if "PNPG" in texts else {}
    return {**_ALL, **both, **{key: text for key, text in texts.items() if key in _ALL}}
