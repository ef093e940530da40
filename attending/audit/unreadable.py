"""T10: films that cannot be read. They are absent here, never black; still evidence is lost, and a lost mount loses all."""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from attending.audit.check import Check
from attending.audit.finding import Finding, Severity
from attending.audit.material import Material
from attending.audit.ranking import LEAST_AREA, rank
from attending.case import Scan

_LATE = "later than the question"


@dataclass(frozen=True, kw_only=True)
class UnreadableCheck(Check):
    """`often`: the share of films from which on it warns; `mostly`: from which on it blocks."""

    name: str = "unreadable"
    traps: tuple[str, ...] = ("T10",)
    often: float = 0.01
    mostly: float = 0.5

    def look(self, material: Material) -> tuple[Finding, ...]:
        """One finding for all films that were named and could not be read."""
        lost = [
            (case, absence)
            for case, chart in enumerate(material.charts)
            for absence in chart.absent
            if absence.kind is Scan and absence.reason != _LATE
        ]
        if not lost:
            return ()
        n = len(lost) + sum(len(chart.of(Scan)) for chart in material.charts)
        is_lost = np.zeros(len(material))
        is_lost[[case for case, _ in lost]] = 1.0
        found = [rank(material, truth, is_lost[truth.cases], tests=len(material.truths)) for truth in material.truths]
        telling = [one.told for one in found if one is not None and one.alarms(LEAST_AREA)]
        share = len(lost) / n
        severity = Severity.WARN if share >= self.often or telling else Severity.NOTE
        reasons = Counter(absence.reason for _, absence in lost).most_common(3)
        return (
            Finding(
                trap="T10",
                check=self.name,
                severity=Severity.BLOCK if share >= self.mostly else severity,
                told="films that the table names cannot be read, and count as absent"
                + (f"; that they cannot tells the answer: {telling[0]}" if telling else ""),
                evidence=f"{len(lost)} of {n} films: {'; '.join(f'{count} × {reason}' for reason, count in reasons)}",
                effect="evidence is lost; a program that puts black pictures in their place judges patients on nothing",
                remedy="mend or copy the files again; for films that are truly not there, blank the cell",
                columns=material.columns_of(dict.fromkeys(absence.name for _, absence in lost)),
                rows=material.named(np.flatnonzero(is_lost)),
            ),
        )
