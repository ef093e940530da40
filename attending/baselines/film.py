"""Films alone: a small picture and its edges, principal components, ridge logistic regression of a strength chosen inside.

Each film is brought to 64 × 64 by averaging, its grey values standardised. Features: the picture again averaged to 16 × 16, and
histograms of gradient orientation (8 cells × 8 cells, 8 unsigned orientations, each cell with its neighbours normalised; after
Dalal and Triggs 2005, without overlapping blocks). Several films of a case: the mean of their features. No pretraining.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float
from PIL import Image
from scipy.ndimage import uniform_filter
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.preprocessing import StandardScaler

from attending.baselines.answers import Answers, fit_answers
from attending.baselines.baseline import Baseline, BaselineConfig
from attending.baselines.ridge import ChosenRidge
from attending.case import Case, Evidence, Scan
from attending.diagnosis import Task

SIDE = 64
CELLS = 8
ORIENTATIONS = 8
THUMBNAIL = 16


@dataclass(frozen=True, kw_only=True)
class FilmConfig(BaselineConfig):
    """Thumbnail and gradient histograms → at most `components` principal components → logistic regression."""

    name: str = "film"
    kinds: ClassVar[tuple[type[Evidence], ...]] = (Scan,)
    components: int = 40
    strengths: tuple[float, ...] = (0.001, 0.01, 0.1)

    def _fit(self, cases: Sequence[Case], *, task: Task, visible: frozenset[str], seed: int) -> "Film":
        """Fit to the cases that hold a film."""
        present = np.array([self.looks_at(case) for case in cases], dtype=bool)
        features = film_features(cases)
        answers = fit_answers(
            lambda rows: ChosenRidge(
                rows,
                strengths=self.strengths,
                steps=lambda: (StandardScaler(), FirstComponents(most=self.components)),
                seed=seed,
            ),
            features,
            cases,
            task=task,
            present=present,
        )
        return Film(answers=answers)


@dataclass(frozen=True, kw_only=True, eq=False)
class Film(Baseline):
    """Pixels → probabilities."""

    answers: Answers

    def _probability(self, cases: Sequence[Case]) -> Float[np.ndarray, "case finding"]:
        """The prevalence for a case without a film."""
        present = np.array([bool(case.of(Scan)) for case in cases], dtype=bool)
        return self.answers.probability(film_features(cases), present=present)


class FirstComponents(TransformerMixin, BaseEstimator):
    """The first principal components, in their own scale: `most`, or as many as the rows carry."""

    def __init__(self, *, most: int) -> None:
        self.most = most

    def fit(self, X: np.ndarray, y: object = None) -> "FirstComponents":
        """By singular values of the centred rows."""
        self.mean_ = X.mean(axis=0)
        self.axes_ = np.linalg.svd(X - self.mean_, full_matrices=False)[2][: self.most]
        return self

    def transform(self, X: np.ndarray) -> np.ndarray:
        """Coordinates along the components."""
        return (X - self.mean_) @ self.axes_.T


def film_features(cases: Sequence[Case]) -> Float[np.ndarray, "case feature"]:
    """Mean over the films of each case; zeros for a case without one (which nothing reads)."""
    features = np.zeros((len(cases), THUMBNAIL**2 + CELLS**2 * ORIENTATIONS))
    for row, case in enumerate(cases):
        films = case.of(Scan)
        if films:
            features[row] = np.mean([scan_features(film.pixels) for film in films], axis=0)
    return features


def scan_features(pixels: Float[np.ndarray, "height width"]) -> Float[np.ndarray, " feature"]:
    """Thumbnail, then gradient histograms, of one film; unchanged by contrast and brightness."""
    square = Image.fromarray(np.ascontiguousarray(pixels, dtype=np.float32)).resize((SIDE, SIDE), Image.Resampling.BOX)
    picture = np.asarray(square, dtype=np.float64)
    picture = (picture - picture.mean()) / (picture.std() + 1e-6)
    step = SIDE // THUMBNAIL
    thumbnail = picture.reshape(THUMBNAIL, step, THUMBNAIL, step).mean(axis=(1, 3))
    return np.concatenate([thumbnail.ravel(), _gradient_histograms(picture).ravel()])


def _gradient_histograms(picture: np.ndarray) -> np.ndarray:
    down, right = np.gradient(picture)
    size = np.hypot(down, right)
    turn = np.mod(np.arctan2(down, right), np.pi) / np.pi * ORIENTATIONS
    lower = np.floor(turn).astype(int) % ORIENTATIONS
    share = turn - np.floor(turn)
    side = SIDE // CELLS
    cell = (np.arange(SIDE)[:, None] // side) * CELLS + np.arange(SIDE)[None, :] // side
    flat = np.bincount(
        (cell * ORIENTATIONS + lower).ravel(), weights=(size * (1 - share)).ravel(), minlength=CELLS**2 * ORIENTATIONS
    ) + np.bincount(
        (cell * ORIENTATIONS + (lower + 1) % ORIENTATIONS).ravel(),
        weights=(size * share).ravel(),
        minlength=CELLS**2 * ORIENTATIONS,
    )
    histogram = flat.reshape(CELLS, CELLS, ORIENTATIONS)
    energy = uniform_filter((histogram**2).sum(axis=2), size=3, mode="nearest")
    return histogram / np.sqrt(energy[:, :, None] + 1e-3)
