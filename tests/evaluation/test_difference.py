"""Differences: the family's intervals hold together, Holm agrees with statsmodels, and no difference is not shown."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit
from statsmodels.stats.multitest import multipletests

from attending.evaluation.difference import Difference, difference_interval, family_quantile, holm
from attending.evaluation.estimation import Measured
from attending.evaluation.inquiry import Terms
from attending.evaluation.judgement import judge
from attending.evaluation.result import verdict
from tests.evaluation.cohorts import binormal, crossed


def difference(replicates, value=0.0, widen=0.0):
    return Difference(
        measured=Measured(value=value, replicates=np.asarray(replicates), folds=None),
        test_over_train=widen,
        smaller_class=10_000,
    )


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_agrees_with_statsmodels(p_values):
    np.testing.assert_allclose(holm(p_values), multipletests(p_values, method="holm")[1], atol=1e-12)


def test_the_quantile_grows_with_independent_comparisons_and_not_with_copies():
    rng = np.random.default_rng(0)
    draws = rng.normal(size=(10, 20_000))
    many = family_quantile([difference(row) for row in draws], 0.95)
    # Of ten independent normals: the (0.95)^(1/10) two-sided quantile.
    assert many == pytest.approx(2.7995, abs=0.06)
    assert family_quantile([difference(draws[0])] * 10, 0.95) == pytest.approx(1.96, abs=0.04)
    assert family_quantile([], 0.95) == pytest.approx(1.959964, abs=1e-6)


def test_a_family_of_true_nulls_is_rarely_shown():
    rng = np.random.default_rng(1)
    wrong = []
    for _ in range(300):
        data = rng.normal(size=(60, 6))
        counts = rng.multinomial(60, np.full(60, 1 / 60), size=300)
        family = [difference((counts @ data[:, k]) / 60, value=data[:, k].mean()) for k in range(6)]
        quantile = family_quantile(family, 0.95)
        ends = [difference_interval(one, 0.95, quantile) for one in family]
        wrong.append(any(low > 0 or high < 0 for low, high in ends))
    # 5 %, give or take three standard errors of 300 rounds.
    assert np.mean(wrong) <= 0.05 + 0.04


def test_a_paired_interval_is_narrower_than_two_apart():
    held = binormal(300, events=120, auroc=0.8, seed=0)
    rng = np.random.default_rng(0)
    twin = replace(held, probability=expit(logit(held.probability) + 0.1 * rng.normal(size=(300, 1))))
    rows = judge({"fused": held, "twin": twin}, terms=Terms(resamples=200))
    (paired,) = [r for r in rows if r.comparator == "twin" and r.metric == "auroc"]
    (alone,) = [r for r in rows if r.model == "fused" and r.comparator is None and r.metric == "auroc"]
    assert paired.high - paired.low < 0.5 * (alone.high - alone.low)
    assert verdict(paired) == "not shown"


def test_under_cross_validation_a_difference_is_widened():
    held = crossed(binormal(200, events=80, auroc=0.8, seed=0), folds=5, repeats=2, seed=0, jitter=0.3)
    other = replace(held, probability=np.random.default_rng(0).random((len(held), 1)))
    rows = judge({"fused": held, "chance": other}, terms=Terms(resamples=200, primary_comparator="chance"))
    (row,) = [r for r in rows if r.comparator == "chance" and r.metric == "auroc"]
    assert "widened for retraining" in row.method
    assert row.adjusted is None
    assert verdict(row) == "shown"


def test_two_shares_lie_no_farther_apart_than_one():
    models = {name: binormal(24, events=10, auroc=area, seed=seed) for name, area, seed in (("m", 0.95, 1), ("o", 0.55, 1))}
    rows = [one for one in judge(models, primary="m", terms=Terms(resamples=200)) if one.comparator and one.metric == "auroc"]
    assert rows
    assert all(one.low is None or -1.0 <= one.low <= one.value <= one.high <= 1.0 for one in rows)
