"""Numbers, signs and demographics of cases as a matrix, one column per field, NaN where a field is absent.

Below the members. The columns are learned from the training cases; filling in follows `visible`: a blank may be seen as such
only in the fields named there, elsewhere it becomes the training median (numbers) or mode (signs, sex).
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from attending.case import Case, Censoring, Demographics, Evidence, Lab, Sign

CENSORED_STEP = 1e-5
"""A censored value stands this share of itself beyond its limit, so that `<5` and `5` differ for a tree."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column: the field whose absence it shares, its key, and the levels of a category (empty for a number)."""

    field_name: str
    key: str
    levels: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class Fields:
    """The columns met in training, and what fills a blank that may not be seen (NaN: it may)."""

    kinds: tuple[type[Evidence], ...]
    columns: tuple[Column, ...]
    filling: Float[np.ndarray, " column"]

    def values(self, cases: Sequence[Case]) -> Float[np.ndarray, "case column"]:
        """One row per case: numbers as they are, categories as the index of their level; NaN only where it may be seen."""
        raw = _raw(cases, self.columns, self.kinds)
        return np.where(np.isnan(raw), self.filling, raw)

    @property
    def is_category(self) -> np.ndarray:
        """Which columns hold indices of levels."""
        return np.array([bool(column.levels) for column in self.columns], dtype=bool)


def learn_fields(cases: Sequence[Case], *, kinds: tuple[type[Evidence], ...], visible: frozenset[str]) -> Fields:
    """The fields of these kinds in the training cases.

    A laboratory value measured in two units makes two columns, since the numbers do not compare. Where a value repeats within
    cases, its latest, lowest and highest become three columns.
    """
    met: dict[str, Column] = {}
    repeated: set[str] = set()
    for case in cases:
        keys = Counter[str]()
        for key, field_name, levels, _ in _entries(case, kinds):
            known = met.get(key)
            merged = levels if known is None else tuple(dict.fromkeys((*known.levels, *levels)))
            met[key] = Column(field_name=field_name, key=key, levels=merged)
            keys[key] += 1
        repeated.update(key for key, count in keys.items() if count > 1)
    columns: list[Column] = []
    for key in sorted(met):
        columns.append(met[key])
        if key in repeated and not met[key].levels:
            columns += [Column(field_name=met[key].field_name, key=f"{key}{suffix}") for suffix in (_LOWEST, _HIGHEST)]
    raw = _raw(cases, tuple(columns), kinds)
    filling = [_fill(raw[:, place], column, visible) for place, column in enumerate(columns)]
    return Fields(kinds=kinds, columns=tuple(columns), filling=np.array(filling, dtype=np.float64))


_LOWEST = " (lowest)"
_HIGHEST = " (highest)"


def _fill(values: np.ndarray, column: Column, visible: frozenset[str]) -> float:
    seen = values[~np.isnan(values)]
    if column.field_name in visible or not len(seen):
        return float("nan")
    if column.levels:
        return float(np.bincount(seen.astype(int)).argmax())
    return float(np.median(seen))


def _entries(case: Case, kinds: tuple[type[Evidence], ...]) -> Iterator[tuple[str, str, tuple[str, ...], float | str]]:
    """Key, field name, levels and value of all that a case holds of these kinds, oldest first."""
    for evidence in sorted(case.evidence, key=lambda one: one.at):
        if not isinstance(evidence, kinds):
            continue
        if isinstance(evidence, Lab):
            yield f"{evidence.code} [{evidence.unit}]", evidence.code, (), _number(evidence)
        elif isinstance(evidence, Sign):
            yield evidence.name, evidence.name, evidence.levels, evidence.value
        elif isinstance(evidence, Demographics):
            if evidence.age_years is not None:
                yield "age_years", "age_years", (), evidence.age_years
            if evidence.sex is not None:
                yield "sex", "sex", (evidence.sex,), evidence.sex


def _number(lab: Lab) -> float:
    step = CENSORED_STEP * max(abs(lab.value), 1.0)
    return lab.value + {Censoring.NONE: 0.0, Censoring.BELOW: -step, Censoring.ABOVE: step}[lab.censoring]


def _raw(cases: Sequence[Case], columns: tuple[Column, ...], kinds: tuple[type[Evidence], ...]) -> np.ndarray:
    place = {column.key: index for index, column in enumerate(columns)}
    level = {column.key: {name: index for index, name in enumerate(column.levels)} for column in columns}
    matrix = np.full((len(cases), len(columns)), np.nan)
    for row, case in enumerate(cases):
        for key, _, _, value in _entries(case, kinds):
            if key not in place:
                continue
            if isinstance(value, str):
                matrix[row, place[key]] = level[key].get(value, np.nan)  # a level never met in training is no evidence
                continue
            matrix[row, place[key]] = value
            if key + _LOWEST in place:
                lowest, highest = place[key + _LOWEST], place[key + _HIGHEST]
                matrix[row, lowest] = np.fmin(matrix[row, lowest], value)
                matrix[row, highest] = np.fmax(matrix[row, highest], value)
    return matrix
