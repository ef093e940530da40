"""Trees on numbers, signs and demographics: boosted trees, ten bags, and a random forest.

Settings of the boosted trees follow the design notes on small tables; they are fixed, not tuned to a data set.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier

from attending.baselines.answers import Classifier
from attending.baselines.fields import Fields
from attending.baselines.tabular import Encoding, TabularConfig
from attending.case import Demographics, Evidence, Lab, Sign


class AsTheyAre(Encoding):
    """Field values unchanged, NaN included: a tree has a branch for what is missing."""

    def features(self, values: Float[np.ndarray, "case column"]) -> Float[np.ndarray, "case feature"]:
        """The values themselves."""
        return values


MOST_BINS = 255
"""Distinct values of a field that histogram boosting can tell apart."""


class Binned(Encoding):
    """Fields of more than `MOST_BINS` distinct values by the number of their quantile bin, the others unchanged.

    Histogram boosting would bin them itself by the same rule, anew for every bag and finding, and its percentiles of weighted
    rows took eight times as long as its trees (journal, "Time of a run"). A tree asks only what is above what.
    """

    def __init__(self, values: Float[np.ndarray, "case column"]) -> None:
        self.edges: dict[int, np.ndarray] = {}
        for column, found in enumerate(values.T):
            known = found[~np.isnan(found)]
            if len(np.unique(known)) > MOST_BINS:
                inner = np.linspace(0.0, 1.0, MOST_BINS + 1)[1:-1]
                self.edges[column] = np.unique(np.quantile(known, inner, method="averaged_inverted_cdf"))

    def features(self, values: Float[np.ndarray, "case column"]) -> Float[np.ndarray, "case feature"]:
        """Bins or values; NaN stays NaN."""
        binned = np.array(values, dtype=float)
        for column, edges in self.edges.items():
            known = ~np.isnan(binned[:, column])
            binned[known, column] = np.searchsorted(edges, binned[known, column], side="left")
        return binned


@dataclass(frozen=True, kw_only=True)
class BoostedTreesConfig(TabularConfig):
    """Histogram gradient boosting, the mean of `bags` fits to bootstrap samples.

    Small trees on a share of the fields per split: chosen once, on 5-fold partitions of the appendicitis table used for
    nothing else (AUROC 0.846 bedside, 0.933 with ultrasound; without the share 0.840 and 0.930).
    """

    name: str = "boosted-trees"
    kinds: ClassVar[tuple[type[Evidence], ...]] = (Lab, Sign, Demographics)
    bags: int = 10
    rounds: int = 60
    learning_rate: float = 0.08
    leaves: int = 6
    smallest_leaf: int = 10
    features_per_split: float = 0.3

    def encoding(self, fields: Fields, values: Float[np.ndarray, "case column"]) -> Encoding:
        """Bins, once for all bags and findings."""
        return Binned(values)

    def classifier(self, seed: int) -> Classifier:
        """A fresh bag of boosted trees."""
        return BaggedBoosting(config=self, seed=seed)


class BaggedBoosting:
    """The mean probability of boosted trees, each fitted to a bootstrap sample."""

    def __init__(self, *, config: BoostedTreesConfig, seed: int) -> None:
        self.config = config
        self.seed = seed
        self.classes_ = np.array([], dtype=int)
        self._members: list[HistGradientBoostingClassifier] = []

    def fit(self, X: np.ndarray, y: np.ndarray, sample_weight: np.ndarray) -> "BaggedBoosting":
        """Fit all bags. Every class is in every bag."""
        self.classes_ = np.unique(y)
        self._members = []
        for bag in range(self.config.bags):
            random = np.random.default_rng((self.seed, bag))
            rows = _bootstrap(y, random)
            member = HistGradientBoostingClassifier(
                max_iter=self.config.rounds,
                learning_rate=self.config.learning_rate,
                max_leaf_nodes=self.config.leaves,
                min_samples_leaf=self.config.smallest_leaf,
                max_features=self.config.features_per_split,
                early_stopping=False,
                random_state=bag,
            )
            self._members.append(member.fit(X[rows], y[rows], sample_weight=sample_weight[rows]))
        return self

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """Mean over the bags."""
        return np.mean([member.predict_proba(X) for member in self._members], axis=0)


@dataclass(frozen=True, kw_only=True)
class RandomForestConfig(TabularConfig):
    """A random forest; what is missing takes a branch of its own."""

    name: str = "random-forest"
    kinds: ClassVar[tuple[type[Evidence], ...]] = (Lab, Sign, Demographics)
    trees: int = 200
    smallest_leaf: int = 3

    def encoding(self, fields: Fields, values: Float[np.ndarray, "case column"]) -> Encoding:
        """None: trees read fields as they are."""
        return AsTheyAre()

    def classifier(self, seed: int) -> Classifier:
        """A fresh forest on one thread."""
        return RandomForestClassifier(
            n_estimators=self.trees, min_samples_leaf=self.smallest_leaf, max_features="sqrt", random_state=seed, n_jobs=1
        )


def _bootstrap(y: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Rows of a bootstrap sample drawn within each class, so that no class is lost."""
    parts: Sequence[np.ndarray] = [np.flatnonzero(y == label) for label in np.unique(y)]
    return np.sort(np.concatenate([random.choice(part, size=len(part), replace=True) for part in parts]))
