"""Do two explanations say the same? Between sibling networks they should; with random weights they must not.

Rank correlation of weights within each kind of evidence, so that "a film has more cells than there are values", which every
network shares, counts for nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import torch
from scipy.stats import spearmanr

from attending.case import Case
from attending.diagnosis import Explanation
from attending.explanation.explainer import ExplainerConfig
from attending.model.diagnoser import Diagnoser
from attending.model.trained import TrainedModel

SURVIVES = 0.5
"""Likeness to the explanation of random weights from which an explanation is refused."""
N_RANDOM = 3
"""Networks with random weights."""


@dataclass(frozen=True, kw_only=True)
class Likeness:
    """Mean rank correlation and over how many pairs; `value` None and `note`: it could not be assessed."""

    value: float | None
    n_pairs: int
    note: str = ""


def likeness(one: Explanation, other: Explanation, case: Case) -> float:
    """Spearman's correlation of the weights of shared places within each kind of evidence, the mean by number of places.

    Kinds with under three places or equal weights are left out; where that leaves none, all places are taken together. NaN
    where nothing can be compared.
    """
    held = dict(other.weights)
    shared = [(place, weight, held[place]) for place, weight in one.weights if place in held]
    by_kind: dict[type, list[tuple[float, float]]] = {}
    for place, a, b in shared:
        by_kind.setdefault(type(case.evidence[place.evidence]), []).append((a, b))
    found = [(len(pairs), _rank(pairs)) for pairs in by_kind.values()]
    found = [(n, value) for n, value in found if np.isfinite(value)]
    if found:
        return float(np.average([value for _, value in found], weights=[n for n, _ in found]))
    return _rank([(a, b) for _, a, b in shared])


def _rank(pairs: Sequence[tuple[float, float]]) -> float:
    values = np.array(pairs, dtype=float)
    if len(values) < 3 or np.ptp(values, axis=0).min() == 0.0:
        return float("nan")
    return float(spearmanr(values[:, 0], values[:, 1]).statistic)


def agreement_of_siblings(
    config: ExplainerConfig, model: TrainedModel, case: Case, finding: str, *, reference: Sequence[Case]
) -> Likeness:
    """How alike the networks of the model, which differ by seed alone, explain the case; not assessed with one."""
    if len(model.networks) < 2:
        return Likeness(value=None, n_pairs=0, note="not assessed: the model has one network")
    told = [config.build(alone, reference).explain(case, finding) for alone in siblings(model)]
    values = [likeness(one, other, case) for one, other in combinations(told, 2)]
    return _mean(values)


def siblings(model: TrainedModel) -> tuple[TrainedModel, ...]:
    """Each network as a model of its own, with the calibration of the whole."""
    return tuple(
        replace(model, networks=(network,), converted=model.converted[n : n + 1]) for n, network in enumerate(model.networks)
    )


def survival(
    config: ExplainerConfig,
    model: TrainedModel,
    case: Case,
    explanation: Explanation,
    *,
    reference: Sequence[Case],
    n_random: int = N_RANDOM,
) -> Likeness:
    """How like the explanation is to those of networks whose weights were never trained (Adebayo et al. 2018, section 3).

    At `SURVIVES` or above it does not depend on what was learned, and is no explanation of it.
    """
    values = []
    for seed in range(n_random):
        untrained = with_random_weights(model, seed=seed)
        values.append(likeness(explanation, config.build(untrained, reference).explain(case, explanation.finding), case))
    return _mean(values)


def with_random_weights(model: TrainedModel, *, seed: int) -> TrainedModel:
    """One network of the model's own making, as before any training; what was fitted without labels stays.

    Parameters that training starts at zero are drawn too, or their paths would be silent.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Diagnoser(model.config, tokenizers=model.tokenizers, n_findings=len(model.task.findings))
        with torch.no_grad():
            for parameter in network.parameters():
                if not parameter.any():
                    parameter.normal_(std=max(parameter.shape[-1], 1) ** -0.5)
    network.to(model.networks[0].register.device)
    return replace(model, networks=(network.eval(),), converted=())


def _mean(values: Sequence[float]) -> Likeness:
    known = [value for value in values if np.isfinite(value)]
    if not known:
        return Likeness(value=None, n_pairs=0, note="not assessed: too few places with different weights")
    return Likeness(value=float(np.mean(known)), n_pairs=len(known))
