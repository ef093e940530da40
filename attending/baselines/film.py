"""Films alone: a small picture and its edges, principal components, ridge logistic regression.

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
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from attending.baselines.answers import Answers, fit_answers
from attending.baselines.baseline import Baseline, BaselineConfig
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
    strength: float = 0.01

    def fit(self, cases: Sequence[Case], *, task: Task, visible: frozenset[str], seed: int) -> "Film":  # noqa: ARG002
        """Fit to the cases that hold a film."""
        present = np.array([self.looks_at(case) for case in cases], dtype=bool)
        features = film_features(cases)
        answers = fit_answers(
            lambda: WholeSpectrum(components=self.components, strength=self.strength),
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

    def probability(self, cases: Sequence[Case]) -> Float[np.ndarray, "case finding"]:
        """The prevalence for a case without a film."""
        present = np.array([bool(case.of(Scan)) for case in cases], dtype=bool)
        return self.answers.probability(film_features(cases), present=present)


class WholeSpectrum:
    """Standardise, keep the first principal components (as many as the rows allow), then ridge logistic regression."""

    def __init__(self, *, components: int, strength: float) -> None:
        self.components = components
        self.strength = strength
        self.classes_ = np.array([], dtype=int)

    def fit(self, X: np.ndarray, y: np.ndarray, sample_weight: np.ndarray) -> "WholeSpectrum":
        """`strength` is scikit-learn's C, on components left in their own scale."""
        kept = min(self.components, *X.shape)
        self._reduce = make_pipeline(StandardScaler(), PCA(n_components=kept, svd_solver="full"))
        self._line = LogisticRegression(C=self.strength, max_iter=2000)
        self._line.fit(self._reduce.fit_transform(X), y, sample_weight=sample_weight)
        self.classes_ = self._line.classes_
        return self

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """As scikit-learn does."""
        return self._line.predict_proba(self._reduce.transform(X))


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
