"""The numbers of the paper's tables, cell by cell as printed, and what of ours belongs beside them.

Source: Tables 1 to 3 of INT (arXiv 2501.18753), in ``report/paper/*.csv`` with a README; odd cells
are flagged in ``flags.csv``.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from int_bench.errors import MissingAsset, UsageError
from int_bench.metrics.rules import FAMILY, ScoringProtocol
from int_bench.report.columns import SCORE_COLUMNS

FOLDER = Path(__file__).parent / "paper"
PROTOCOL: ScoringProtocol = FAMILY
"""The protocol that the published numbers are compared with.

Reading: the text says adaptive F and cites the weighted F (Margolin et al., CVPR 2014). The code of
the predecessors returns the weighted F with beta^2 = 0.3 at 1024 x 1024, and SEEM's F = 0.001 is
possible for the weighted F only (an empty mask's adaptive F is that of a full mask).
"""

_PRINTED = {column.key: column.published for column in SCORE_COLUMNS if column.published}
"""The columns of the CSV files by the keys of tables' columns."""


@dataclass(frozen=True)
class PaperTable:
    """One table of the paper: its caption, its file and, in Table 3, its part."""

    name: str
    title: str
    file: str
    part: str | None = None


TABLES = {
    table.name: table
    for table in (
        PaperTable("1", "camouflaged object detection", "table1.csv"),
        PaperTable("2", "medical image segmentation", "table2.csv"),
        PaperTable("3a", "number of iterations", "table3.csv", "iterations"),
        PaperTable("3b", "patches", "table3.csv", "patches"),
        PaperTable("3c", "modules", "table3.csv", "modules"),
    )
}


@dataclass(frozen=True)
class PaperSet:
    """A data set of the paper.

    ``size`` is its number of images; ``stated`` is False where the paper gives none.
    """

    name: str
    size: int
    stated: bool = True


SETS = {
    "chameleon": PaperSet("CHAMELEON", 76),
    "camo": PaperSet("CAMO", 250),
    "cod10k": PaperSet("COD10K", 2026),
    "colondb": PaperSet("CVC-ColonDB", 380, stated=False),
    "kvasir": PaperSet("Kvasir", 1000, stated=False),
    "isic": PaperSet("ISIC", 1000, stated=False),
}
"""The paper's data sets by our names. Reading: the sizes that are not stated are those of the
predecessor's configuration (see ``conf/dataset``)."""

_METHODS = {
    "int": "INT",
    "promac": "ProMaC",
    "promac_released": "ProMaC",
    "gensam": "GenSAM",
    "grounding_sam": "GroundingSAM",
    "clip_surgery_sam": "CLIP_Surgery+SAM",
    "llava_sam": "LLaVA1.5+SAM",
    "vlm_api_sam": "GPT4V+SAM",
    "sam_point": "",  # no row: several points an object; the row SAM gives no recipe
}
_MODULES = {
    "int": "full",
    "int-no_hcg": "without HCG",
    "int-no_psnm": "without PSNM",
    "int-no_pnm": "without PNM",
    "int-no_smg": "without SMG",
}
_PATCHES = "int-patches_"
"""How the names of INT with fewer patches begin (``conf/ablation/patches_*.yaml``)."""


@dataclass(frozen=True)
class Cell:
    """One printed number.

    Attributes:
        text: as printed.
        doubtful: whether it is probably a misprint, so that nothing is concluded from it.
        remark: why it is flagged, empty if it is not.
    """

    text: str
    doubtful: bool = False
    remark: str = ""

    @property
    def value(self) -> float:
        """The number."""
        return float(self.text)

    @property
    def half_unit(self) -> float:
        """Half a unit of the last printed digit."""
        return float(0.5 * 10.0 ** -len(self.text.partition(".")[2]))


@dataclass(frozen=True)
class PublishedRow:
    """One method, or one variant of INT in Table 3, on one data set.

    ``setting`` is the kind of supervision, or in Table 3 the part; ``cells`` has the keys of
    tables' columns; ``remark`` says what is odd about the row as a whole.
    """

    method: str
    setting: str
    dataset: str
    cells: Mapping[str, Cell]
    remark: str = ""


@cache
def published(which: str) -> tuple[PublishedRow, ...]:
    """The rows of a table (``1``, ``2``, ``3a``, ``3b``, ``3c``) in the paper's order.

    Raises:
        UsageError: no such table.
        MissingAsset: the CSV files are not where they belong.
    """
    if which not in TABLES:
        raise UsageError(f"There is no table {which!r}; choose {', '.join(TABLES)}.")
    table, flags = TABLES[which], _flags()
    rows = []
    for line in _lines(table.file):
        if table.part is not None and line["part"] != table.part:
            continue
        method, setting = line.get("method") or line["variant"], line.get("setting") or line["part"]
        where = (which[0], method, setting, line["dataset"])
        cells = {
            key: Cell(line[column], *flags.get((*where, column), ()))
            for key, column in _PRINTED.items()
        }
        _, remark = flags.get((*where, ""), (False, ""))
        rows.append(PublishedRow(method, setting, line["dataset"], cells, remark))
    return tuple(rows)


OF_METHODS = ("1", "2")
"""The tables that have a row per method."""


def tables_of(dataset: str) -> tuple[str, ...]:
    """The tables of methods (1, 2) that have one of our data sets."""
    name = SETS[dataset].name if dataset in SETS else None
    return tuple(which for which in OF_METHODS if any(r.dataset == name for r in published(which)))


def find(
    which: str, dataset: str, method: str, iterations: int | None = None, patches: str | None = None
) -> PublishedRow | None:
    """The published row that a run of ours belongs beside; None if there is none.

    Args:
        which: the table.
        dataset: our name of the data set.
        method: our name of the method; in Tables 1 and 2 also the printed name in any spelling
            (``x-decoder``), with its supervision where that is needed (``ws-sam point``).
        iterations: of the run (Table 3a).
        patches: its patch sets, as in ``original+halves`` (Table 3b).
    """
    if dataset not in SETS:
        return None
    rows = [row for row in published(which) if row.dataset == SETS[dataset].name]
    if which in OF_METHODS:
        key = _plain(_METHODS.get(method, method))
        fitting = [row for row in rows if key in (_plain(row.method), _with_setting(row))]
        return fitting[0] if len(fitting) == 1 else None
    name: str | None
    if which == "3c":
        name = _MODULES.get(method)
    elif which == "3b":
        name = patches if method == "int" or method.startswith(_PATCHES) else None
    else:
        name = str(iterations) if method == "int" else None
    return next((row for row in rows if row.method == name), None)


@dataclass(frozen=True)
class RosterEntry:
    """One method of the paper's Tables 1 and 2, with what gives its row here.

    What runs here is told from its name alone (:func:`find`). The other rows enter as masks that
    their authors or others have made: ``int-bench eval`` scores any folder of maps in the same way
    and puts it into the same tables.

    Attributes:
        method: as printed.
        setting: kind of supervision, as printed.
        tables: which tables have it.
        ours: the methods here whose runs belong beside it; empty if it enters as masks.
    """

    method: str
    setting: str
    tables: tuple[str, ...]
    ours: tuple[str, ...]

    @property
    def how(self) -> str:
        """What to type."""
        if self.ours:
            return "int-bench run " + " or ".join(f"method={name}" for name in self.ours)
        return f"as masks: int-bench eval --pred DIR --gt DIR --method {self._name!r}"

    @property
    def _name(self) -> str:
        """The name under which ``published.find`` knows the row whatever else has this name."""
        kind = self.setting.partition(" ")[0].lower()
        return self.method if kind == "task-generic" else f"{self.method} {kind}"


def roster(names: Sequence[str]) -> tuple[RosterEntry, ...]:
    """The methods of Tables 1 and 2, each once, in the order of the paper.

    Args:
        names: the methods that can be run here.
    """
    tables: dict[tuple[str, str], list[str]] = {}
    ours: dict[tuple[str, str], list[str]] = {}
    by_printed = {printed.name: name for name, printed in SETS.items()}
    for which in OF_METHODS:
        for row in published(which):
            key = row.method, row.setting
            if which not in tables.setdefault(key, []):
                tables[key].append(which)
            runnable = ours.setdefault(key, [])
            dataset = by_printed[row.dataset]
            fitting = [name for name in names if find(which, dataset, name) == row]
            runnable += [name for name in fitting if name not in runnable]
    return tuple(RosterEntry(*key, tuple(tables[key]), tuple(ours[key])) for key in tables)


def _with_setting(row: PublishedRow) -> str:
    return _plain(row.method + row.setting.split()[0])


def _plain(name: str) -> str:
    """Letters and digits only, lower case."""
    return "".join(letter for letter in name.lower() if letter.isalnum())


def _flags() -> dict[tuple[str, ...], tuple[bool, str]]:
    """Doubt and remark by table, method, setting, data set and column."""
    return {
        tuple(line[key] for key in ("table", "method", "setting", "dataset", "metric")): (
            line["kind"] == "doubtful",
            line["reason"],
        )
        for line in _lines("flags.csv")
    }


def _lines(name: str) -> Iterator[dict[str, str]]:
    path = FOLDER / name
    if not path.is_file():
        raise MissingAsset(f"The published numbers are not at {path}; install int-bench again.")
    with path.open(newline="", encoding="utf-8") as file:
        yield from csv.DictReader(file)
