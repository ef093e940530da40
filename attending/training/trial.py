"""A trial: learners judged on the same folds, under one protocol, with everything that is chosen chosen inside.

    every outer fold ─ inner folds ─▶ answers at every length ─▶ length, calibration, thresholds, conformal sets (`Settling`)
                     └ whole training part, that length ─▶ answers for the outer test part ─▶ settled rows

Under a four-way split the tune part stops training, the calibrate part settles, the test part is answered once. The outer rows
are the only thing evaluation sees, and nothing here reads a truth of theirs but to write it down beside the answer.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from attending.case import Case, CaseId
from attending.cohort import Fold, Protocol, nested_folds
from attending.diagnosis import Task
from attending.evaluation.outcomes import Outcomes
from attending.training.bridge import joined, members_of, outcomes_of
from attending.training.fits import ABSTAINED, LengthFit, Question, TrajectoryFit, WatchedFit, ablations, answers, weights
from attending.training.learner import Learner
from attending.training.network import mean_loss, seeded
from attending.training.settling import Declared, Settling, best_by_inner, settle
from attending.training.units import Arrays, Progress, Unit, Workplace, run_units

FUSED = "fused"
BEST_BASELINE = "best-baseline"
INNER_FOLDS = 3
ONE_PART_FROM = 1000
"""Training cases from which a single inner part (a quarter of them) is held out, instead of each of three in turn."""
TEST = "test"
CALIBRATE = "calibrate"

Told = Callable[[str, Progress], None]


@dataclass(frozen=True, kw_only=True)
class Delivered:
    """What leaves the trial to be used: weights of every member, how long they trained, and how their answers are settled."""

    weights: tuple[Mapping[str, np.ndarray], ...]
    lengths: tuple[int, ...]
    trained_on: tuple[CaseId, ...]
    settling: Settling


@dataclass(frozen=True, kw_only=True)
class Trial:
    """Settled outer rows per model (ablations as `fused-without-image`), and the model to deliver."""

    outcomes: Mapping[str, Outcomes]
    delivered: Delivered
    choices: tuple[Mapping[str, object], ...]


def hold_trial(
    cases: Sequence[Case],
    learners: Sequence[Learner],
    *,
    protocol: Protocol,
    task: Task,
    declared: Declared,
    workplace: Workplace,
    threads: int,
    told: Told = lambda stage, progress: None,
) -> Trial:
    """Fit, settle and answer every fold for every learner.

    The learner named `fused` is the one that is delivered; the others are what it is held against.
    """
    hall = _Hall(
        cases={case.id: case for case in cases},
        learners={learner.name: learner for learner in learners},
        protocol=protocol,
        task=task,
        declared=declared,
        workplace=workplace,
        threads=threads,
        told=told,
    )
    return hall.by_split() if protocol.kind == "split" else hall.by_folds()


@dataclass(frozen=True, kw_only=True)
class _Hall:
    cases: Mapping[CaseId, Case]
    learners: Mapping[str, Learner]
    protocol: Protocol
    task: Task
    declared: Declared
    workplace: Workplace
    threads: int
    told: Told

    def by_split(self) -> Trial:
        split = self.protocol.split
        assert split is not None
        train, tune, calibrate, test = (_ids(split.ids(part)) for part in ("train", "tune", "calibrate", "test"))
        units = []
        for name, learner in self.learners.items():
            for member in range(learner.members):
                questions = [Question(name=CALIBRATE, ids=calibrate), Question(name=TEST, ids=test)]
                if name == FUSED:
                    questions += ablations(self.cases, test)
                units.append(
                    WatchedFit(
                        name=f"{name} member {member} watched",
                        seed=self._seed(0, member),
                        learner=learner,
                        task=self.task,
                        train=train,
                        watched=tune,
                        questions=tuple(questions),
                        gated=_gated(name, member, test),
                    )
                )
        found = self._run("training", units)
        outcomes: dict[str, Outcomes] = {}
        settlings: dict[str, Settling] = {}
        held_out: dict[str, Outcomes] = {}
        for name, learner in self.learners.items():
            results = [found[f"{name} member {member} watched"] for member in range(learner.members)]
            said = _averaged(results)
            held_out[name] = self._rows(calibrate, said[CALIBRATE])
            settlings[name] = settle(held_out[name], self.declared)
            for question, answer in said.items():
                if question != CALIBRATE:
                    model = name if question == TEST else f"{name}-{question}"
                    rows = _turned_away(self._rows(test, answer), results[0], question)
                    outcomes[model] = settlings[name].apply(rows)
        chosen = best_by_inner({name: rows for name, rows in held_out.items() if name != FUSED})
        if chosen is not None:
            outcomes[BEST_BASELINE] = outcomes[chosen]
        results = [found[f"{FUSED} member {member} watched"] for member in range(self.learners[FUSED].members)]
        delivered = Delivered(
            weights=tuple(weights(result) for result in results),
            lengths=tuple(int(result["length"]) for result in results),
            trained_on=train,
            settling=settlings[FUSED],
        )
        choices = {"fold": 0, "lengths": delivered.lengths, "best baseline": chosen}
        return Trial(outcomes=outcomes, delivered=delivered, choices=(choices,))

    def by_folds(self) -> Trial:
        inner = {index: self._inner(fold, index) for index, fold in enumerate(self.protocol.folds)}
        along = self._run("inner folds", list(self._trajectories(inner)))
        length: dict[tuple[int, str], int] = {}
        settlings: dict[tuple[int, str], Settling] = {}
        held_out: dict[tuple[int, str], Outcomes] = {}
        for index, folds in inner.items():
            for name, learner in self.learners.items():
                length[index, name], held_out[index, name] = self._chosen_length(along, folds, index, learner)
                settlings[index, name] = settle(held_out[index, name], self.declared)
        del along
        found = self._run("outer folds", list(self._outer(length)))
        parts: dict[str, list[Outcomes]] = defaultdict(list)
        choices = []
        for index, fold in enumerate(self.protocol.folds):
            answered: dict[str, Outcomes] = {}
            for name, learner in self.learners.items():
                results = [found[_outer_name(name, member, index)] for member in range(learner.members)]
                for question, answer in _averaged(results).items():
                    model = name if question == TEST else f"{name}-{question}"
                    rows = self._rows(_ids(fold.test), answer, repeat=fold.repeat, fold=fold.fold)
                    answered[model] = settlings[index, name].apply(_turned_away(rows, results[0], question))
            chosen = best_by_inner({name: held_out[index, name] for name in self.learners if name != FUSED})
            if chosen is not None:
                answered[BEST_BASELINE] = answered[chosen]
            for model, rows in answered.items():
                parts[model].append(rows)
            choices.append({"repeat": fold.repeat, "fold": fold.fold, "length": length[index, FUSED], "best baseline": chosen})
        outcomes = {model: joined(rows) for model, rows in parts.items()}
        median = int(np.median([length[index, FUSED] for index in inner]))
        return Trial(outcomes=outcomes, delivered=self._deliver(median, outcomes[FUSED]), choices=tuple(choices))

    def _inner(self, fold: Fold, index: int) -> tuple[Fold, ...]:
        members = members_of([self.cases[id] for id in _ids(fold.train)])
        if len(members) >= ONE_PART_FROM:
            return nested_folds(members, 4, seed=self._seed(index, 1000))[:1]
        return nested_folds(members, INNER_FOLDS, seed=self._seed(index, 1000))

    def _trajectories(self, inner: Mapping[int, tuple[Fold, ...]]) -> Iterator[Unit]:
        for index, folds in inner.items():
            for name, learner in self.learners.items():
                for member in range(learner.members):
                    for fold in folds:
                        yield TrajectoryFit(
                            name=_inner_name(name, member, index, fold),
                            seed=self._seed(index, fold.fold, member),
                            learner=learner,
                            task=self.task,
                            train=_ids(fold.train),
                            held_out=_ids(fold.test),
                        )

    def _chosen_length(
        self, along: Mapping[str, Arrays], folds: tuple[Fold, ...], index: int, learner: Learner
    ) -> tuple[int, Outcomes]:
        """The length of least inner log loss, and the inner rows at that length."""
        answered = []
        for fold in folds:
            said = [along[_inner_name(learner.name, member, index, fold)]["along"] for member in range(learner.members)]
            answered.append(np.mean(said, axis=0))
        held = [self.cases[id] for fold in folds for id in _ids(fold.test)]
        length = int(np.argmin(mean_loss(np.concatenate(answered, axis=1), held, task=self.task))) + 1
        rows = [self._rows(_ids(f.test), one[length - 1], fold=f.fold) for f, one in zip(folds, answered, strict=True)]
        return length, joined(rows)

    def _outer(self, length: Mapping[tuple[int, str], int]) -> Iterator[Unit]:
        for index, fold in enumerate(self.protocol.folds):
            test = _ids(fold.test)
            for name, learner in self.learners.items():
                questions = (Question(name=TEST, ids=test), *(ablations(self.cases, test) if name == FUSED else ()))
                for member in range(learner.members):
                    yield LengthFit(
                        name=_outer_name(name, member, index),
                        seed=self._seed(index, 999, member),
                        learner=learner,
                        task=self.task,
                        train=_ids(fold.train),
                        length=length[index, name],
                        questions=questions,
                        keeps_weights=False,
                        gated=_gated(name, member, test),
                    )

    def _deliver(self, length: int, outer: Outcomes) -> Delivered:
        """The fused model refitted on everybody, settled by the outer answers (which its figures no longer depend on)."""
        learner, everybody = self.learners[FUSED], tuple(self.cases)
        units = [
            LengthFit(
                name=f"{FUSED} member {member} delivered",
                seed=self._seed(10_000, member),
                learner=learner,
                task=self.task,
                train=everybody,
                length=length,
                questions=(),
                keeps_weights=True,
            )
            for member in range(learner.members)
        ]
        found = self._run("the model to deliver", units)
        assert outer.raw is not None
        first = replace(outer, probability=outer.raw).rows(outer.repeat == 0)
        return Delivered(
            weights=tuple(weights(found[unit.name]) for unit in units),
            lengths=(length,) * len(units),
            trained_on=everybody,
            settling=settle(first, self.declared),
        )

    def _run(self, stage: str, units: Sequence[Unit]) -> dict[str, Arrays]:
        found = {}
        for unit, result, progress in run_units(units, workplace=self.workplace, threads=self.threads):
            found[unit.name] = result
            self.told(stage, progress)
        return found

    def _rows(self, ids: tuple[CaseId, ...], raw: np.ndarray, *, repeat: int = 0, fold: int = 0) -> Outcomes:
        return outcomes_of([self.cases[id] for id in ids], raw, task=self.task, repeat=repeat, fold=fold)

    def _seed(self, *parts: int) -> int:
        return seeded(self.protocol.seed, *parts)


def _ids(ids: Sequence[str]) -> tuple[CaseId, ...]:
    return tuple(CaseId(id) for id in ids)


def _inner_name(learner: str, member: int, index: int, fold: Fold) -> str:
    return f"{learner} member {member} outer {index} inner {fold.fold}"


def _outer_name(learner: str, member: int, index: int) -> str:
    return f"{learner} member {member} outer {index}"


def _gated(learner: str, member: int, ids: tuple[CaseId, ...]) -> tuple[CaseId, ...]:
    """The gate knows no network: the first member's stands for all."""
    return ids if learner == FUSED and member == 0 else ()


def _turned_away(rows: Outcomes, result: Arrays, question: str) -> Outcomes:
    """The rows, where they answer all evidence, with what the gate said of them."""
    return replace(rows, abstained=result[ABSTAINED]) if question == TEST and ABSTAINED in result else rows


def _averaged(results: Sequence[Arrays]) -> dict[str, np.ndarray]:
    """Mean probability over members, per question."""
    said = [answers(result) for result in results]
    return {question: np.mean([one[question] for one in said], axis=0) for question in said[0]}
