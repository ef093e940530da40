"""T4: columns that give the answer away alone, or that were written after the fact by what their name says.

A strong predictor may be genuine, so strength alone warns. What blocks is an input that is the label by another name, or that
its name says was known only afterwards and that does predict. Columns that the schema keeps out already are noted.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from attending.audit.check import Check
from attending.audit.finding import Finding, Severity
from attending.audit.inputs import values_of
from attending.audit.material import Material, Truth
from attending.audit.ranking import LEAST_AREA, WORTH_ASKING, Ranking, indicators, rank, rank_learned
from attending.records import names
from attending.records.association import determines
from attending.records.column import Column, Role
from attending.records.schema import TargetKind
from attending.records.values import is_unknown, read_number

_MOST_LEVELS = 20
_KEPT_OUT = (Role.OUTCOME, Role.REFERENCE)
_EFFECT = "the model reads the answer instead of predicting it"


@dataclass(frozen=True, kw_only=True)
class GiveawaysCheck(Check):
    """`strong`: an input alone of this AUROC warns, when its adjusted lower limit lies above `surely`."""

    name: str = "giveaways"
    traps: tuple[str, ...] = ("T4",)
    strong: float = 0.9
    surely: float = 0.8
    least: float = LEAST_AREA
    most_told: int = 6

    def look(self, material: Material) -> tuple[Finding, ...]:
        """Inputs that are the answer, inputs that nearly are, and columns kept out that would be."""
        values = values_of(material)
        columns = {column.field_name: column for column in material.schema.inputs}
        tests = max(1, len(values) * len(material.truths))
        after: dict[str, str] = {}
        named: dict[str, str] = {}
        strong: dict[str, str] = {}
        label: dict[str, str] = {}
        for field, cells in values.items():
            best = _best(material, cells, tests=tests)
            column = columns.get(field)
            name = field if column is None else column.name
            renamed = None if column is None else _renamed(material, column)
            if renamed is not None:
                label[name] = renamed
            elif names.outcome_word(name) and best is not None and best.alarms(self.least):
                after[name] = str(best)
            elif names.outcome_word(name):
                named[name] = "its AUROC cannot be estimated" if best is None else str(best)
            elif best is not None and best.alarms(self.strong, low=self.surely):
                strong[name] = str(best)
        found = (
            self._inputs_found(label, Severity.BLOCK, "inputs are the label by another name"),
            self._inputs_found(after, Severity.BLOCK, "inputs were written after the fact, by their names, and predict"),
            self._inputs_found(named, Severity.WARN, "inputs were written after the fact, by their names"),
            self._inputs_found(
                strong, Severity.WARN, "single inputs nearly tell the answer, and the label may be made of them"
            ),
            self._kept_out(material),
        )
        return tuple(one for one in found if one is not None)

    def _inputs_found(self, told: Mapping[str, str], severity: Severity, said: str) -> Finding | None:
        if not told:
            return None
        return Finding(
            trap="T4",
            check=self.name,
            severity=severity,
            told=f"{said}: {', '.join(told)}",
            evidence="; ".join(f'"{name}": {why}' for name, why in told.items()),
            effect=_EFFECT if severity is Severity.BLOCK else f"if they hold what was known only afterwards, {_EFFECT}",
            remedy=f"leave them out: --ignore {','.join(told)}"
            + ("" if severity is Severity.BLOCK else ", or say in the schema's cautions why they are genuine"),
            columns=tuple(told),
        )

    def _kept_out(self, material: Material) -> Finding | None:
        """Outcomes and scores that are no inputs, as what they would have been."""
        columns = [
            column
            for column in material.schema.columns
            if column.role in _KEPT_OUT or (column.role is Role.IGNORED and names.has_word(column.name, names.SCORE))
        ]
        tests = max(1, len(columns) * len(material.truths))
        alarms = []
        for column in columns:
            best = _best(material, _read(material.cells(column.name)), tests=tests)
            if best is not None and best.alarms(self.least):
                alarms.append((best, column.name))
        if not alarms:
            return None
        alarms.sort(key=lambda alarm: -alarm[0].low)
        more = f"; and {len(alarms) - self.most_told} more" if len(alarms) > self.most_told else ""
        return Finding(
            trap="T4",
            check=self.name,
            severity=Severity.NOTE,
            told="columns known only afterwards, or made of others, predict the answer; they are kept out of the inputs",
            evidence="; ".join(f'"{name}": {best}' for best, name in alarms[: self.most_told]) + more,
            effect=f"as an input each of them means that {_EFFECT}",
            remedy=f"keep them out: no --only and no role in the schema makes an input of {alarms[0][1]}",
            columns=tuple(name for _, name in alarms),
        )


def _read(cells: list[str | None]) -> np.ndarray:
    """The cells of any column: numbers where most are and there are many different ones, else texts."""
    known = [None if cell is None or is_unknown(cell) else cell for cell in cells]
    filled = {cell for cell in known if cell is not None}
    if len(filled) > _MOST_LEVELS:
        values = np.array([np.nan if cell is None else read_number(cell, _PLAIN).value for cell in known])
        if np.isfinite(values).sum() >= 0.9 * sum(cell is not None for cell in known):
            return values
    return np.array(known, dtype=object)


def _best(material: Material, values: np.ndarray, *, tests: int) -> Ranking | None:
    """The finding that the values rank best, surely; only cases that have one."""
    found = [ranking for truth in material.truths if (ranking := _rank(material, truth, values, tests=tests)) is not None]
    worth = [ranking for ranking in found if ranking.area >= WORTH_ASKING]
    return max(worth, key=lambda ranking: ranking.low) if worth else max(found, key=lambda ranking: ranking.area, default=None)


def _rank(material: Material, truth: Truth, values: np.ndarray, *, tests: int) -> Ranking | None:
    if values.dtype != object:
        return rank(material, truth, values[truth.cases], tests=tests)
    present = np.array([values[case] is not None for case in truth.cases])
    n_values = len({values[case] for case in truth.cases[present]})
    if n_values < 2 or n_values > max(_MOST_LEVELS, present.sum() / 5):
        return None
    return rank_learned(material, truth, indicators(values.tolist()), tests=tests, chosen=present)


def _renamed(material: Material, column: Column) -> str | None:
    """Why a sign is a target by another name, or None."""
    if column.role is not Role.SIGN:
        return None
    cells = material.cells(column.name)
    for target in material.schema.targets:
        if target.kind is not TargetKind.LIST:
            why = determines(cells, material.cells(target.column), name=target.column)
            if why is not None:
                return why
    return None


_PLAIN = Column(name="any", role=Role.NUMBER).rules
