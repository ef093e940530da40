"""How well one thing alone ranks a finding, and how surely: the number by which every alarm of the audit is judged.

An alarm asks the lower end of an AUROC's interval, adjusted for all that was looked at (design notes, evidence.md §3), never
the AUROC itself. What must be learned first (categories, presence, words) is learned on other groups than it is held against,
by naive Bayes: it needs no tuning, and what it cannot rank alone is no plain shortcut.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from jaxtyping import Float
from scipy.sparse import csr_matrix

from attending.audit.material import FEWEST, Material, Truth
from attending.evaluation.discrimination import auroc
from attending.evaluation.interval import Interval, area_interval, area_score_interval
from attending.evaluation.metric import Sample, sample

LEAST_AREA = 0.65
"""AUROC from which on a shortcut is worth a warning, given that its adjusted lower limit lies above chance."""
ALPHA = 0.01
"""Chance that one audit gives any false alarm of one kind, before its alarm asks for an effect on top."""
FOLDS = 5
_SMOOTHING = 0.5
WORTH_ASKING = 0.6
"""No alarm asks for less; below it an interval is worth its time only where it is told."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Ranking:
    """AUROC of one thing for one finding, in its better direction, with an interval that is made when it is asked for.

    Of all intervals of one check together the lower ends are wrong with a chance of `ALPHA` at most, and so are the upper ones;
    `level` is what each needs for that. `n` cases, `events` among them.
    """

    finding: str
    area: float
    n: int
    events: int
    level: float
    rows: Sample = field(repr=False)

    @cached_property
    def interval(self) -> Interval:
        """Both ends, the farther of two methods each; 0 or 1 where neither can say."""
        told = (area_interval(self.rows, self.area, self.level), area_score_interval(self.rows, self.area, self.level))
        lows, highs = zip(*told, strict=True)
        return min(low if np.isfinite(low) else 0.0 for low in lows), max(high if np.isfinite(high) else 1.0 for high in highs)

    @property
    def low(self) -> float:
        """The lower end, by which alarms are judged."""
        return self.interval[0]

    @property
    def high(self) -> float:
        """The upper end."""
        return self.interval[1]

    def alarms(self, least: float, *, low: float = 0.5) -> bool:
        """Whether the area reaches `least` and the interval lies above `low`."""
        return self.area >= least and self.low > low

    @property
    def told(self) -> str:
        """Without counts, for what may be passed on."""
        return f'AUROC {self.area:.2f} for "{self.finding}" (adjusted interval {self.low:.2f} to {self.high:.2f})'

    def __str__(self) -> str:
        return f"{self.told[:-1]}; {self.events} events in {self.n} cases)"


def rank(
    material: Material, truth: Truth, scores: Float[np.ndarray, " known"], *, tests: int, chosen: np.ndarray | None = None
) -> Ranking | None:
    """How well scores of the known cases rank a finding, in either direction, as one of `tests` questions.

    NaN takes no part; `chosen` restricts to some of the known cases. None where too few of either class are left.
    """
    upward = rank_upward(material, truth, scores, tests=2 * tests, chosen=chosen)  # two directions, so twice adjusted
    if upward is None or upward.area >= 0.5:
        return upward
    return rank_upward(material, truth, -scores, tests=2 * tests, chosen=chosen)


def rank_learned(
    material: Material, truth: Truth, features: np.ndarray | csr_matrix, *, tests: int, chosen: np.ndarray | None = None
) -> Ranking | None:
    """How well naive Bayes on indicators [case, feature] ranks a finding in groups that it did not learn from."""
    return rank_upward(material, truth, _cross_fitted(material, truth, features), tests=tests, chosen=chosen)


def rank_upward(
    material: Material, truth: Truth, scores: Float[np.ndarray, " known"], *, tests: int, chosen: np.ndarray | None = None
) -> Ranking | None:
    """As `rank`, where higher scores mean the finding: what was learned on noise ranks backwards, and that is no alarm."""
    held = np.isfinite(scores) if chosen is None else np.isfinite(scores) & chosen
    cases, is_event = truth.cases[held], truth.is_event[held]
    groups = material.groups[cases]
    if min(len(np.unique(groups[is_event])), len(np.unique(groups[~is_event]))) < FEWEST:
        return None
    rows = sample(
        probability=scores[held], truth=is_event.astype(float), weight=material.weights[cases], cluster=material.groups[cases]
    )
    area = float(auroc(rows, rows.weight[None, :])[0])
    return Ranking(
        finding=truth.finding,
        area=area,
        n=int(held.sum()),
        events=int(is_event.sum()),
        level=1.0 - 2.0 * ALPHA / max(tests, 1),
        rows=rows,
    )


def _cross_fitted(
    material: Material, truth: Truth, features: np.ndarray | csr_matrix, *, seed: int = 0
) -> Float[np.ndarray, " known"]:
    """Log-likelihood ratio of each known case by naive Bayes on indicators [case, feature], learned on other groups."""
    held = csr_matrix(features, dtype=np.float64)[truth.cases]
    groups, is_event = material.groups[truth.cases], truth.is_event
    fold = _folds(groups, is_event, seed=seed)
    scores = np.empty(len(groups))
    for k in range(FOLDS):
        away = fold == k
        odds, constant = _weights(held[~away], is_event[~away])
        scores[away] = held[away] @ odds + constant
    return scores


def indicators(cells: Sequence[str | None]) -> csr_matrix:
    """One column per value that occurs, blank cells among them as a value of their own: a single 1 in each row."""
    values, which = np.unique(["" if cell is None else cell for cell in cells], return_inverse=True)
    return csr_matrix((np.ones(len(which)), (np.arange(len(which)), which)), shape=(len(which), len(values)))


def _weights(features: csr_matrix, is_event: np.ndarray) -> tuple[np.ndarray, float]:
    rates = []
    for held in (features[is_event], features[~is_event]):
        rates.append((np.asarray(held.sum(axis=0)).ravel() + _SMOOTHING) / (held.shape[0] + 2.0 * _SMOOTHING))
    with_, without = rates
    off = np.log1p(-with_) - np.log1p(-without)
    return np.log(with_) - np.log(without) - off, float(off.sum())


def _folds(groups: np.ndarray, is_event: np.ndarray, *, seed: int) -> np.ndarray:
    """Whole groups into folds, those with an event spread evenly."""
    names, which = np.unique(groups, return_inverse=True)
    has_event = np.bincount(which, weights=is_event) > 0
    order = np.random.default_rng(seed).permutation(len(names))
    order = order[np.argsort(has_event[order], kind="stable")]
    fold = np.empty(len(names), dtype=int)
    fold[order] = np.arange(len(names)) % FOLDS
    return fold[which]
