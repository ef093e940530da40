"""T1 in the parts themselves: a patient or group that a given split tears apart, and what a part lacks to be judged by.

Asked only where there is a protocol: that of a run, or a split that somebody made (`--split`). Twins across the parts are
counted by the check of repeats.
"""

from dataclasses import dataclass

import numpy as np

from attending.audit.check import Check
from attending.audit.finding import DATA, Finding, Severity
from attending.audit.material import PARTS, Material


@dataclass(frozen=True, kw_only=True)
class PartsCheck(Check):
    """Looks at every round of the protocol: the four parts of a split, or train and test of each fold."""

    name: str = "parts"
    traps: tuple[str, ...] = ("T1", "T18", DATA)

    def look(self, material: Material) -> tuple[Finding, ...]:
        """Groups that are parted, cases that are in no part, and classes that a part lacks."""
        if material.protocol is None:
            return ()
        found = (self._torn(material), self._nowhere(material), self._lacking(material))
        return tuple(one for one in found if one is not None)

    def _torn(self, material: Material) -> Finding | None:
        torn = set()
        for parts in material.rounds:
            here = parts >= 0
            pairs = np.unique(np.stack([material.groups[here], parts[here]]), axis=1)
            names, counts = np.unique(pairs[0], return_counts=True)
            torn |= set(names[counts > 1].tolist())
        if not torn:
            return None
        cases = np.flatnonzero(np.isin(material.groups, sorted(torn)))
        n_patients = len(np.unique(material.patients[cases]))
        return Finding(
            trap="T1",
            check=self.name,
            severity=Severity.BLOCK,
            told="the split tears groups apart: visits of one person, or persons of one group, lie in different parts",
            evidence=f"{len(torn)} of {len(np.unique(material.groups))} groups, {n_patients} patients, {len(cases)} cases",
            effect="test holds what training has seen, so that results are too good",
            remedy="part whole groups: leave --split out, and attending run parts by the widest id",
            rows=material.named(cases),
        )

    def _nowhere(self, material: Material) -> Finding | None:
        cases = np.flatnonzero((material.rounds < 0).all(axis=0) & material.has_truth)
        if not len(cases):
            return None
        return Finding(
            trap="T18",
            check=self.name,
            severity=Severity.WARN,
            told="cases with a known truth are in no part of the split",
            evidence=f"{len(cases)} of {int(material.has_truth.sum())} cases",
            effect="cases left out before the split, for what they lack, make the result that of an easier population",
            remedy="give every case a part, also the incomplete one, or say with --where who is left out",
            rows=material.named(cases),
        )

    def _lacking(self, material: Material) -> Finding | None:
        lacking = []
        for truth in material.all_truths:
            for number, parts in enumerate(material.rounds):
                for part in sorted(set(parts[parts >= 0].tolist())):
                    held = truth.is_event[parts[truth.cases] == part]
                    if not held.any() or held.all():
                        lacking.append((truth.finding, number, PARTS[part], "without" if held.any() else "with"))
        if not lacking:
            return None
        told = "; ".join(
            f'round {number + 1}, {part}: nobody {which} "{finding}"' for finding, number, part, which in lacking[:6]
        )
        findings = ", ".join(dict.fromkeys(finding for finding, _, _, _ in lacking))
        return Finding(
            trap=DATA,
            check=self.name,
            severity=Severity.NOTE,
            told=f"a class is absent from a part of the split, for {findings}",
            evidence=told + (f"; and {len(lacking) - 6} more" if len(lacking) > 6 else ""),
            effect="there discrimination cannot be estimated, or nothing can be fitted",
            remedy="use fewer folds (--folds), or join findings that are too rare",
        )
