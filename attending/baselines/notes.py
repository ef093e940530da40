"""Notes alone: TF-IDF of words and word pairs, then ridge logistic regression of a strength chosen inside."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from attending.baselines.answers import Answers, fit_answers
from attending.baselines.baseline import Baseline, BaselineConfig
from attending.baselines.ridge import ChosenRidge
from attending.case import Case, Evidence, Note
from attending.diagnosis import Task

LEAST_CASES = 2
"""A word or pair of words counts from this many training cases on."""


@dataclass(frozen=True, kw_only=True)
class NotesConfig(BaselineConfig):
    """Bag of words. All notes of a case are read as one; a case without notes gets the prevalence."""

    name: str = "notes"
    kinds: ClassVar[tuple[type[Evidence], ...]] = (Note,)
    strengths: tuple[float, ...] = (0.1, 1.0, 10.0, 100.0)
    most_terms: int = 20_000

    def _fit(self, cases: Sequence[Case], *, task: Task, visible: frozenset[str], seed: int) -> "Notes":
        """Learn the vocabulary and fit. Without a word that occurs in two cases, the prevalence."""
        texts = [_text(case) for case in cases]
        present = np.array([bool(text) for text in texts])
        vectorizer = TfidfVectorizer(
            ngram_range=(1, 2),
            min_df=LEAST_CASES,
            sublinear_tf=True,
            max_features=self.most_terms,
            token_pattern=r"(?u)\b\w+\b",
        )
        try:
            vectorizer.fit([text for text in texts if text])
        except ValueError:  # scikit-learn's word for "no term is left"
            return Notes(vectorizer=None, answers=_nothing(cases, task))
        answers = fit_answers(
            lambda rows: ChosenRidge(rows, strengths=self.strengths, seed=seed),
            vectorizer.transform(texts),
            cases,
            task=task,
            present=present,
        )
        return Notes(vectorizer=vectorizer, answers=answers)


@dataclass(frozen=True, kw_only=True, eq=False)
class Notes(Baseline):
    """Words → probabilities."""

    vectorizer: TfidfVectorizer | None
    answers: Answers

    def _probability(self, cases: Sequence[Case]) -> Float[np.ndarray, "case finding"]:
        """The prevalence for a case without notes."""
        texts = [_text(case) for case in cases]
        if self.vectorizer is None or not texts:
            return self.answers.probability(csr_matrix((len(cases), 0)), present=np.zeros(len(cases), dtype=bool))
        return self.answers.probability(self.vectorizer.transform(texts), present=np.array([bool(text) for text in texts]))


def _nothing(cases: Sequence[Case], task: Task) -> Answers:
    return fit_answers(
        lambda _: LogisticRegression(), csr_matrix((len(cases), 0)), cases, task=task, present=np.zeros(len(cases), dtype=bool)
    )


def _text(case: Case) -> str:
    return "\n".join(note.text for note in case.of(Note)).strip()
