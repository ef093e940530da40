"""The file of predictions: one row per model, case, repeat and finding. Written by a run, read from anyone.

CSV with the columns of `COLUMNS`; `OPTIONAL` and `stratum:NAME` columns follow where they are needed. Reading a run's own file
and judging it gives the run's numbers back (floats are written in full). A cell that is wrong is named by file, row and column,
never by content.
"""

import csv
import io
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn

import numpy as np

from attending.evaluation.outcomes import Outcomes

COLUMNS = (
    "id",
    "group",
    "repeat",
    "fold",
    "split",
    "finding",
    "truth",
    "known",
    "p_raw",
    "p_calibrated",
    "in_set",
    "abstained",
    "pattern",
    "site",
    "model",
)
OPTIONAL = ("weight", "threshold", "absence_in_set")
REQUIRED = ("id", "finding", "truth", "p_calibrated")
SPLITS = ("train", "tune", "calibrate", "test", "cv", "evaluation")
STRATUM = "stratum:"
FLAGS = {"1": True, "0": False, "true": True, "false": False}


class PredictionError(ValueError):
    """A predictions file is not what it should be: file, row, column, and what to do."""


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """What a file holds: for each split, each model's outcomes."""

    splits: Mapping[str, Mapping[str, Outcomes]]

    def models(self, split: str) -> Mapping[str, Outcomes]:
        """The models of one split. Raises `PredictionError` naming the splits there are."""
        if split not in self.splits:
            raise PredictionError(f'no rows of the split "{split}"; the file holds {", ".join(self.splits)}')
        return self.splits[split]


def predictions_text(splits: Mapping[str, Mapping[str, Outcomes]]) -> str:
    """The file's content: for each split, each model's outcomes."""
    held = [outcomes for models in splits.values() for outcomes in models.values()]
    strata = sorted({name for outcomes in held for name in outcomes.strata} - {"site", "pattern"})
    needed = {
        "weight": any(_weights_differ(models.values()) for models in splits.values()),
        "threshold": any(outcomes.threshold is not None for outcomes in held),
        "absence_in_set": any(outcomes.absence_in_set is not None for outcomes in held),
    }
    optional = [name for name in OPTIONAL if needed[name]]
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([*COLUMNS, *optional, *(STRATUM + name for name in strata)])
    for split, models in splits.items():
        for model, outcomes in models.items():
            writer.writerows(_lines(outcomes, split, model, optional, strata))
    return buffer.getvalue()


def _lines(outcomes: Outcomes, split: str, model: str, optional: Sequence[str], strata: Sequence[str]) -> Iterator[list[str]]:
    blank = np.full(len(outcomes), "", dtype=object)
    site, pattern = outcomes.strata.get("site", blank), outcomes.strata.get("pattern", blank)
    levels = [outcomes.strata.get(name, blank) for name in strata]
    weights = outcomes.weights
    for row in range(len(outcomes)):
        for column, finding in enumerate(outcomes.findings):
            known = bool(outcomes.known[row, column])
            extra = {
                "weight": repr(float(weights[row])),
                "threshold": _number(outcomes.threshold, row, column),
                "absence_in_set": _flag(outcomes.absence_in_set, row, column),
            }
            yield [
                str(outcomes.ids[row]),
                str(outcomes.groups[row]),
                str(int(outcomes.repeat[row])),
                str(int(outcomes.fold[row])),
                split,
                finding,
                str(int(outcomes.truth[row, column])) if known else "",
                str(int(known)),
                _number(outcomes.raw, row, column),
                _number(outcomes.probability, row, column),
                _flag(outcomes.in_set, row, column),
                "" if outcomes.abstained is None else str(int(outcomes.abstained[row])),
                _level(pattern[row]),
                _level(site[row]),
                model,
                *(extra[name] for name in optional),
                *(_level(level[row]) for level in levels),
            ]


def read_predictions(path: Path) -> Predictions:
    """Outcomes of every split and model of a predictions file.

    Needed are `id`, `finding`, `truth` (1, 0, blank: unknown) and `p_calibrated`; the rest has defaults: `group` the id,
    `repeat` and `fold` 0, `split` "evaluation", `known` where truth is not blank, `model` "model". Without `weight` a case
    weighs 1 / (number of cases of its group). Findings exclude each other where there are several, each case has at most one
    true and its probabilities sum to 1. Raises `PredictionError`; `OSError` where the file cannot be opened.
    """
    try:
        with path.open(encoding="utf-8", newline="") as handle:
            return _read(csv.reader(handle, strict=True), path)
    except UnicodeDecodeError as error:
        raise PredictionError(f"{path}: not UTF-8 at byte {error.start}; save the file as UTF-8") from error
    except csv.Error as error:
        raise PredictionError(f"{path}: not a readable CSV ({error}); check quotes and line ends") from error


def _read(lines: Iterator[list[str]], path: Path) -> Predictions:
    header = next(lines, None)
    if not header:
        raise PredictionError(f"{path}: empty; expected a header with {', '.join(REQUIRED)}")
    header = [header[0].removeprefix("\ufeff"), *header[1:]]
    reader = _Reader(path, header)
    tables: dict[tuple[str, str], _Table] = {}
    row = 1
    for row, cells in enumerate(lines, start=2):
        if cells:
            reader.read(row, cells, tables)
    if not tables:
        raise PredictionError(f"{path}: a header and no rows (read {row}); nothing to judge")
    cases: dict[tuple[str, str], set[str]] = {}
    for (split, _), table in tables.items():
        for id, group in table.group_of.items():
            cases.setdefault((split, group), set()).add(id)
    splits: dict[str, dict[str, Outcomes]] = {}
    for (split, model), table in tables.items():
        splits.setdefault(split, {})[model] = table.outcomes(
            reader, {group: len(held) for (at, group), held in cases.items() if at == split}
        )
    return Predictions(splits=splits)


class _Reader:
    """The columns of one file, and how each cell is read or refused."""

    def __init__(self, path: Path, header: list[str]) -> None:
        self.path = path
        twice = sorted({name for name in header if header.count(name) > 1})
        if twice:
            raise PredictionError(f"{path} row 1: column {twice[0]!r} occurs {header.count(twice[0])} times; keep one")
        missing = [name for name in REQUIRED if name not in header]
        if missing:
            raise PredictionError(
                f"{path} row 1: no column {missing[0]!r}; needed are {', '.join(REQUIRED)}, and known are {', '.join(COLUMNS)}"
            )
        strange = [name for name in header if name not in (*COLUMNS, *OPTIONAL) and not name.startswith(STRATUM)]
        if strange:
            raise PredictionError(
                f"{path} row 1: unknown column {strange[0]!r}; remove it, or name a subgroup column {STRATUM}NAME"
            )
        self.at = {name: i for i, name in enumerate(header)}
        self.width = len(header)
        self.strata = [name.removeprefix(STRATUM) for name in header if name.startswith(STRATUM)]

    def refuse(self, row: int, column: str, expected: str) -> NoReturn:
        raise PredictionError(f'{self.path} row {row}, column "{column}": expected {expected}')

    def read(self, row: int, cells: list[str], tables: dict[tuple[str, str], "_Table"]) -> None:
        if len(cells) != self.width:
            raise PredictionError(
                f"{self.path} row {row}: {len(cells)} cells under {self.width} columns; look for an unquoted comma"
            )

        def cell(name: str) -> str:
            return cells[self.at[name]].strip() if name in self.at else ""

        split = cell("split") or "evaluation"
        if split not in SPLITS:
            self.refuse(row, "split", f"one of {', '.join(SPLITS)}")
        for name in ("id", "finding"):
            if not cell(name):
                self.refuse(row, name, "a name, found nothing")
        truth = self.flag(row, "truth", cell("truth"))
        known = self.flag(row, "known", cell("known")) if cell("known") else truth is not None
        if known and truth is None:
            self.refuse(row, "truth", "1 or 0 because known is 1; leave known at 0 where the truth is unknown")
        p = self.number(row, "p_calibrated", cell("p_calibrated"), 0.0, 1.0)
        if p is None:
            self.refuse(row, "p_calibrated", "a probability between 0 and 1, found nothing; remove cases without a prediction")
        table = tables.setdefault((split, cell("model") or "model"), _Table(split, cell("model") or "model"))
        table.add(
            self,
            row,
            key=(self.whole(row, "repeat", cell("repeat")), cell("id")),
            finding=cell("finding"),
            entry={
                "probability": p,
                "truth": bool(truth),
                "known": bool(known),
                "raw": self.number(row, "p_raw", cell("p_raw"), 0.0, 1.0),
                "in_set": self.flag(row, "in_set", cell("in_set")),
                "absence_in_set": self.flag(row, "absence_in_set", cell("absence_in_set")),
                "threshold": self.number(row, "threshold", cell("threshold"), -math.inf, math.inf),
            },
            case={
                "group": cell("group") or cell("id"),
                "fold": self.whole(row, "fold", cell("fold")),
                "abstained": self.flag(row, "abstained", cell("abstained")),
                "weight": self.number(row, "weight", cell("weight"), 0.0, math.inf),
                "site": cell("site"),
                "pattern": cell("pattern"),
                **{STRATUM + name: cell(STRATUM + name) for name in self.strata},
            },
        )

    def flag(self, row: int, column: str, text: str) -> bool | None:
        if not text:
            return None
        if text.lower() not in FLAGS:
            self.refuse(row, column, "1, 0 or nothing")
        return FLAGS[text.lower()]

    def number(self, row: int, column: str, text: str, low: float, high: float) -> float | None:
        if not text:
            return None
        try:
            value = float(text)
        except ValueError:
            self.refuse(row, column, "a number with a decimal point, or nothing")
        if not low <= value <= high:
            self.refuse(row, column, f"a number between {low:g} and {high:g}, or nothing")
        return value

    def whole(self, row: int, column: str, text: str) -> int:
        if text and not text.isdecimal():
            self.refuse(row, column, "a whole number from 0")
        return int(text or 0)


class _Table:
    """The rows of one model in one split, until they are arrays."""

    def __init__(self, split: str, model: str) -> None:
        self.name = f'split "{split}", model "{model}"'
        self.findings: list[str] = []
        self.entries: dict[tuple[int, str], dict[str, dict]] = {}
        self.cases: dict[tuple[int, str], dict] = {}
        self.first_row: dict[tuple[int, str], int] = {}
        self.group_of: dict[str, str] = {}

    def add(self, reader: _Reader, row: int, *, key: tuple[int, str], finding: str, entry: dict, case: dict) -> None:
        if finding not in self.findings:
            self.findings.append(finding)
        held = self.entries.setdefault(key, {})
        if finding in held:
            reader.refuse(
                row,
                "id",
                f"each id once per model, split, repeat and finding; it is also in the case of row {self.first_row[key]}",
            )
        held[finding] = entry
        first = self.first_row.setdefault(key, row)
        if self.cases.setdefault(key, case) != case:
            column = next(name for name, value in case.items() if self.cases[key][name] != value)
            reader.refuse(row, column, f"what row {first} says of the same case and repeat")
        if self.group_of.setdefault(key[1], case["group"]) != case["group"]:
            reader.refuse(row, "group", "the same group for a case in every repeat; groups are never parted")

    def outcomes(self, reader: _Reader, cases_of: Mapping[str, int]) -> Outcomes:
        for key, held in self.entries.items():
            lacking = [finding for finding in self.findings if finding not in held]
            if lacking:
                reader.refuse(
                    self.first_row[key],
                    "finding",
                    f"a row of every finding for each case; {lacking[0]!r} is missing ({self.name})",
                )
        keys = list(self.entries)

        def matrix(name: str, kind: type) -> np.ndarray | None:
            cells = [[self.entries[key][finding][name] for finding in self.findings] for key in keys]
            blanks = sum(value is None for line in cells for value in line)
            if blanks and blanks < len(keys) * len(self.findings):
                key = next(key for key, line in zip(keys, cells, strict=True) if None in line)
                column = "p_raw" if name == "raw" else name
                reader.refuse(self.first_row[key], column, f"a value in every row or in none ({self.name})")
            return None if blanks else np.array(cells, dtype=kind)

        def column(name: str) -> list:
            return [self.cases[key][name] for key in keys]

        weights = [
            1.0 / cases_of[case["group"]] if case["weight"] is None else case["weight"]
            for case in map(self.cases.get, keys)
            if case
        ]
        strata = {name: np.array(column(name), dtype=object) for name in ("site", "pattern") if any(column(name))}
        strata |= {name: np.array(column(STRATUM + name), dtype=object) for name in reader.strata}
        abstained = column("abstained")
        probability, truth, known = matrix("probability", float), matrix("truth", bool), matrix("known", bool)
        assert probability is not None
        assert truth is not None
        assert known is not None
        outcomes = Outcomes(
            ids=np.array([id for _, id in keys], dtype=object),
            groups=np.array(column("group"), dtype=object),
            findings=tuple(self.findings),
            probability=probability,
            truth=truth,
            known=known,
            repeat=np.array([repeat for repeat, _ in keys]),
            fold=np.array(column("fold")),
            strata=strata,
            weight=None if all(weight == 1.0 for weight in weights) else np.array(weights),
            raw=matrix("raw", float),
            in_set=matrix("in_set", bool),
            absence_in_set=matrix("absence_in_set", bool),
            abstained=None if None in abstained else np.array(abstained, dtype=bool),
            threshold=self._thresholds(reader, keys),
        )
        return replace(outcomes, exclusive=_is_exclusive(outcomes))

    def _thresholds(self, reader: "_Reader", keys: Sequence[tuple[int, str]]) -> np.ndarray | None:
        """The threshold of every row, of those findings that have one; None where none has."""
        columns = []
        for finding in self.findings:
            cells = [self.entries[key][finding]["threshold"] for key in keys]
            blanks = sum(value is None for value in cells)
            if 0 < blanks < len(keys):
                key = next(key for key, value in zip(keys, cells, strict=True) if value is None)
                reader.refuse(self.first_row[key], "threshold", f'a value in every row of "{finding}" or in none ({self.name})')
            columns.append([np.nan if value is None else value for value in cells])
        thresholds = np.array(columns, dtype=float).T
        return None if np.isnan(thresholds).all() else thresholds


def _is_exclusive(outcomes: Outcomes) -> bool:
    if len(outcomes.findings) < 2:
        return False
    sums_to_one = bool(np.all(np.abs(outcomes.probability.sum(axis=1) - 1.0) < 1e-6))
    return sums_to_one and bool(((outcomes.truth & outcomes.known).sum(axis=1) <= 1).all())


def _weights_differ(models: Iterable[Outcomes]) -> bool:
    """Whether weights are other than 1 / (number of cases of the group in this split), which is what a reader assumes."""
    held = tuple(models)
    cases: dict[object, set] = {}
    for outcomes in held:
        for id, group in zip(outcomes.ids, outcomes.groups, strict=True):
            cases.setdefault(group, set()).add(id)
    return any(
        weight != 1.0 / len(cases[group])
        for outcomes in held
        for weight, group in zip(outcomes.weights, outcomes.groups, strict=True)
    )


def _number(values: np.ndarray | None, row: int, column: int) -> str:
    return "" if values is None or np.isnan(values[row, column]) else repr(float(values[row, column]))


def _flag(values: np.ndarray | None, row: int, column: int) -> str:
    return "" if values is None else str(int(values[row, column]))


def _level(level: object) -> str:
    return "" if level is None else str(level)
