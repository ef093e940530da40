"""Late fusion: one weight per modality, on what the models of the single modalities say.

Stacking (Wolpert 1992): the weights are fitted to answers on inner folds that were held out by group. A modality answers with
its log-odds (exclusive findings: its log-probabilities) against its own mean answer, so an absent one contributes exactly
nothing and that it is there says nothing by itself. Where its absence may be seen (`visible`), that has an offset of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import compress

import numpy as np
from jaxtyping import Bool, Float
from scipy.optimize import minimize
from scipy.special import log_softmax, logit, softmax

from attending.baselines.baseline import Baseline, BaselineConfig, patient_weights, prevalence, truths
from attending.case import Case, Embedding, Lab, Note, Scan, Sign
from attending.diagnosis import Task

FLOOR = 1e-4
"""No single modality may say more than this to 1 against a finding."""


@dataclass(frozen=True, kw_only=True)
class LateFusionConfig(BaselineConfig):
    """A logistic combination of `members`, each a baseline on one modality; those whose modality no case holds are left out."""

    name: str = "late-fusion"
    members: tuple[BaselineConfig, ...]
    inner_folds: int = 3
    ridge: float = 0.5

    def looks_at(self, case: Case) -> bool:
        """Whether any member does."""
        return any(member.looks_at(case) for member in self.members)

    def _fit(self, cases: Sequence[Case], *, task: Task, visible: frozenset[str], seed: int) -> "LateFusion":
        """Fit the members inside each inner fold, the weights to what they said about the rest, then the members to all."""
        members = tuple(member for member in self.members if any(member.looks_at(case) for case in cases))
        base = prevalence(cases, task)
        folds = inner_folds(cases, task, n_folds=self.inner_folds, seed=seed)
        said = np.zeros((len(cases), len(members), len(task.findings)))
        for fold in range(self.inner_folds):
            inside, outside = (list(compress(cases, part)) for part in (folds != fold, folds == fold))
            if not inside or not outside:
                continue
            for place, member in enumerate(members):
                fitted = member.fit(inside, task=task, visible=visible, seed=seed)
                said[folds == fold, place] = _log_odds(fitted.probability(outside), exclusive=task.exclusive)
        present = np.stack([_present(member, cases) for member in members], axis=1)
        centre = np.stack([said[there, place].mean(axis=0) for place, there in enumerate(present.T)])
        said = (said - centre) * present[:, :, None]
        absent = _absent(members, cases, visible)
        truth, known = truths(cases, task)
        pools: list[Pool] = []
        if task.exclusive:
            rows = known[:, 0]
            weight = patient_weights(list(compress(cases, rows)))
            pools.append(fit_pool(said[rows], absent[rows], truth[rows], weight, prior=np.log(base), ridge=self.ridge))
        else:
            for column in range(len(task.findings)):
                rows = known[:, column]
                weight = patient_weights(list(compress(cases, rows)))
                both = _both_sides(said[rows][:, :, column])
                target = np.stack([~truth[rows, column], truth[rows, column]], axis=1)
                prior = np.array([0.0, logit(base[column])])
                pools.append(fit_pool(both, absent[rows], target, weight, prior=prior, ridge=self.ridge))
        return LateFusion(
            task=task,
            configs=members,
            members=tuple(member.fit(cases, task=task, visible=visible, seed=seed) for member in members),
            base=base,
            centre=centre,
            pools=tuple(pools),
            visible=visible,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Pool:
    """log-odds = prior + offset + Σ weight × what a modality says + Σ offset of those seen to be absent."""

    prior: Float[np.ndarray, " option"]
    offset: Float[np.ndarray, " option"]
    weight: Float[np.ndarray, " member"]
    absence: Float[np.ndarray, "member option"]

    def probability(
        self, said: Float[np.ndarray, "case member option"], absent: Bool[np.ndarray, "case member"]
    ) -> Float[np.ndarray, "case option"]:
        """Probability of each option."""
        return softmax(_scores(said, absent, self), axis=1)


@dataclass(frozen=True, kw_only=True, eq=False)
class LateFusion(Baseline):
    """Members and the pool of what they say."""

    task: Task
    configs: tuple[BaselineConfig, ...]
    members: tuple[Baseline, ...]
    base: Float[np.ndarray, " finding"]
    centre: Float[np.ndarray, "member finding"]
    pools: tuple[Pool, ...]
    visible: frozenset[str]

    def _probability(self, cases: Sequence[Case]) -> Float[np.ndarray, "case finding"]:
        """The pooled answer; close to the prevalence for a case without any evidence."""
        said = np.zeros((len(cases), len(self.members), len(self.task.findings)))
        for place, (config, member) in enumerate(zip(self.configs, self.members, strict=True)):
            answer = _log_odds(member.probability(cases), exclusive=self.task.exclusive) - self.centre[place]
            said[:, place] = answer * _present(config, cases)[:, None]
        absent = _absent(self.configs, cases, self.visible)
        if self.task.exclusive:
            return self.pools[0].probability(said, absent)
        columns = [pool.probability(_both_sides(said[:, :, column]), absent)[:, 1] for column, pool in enumerate(self.pools)]
        return np.stack(columns, axis=1)


def fit_pool(
    said: Float[np.ndarray, "case member option"],
    absent: Bool[np.ndarray, "case member"],
    truth: Bool[np.ndarray, "case option"],
    weight: Float[np.ndarray, " case"],
    *,
    prior: Float[np.ndarray, " option"],
    ridge: float,
) -> Pool:
    """The pool of least weighted log loss + ridge/2 × (Σ (weight − 1/members)² + offsets²), by L-BFGS from the average.

    The penalty pulls towards the plain mean of the modalities. Where only one class is met, the pool is the constant prior.
    """
    n_members, n_options = said.shape[1:]
    seen = absent.any(axis=0)
    start = Pool(
        prior=prior,
        offset=np.zeros(n_options),
        weight=np.full(n_members, 1.0 / max(n_members, 1)),
        absence=np.zeros((n_members, n_options)),
    )
    if not len(truth) or len(np.unique(truth.argmax(axis=1))) < 2:
        return replace(start, weight=np.zeros(n_members))
    origin = _flat(start)
    free = np.concatenate([np.ones(n_options), np.ones(n_members), np.repeat(seen, n_options)]).astype(bool)

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        pool = _unflat(parameters, start)
        log_probability = log_softmax(_scores(said, absent, pool), axis=1)
        excess = (np.exp(log_probability) - truth) * weight[:, None]
        slope = np.concatenate(
            [excess.sum(axis=0), np.einsum("cmo,co->m", said, excess), np.einsum("cm,co->mo", absent, excess).ravel()]
        )
        away = parameters - origin
        value = -(weight[:, None] * truth * log_probability).sum() + 0.5 * ridge * (away**2).sum()
        return float(value), (slope + ridge * away) * free

    found = minimize(loss, origin, jac=True, method="L-BFGS-B", options={"maxiter": 500, "gtol": 1e-8, "ftol": 1e-14})
    return _unflat(found.x, start)


def inner_folds(cases: Sequence[Case], task: Task, *, n_folds: int, seed: int) -> np.ndarray:
    """Fold per case: whole groups, those with a finding dealt out evenly."""
    truth, known = truths(cases, task)
    events: dict[str, float] = {}
    for case, row in zip(cases, (truth & known), strict=True):
        events[case.group] = events.get(case.group, 0.0) + float(row.sum())
    groups = sorted(events)
    order = np.random.default_rng(seed).permutation(len(groups))
    order = order[np.argsort([-events[groups[place]] for place in order], kind="stable")]
    fold_of = {groups[place]: rank % n_folds for rank, place in enumerate(order)}
    return np.array([fold_of[case.group] for case in cases], dtype=int)


def _log_odds(probability: np.ndarray, *, exclusive: bool) -> np.ndarray:
    bounded = np.clip(probability, FLOOR, 1.0 - FLOOR)
    return np.log(bounded) if exclusive else logit(bounded)


def _both_sides(said: np.ndarray) -> np.ndarray:
    return np.stack([np.zeros_like(said), said], axis=2)


def _present(config: BaselineConfig, cases: Sequence[Case]) -> np.ndarray:
    return np.array([config.looks_at(case) for case in cases], dtype=bool)


def _absent(configs: tuple[BaselineConfig, ...], cases: Sequence[Case], visible: frozenset[str]) -> np.ndarray:
    columns = [~_present(config, cases) & bool(visible & _field_names(config, cases)) for config in configs]
    return np.stack(columns, axis=1) if columns else np.zeros((len(cases), 0), dtype=bool)


def _field_names(config: BaselineConfig, cases: Sequence[Case]) -> frozenset[str]:
    names: set[str] = set()
    for case in cases:
        for evidence in case.evidence:
            if isinstance(evidence, config.kinds):
                match evidence:
                    case (
                        Note(field_name=name) | Scan(field_name=name) | Lab(code=name) | Sign(name=name) | Embedding(name=name)
                    ):
                        names.add(name)
    return frozenset(names)


def _scores(said: np.ndarray, absent: np.ndarray, pool: Pool) -> np.ndarray:
    spoken = np.einsum("cmo,m->co", said, pool.weight)
    return pool.prior + pool.offset + spoken + absent.astype(np.float64) @ pool.absence


def _flat(pool: Pool) -> np.ndarray:
    return np.concatenate([pool.offset, pool.weight, pool.absence.ravel()])


def _unflat(parameters: np.ndarray, shape: Pool) -> Pool:
    options, members = len(shape.prior), len(shape.weight)
    return Pool(
        prior=shape.prior,
        offset=parameters[:options],
        weight=parameters[options : options + members],
        absence=parameters[options + members :].reshape(members, options),
    )
