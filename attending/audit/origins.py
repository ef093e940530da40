"""T6 and T7: where a case comes from tells its answer (site, source, scanner, licence, place), and sources of one class only.

Site and source are no inputs, but films, wording and missing fields betray them to any model.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import binom

from attending.audit.check import Examined, ShortcutCheck
from attending.audit.finding import Finding, Severity, quoted
from attending.audit.material import Material, Truth
from attending.audit.ranking import ALPHA, LEAST_AREA, Ranking, indicators, rank_learned
from attending.audit.shortcut import shortcut_of
from attending.records import names, rows_where
from attending.records.column import Role
from attending.records.values import is_unknown

_WORDS = frozenset({
    *names.SITE, "scanner", "manufacturer", "vendor", "device", "batch", "license", "licence", "country", "city", "ward",
    "archive", "provenance", "location", "region", "era", "year",
})  # fmt: skip


_FEWEST_OF_A_CLASS = 5
"""Groups with and without each finding that a matched source has."""


@dataclass(frozen=True, kw_only=True)
class OriginsCheck(ShortcutCheck):
    """`least`: the AUROC of one such column alone from which on it warns; `most_levels`: columns with more are no
    origins; `pure`: the share of one class from which on a level is told of by itself.
    """

    name: str = "origins"
    traps: tuple[str, ...] = ("T6", "T7")
    least: float = LEAST_AREA
    most_levels: int = 50
    pure: float = 0.95
    most_told: int = 6

    def examine(self, material: Material) -> Examined:
        """What each such column reaches; a finding for those that rank the answer, and one for levels of one class only."""
        columns = {name: cells for name in self._columns(material) if (cells := _levels(material, name, self.most_levels))}
        tests = max(1, len(columns) * len(material.truths))
        asked = [
            (found, name)
            for name, features in ((name, indicators(cells)) for name, cells in columns.items())
            for truth in material.truths
            if (found := rank_learned(material, truth, features, tests=tests)) is not None
        ]
        alarms = [(found, name) for found, name in asked if found.alarms(self.least)]
        alarms.sort(key=lambda alarm: -alarm[0].low)
        telling = {name for _, name in alarms}
        uneven = [
            (name, level, told)
            for name, cells in columns.items()
            for truth in material.truths
            for level, told, _ in _uneven(material, truth, cells, tests=tests, purest=0.0 if name in telling else self.pure)
        ]
        named = dict.fromkeys([name for _, name in alarms] + [name for name, _, _ in uneven])
        matched = {name: _matched(material, name, columns[name], tests=tests, least=self.least) for name in named}
        return Examined(
            shortcuts=tuple(
                shortcut_of(found, trap="T6", check=self.name, input=f'the column "{name}"', least=self.least)
                for found, name in asked
            ),
            findings=(
                *((self._ranking(alarms, matched),) if alarms else ()),
                *((self._by_class(uneven, matched),) if uneven else ()),
            ),
        )

    def _columns(self, material: Material) -> list[str]:
        return [
            column.name
            for column in material.schema.columns
            if column.role is Role.SITE
            or (column.role in (Role.STRATUM, Role.BOOKKEEPING) and _WORDS & {*names.words(column.name), column.name.lower()})
        ]

    def _ranking(self, alarms: Sequence[tuple[Ranking, str]], matched: Mapping[str, str]) -> Finding:
        columns = tuple(dict.fromkeys(name for _, name in alarms))
        return Finding(
            trap="T6",
            check=self.name,
            severity=Severity.WARN,
            told=f'where a case comes from tells the answer: "{alarms[0][1]}" alone reaches {alarms[0][0].told}',
            evidence="; ".join(f'"{name}": {found}' for found, name in alarms[: self.most_told]),
            effect="a model can answer by recognising the place; at a new place it falls to what it knows beside that",
            remedy=f"judge within and across sites (--protocol site); {matched[alarms[0][1]]}",
            columns=columns,
        )

    def _by_class(self, uneven: Sequence[tuple[str, str, str]], matched: Mapping[str, str]) -> Finding:
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
            remedy=matched[columns[0]],
            columns=columns,
        )


def _levels(material: Material, name: str, most: int) -> list[str] | None:
    """The cells as levels, unknown among them; None where the column is constant or has too many."""
    cells = ["" if cell is None or is_unknown(cell) else cell for cell in material.cells(name)]
    n = len(set(cells))
    return cells if 2 <= n <= min(most, len(cells) / 5) else None


def _matched(material: Material, name: str, cells: list[str], *, tests: int, least: float) -> str:
    """The remedy: the rows to keep so that the column tells nothing, found by leaving out the most telling level again and
    again; or that there are none."""
    kept = {level for level in set(cells) - {""} if _holds_both(material, cells, {level})}
    while kept and _holds_both(material, cells, kept):
        held = [_among(truth, cells, kept) for truth in material.truths]
        telling = [one for truth in held for one in _uneven(material, truth, cells, tests=tests, purest=0.0)]
        if telling:
            kept.discard(min(telling, key=lambda one: (one[2], one[0]))[0])
            continue
        ranked = [rank_learned(material, truth, indicators(cells), tests=tests) for truth in held]
        if any(found is not None and found.alarms(least) for found in ranked):
            break
        return f"restrict to matched sources (--where {quoted(rows_where(material.table, name, sorted(kept)))})"
    return f'no sources of "{name}" are matched: this table cannot tell the class from where it comes from; add other sources'


def _holds_both(material: Material, cells: Sequence[str], kept: set[str]) -> bool:
    """Whether each finding has enough cases of both classes at these levels to be asked about."""
    for truth in material.truths:
        here = _among(truth, cells, kept)
        groups = material.groups[here.cases]
        if min(len(np.unique(groups[here.is_event])), len(np.unique(groups[~here.is_event]))) < _FEWEST_OF_A_CLASS:
            return False
    return True


def _among(truth: Truth, cells: Sequence[str], kept: set[str]) -> Truth:
    held = np.array([cells[case] in kept for case in truth.cases], dtype=bool)
    return Truth(finding=truth.finding, cases=truth.cases[held], is_event=truth.is_event[held])


def _uneven(
    material: Material, truth: Truth, cells: Sequence[str], *, tests: int, purest: float
) -> list[tuple[str, str, float]]:
    """Levels in which far more groups have the finding than elsewhere, or far fewer, and a share `purest` is of one class.

    With each what is told of it, and how likely it is by chance.
    """
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
                (
                    level,
                    f'{events} of {n} groups have "{truth.finding}", elsewhere {int(others.sum())} of {len(others)}',
                    float(chance),
                )
            )
    return found
