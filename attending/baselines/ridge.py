"""Ridge logistic regression whose strength is chosen on inner folds, for words, films and embeddings alike.

Below the members. How strong the penalty must be depends on how much the evidence says, so it is not a constant; whole groups
are held out while choosing.
"""

from collections.abc import Callable, Sequence

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from attending.baselines.answers import Features
from attending.case import Case

INNER_FOLDS = 3
FLOOR = 1e-6


class ChosenRidge:
    """Standardising or reducing steps, then the logistic regression of the strength with the least inner log loss.

    `strengths` are scikit-learn's C, ascending; on a tie, and where inner folds lack a class, the smaller one wins.
    """

    def __init__(
        self, cases: Sequence[Case], *, strengths: tuple[float, ...], steps: Callable[[], tuple] = tuple, seed: int
    ) -> None:
        self.cases = cases
        self.strengths = strengths
        self.steps = steps
        self.seed = seed
        self.strength = strengths[0]
        self.classes_ = np.array([], dtype=int)

    def fit(self, X: Features, y: np.ndarray, sample_weight: np.ndarray) -> "ChosenRidge":
        """Choose, then fit to all rows."""
        folds = _folds([case.group for case in self.cases], y, seed=self.seed)
        losses = np.zeros(len(self.strengths))
        for fold in range(INNER_FOLDS):
            inside, outside = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
            if not len(outside) or set(y[outside]) - set(y[inside]) or len(set(y[inside])) < 2:
                continue
            steps = make_pipeline("passthrough", *self.steps())
            learned, unseen = steps.fit_transform(X[inside]), steps.transform(X[outside])
            for place, strength in enumerate(self.strengths):
                line = _line(strength).fit(learned, y[inside], sample_weight=sample_weight[inside])
                said = line.predict_proba(unseen)[np.arange(len(outside)), np.searchsorted(line.classes_, y[outside])]
                losses[place] -= sample_weight[outside] @ np.log(np.maximum(said, FLOOR))
        self.strength = self.strengths[int(losses.argmin())]
        self._steps = make_pipeline("passthrough", *self.steps())
        self._fitted = _line(self.strength).fit(self._steps.fit_transform(X), y, sample_weight=sample_weight)
        self.classes_ = self._fitted.classes_
        return self

    def predict_proba(self, X: Features) -> np.ndarray:
        """As scikit-learn does."""
        return self._fitted.predict_proba(self._steps.transform(X))


def _line(strength: float) -> LogisticRegression:
    return LogisticRegression(C=strength, max_iter=2000, tol=1e-3)


def _folds(groups: Sequence[str], y: np.ndarray, *, seed: int) -> np.ndarray:
    """Fold per row: whole groups, sorted by their rarest class so that each class is dealt out evenly."""
    count = np.bincount(y)
    rarity: dict[str, int] = {}
    for group, label in zip(groups, y, strict=True):
        rarity[group] = min(rarity.get(group, len(y)), int(count[label]))
    names = sorted(rarity)
    order = np.random.default_rng(seed).permutation(len(names))
    order = order[np.argsort([rarity[names[place]] for place in order], kind="stable")]
    fold_of = {names[place]: rank % INNER_FOLDS for rank, place in enumerate(order)}
    return np.array([fold_of[group] for group in groups], dtype=int)
