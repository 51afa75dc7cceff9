"""SAPNet beside itself without a part: what each part is worth, with intervals."""

from __future__ import annotations

from collections.abc import Sequence

from int_bench.report.sapnet.scores import GROUPS, InstanceScores
from int_bench.report.tables import Cell, Column, Row, Table, with_interval

_OF_SELECTIONS, _OF_NETWORKS = ("mIoU_box", "gap"), ("AP", "AP50", "AP75")
_NOTES = {
    True: "mIoU_box: mean IoU of the selected and the true boxes of training objects, in percent;"
    " gap: Eq. (10); intervals are of the bootstrap over objects (95 %).",
    False: "AP of masks over images that were not trained on, in percent; intervals are jackknife"
    f" intervals over {GROUPS} groups of images (95 %).",
}


def parts_table(runs: Sequence[InstanceScores]) -> Table:
    """A row a run, the whole method first; every other with its difference from that.

    Args:
        runs: of one method on the same samples.
    """
    whole = runs[0]
    selects = _OF_SELECTIONS[0] in whole.numbers
    keys = _OF_SELECTIONS if selects else _OF_NETWORKS
    rows = []
    for run in runs:
        cells: dict[str, Cell] = {"method": run.label, "n": run.images, "run": str(run.folder)}
        for key in keys:
            if key in run.numbers:
                cells |= with_interval(key, run.numbers[key], run.intervals.get(key))
        first = keys[0]
        if run is not whole and first in run.numbers and first in whole.numbers:
            change = run.numbers[first] - whole.numbers[first]
            cells |= with_interval("change", change, run.gain(whole, first))
        rows.append(Row(cells, ranked=False))
    columns = (
        Column("method", "method", numeric=False),
        *(Column(key, key, 3 if key == "gap" else 1, interval=True) for key in keys),
        Column("change", f"{keys[0]} - whole", 1, interval=True),
        Column("n", "n"),
        Column("run", "run", numeric=False, hidden=True),
    )
    title = f"{whole.label} without each of its parts, {whole.dataset}"
    return Table(title, columns, tuple(rows), (_NOTES[selects],))
