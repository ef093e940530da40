"""Who can lie where: the members as counts of labels per group, and the draw that spreads these over parts.

Standard library and numpy only. It knows of parts only their number and size; what they are for stands in `protocol`.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from attending.cohort.parts import CohortError, Fold, Member

SITE_WEIGHT = 0.2
"""How much an even spread of sites and strata counts against an even spread of the findings."""
DRAWS = 20
"""Assignments that are tried until every part holds what it must hold."""


class Roll:
    """The members as arrays: ids as given, the group of each, and per group how many patients carry each label.

    Groups are numbered as they are met, never by name: ids are hashed with a key of the project, and two projects that hold
    the same table part it in the same way.
    """

    def __init__(self, members: Iterable[Member]) -> None:
        self.members = tuple(members)
        if not self.members:
            raise CohortError("there is nobody to part: the list of members is empty")
        self.ids = tuple(member.id for member in self.members)
        twice = {id for id, count in Counter(self.ids).items() if count > 1}
        if twice:
            raise CohortError(f"{len(twice)} ids occur more than once, the first is {min(twice)!r}; an id names one case")
        index = {name: i for i, name in enumerate(dict.fromkeys(member.group for member in self.members))}
        self.n_groups = len(index)
        self.group_of = np.array([index[member.group] for member in self.members])
        home: dict[str, str] = {}
        for member in self.members:
            if home.setdefault(member.patient, member.group) != member.group:
                raise CohortError(
                    f"patient {member.patient!r} is in the groups {home[member.patient]!r} and {member.group!r}; "
                    "group by something wider than the patient, or by the patient"
                )
        self.group_of_patient = {patient: index[group] for patient, group in home.items()}
        self.findings = tuple(sorted({finding for member in self.members for finding in member.truth}))
        self.with_, self.without = self._count_patients()
        self.sizes = np.bincount(np.fromiter(self.group_of_patient.values(), int), minlength=self.n_groups).astype(float)
        self.other = self._count_levels()

    def _count_patients(self) -> tuple[np.ndarray, np.ndarray]:
        """Patients of each group with and without each finding (with: in any case; unknown: in neither)."""
        column = {finding: i for i, finding in enumerate(self.findings)}
        told: dict[tuple[str, int], bool] = {}
        for member in self.members:
            for finding, is_true in member.truth.items():
                key = (member.patient, column[finding])
                told[key] = told.get(key, False) or bool(is_true)
        with_ = np.zeros((self.n_groups, len(self.findings)))
        without = np.zeros_like(with_)
        for (patient, finding_index), is_true in told.items():
            (with_ if is_true else without)[self.group_of_patient[patient], finding_index] += 1.0
        return with_, without

    def _count_levels(self) -> np.ndarray:
        """Patients of each group per site and per stratum level."""
        levels: dict[tuple[str, str], int] = {}
        told: set[tuple[str, int]] = set()
        for member in self.members:
            for kind, level in (("site", member.site), ("stratum", member.stratum)):
                if level:
                    told.add((member.patient, levels.setdefault((kind, level), len(levels))))
        counts = np.zeros((self.n_groups, len(levels)))
        for patient, level_index in told:
            counts[self.group_of_patient[patient], level_index] += 1.0
        return counts

    def assign(self, fractions: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Part of each group: greedy, rarest label first, each group to the part that lacks most of what it carries.

        Minimises the chi-square distance between the parts' label counts and their fair share (after Sechidis et al. 2011,
        with groups as the unit and all labels weighed at once).
        """
        labels = np.concatenate([self.with_, self.without, self.sizes[:, None], self.other], axis=1)
        told = 2 * len(self.findings) + 1
        totals = labels.sum(axis=0)
        fair = np.maximum(fractions[:, None] * totals[None, :], 1e-9)
        worth = np.where(np.arange(labels.shape[1]) < told, 1.0 / fair, SITE_WEIGHT / np.maximum(fair, 1.0))
        lacking = fair.copy()
        rarest = np.where(labels[:, : told - 1] > 0, totals[: told - 1], np.inf).min(axis=1, initial=np.inf)
        order = rng.permutation(self.n_groups)
        order = order[np.lexsort((-self.sizes[order], rarest[order]))]
        part = np.zeros(self.n_groups, dtype=int)
        jitter = rng.random((self.n_groups, len(fractions))) * 1e-9
        for group in order:
            carried = labels[group]
            cost = ((carried - 2.0 * lacking) * carried * worth).sum(axis=1)
            part[group] = chosen = int(np.argmin(cost + jitter[group]))
            lacking[chosen] -= carried
        return part

    def folds(self, part: np.ndarray, n: int, *, repeat: int) -> tuple[Fold, ...]:
        held = part[self.group_of]
        ids = np.array(self.ids, dtype=object)
        return tuple(Fold(repeat=repeat, fold=k, train=tuple(ids[held != k]), test=tuple(ids[held == k])) for k in range(n))

    def rarer_groups(self, finding: str) -> int:
        """Groups that hold the rarer class of a finding."""
        column = self.findings.index(finding)
        return int(min((self.with_[:, column] > 0).sum(), (self.without[:, column] > 0).sum()))


def _is_filled(roll: Roll, part: np.ndarray, n: int, findings: Sequence[str]) -> bool:
    """Every part holds both classes of every one of these findings."""
    columns = [roll.findings.index(finding) for finding in findings]
    for counts in (roll.with_, roll.without):
        for k in range(n):
            if (counts[part == k][:, columns].sum(axis=0) == 0).any():
                return False
    return True


def assign_filled(roll: Roll, fractions: np.ndarray, findings: Sequence[str], key: Sequence[int]) -> np.ndarray:
    for draw in range(DRAWS):
        part = roll.assign(fractions, np.random.default_rng([*key, draw]))
        if _is_filled(roll, part, len(fractions), findings):
            return part
    raise CohortError(
        f"no assignment in {DRAWS} draws puts both classes of {list(findings)} into each of {len(fractions)} parts, because "
        "classes lie in few large groups; ask for fewer folds, or group by something narrower if it is still never parted"
    )
