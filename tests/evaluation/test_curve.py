"""Curves agree with independent values, and are not drawn where they cannot carry their line."""

from dataclasses import replace

import numpy as np
import pytest
import statsmodels.api as sm
from scipy.special import expit, logit
from sklearn.metrics import confusion_matrix

from attending.evaluation.catalog import METRICS
from attending.evaluation.curve import (
    KNOTS,
    calibration_curve,
    decision_curve,
    risk_coverage,
    risk_distribution,
)
from attending.evaluation.inquiry import Terms
from attending.evaluation.judgement import judge
from attending.evaluation.metric import point, sample
from tests.evaluation.cohorts import binormal, crossed, outcomes_of


def test_the_smooth_curve_finds_a_planted_bend_within_its_band():
    rng = np.random.default_rng(0)
    p = rng.uniform(0.02, 0.98, 8_000)
    right = expit(0.5 * logit(p) + 0.3)
    curve = calibration_curve(outcomes_of(p, rng.random(8_000) < right), "f0")
    expected = expit(0.5 * logit(curve.predicted) + 0.3)
    assert np.abs(curve.observed - expected).max() < 0.05
    assert ((curve.low <= expected) & (expected <= curve.high)).mean() > 0.8
    assert (curve.low <= curve.observed).all()
    assert (curve.observed <= curve.high).all()


def test_the_smooth_curve_of_probabilities_far_too_extreme_finds_the_truth():
    rng = np.random.default_rng(1)
    right = rng.normal(-0.5, 1.5, 6_000)
    curve = calibration_curve(outcomes_of(expit(4.0 * right + 1.0), rng.random(6_000) < expit(right)), "f0")
    held = (curve.predicted > 1e-4) & (curve.predicted < 1 - 1e-4)
    expected = expit((logit(curve.predicted[held]) - 1.0) / 4.0)
    assert np.abs(curve.observed[held] - expected).max() < 0.05


def test_the_band_agrees_with_statsmodels():
    held = binormal(600, events=250, auroc=0.8, seed=1)
    curve = calibration_curve(held, "f0")
    x = logit(held.probability[:, 0])
    a, b, c, d = np.quantile(x, KNOTS)

    def cube(values, knot):
        return np.maximum(values - knot, 0.0) ** 3

    def basis(values):
        terms = [cube(values, k) - cube(values, c) * (d - k) / (d - c) + cube(values, d) * (c - k) / (d - c) for k in (a, b)]
        return np.column_stack([np.ones_like(values), values, *(term / (d - a) ** 2 for term in terms)])

    fitted = sm.Logit(held.truth[:, 0].astype(float), basis(x)).fit(disp=0, cov_type="HC0", maxiter=100)
    grid = basis(logit(curve.predicted))
    middle = grid @ fitted.params
    error = np.sqrt(np.einsum("ij,jk,ik->i", grid, fitted.cov_params(), grid))
    np.testing.assert_allclose(curve.observed, expit(middle), atol=1e-4)
    np.testing.assert_allclose(curve.high, expit(middle + 1.959964 * error), atol=1e-4)


def test_the_straight_line_is_that_of_statsmodels_and_not_slope_beside_the_mean():
    rng = np.random.default_rng(2)
    right = rng.normal(-1.5, 1.5, 300)
    held = outcomes_of(expit(2.5 * right + 2.0), rng.random(300) < expit(right))
    curve = calibration_curve(held, "f0")
    x = logit(np.clip(held.probability[:, 0], 1e-6, 1 - 1e-6))
    intercept, slope = sm.Logit(held.truth[:, 0].astype(float), sm.add_constant(x)).fit(disp=0).params
    assert len(curve.predicted) == 0
    assert curve.line == pytest.approx((slope, intercept), abs=1e-5)
    assert abs(intercept) > 0.4  # where the slope is not 1 the mean of the log-odds alone would put the line elsewhere
    one_class = outcomes_of([0.2, 0.3], [0, 0])
    assert calibration_curve(one_class, "f0").line is None


def test_repeats_do_not_narrow_the_band():
    held = binormal(400, events=200, auroc=0.8, seed=1)
    once = calibration_curve(held, "f0")
    often = calibration_curve(crossed(held, folds=5, repeats=6, seed=0), "f0")
    np.testing.assert_allclose(often.high - often.low, once.high - once.low, rtol=1e-3)


def test_no_curve_from_few_events():
    curve = calibration_curve(binormal(400, events=60, auroc=0.8, seed=1), "f0")
    assert len(curve.predicted) == 0
    assert "fewer than 100" in curve.note


def test_risks_are_counted_once_per_case():
    held = outcomes_of([0.05, 0.15, 0.95, 0.11], [0, 1, 1, 0])
    often = crossed(held, folds=2, repeats=3, seed=0)
    for outcomes in (held, often):
        counted = risk_distribution(outcomes, "f0", bins=10)
        assert counted.events.tolist() == [0, 1, 0, 0, 0, 0, 0, 0, 0, 1]
        assert counted.others.tolist() == [1, 1, 0, 0, 0, 0, 0, 0, 0, 0]


def test_the_decision_curve_agrees_with_a_confusion_matrix_at_every_threshold():
    held = binormal(300, events=100, auroc=0.8, seed=1)
    thresholds = np.linspace(0.05, 0.9, 18)
    curve = decision_curve({"m": held}, "f0", thresholds)
    truth = held.truth[:, 0]
    for k, threshold in enumerate(thresholds):
        (_, fp), (_, tp) = confusion_matrix(truth, held.probability[:, 0] >= threshold)
        assert curve.models["m"][k] == pytest.approx((tp - fp * threshold / (1 - threshold)) / 300, abs=1e-12)
        everyone = truth.mean() - (1 - truth.mean()) * threshold / (1 - threshold)
        assert curve.treat_all[k] == pytest.approx(everyone, abs=1e-12)
    assert curve.note == ""


def test_calibration_and_net_benefit_worked_by_hand():
    # Of ten patients at 0.25 two have it, of ten at 0.75 eight: log-odds ∓1.0986 observed as ∓1.3863, so the slope is 1.2619.
    probability, truth = np.repeat([0.25, 0.75], 10), np.repeat([1, 0, 1, 0], [2, 8, 8, 2])
    held = outcomes_of(probability, truth)
    assert calibration_curve(held, "f0").line == pytest.approx((1.26186, 0.0), abs=1e-5)
    # At 0.5 ten are acted on, eight rightly: 8/20 − 2/20 · 1. At 0.2 all are: 10/20 − 10/20 · 1/4, as for treating all.
    curve = decision_curve({"m": held}, "f0", np.array([0.2, 0.5]))
    assert curve.models["m"].tolist() == pytest.approx([0.375, 0.3])
    assert curve.treat_all.tolist() == pytest.approx([0.375, 0.0])


def test_a_decision_curve_transfers_only_from_a_cohort():
    held = binormal(300, events=150, auroc=0.8, seed=1)
    at = np.array([0.1, 0.2])
    assert "not transferable" in decision_curve({"m": held}, "f0", at, sampling="case-control").note
    reweighted = decision_curve({"m": held}, "f0", at, sampling="case-control", target_prevalence=0.1)
    assert reweighted.note == "reweighted to a prevalence of 0.1"
    assert reweighted.treat_all[0] == pytest.approx(0.0, abs=1e-12)
    with pytest.raises(ValueError, match="between 0 and 1"):
        decision_curve({"m": held}, "f0", np.array([0.0]))


def test_the_surest_come_first():
    held = outcomes_of([0.99, 0.02, 0.6, 0.5], [1, 0, 0, 1])
    curve = risk_coverage(held, "f0", steps=4)
    losses = [0.01**2, 0.02**2, 0.6**2, 0.5**2]
    np.testing.assert_allclose(curve.brier, np.cumsum(losses) / [1, 2, 3, 4])
    whole = replace(held, weight=np.array([0.5, 0.5, 1.0, 1.0]))
    assert risk_coverage(whole, "f0").brier[-1] == pytest.approx((0.5 * losses[0] + 0.5 * losses[1] + 0.61) / 3)


def test_cases_of_equal_sureness_are_answered_together():
    held = outcomes_of([0.9, 0.1, 0.7, 0.3, 0.3, 0.5], [1, 1, 1, 0, 1, 0])
    losses = [0.01, 0.81, 0.09, 0.09, 0.49, 0.25]
    curve = risk_coverage(held, "f0", steps=6)
    pair, five, all_ = np.mean(losses[:2]), np.mean(losses[:5]), np.mean(losses)
    np.testing.assert_allclose(curve.brier, [pair, pair, five, five, five, all_])
    assert point(METRICS["aurc"], sample(probability=held.probability[:, 0], truth=held.truth[:, 0])) == pytest.approx(
        (2 * pair + 3 * five + all_) / 6
    )


def test_the_area_is_the_mean_of_the_curve_at_every_case():
    held = binormal(200, events=80, auroc=0.8, seed=3)
    p, y = held.probability[:, 0], held.truth[:, 0].astype(float)
    order = np.argsort(-np.abs(p - 0.5))
    by_hand = np.mean([((p - y)[order[: k + 1]] ** 2).mean() for k in range(200)])
    assert point(METRICS["aurc"], sample(probability=p, truth=y)) == pytest.approx(by_hand, abs=1e-12)
    assert risk_coverage(held, "f0", steps=200).brier.mean() == pytest.approx(by_hand, abs=1e-12)
    (row,) = [one for one in judge({"fused": held}, terms=Terms(resamples=200)) if one.metric == "aurc"]
    assert row.value == pytest.approx(by_hand)
    assert row.low is not None
    assert row.high is not None
    assert row.low < by_hand < row.high
