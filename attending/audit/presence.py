"""T11: that something is there, or not, tells the answer: tests are ordered for the sick, fields are filled in for a reason.

Looks at which fields each case holds and at nothing in them.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from attending.audit.check import Examined, ShortcutCheck
from attending.audit.finding import Finding, Severity
from attending.audit.material import Material, Truth
from attending.audit.ranking import LEAST_AREA, Ranking, rank_learned
from attending.audit.shortcut import shortcut_of
from attending.case import Chart, Demographics, Embedding, Lab, Note, Scan, Sign


@dataclass(frozen=True, kw_only=True)
class PresenceCheck(ShortcutCheck):
    """`least`: the AUROC of presence alone from which on it warns."""

    name: str = "presence"
    traps: tuple[str, ...] = ("T11",)
    least: float = LEAST_AREA
    most_columns: int = 8

    def examine(self, material: Material) -> Examined:
        """What the pattern of presence reaches, and one finding that names the fields that differ most."""
        held = [fields_of(chart) for chart in material.charts]
        fields = sorted(name for name, n in Counter(name for names in held for name in names).items() if n < len(held))
        if not fields:
            return Examined()
        features = np.array([[name in names for name in fields] for names in held], dtype=float)
        asked = [
            (truth, found)
            for truth in (*material.truths, *material.any_truth)
            if (found := rank_learned(material, truth, features, tests=len(material.truths) + 1)) is not None
        ]
        alarms = [(found, self._most_different(truth, features, fields)) for truth, found in asked if found.alarms(self.least)]
        return Examined(
            shortcuts=tuple(
                shortcut_of(found, trap="T11", check=self.name, input="which fields are filled in", least=self.least)
                for _, found in asked
            ),
            findings=(self._found(material, alarms),) if alarms else (),
        )

    def _found(self, material: Material, alarms: Sequence[tuple[Ranking, tuple[str, ...]]]) -> Finding:
        worst, columns = max(alarms, key=lambda alarm: alarm[0].low)
        return Finding(
            trap="T11",
            check=self.name,
            severity=Severity.WARN,
            told=f"which fields are filled in tells the answer without any value: {worst.told}",
            evidence="; ".join(str(found) for found, _ in alarms),
            effect="a model can answer from what was ordered or written down instead of from what was found",
            remedy=_remedy(material, material.columns_of(columns)),
            columns=material.columns_of(columns),
        )

    def _most_different(self, truth: Truth, features: np.ndarray, fields: list[str]) -> tuple[str, ...]:
        held = features[truth.cases]
        gap = np.abs(held[truth.is_event].mean(axis=0) - held[~truth.is_event].mean(axis=0))
        return tuple(fields[at] for at in np.argsort(-gap, kind="stable")[: self.most_columns] if gap[at] > 0.05)


def _remedy(material: Material, columns: tuple[str, ...]) -> str:
    told = material.leaving_out(columns)
    first = next((name for name in columns if name in material.table.frame.columns), None)
    only = "" if first is None else f", or keep only cases that have them (--where '\"{first}\" is not null')"
    return f"{told}{only}; compare with the baseline site-and-missingness"


def fields_of(chart: Chart) -> frozenset[str]:
    """Names of the fields of which a chart holds anything."""
    names = set()
    for evidence in chart.evidence:
        match evidence:
            case Demographics(age_years=age, sex=sex):
                names |= {name for name, value in (("age_years", age), ("sex", sex)) if value is not None}
            case Lab(code=name) | Sign(name=name) | Note(field_name=name) | Scan(field_name=name) | Embedding(name=name):
                names.add(name)
    return frozenset(names)
