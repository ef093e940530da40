"""Logistic regression on numbers, signs and demographics, with indicators of what is seen to be missing; demographics alone."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Bool, Float, Int
from sklearn.linear_model import LogisticRegression

from attending.baselines.answers import Classifier
from attending.baselines.fields import Fields
from attending.baselines.tabular import Encoding, TabularConfig
from attending.case import Demographics, Evidence, Lab, Sign

WINSOR = (0.01, 0.99)
"""Numbers are cut off at these training quantiles: one typing error must not bend a line."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Standardised(Encoding):
    """Numbers in standard deviations (and squared where `curved`), categories one-hot, a missing indicator per blank seen.

    A blank that may be seen is 0 in all features but its indicator.
    """

    is_category: Bool[np.ndarray, " column"]
    n_levels: Int[np.ndarray, " column"]
    low: Float[np.ndarray, " column"]
    high: Float[np.ndarray, " column"]
    mean: Float[np.ndarray, " column"]
    deviation: Float[np.ndarray, " column"]
    curved: bool

    def features(self, values: Float[np.ndarray, "case column"]) -> Float[np.ndarray, "case feature"]:
        """The design matrix, without an intercept."""
        blank = np.isnan(values)
        parts = [blank.astype(np.float64)]
        for column in range(values.shape[1]):
            filled = np.where(blank[:, column], 0.0, values[:, column])
            if self.is_category[column]:
                levels = np.arange(self.n_levels[column])
                parts.append((filled[:, None] == levels) & ~blank[:, [column]])
                continue
            number = (np.clip(filled, self.low[column], self.high[column]) - self.mean[column]) / self.deviation[column]
            number = np.where(blank[:, column], 0.0, number)
            parts.append(np.stack([number, number**2], axis=1) if self.curved else number[:, None])
        return np.concatenate(parts, axis=1).astype(np.float64)


def standardise(fields: Fields, values: Float[np.ndarray, "case column"], *, curved: bool) -> Standardised:
    """The encoding with the quantiles, means and deviations of the training values."""
    width = values.shape[1]
    low, high, mean, deviation = np.zeros(width), np.zeros(width), np.zeros(width), np.ones(width)
    for column in range(width):
        seen = values[~np.isnan(values[:, column]), column]
        if fields.is_category[column] or not len(seen):
            continue
        low[column], high[column] = np.quantile(seen, WINSOR)
        cut = np.clip(seen, low[column], high[column])
        mean[column], deviation[column] = cut.mean(), cut.std() or 1.0
    return Standardised(
        is_category=fields.is_category,
        n_levels=np.array([len(column.levels) for column in fields.columns], dtype=int),
        low=low,
        high=high,
        mean=mean,
        deviation=deviation,
        curved=curved,
    )


@dataclass(frozen=True, kw_only=True)
class LogisticRegressionConfig(TabularConfig):
    """Ridge logistic regression on numbers, signs and demographics."""

    name: str = "logistic-regression"
    kinds: ClassVar[tuple[type[Evidence], ...]] = (Lab, Sign, Demographics)
    strength: float = 0.3

    def encoding(self, fields: Fields, values: Float[np.ndarray, "case column"]) -> Encoding:
        """Standardised numbers, one-hot categories, missing indicators."""
        return standardise(fields, values, curved=False)

    def classifier(self, seed: int) -> Classifier:
        """Deterministic, whatever the seed. `strength` is scikit-learn's C."""
        return LogisticRegression(C=self.strength, max_iter=2000)


@dataclass(frozen=True, kw_only=True)
class DemographicsConfig(TabularConfig):
    """Age (with its square) and sex, and nothing else."""

    name: str = "demographics"
    kinds: ClassVar[tuple[type[Evidence], ...]] = (Demographics,)

    def encoding(self, fields: Fields, values: Float[np.ndarray, "case column"]) -> Encoding:
        """Standardised age and its square, sex one-hot."""
        return standardise(fields, values, curved=True)

    def classifier(self, seed: int) -> Classifier:
        """Deterministic, whatever the seed."""
        return LogisticRegression(C=1.0, max_iter=2000)
