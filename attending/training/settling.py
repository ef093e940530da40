"""Settling answers by held-out rows: the fits of evaluation, in the order in which each needs the one before."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from attending.evaluation.catalog import METRICS
from attending.evaluation.conformal import fit_conformal, fit_cross_conformal
from attending.evaluation.metric import point, sample
from attending.evaluation.outcomes import Outcomes
from attending.evaluation.recalibration import fit_calibration
from attending.evaluation.threshold import Rule, choose_threshold
from attending.model.settling import Settling


@dataclass(frozen=True, kw_only=True)
class Declared:
    """What the schema fixes beforehand: a threshold rule per finding, and the error rate of conformal sets."""

    rules: Mapping[str, Rule] = field(default_factory=dict)
    alpha: float = 0.1
    seed: int = 0


def settle(held_out: Outcomes, declared: Declared) -> Settling:
    """Calibration on rows that the model was not trained on, then thresholds and conformal sets on the calibrated ones.

    Rows of several folds (cross-fitted) give cross-conformal sets, rows of one fold split-conformal ones.
    """
    calibration = fit_calibration(held_out)
    rows = replace(held_out, probability=calibration.apply(held_out.probability))
    is_cross_fitted = len(np.unique(rows.fold)) > 1
    fit = fit_cross_conformal if is_cross_fitted else fit_conformal
    thresholds = {}
    for column, finding in enumerate(rows.findings):
        if finding in declared.rules:
            known = rows.known[:, column]
            thresholds[finding] = choose_threshold(
                declared.rules[finding], rows.probability[known, column], rows.truth[known, column], rows.weights[known]
            )
    return Settling(
        calibration=calibration, conformal=fit(rows, alpha=declared.alpha, seed=declared.seed), thresholds=thresholds
    )


def best_by_inner(held_out: Mapping[str, Outcomes]) -> str | None:
    """The model of highest mean AUROC over findings on its inner rows; None without models. Outer rows are not looked at."""
    scores = {name: _mean_auroc(rows) for name, rows in held_out.items()}
    return max(scores, key=lambda name: scores[name]) if scores else None


def _mean_auroc(rows: Outcomes) -> float:
    values = []
    for column in range(len(rows.findings)):
        known = rows.known[:, column]
        asked = sample(probability=rows.probability[known, column], truth=rows.truth[known, column], weight=rows.weights[known])
        values.append(point(METRICS["auroc"], asked))
    estimable = [value for value in values if np.isfinite(value)]
    return float(np.mean(estimable)) if estimable else 0.5
