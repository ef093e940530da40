"""Every metric agrees with an independent implementation, with a number worked by hand, and with itself under resampling."""

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit
from sklearn import metrics as sk

from attending.evaluation.catalog import METRICS
from attending.evaluation.metric import CLIP, point, sample


def rows(seed=0, n=300, digits=2, threshold=0.3):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    truth = rng.random(n) < 1.0 / (1.0 + np.exp(1.0 - 1.4 * x))
    probability = np.round(1.0 / (1.0 + np.exp(0.6 - x)), digits)
    return sample(
        probability=probability,
        truth=truth,
        weight=rng.integers(1, 4, size=n) / 2.0,
        threshold=np.full(n, threshold),
        place=rng.integers(0, 3, size=n),
    )


def value(name, held):
    return point(METRICS[name], held)


@pytest.mark.parametrize("digits", [1, 2, 12])
def test_ranking_and_scores_agree_with_scikit_learn(digits):
    s = rows(digits=digits)
    held = np.clip(s.probability, CLIP, 1 - CLIP)
    assert value("auroc", s) == pytest.approx(sk.roc_auc_score(s.truth, s.probability, sample_weight=s.weight), abs=1e-12)
    expected = sk.average_precision_score(s.truth, s.probability, sample_weight=s.weight)
    assert value("auprc", s) == pytest.approx(expected, abs=1e-12)
    assert value("brier", s) == pytest.approx(sk.brier_score_loss(s.truth, s.probability, sample_weight=s.weight), abs=1e-12)
    assert value("log_loss", s) == pytest.approx(sk.log_loss(s.truth, held, sample_weight=s.weight), abs=1e-12)


def test_thresholded_shares_agree_with_scikit_learn():
    s = rows()
    flagged = s.probability >= 0.3
    table = sk.confusion_matrix(s.truth, flagged, sample_weight=s.weight)
    (tn, fp), (fn, tp) = table
    expected = {
        "sensitivity": tp / (tp + fn),
        "specificity": tn / (tn + fp),
        "ppv": tp / (tp + fp),
        "npv": tn / (tn + fn),
        "flagged_per_100": 100 * (tp + fp) / table.sum(),
        "net_benefit": (tp - fp * 0.3 / 0.7) / table.sum(),
    }
    for name, number in expected.items():
        assert value(name, s) == pytest.approx(number, abs=1e-12)


def test_calibration_agrees_with_statsmodels():
    s = rows()
    x = logit(np.clip(s.probability, CLIP, 1 - CLIP))
    family = sm.families.Binomial()
    joint = sm.GLM(s.truth, sm.add_constant(x), family=family, freq_weights=s.weight).fit()
    alone = sm.GLM(s.truth, np.ones((len(s), 1)), family=family, offset=x, freq_weights=s.weight).fit()
    assert value("calibration_slope", s) == pytest.approx(joint.params[1], abs=1e-6)
    assert value("calibration_intercept", s) == pytest.approx(alone.params[0], abs=1e-6)


@pytest.mark.parametrize("factor", [0.1, 2.0, 3.0, 6.0])
@pytest.mark.parametrize("shift", [0.0, 1.5])
def test_probabilities_far_too_extreme_have_the_slope_of_statsmodels_and_so_have_their_resamples(factor, shift):
    rng = np.random.default_rng(8)
    right = rng.normal(-0.6, 1.6, 240)
    truth = (rng.random(240) < expit(right)).astype(float)
    rows = sample(probability=expit(np.clip(factor * right + shift, -13.0, 13.0)), truth=truth)
    fitted = sm.GLM(rows.truth, sm.add_constant(rows.logit), family=sm.families.Binomial()).fit()
    assert point(METRICS["calibration_slope"], rows) == pytest.approx(fitted.params[1], rel=1e-5)
    weights = rng.multinomial(240, np.full(240, 1 / 240), size=60).astype(float)
    slopes = METRICS["calibration_slope"].values(rows, weights)
    assert np.isfinite(slopes).all()
    for drawn, slope in zip(weights[:5], slopes, strict=False):
        again = sm.GLM(rows.truth, sm.add_constant(rows.logit), family=sm.families.Binomial(), freq_weights=drawn).fit()
        assert slope == pytest.approx(again.params[1], rel=1e-5)


def test_hand_worked():
    # Events at 0.9, 0.4, 0.4; others at 0.4, 0.1. 0.9 beats both, each 0.4 ties one and beats one: 2 + 1.5 + 1.5 of 6 pairs.
    s = sample(
        probability=np.array([0.9, 0.4, 0.4, 0.4, 0.1]),
        truth=np.array([1, 1, 1, 0, 0]),
        threshold=np.full(5, 0.4),
    )
    assert value("auroc", s) == pytest.approx(5 / 6)
    # Precision 1 at 0.9 (a third of the recall), 3/4 at 0.4 (two thirds).
    assert value("auprc", s) == pytest.approx(1 / 3 + 2 / 3 * 3 / 4)
    assert value("brier", s) == pytest.approx((0.01 + 0.36 + 0.36 + 0.16 + 0.01) / 5)
    assert value("sensitivity", s) == 1.0
    assert value("specificity", s) == 0.5
    # Three right, one wrong at odds 4:6.
    assert value("net_benefit", s) == pytest.approx((3 - 1 * 0.4 / 0.6) / 5)


def test_within_site_counts_pairs_of_one_site_only():
    # At each site the ranking is wrong; over both sites the site alone makes it look right.
    s = sample(
        probability=np.array([0.1, 0.2, 0.8, 0.9, 0.85]),
        truth=np.array([1, 0, 1, 1, 0]),
        place=np.array([0, 0, 1, 1, 1]),
    )
    # Site 0: 0 of 1 pair. Site 1: 1 of 2 pairs (0.9 above 0.85, 0.8 below).
    assert value("auroc_within_site", s) == pytest.approx(1 / 3)
    assert np.isnan(value("auroc_within_site", sample(probability=s.probability, truth=s.truth)))


@pytest.mark.parametrize("name", METRICS)
def test_a_count_is_the_same_as_so_many_copies(name):
    s = rows(n=60)
    rng = np.random.default_rng(1)
    counts = rng.integers(0, 3, size=(5, len(s))).astype(float)
    fast = METRICS[name].values(s, counts)
    for k in range(5):
        copies = np.repeat(np.arange(len(s)), counts[k].astype(int))
        slow = sample(
            probability=s.probability[copies],
            truth=s.truth[copies],
            threshold=s.threshold[copies],
            place=s.place[copies],
        )
        assert fast[k] == pytest.approx(value(name, slow), abs=1e-6)


@pytest.mark.parametrize("name", ["auroc", "auprc", "calibration_slope", "calibration_intercept", "sensitivity"])
def test_an_absent_class_is_not_estimable(name):
    s = sample(probability=np.array([0.2, 0.6]), truth=np.zeros(2), threshold=np.full(2, 0.5))
    assert np.isnan(value(name, s))


def test_separated_and_constant_probabilities_have_no_slope():
    separated = sample(probability=np.array([0.1, 0.2, 0.8, 0.9]), truth=np.array([0, 0, 1, 1]))
    constant = sample(probability=np.full(4, 0.5), truth=np.array([0, 1, 0, 1]))
    assert np.isnan(value("calibration_slope", separated))
    assert np.isnan(value("calibration_slope", constant))
    assert value("calibration_intercept", constant) == pytest.approx(0.0, abs=1e-9)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=2, max_size=30))
def test_auroc_is_the_share_of_concordant_pairs(cases):
    p = np.array([case[0] for case in cases])
    y = np.array([case[1] for case in cases])
    got = value("auroc", sample(probability=p, truth=y))
    if y.all() or not y.any():
        assert np.isnan(got)
        return
    pairs = [(a > b) + 0.5 * (a == b) for a in p[y] for b in p[~y]]
    assert got == pytest.approx(np.mean(pairs), abs=1e-12)
