"""T6 and T7: where a case comes from tells its answer (site, source, scanner, licence, place), and sources of one class only.

Site and source are no inputs, but films, wording and missing fields betray them to any model.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import binom

from attending.audit.check import Check
from attending.audit.finding import Finding, Severity
from attending.audit.material import Material, Truth
from attending.audit.ranking import ALPHA, LEAST_AREA, Ranking, indicators, rank_learned
from attending.records import names
from attending.records.column import Role
from attending.records.values import is_unknown

_WORDS = frozenset({
    *names.SITE, "scanner", "manufacturer", "vendor", "device", "batch", "license", "licence", "country", "city", "ward",
    "archive", "provenance", "location", "region", "era", "year",
})  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class OriginsCheck(Check):
    """`least`: the AUROC of one such column alone from which on it warns; `most_levels`: columns with more are no
    origins; `pure`: the share of one class from which on a level is told of by itself.
    """

    name: str = "origins"
    traps: tuple[str, ...] = ("T6", "T7")
    least: float = LEAST_AREA
    most_levels: int = 50
    pure: float = 0.95
    most_told: int = 6

    def look(self, material: Material) -> tuple[Finding, ...]:
        """One finding for columns that rank the answer, and one for levels that hold one class only."""
        columns = {name: cells for name in self._columns(material) if (cells := _levels(material, name, self.most_levels))}
        tests = max(1, len(columns) * len(material.truths))
        alarms = []
        for name, cells in columns.items():
            features = indicators(cells)
            for truth in material.truths:
                found = rank_learned(material, truth, features, tests=tests)
                if found is not None and found.alarms(self.least):
                    alarms.append((found, name))
        alarms.sort(key=lambda alarm: -alarm[0].low)
        telling = {name for _, name in alarms}
        uneven = [
            (name, level, told)
            for name, cells in columns.items()
            for truth in material.truths
            for level, told in _uneven(material, truth, cells, tests=tests, purest=0.0 if name in telling else self.pure)
        ]
        return (*((self._ranking(alarms),) if alarms else ()), *((self._by_class(uneven),) if uneven else ()))

    def _columns(self, material: Material) -> list[str]:
        return [
            column.name
            for column in material.schema.columns
            if column.role is Role.SITE
            or (column.role in (Role.STRATUM, Role.BOOKKEEPING) and _WORDS & {*names.words(column.name), column.name.lower()})
        ]

    def _ranking(self, alarms: Sequence[tuple[Ranking, str]]) -> Finding:
        columns = tuple(dict.fromkeys(name for _, name in alarms))
        return Finding(
            trap="T6",
            check=self.name,
            severity=Severity.WARN,
            told=f'where a case comes from tells the answer: "{alarms[0][1]}" alone reaches {alarms[0][0]}',
            evidence="; ".join(f'"{name}": {found}' for found, name in alarms[: self.most_told]),
            effect="a model can answer by recognising the place; at a new place it falls to what it knows beside that",
            remedy="judge within and across sites (--protocol site), and restrict to places that hold all classes (--where)",
            columns=columns,
        )

    def _by_class(self, uneven: Sequence[tuple[str, str, str]]) -> Finding:
        columns = tuple(dict.fromkeys(name for name, _, _ in uneven))
        told = [f'"{name}" = {level}: {words}' for name, level, words in uneven]
        more = f"; and {len(told) - self.most_told} more" if len(told) > self.most_told else ""
        return Finding(
            trap="T7",
            check=self.name,
            severity=Severity.WARN,
            told=f"source and class go together in {', '.join(columns)}: some levels hold mostly one class, others another",
            evidence="; ".join(told[: self.most_told]) + more,
            effect="whatever tells the sources apart tells the classes apart; a test from the same sources cannot show it",
            remedy=f"restrict to matched sources, those that hold both classes (--where \"{columns[0]} in ('...')\")",
            columns=columns,
        )


def _levels(material: Material, name: str, most: int) -> list[str] | None:
    """The cells as levels, unknown among them; None where the column is constant or has too many."""
    cells = ["" if cell is None or is_unknown(cell) else cell for cell in material.cells(name)]
    n = len(set(cells))
    return cells if 2 <= n <= min(most, len(cells) / 5) else None


def _uneven(material: Material, truth: Truth, cells: Sequence[str], *, tests: int, purest: float) -> list[tuple[str, str]]:
    """Levels in which far more groups have the finding than elsewhere, or far fewer, and a share `purest` is of one class."""
    groups = material.groups[truth.cases]
    _, which = np.unique(
        [f"{group} {cells[case]}" for group, case in zip(groups, truth.cases, strict=True)], return_inverse=True
    )
    first = np.unique(which, return_index=True)[1]
    is_event = np.bincount(which, weights=truth.is_event) > 0
    level_of = np.array([cells[truth.cases[at]] for at in first])
    found = []
    levels = sorted(set(level_of) - {""})
    for level in levels:
        here = level_of == level
        n, events = int(here.sum()), int(is_event[here].sum())
        others = is_event[~here]
        if not len(others) or n < 5:
            continue
        share = (others.sum() + 0.5) / (len(others) + 1.0)
        is_more = events / n > share
        chance = binom.sf(events - 1, n, share) if is_more else binom.cdf(events, n, share)
        if (
            max(events, n - events) >= purest * n
            and chance * len(levels) * tests < ALPHA
            and abs(events / n - others.mean()) >= 0.2
        ):
            found.append(
                (level, f'{events} of {n} groups have "{truth.finding}", elsewhere {int(others.sum())} of {len(others)}')
            )
    return found
