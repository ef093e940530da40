"""T1: one person under several patient ids, so that visits of the same body may part.

Asked of the columns that name people and of patient-like columns that nobody uses. A name alone, or a birthday alone, is
shared by strangers; two such columns together are not. A record number alone blocks only where nothing else names people:
numbers are given twice by mistake.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy.stats import poisson

from attending.audit.check import Check
from attending.audit.finding import Finding, Severity
from attending.audit.material import Material
from attending.records import names
from attending.records.column import Column, Role
from attending.records.values import is_unknown

_KEY_WORDS = frozenset({"record", "mrn", "ssn", "nhs", "insurance", "passport", "key", "id", "pid", "number", "no", "nr"})
_UNUSED = (Role.IGNORED, Role.BOOKKEEPING, Role.STRATUM, Role.SIGN, Role.IDENTITY)


@dataclass(frozen=True, kw_only=True)
class PersonsCheck(Check):
    """`rarest`: a column names people from this share of different values among its filled cells on. `by_chance`: strangers
    share a name and a birthday now and then; two columns together count when that many pairs come less often by chance.
    """

    name: str = "persons"
    traps: tuple[str, ...] = ("T1",)
    rarest: float = 0.5
    by_chance: float = 1e-4

    def look(self, material: Material) -> tuple[Finding, ...]:
        """Ids and pairs of identifying columns that several groups share."""
        found = []
        keys = {column.name for column in material.schema.of(Role.IDENTITY) if set(names.words(column.name)) & _KEY_WORDS}
        n_naming = sum(self._is_rare(material, column) for column in material.schema.of(Role.IDENTITY))
        for columns in self._keys(material):
            cells = [material.cells(name) for name in columns]
            shared = _shared(material, cells)
            if shared and (len(columns) == 1 or self._is_no_chance(material, cells, shared)):
                is_sure = len(columns) > 1 or n_naming < 2 or _is_patient_like(columns[0])
                found.append(self._found(material, columns, shared, severity=Severity.BLOCK if is_sure else Severity.WARN))
        # Several keys tell of the same people: a record number says it best, then the key that joins most cases.
        found.sort(key=lambda one: (one.severity.rank, not set(one.columns) & keys, -len(one.rows)))
        return tuple(found[:1])

    def _keys(self, material: Material) -> list[tuple[str, ...]]:
        naming = [column for column in material.schema.of(Role.IDENTITY) if self._is_rare(material, column)]
        single = [(column.name,) for column in naming if set(names.words(column.name)) & _KEY_WORDS]
        single += [
            (column.name,) for column in material.schema.columns if column.role in _UNUSED and _is_patient_like(column.name)
        ]
        pairs = [(a.name, b.name) for a, b in combinations(naming, 2)]
        return list(dict.fromkeys([*single, *pairs]))

    def _is_rare(self, material: Material, column: Column) -> bool:
        filled = [cell for cell in material.cells(column.name) if cell is not None and not is_unknown(cell)]
        n_patients = len(np.unique(material.patients))
        return len(filled) >= 10 and len(set(filled)) >= self.rarest * min(len(filled), n_patients)

    def _is_no_chance(self, material: Material, cells: Sequence[Sequence[str | None]], shared: list[np.ndarray]) -> bool:
        """Whether more pairs of groups agree in both columns than would if the columns knew nothing of each other."""
        groups = material.groups
        n = len(np.unique(groups))
        agreeing = [sum(_pairs(groups[cases]) for cases in _shared(material, [column])) for column in cells]
        expected = agreeing[0] * agreeing[1] / (n * (n - 1) / 2)
        return bool(poisson.sf(sum(_pairs(groups[cases]) for cases in shared) - 1, expected) < self.by_chance)

    def _found(self, material: Material, columns: tuple[str, ...], shared: list[np.ndarray], *, severity: Severity) -> Finding:
        cases = np.concatenate(shared)
        together = " and ".join(f'"{name}"' for name in columns)
        return Finding(
            trap="T1",
            check=self.name,
            severity=severity,
            told=f"the same person stands under several patients: equal {together} in different groups",
            evidence=f"{len(shared)} values of {together} are shared by several groups, {len(cases)} cases in all",
            effect="visits of one person may stand in training and in test, so that results are too good",
            remedy=f'keep them in one part: --group "{_rarest(material, columns)}" (strangers who share it come along), '
            "or correct the patient ids",
            columns=columns,
            rows=material.named(np.sort(cases)),
        )


def _is_patient_like(name: str) -> bool:
    return "_".join(names.words(name)) in (*names.PATIENT, "group_id", "family_id")


def _rarest(material: Material, columns: tuple[str, ...]) -> str:
    """The column that tells most people apart."""
    return max(columns, key=lambda name: len(set(material.cells(name))))


def _pairs(groups: np.ndarray) -> int:
    """Pairs of different groups among these cases."""
    n = len(np.unique(groups))
    return n * (n - 1) // 2


def _shared(material: Material, columns: Sequence[Sequence[str | None]]) -> list[np.ndarray]:
    """The cases of each value that stands in more than one group."""
    held: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for case, cells in enumerate(zip(*columns, strict=True)):
        filled = tuple(cell.casefold() for cell in cells if cell is not None and not is_unknown(cell))
        if len(filled) == len(columns):
            held[filled].append(case)
    groups = material.groups
    return [np.array(cases) for cases in held.values() if len(cases) > 1 and len(set(groups[cases])) > 1]
