"""What attention does for diagnoses: one network on the synthetic clinic, with a block of each mechanism among its tokens.

Every mechanism is trained on the same folds with the same seeds for as many steps, and answers for patients whom it has not
seen. The findings' queries read with grouped attention in all of them, because not every mechanism can look at a context.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from attending.case import Case
from attending.comparison.contenders import Contender
from attending.comparison.row import Heard, Row
from attending.diagnosis import Task
from attending.model.diagnoser import Tokenizers
from attending.privacy import deidentify
from attending.records.clinic import ClinicConfig, draw_clinic
from attending.records.clinic.world import DISEASES
from attending.training.learner import DiagnoserLearner, Diary
from attending.training.recipe import Recipe, multimodal_recipe

CLINIC = "clinic"
"""The task of its rows."""
QUANTITY = "auroc"
_KEY = bytes(range(32))  # the patients are invented


@dataclass(frozen=True, kw_only=True)
class ClinicPlan:
    """Patients drawn, folds they are parted into, and how long each network is trained."""

    n_patients: int = 600
    n_folds: int = 3
    epochs: int = 24
    batch_size: int = 32
    draw_seed: int = 7001
    resamples: int = 1000


def clinic_rows(contenders: Sequence[Contender], plan: ClinicPlan, *, seeds: Sequence[int], heard: Heard) -> Iterator[Row]:
    """Macro AUROC of every contender with a 95 % interval, and its paired difference to the first.

    `value` is the mean over seeds; intervals resample patients, the same ones for every contender, with what each seed's
    networks answered, so that they do not hold the chance of another draw of the clinic. `limit` is the AUROC of who knows
    the causes. The length is the number of tokens of a case, and the cache that of one sample of so many.
    """
    clinic = draw_clinic(ClinicConfig(n_patients=plan.n_patients, seed=plan.draw_seed))
    cases = deidentify(clinic.charts, key=_KEY).cases
    task, truth = Task(findings=DISEASES), np.asarray(clinic.diseases, dtype=bool)
    recipe = _recipe(len(cases), contenders[0].config.dim, contenders[0].config.n_heads, plan)
    tokenizers = Tokenizers.fit(recipe.diagnoser, cases)
    length = max(len(tokenizers.places(case)) for case in cases)
    people, fold = _folds(cases, plan)
    total, done = len(seeds) * plan.n_folds * len(contenders) * plan.epochs, 0
    answers = {one.name: np.zeros((len(seeds), len(cases), len(DISEASES))) for one in contenders}
    for number, seed in enumerate(seeds):
        for part in range(plan.n_folds):
            taught = [case for case, of in zip(cases, fold, strict=True) if of != part]
            asked = [case for case, of in zip(cases, fold, strict=True) if of == part]
            for one in contenders:

                def epoch(_: object, what: str = f"{CLINIC}, seed {seed}, fold {part + 1}: {one.name}") -> None:
                    nonlocal done
                    done += 1
                    heard(what, done / total)

                diagnoser = replace(recipe.diagnoser, fusion=(one.both_ways(length),))
                learner = DiagnoserLearner(name=one.name, diagnoser=diagnoser, training=recipe.training)
                fitted = learner.fit(taught, length=plan.epochs, task=task, seed=seed, diary=Diary(heard=epoch))
                answers[one.name][number, fold == part] = fitted.probability(asked)
    limit = float(np.mean(areas(truth, clinic.oracle.seen)))
    draws = _draws(people, plan)
    measured = {name: _measured(truth, given, draws) for name, given in answers.items()}
    first, first_draws = measured[contenders[0].name]
    for one in contenders:
        value, along = measured[one.name]
        same: dict[str, Any] = {"mechanism": one.name, "task": CLINIC, "length": length, "phase": "train", "dtype": "float32"}
        low, high = np.quantile(along, (0.025, 0.975))
        yield Row(**same, quantity=QUANTITY, value=value, low=float(low), high=float(high), limit=limit)
        if one is not contenders[0]:
            low, high = np.quantile(along - first_draws, (0.025, 0.975))
            yield Row(**same, quantity=f"{QUANTITY}_difference", value=value - first, low=float(low), high=float(high))
        cache = one.both_ways(length).cost(length).cache
        yield Row(**same | {"phase": None}, quantity="cache_bytes_used", value=cache.used + cache.tables)


def areas(
    truth: Bool[np.ndarray, "case finding"], probability: Float[np.ndarray, "case finding"]
) -> Float[np.ndarray, " finding"]:
    """AUROC of each finding by rank sums; equal answers share their mean rank. NaN where one class is empty."""
    found = []
    for k in range(truth.shape[1]):
        _, place, counts = np.unique(probability[:, k], return_inverse=True, return_counts=True)
        rank = (np.cumsum(counts) - (counts - 1) / 2.0)[place]
        n = int(truth[:, k].sum())
        pairs = n * (len(truth) - n)
        found.append((rank[truth[:, k]].sum() - n * (n + 1) / 2.0) / pairs if pairs else np.nan)
    return np.array(found)


def _recipe(n_cases: int, dim: int, n_heads: int, plan: ClinicPlan) -> Recipe:
    """The library's own for notes and films, at this width, for the planned steps, and one loss for all evidence together."""
    usual = multimodal_recipe(n_cases, members=1)
    readout = replace(usual.diagnoser.readout, dim=dim, n_heads=n_heads)
    return Recipe(
        diagnoser=replace(usual.diagnoser, readout=readout),
        training=replace(usual.training, epochs=plan.epochs, batch_size=plan.batch_size, alone_weight=0.0),
    )


def _folds(cases: Sequence[Case], plan: ClinicPlan) -> tuple[Int[np.ndarray, " case"], Int[np.ndarray, " case"]]:
    """The number of each case's patient, and its fold: all cases of a patient in one."""
    names = sorted({case.patient for case in cases})
    people = np.array([names.index(case.patient) for case in cases])
    of_person = np.random.default_rng(plan.draw_seed).permutation(len(names)) % plan.n_folds
    return people, of_person[people]


def _draws(people: Int[np.ndarray, " case"], plan: ClinicPlan) -> list[Int[np.ndarray, " drawn"]]:
    """Rows of patients drawn with replacement, all cases of each together."""
    rng, n = np.random.default_rng(plan.draw_seed + 1), int(people.max()) + 1
    rows = [np.flatnonzero(people == person) for person in range(n)]
    return [np.concatenate([rows[person] for person in rng.integers(0, n, n)]) for _ in range(plan.resamples)]


def _measured(
    truth: Bool[np.ndarray, "case finding"], answers: Float[np.ndarray, "seed case finding"], draws: Sequence[np.ndarray]
) -> tuple[float, Float[np.ndarray, " draw"]]:
    """Macro AUROC, the mean over seeds, and the same in every draw."""
    value = float(np.mean([areas(truth, given) for given in answers]))
    return value, np.array([np.nanmean([areas(truth[rows], given[rows]) for given in answers]) for rows in draws])
