"""Calibration fits: they find a planted miscalibration, fit no more than the events carry, and survive being written down."""

import json
from dataclasses import replace

import numpy as np
import pytest
import statsmodels.api as sm
from scipy.special import expit, logit, softmax

from attending.evaluation.recalibration import Calibration, fit_calibration, fit_isotonic
from tests.evaluation.cohorts import binormal, crossed, outcomes_of


def planted(n, *, events, slope, intercept, seed):
    """Predictions whose truth follows slope · logit + intercept."""
    held = binormal(n, events=events, auroc=0.8, seed=seed)
    x = logit(held.probability[:, 0])
    return replace(held, probability=expit((x - intercept) / slope)[:, None])


def test_a_planted_slope_and_intercept_are_found():
    held = planted(20_000, events=6_000, slope=0.5, intercept=0.7, seed=0)
    part = fit_calibration(held).findings[0]
    assert part.method == "slope and intercept"
    assert part.slope == pytest.approx(0.5, abs=0.02)
    assert part.intercept == pytest.approx(0.7, abs=0.05)


def test_agrees_with_statsmodels_where_the_prior_is_drowned():
    held = planted(20_000, events=6_000, slope=0.5, intercept=0.7, seed=0)
    x = sm.add_constant(logit(held.probability[:, 0]))
    params = sm.Logit(held.truth[:, 0].astype(float), x).fit(disp=0).params
    part = fit_calibration(held).findings[0]
    assert part.intercept == pytest.approx(params[0], abs=1e-3)
    assert part.slope == pytest.approx(params[1], abs=1e-3)


def test_after_calibration_slope_is_one_and_the_mean_is_right():
    held = planted(2_000, events=800, slope=0.6, intercept=-0.5, seed=1)
    after = fit_calibration(held).apply(held.probability)
    refit = fit_calibration(replace(held, probability=after)).findings[0]
    assert refit.slope == pytest.approx(1.0, abs=5e-3)
    assert after.mean() == pytest.approx(held.truth.mean(), abs=1e-6)
    # Ranking is untouched.
    assert (np.argsort(after[:, 0]) == np.argsort(held.probability[:, 0])).all()


@pytest.mark.parametrize(
    ("events", "method"), [(9, "identity"), (10, "intercept"), (19, "intercept"), (20, "slope and intercept")]
)
def test_no_more_is_fitted_than_the_events_carry(events, method):
    rng = np.random.default_rng(0)
    truth = np.arange(200) < events
    held = outcomes_of(rng.random(200) * 0.5 + 0.3 * truth, truth)
    part = fit_calibration(held).findings[0]
    assert part.method == method
    assert part.events == events
    assert (part.note == "") == (method == "slope and intercept")
    if method == "identity":
        np.testing.assert_array_equal(fit_calibration(held).apply(held.probability), held.probability)


def test_events_are_counted_in_patients():
    rng = np.random.default_rng(0)
    truth = np.arange(200) < 40
    held = outcomes_of(rng.random(200), truth, groups=[f"p{i // 5}" for i in range(200)])
    assert fit_calibration(held).findings[0].events == 8


def test_separated_and_inverted_predictions_stay_finite():
    separated = outcomes_of(np.linspace(0.01, 0.99, 100), np.arange(100) >= 50)
    slope = fit_calibration(separated).findings[0].slope
    assert 1.0 < slope < 20.0
    inverted = replace(separated, probability=1.0 - separated.probability)
    part = fit_calibration(inverted).findings[0]
    assert part.slope == 0.05
    assert "do not rank" in part.note


def test_repeats_add_no_certainty():
    held = binormal(60, events=30, auroc=0.8, seed=2)
    once = fit_calibration(held).findings[0]
    often = fit_calibration(crossed(held, folds=3, repeats=7, seed=0)).findings[0]
    assert often.slope == pytest.approx(once.slope, abs=1e-6)
    assert often.intercept == pytest.approx(once.intercept, abs=1e-6)
    assert (often.n, often.events) == (once.n, once.events)


def test_unknown_truth_is_left_out():
    held = binormal(300, events=120, auroc=0.8, seed=2)
    known = np.arange(300)[:, None] >= 100
    moved = replace(held, known=known, truth=held.truth | ~known)
    assert fit_calibration(moved) == fit_calibration(held.rows(known[:, 0]))


def test_exclusive_findings_keep_their_sum_and_find_a_planted_temperature():
    rng = np.random.default_rng(3)
    score = rng.normal(size=(6_000, 3)) * 1.5 + [0.5, 0.0, -1.0]
    right = softmax(score, axis=1)
    drawn = (rng.random(6_000)[:, None] > np.cumsum(right, axis=1)).sum(axis=1)
    truth = np.eye(3, dtype=bool)[drawn]
    held = outcomes_of(softmax(3.0 * score + [0.0, 1.0, 0.0], axis=1), truth, exclusive=True)
    calibration = fit_calibration(held)
    after = calibration.apply(held.probability)
    np.testing.assert_allclose(after.sum(axis=1), 1.0, atol=1e-12)
    np.testing.assert_allclose([part.slope for part in calibration.findings], 1 / 3, atol=0.03)
    np.testing.assert_allclose(after.mean(axis=0), truth.mean(axis=0), atol=1e-3)
    few = fit_calibration(held.rows(np.concatenate([np.flatnonzero(~truth[:, 2]), np.flatnonzero(truth[:, 2])[:15]])))
    assert {part.method for part in few.findings} == {"temperature"}
    assert len({part.slope for part in few.findings}) == 1
    only = fit_calibration(held.rows(np.flatnonzero(truth[:, 0])))
    assert {part.method for part in only.findings} == {"identity"}


def test_isotonic_needs_a_thousand_cases_and_beats_a_line_where_the_truth_is_bent():
    rng = np.random.default_rng(0)
    p = rng.random(4_000)
    truth = rng.random(4_000) < np.where(p < 0.5, 0.1, 0.8)
    held = outcomes_of(p, truth)
    calibration = fit_isotonic(held)
    assert calibration.findings[0].method == "isotonic"
    after, line = calibration.apply(held.probability), fit_calibration(held).apply(held.probability)
    assert ((after - truth[:, None]) ** 2).mean() < ((line - truth[:, None]) ** 2).mean()
    assert (np.diff(after[np.argsort(p), 0]) >= 0).all()
    assert after.min() > 0.0
    assert after.max() < 1.0
    assert fit_isotonic(held.rows(np.arange(900))).findings[0].method == "slope and intercept"
    with pytest.raises(ValueError, match="sum to 1"):
        fit_isotonic(replace(held, exclusive=True))


def test_written_down_and_read_back_it_is_the_same():
    rng = np.random.default_rng(0)
    p = rng.random((2_000, 2))
    held = outcomes_of(p, rng.random((2_000, 2)) < p)
    for calibration in (fit_calibration(held), fit_isotonic(held)):
        back = Calibration.from_dict(json.loads(json.dumps(calibration.to_dict())))
        assert back == calibration
        np.testing.assert_array_equal(back.apply(p), calibration.apply(p))
    with pytest.raises(ValueError, match="2 findings"):
        calibration.apply(p[:, :1])


def mean_slope(events, draws):
    """Mean fitted slope, over draws of a calibration set, where the true one is 0.7."""
    slopes = [
        fit_calibration(planted(events * 4, events=events, slope=0.7, intercept=0.0, seed=k)).findings[0].slope
        for k in range(draws)
    ]
    return float(np.mean(slopes))


def test_mean_slope_is_within_two_hundredths_at_two_hundred_events():
    assert mean_slope(200, 150) == pytest.approx(0.7, abs=0.02)


@pytest.mark.long
def test_mean_slope_at_length():
    assert mean_slope(200, 2000) == pytest.approx(0.7, abs=0.02)
    assert mean_slope(400, 1000) == pytest.approx(0.7, abs=0.02)
