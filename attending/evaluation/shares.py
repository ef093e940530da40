"""Shares and means per case, as rows of results: with intervals by group, a case under repeats counting once."""

from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from attending.evaluation.estimation import FEWEST
from attending.evaluation.inquiry import Terms
from attending.evaluation.interval import share_interval
from attending.evaluation.outcomes import Outcomes
from attending.evaluation.result import Result


@dataclass(frozen=True, kw_only=True, eq=False)
class Shares:
    """Whose rows, and of which finding ("macro": of the case as a whole)."""

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
