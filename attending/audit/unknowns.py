"""Labels that are unknown for a reason: where the evidence tells which cases lack a label, those with one are other patients.

An unknown label is left out of everything, so that all figures speak of those whose label was found out. That is a sample of
them all only where labels are missing by chance.
"""

from dataclasses import dataclass

import numpy as np

from attending.audit.check import Check
from attending.audit.finding import DATA, Finding, Severity
from attending.audit.inputs import indicators_of
from attending.audit.material import Material, Truth
from attending.audit.ranking import FOLDS, LEAST_AREA, rank_learned


@dataclass(frozen=True, kw_only=True)
class UnknownsCheck(Check):
    """`least`: the AUROC from which on it warns; below, the figure is a note."""

    name: str = "unknowns"
    traps: tuple[str, ...] = (DATA,)
    least: float = LEAST_AREA

    def look(self, material: Material) -> tuple[Finding, ...]:
        """One finding for all labels that some cases have and enough others lack; nothing where too few do to ask."""
        cases = np.arange(len(material))
        asked = [
            Truth(finding=f"{truth.finding} unknown", cases=cases, is_event=~np.isin(cases, truth.cases))
            for truth in material.all_truths
            if len(truth.cases) < len(cases)
        ]
        if not asked:
            return ()
        features = indicators_of(material)
        tests = FOLDS * len(asked)  # pooled scores of several folds spread wider by chance where features are many
        found = [one for truth in asked if (one := rank_learned(material, truth, features, tests=tests)) is not None]
        if not found:
            return ()
        alarms = [one for one in found if one.alarms(self.least)]
        worst = max(alarms or found, key=lambda one: one.low)
        can = "tell" if alarms else "hardly tell"
        return (
            Finding(
                trap=DATA,
                check=self.name,
                severity=Severity.WARN if alarms else Severity.NOTE,
                told=f"labels are unknown, and numbers, signs and what is there {can} of whom: they reach {worst.told}",
                evidence="; ".join(str(one) for one in found),
                effect="all figures are of the cases whose label is known"
                + (", and these are others than those whose label is not" if alarms else ""),
                remedy="find the missing labels, or say in the schema's cautions why they are missing"
                + ("; judge among those alone whose label was sought (--where)" if alarms else ""),
            ),
        )
