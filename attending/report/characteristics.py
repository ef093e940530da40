"""Who the cases are ("Table 1"): age, sex, evidence and values, by part, site and recorded label. Counts under 5 are hidden.

Shares and medians describe; no test is made between columns.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from attending.case import Case, Demographics, Embedding, Evidence, Lab, Note, Scan, Sign
from attending.evaluation.sharing import FEWEST, suppress

ORDER = ("train", "tune", "calibrate", "test")
"""Of parts, as a study goes through them."""
MOST_COLUMNS, MOST_VALUES, MOST_LEVELS = 8, 12, 12
_KINDS: Mapping[type[Evidence], str] = {
    Note: "a note",
    Scan: "a film",
    Lab: "a number",
    Sign: "a sign",
    Embedding: "an embedding",
}


@dataclass(frozen=True, kw_only=True)
class Characteristics:
    """One table: `by` says what its columns are; a row is a label with a cell for each column, in words."""

    by: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]


def characteristics_of(cases: Sequence[Case], findings: Sequence[str], parts: Mapping[str, str]) -> tuple[Characteristics, ...]:
    """By part where `parts` (case id → part) names any, by site where there are several, and by each recorded label."""
    ordered = sorted(set(parts.values()), key=lambda part: (ORDER.index(part) if part in ORDER else len(ORDER), part))
    told = [("part", {part: [case for case in cases if parts.get(case.id) == part] for part in ordered})]
    sites = sorted({case.site for case in cases if case.site is not None})
    told.append(("site", {site: [case for case in cases if case.site == site] for site in sites}))
    for finding in findings:
        held = {
            word: [c for c in cases if c.truth.get(finding) is value] for word, value in (("with", True), ("without", False))
        }
        told.append((f'recorded label "{finding}"', held))
    tables = (_table(by, {name: held for name, held in columns.items() if held}) for by, columns in told)
    return tuple(table for table in tables if table is not None)


def _table(by: str, columns: Mapping[str, Sequence[Case]]) -> Characteristics | None:
    """None where there is nothing to hold side by side that may be shown: a column of under 5 cases is left out."""
    largest = sorted((name for name in columns if len(columns[name]) >= FEWEST), key=lambda name: -len(columns[name]))
    shown = [name for name in columns if name in largest[:MOST_COLUMNS]]
    left_out = sum(len(cases) for name, cases in columns.items() if name not in shown)
    if len(shown) < 2 or 0 < left_out < FEWEST:  # beside the total, what is shown would tell what is not
        return None
    held = [columns[name] for name in shown]
    rows = [("Cases", tuple(str(len(cases)) for cases in held))]
    rows.append(("Age in years", tuple(_middle([_age(case) for case in cases]) for cases in held)))
    rows += _levels("Sex", [[_sex(case) for case in cases] for cases in held])
    rows += _shares("Has", {word: [[bool(c.of(kind)) for c in cases] for cases in held] for kind, word in _KINDS.items()})
    codes: dict[str, int] = {}
    for cases in held:
        for case in cases:
            for code in {lab.code for lab in case.of(Lab)}:
                codes[code] = codes.get(code, 0) + 1
    for code in sorted(codes, key=lambda code: (-codes[code], code))[:MOST_VALUES]:
        rows.append((_with_unit(code, held), tuple(_middle([_value(case, code) for case in cases]) for cases in held)))
    return Characteristics(by=by, columns=tuple(shown), rows=tuple(row for row in rows if any(cell != "–" for cell in row[1])))


def _with_unit(code: str, columns: Sequence[Sequence[Case]]) -> str:
    """`crp (mg/L)` where all its values are of one unit."""
    units = {str(lab.unit) for cases in columns for case in cases for lab in case.of(Lab) if lab.code == code}
    return f"{code} ({units.pop()})" if len(units) == 1 and units != {"unstated"} else code


def _levels(what: str, columns: Sequence[Sequence[str | None]]) -> list[tuple[str, tuple[str, ...]]]:
    """A row per level where there are at least two and not too many; what is under 5 is hidden with all that would tell it.

    Every case has one level or none, so that the levels of a column, and the unknown, add up to its cases.
    """
    levels = sorted({level for column in columns for level in column if level is not None})
    if not 2 <= len(levels) <= MOST_LEVELS:
        return []
    counts = [[list(column).count(level) for column in columns] for level in (*levels, None)]
    shown = suppress(counts)[:-1]
    return [
        (
            f"{what}: {level}",
            tuple(
                "hidden" if n is None else f"{n} ({100 * n / len(column):.0f} %)"
                for n, column in zip(row, columns, strict=True)
            ),
        )
        for level, row in zip(levels, shown, strict=True)
    ]


def _shares(what: str, levels: Mapping[str, Sequence[Sequence[bool]]]) -> list[tuple[str, tuple[str, ...]]]:
    """A row per level; each hides what is under 5 on either side, and what would tell it."""
    rows = []
    for level, columns in levels.items():
        counts = [sum(column) for column in columns]
        if not any(counts):
            continue
        shown = suppress([[n, len(column) - n] for n, column in zip(counts, columns, strict=True)])
        cells = tuple(
            "hidden" if pair[0] is None else f"{pair[0]} ({100 * pair[0] / len(column):.0f} %)"
            for pair, column in zip(shown, columns, strict=True)
        )
        rows.append((f"{what}: {level}", cells))
    return rows


def _middle(values: Sequence[float | None]) -> str:
    """Median with quartiles and how many it rests on."""
    known = [value for value in values if value is not None]
    if len(known) < FEWEST:
        return "–"
    low, middle, high = np.quantile(known, [0.25, 0.5, 0.75])
    lacking = len(values) - len(known)
    beside = f", {lacking} unknown" if lacking >= FEWEST else ""
    return f"{middle:.3g} ({low:.3g} to {high:.3g}){beside}"


def _age(case: Case) -> float | None:
    return next((one.age_years for one in case.of(Demographics) if one.age_years is not None), None)


def _sex(case: Case) -> str | None:
    return next((one.sex for one in case.of(Demographics) if one.sex is not None), None)


def _value(case: Case, code: str) -> float | None:
    held = [lab.value for lab in case.of(Lab) if lab.code == code]
    return sum(held) / len(held) if held else None
