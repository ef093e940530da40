"""What conformal sets did: how often they held what was recorded, how large they were, how many were empty or full.

Judges the sets that stand beside the predictions; making them is in `conformal.py`. Shares with intervals by group; under
repeats a case counts once, with the mean over its repeats.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from attending.evaluation.estimation import FEWEST
from attending.evaluation.inquiry import Terms
from attending.evaluation.interval import share_interval
from attending.evaluation.outcomes import Outcomes
from attending.evaluation.result import Result


def set_rows(outcomes: Outcomes, model: str, terms: Terms) -> list[Result]:
    """Rows `set_coverage`, `set_size`, `set_empty`, `set_full` per finding (for all classes together where findings exclude
    each other: "macro"), and `set_coverage_events`, `set_coverage_others`. None where no sets were recorded.

    Where only the presence of findings was recorded, only the coverage among events can be told.
    """
    if outcomes.in_set is None:
        return []
    if not outcomes.exclusive:
        return [row for k in range(len(outcomes.findings)) for row in _finding_rows(outcomes, model, terms, k)]
    about = _About(outcomes=outcomes, model=model, terms=terms, finding="macro")
    known = np.asarray(outcomes.known.all(axis=1))
    size = outcomes.in_set.sum(axis=1)
    return [
        about.share("set_coverage", (outcomes.in_set & outcomes.truth).any(axis=1), known),
        about.share("set_empty", size == 0, known),
        about.share("set_full", size == len(outcomes.findings), known),
        about.mean("set_size", size, known),
    ]


def _finding_rows(outcomes: Outcomes, model: str, terms: Terms, k: int) -> Iterator[Result]:
    assert outcomes.in_set is not None
    about = _About(outcomes=outcomes, model=model, terms=terms, finding=outcomes.findings[k])
    present, known, truth = outcomes.in_set[:, k], outcomes.known[:, k], outcomes.truth[:, k]
    yield about.share("set_coverage_events", present, known & truth)
    if outcomes.absence_in_set is None:
        return
    absent = outcomes.absence_in_set[:, k]
    size = present.astype(int) + absent
    yield about.share("set_coverage_others", absent, known & ~truth)
    yield about.share("set_coverage", np.where(truth, present, absent), known)
    yield about.share("set_empty", size == 0, known)
    yield about.share("set_full", size == 2, known)
    yield about.mean("set_size", size, known)


@dataclass(frozen=True, kw_only=True, eq=False)
class _About:
    """Whose sets, and of what."""

    outcomes: Outcomes
    model: str
    terms: Terms
    finding: str

    def share(self, metric: str, held: np.ndarray, among: np.ndarray) -> Result:
        """The share of cases for which `held`."""
        if not among.any():
            return self._row(metric, among)
        hits, weight, groups = self._per_case(held, among)
        ends = share_interval(hits, weight, groups, self.terms.level)
        return self._filled(metric, among, float(weight @ hits / weight.sum()), ends, "binomial, effective size by group")

    def mean(self, metric: str, values: np.ndarray, among: np.ndarray) -> Result:
        """The mean of a count per case."""
        if not among.any():
            return self._row(metric, among)
        held, weight, groups = self._per_case(values, among)
        value = float(weight @ held / weight.sum())
        units, index = np.unique(groups, return_inverse=True)
        influence = np.bincount(index, weights=weight * (held - value)) / weight.sum()
        error = np.sqrt((influence**2).sum() * len(units) / max(len(units) - 1, 1))
        reach = float(stats.norm.ppf((1.0 + self.terms.level) / 2.0) * error)
        return self._filled(metric, among, value, (value - reach, value + reach), "normal, variance by group")

    def _filled(self, metric: str, among: np.ndarray, value: float, ends: tuple[float, float], method: str) -> Result:
        row = self._row(metric, among)
        if row.clusters is not None and row.clusters < FEWEST:
            return replace(row, value=value, note=f"too few cases for an interval: {row.clusters} groups")
        return replace(row, value=value, low=ends[0], high=ends[1], level=self.terms.level, method=method, note="")

    def _row(self, metric: str, among: np.ndarray) -> Result:
        outcomes = self.outcomes
        ids = outcomes.ids.astype(str)
        events = None
        if self.finding != "macro":
            events = len(np.unique(ids[among & outcomes.truth[:, outcomes.findings.index(self.finding)]]))
        return Result(
            target=self.terms.target,
            finding=self.finding,
            split=self.terms.split,
            model=self.model,
            metric=metric,
            value=None,
            n=len(np.unique(ids[among])),
            events=events,
            clusters=len(np.unique(outcomes.groups[among].astype(str))),
            protocol=self.terms.protocol,
            repeats=len(np.unique(outcomes.repeat)),
            seed=self.terms.seed,
            note="cannot be estimated: no such case is known",
        )

    def _per_case(self, values: np.ndarray, among: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Mean over repeats of each case's value, its weight, its group."""
        outcomes = self.outcomes
        _, first, index, times = np.unique(
            outcomes.ids[among].astype(str), return_index=True, return_inverse=True, return_counts=True
        )
        mean = np.bincount(index, weights=np.asarray(values, dtype=float)[among]) / times
        return mean, outcomes.weights[among][first], outcomes.groups[among].astype(str)[first]
