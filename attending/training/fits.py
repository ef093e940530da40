"""The fits that a protocol is made of, as units of work."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from attending.case import KINDS, Case, CaseId, Evidence, kind_name
from attending.diagnosis import Task
from attending.training.checkpoint import SUFFIX
from attending.training.learner import Diary, Fitted, Learner
from attending.training.network import EpochRecord
from attending.training.units import Arrays, Unit, Workplace

WEIGHTS = "network."
"""Prefix of a network's weights among a unit's arrays."""
ANSWERS = "answers."
"""Prefix of answers: `answers.` + the name of a question."""
ALL_EVIDENCE = "all"
ABSTAINED = "abstained"
"""Whether each of the cases that the gate was asked about is turned away."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """Cases to answer. `without` takes one kind of evidence away first."""

    name: str
    ids: tuple[CaseId, ...]
    without: type[Evidence] | None = None

    def cases(self, workplace: Workplace) -> list[Case]:
        """The cases as they are asked about."""
        found = workplace.choose(self.ids)
        return found if self.without is None else [case.without(self.without) for case in found]


def ablations(cases: Mapping[CaseId, Case], ids: tuple[CaseId, ...]) -> tuple[Question, ...]:
    """The cases at `ids` without each kind of evidence in turn, where any case at all has two kinds or more."""
    kinds = [kind for kind in KINDS if any(case.of(kind) for case in cases.values())]
    if len(kinds) < 2:
        return ()
    return tuple(Question(name=f"without-{kind_name(kind)}", ids=ids, without=kind) for kind in kinds)


@dataclass(frozen=True, kw_only=True)
class _Fit(Unit):
    learner: Learner
    task: Task
    train: tuple[CaseId, ...]

    def _diary(self, workplace: Workplace) -> Diary:
        def heard(record: EpochRecord) -> None:
            workplace.note(unit=self.name, **asdict(record))

        folder = workplace.folder
        return Diary(heard=heard, checkpoint=None if folder is None else folder / Path(self.file_name).with_suffix(SUFFIX))


@dataclass(frozen=True, kw_only=True)
class TrajectoryFit(_Fit):
    """Answers for held-out cases at every length. Result: `along`."""

    held_out: tuple[CaseId, ...]

    def work(self, workplace: Workplace) -> Arrays:
        """Train on `train`, answering `held_out` all along."""
        along = self.learner.trajectory(
            workplace.choose(self.train),
            workplace.choose(self.held_out),
            task=self.task,
            seed=self.seed,
            diary=self._diary(workplace),
        )
        return {"along": along}


@dataclass(frozen=True, kw_only=True)
class LengthFit(_Fit):
    """Answers after a length of training that was chosen elsewhere. Result: answers per question, and weights if kept.

    Of the cases `gated` it is also said which the gate turns away (`ABSTAINED`).
    """

    length: int
    questions: tuple[Question, ...]
    keeps_weights: bool
    gated: tuple[CaseId, ...] = ()

    def work(self, workplace: Workplace) -> Arrays:
        """Train, then answer."""
        train = workplace.choose(self.train)
        fitted = self.learner.fit(train, length=self.length, task=self.task, seed=self.seed, diary=self._diary(workplace))
        result = _result(fitted, self.questions, workplace, keeps_weights=self.keeps_weights)
        return result | _abstentions(fitted, train, workplace.choose(self.gated))


@dataclass(frozen=True, kw_only=True)
class WatchedFit(_Fit):
    """Answers of a training that stopped by a part set aside. Result: `length`, answers per question, weights."""

    watched: tuple[CaseId, ...]
    questions: tuple[Question, ...]
    gated: tuple[CaseId, ...] = ()

    def work(self, workplace: Workplace) -> Arrays:
        """Train until the watched loss stops falling, then answer."""
        train = workplace.choose(self.train)
        fitted, length = self.learner.fit_watched(
            train,
            workplace.choose(self.watched),
            task=self.task,
            seed=self.seed,
            diary=self._diary(workplace),
        )
        result = _result(fitted, self.questions, workplace, keeps_weights=True)
        return {"length": np.array(length), **result, **_abstentions(fitted, train, workplace.choose(self.gated))}


def _result(
    fitted: Fitted, questions: tuple[Question, ...], workplace: Workplace, *, keeps_weights: bool
) -> dict[str, np.ndarray]:
    result: dict[str, np.ndarray] = {
        ANSWERS + question.name: fitted.probability(question.cases(workplace)) for question in questions
    }
    if keeps_weights:
        result |= {WEIGHTS + name: value for name, value in fitted.weights().items()}
    return result


def _abstentions(fitted: Fitted, usual: Sequence[Case], asked: Sequence[Case]) -> dict[str, np.ndarray]:
    return {ABSTAINED: fitted.abstains(usual, asked)} if asked else {}


def answers(result: Arrays) -> dict[str, Float[np.ndarray, "case finding"]]:
    """Answers by question."""
    return {name.removeprefix(ANSWERS): value for name, value in result.items() if name.startswith(ANSWERS)}


def weights(result: Arrays) -> dict[str, np.ndarray]:
    """Weights by name."""
    return {name.removeprefix(WEIGHTS): value for name, value in result.items() if name.startswith(WEIGHTS)}
