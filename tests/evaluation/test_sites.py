"""Over sites: the summary agrees with hand-worked and simulated values, and is refused below five sites."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit, logit
from statsmodels.stats.meta_analysis import combine_effects

from attending.evaluation import Terms, judge
from attending.evaluation.local import locally_recalibrated
from attending.evaluation.sites import random_effects, site_summary
from tests.evaluation.cohorts import binormal, outcomes_of


def at_sites(areas, *, n=200, shift=None):
    parts = [binormal(n, events=n // 3, auroc=area, seed=k) for k, area in enumerate(areas)]
    shift = np.zeros(len(areas)) if shift is None else np.asarray(shift)
    return outcomes_of(
        np.concatenate([expit(logit(part.probability[:, 0]) - shift[k]) for k, part in enumerate(parts)]),
        np.concatenate([part.truth[:, 0] for part in parts]),
        strata={"site": np.repeat([f"s{k}" for k in range(len(areas))], n).astype(object)},
    )


def test_random_effects_agree_with_statsmodels():
    values, errors = np.array([0.1, 0.9, 0.4, 1.6, 0.2, 1.1]), np.array([0.3, 0.2, 0.4, 0.3, 0.25, 0.35])
    mean, error, spread = random_effects(values, errors)
    other = combine_effects(values, errors**2, method_re="chi2", use_t=True)
    assert mean == pytest.approx(other.mean_effect_re)
    assert spread**2 == pytest.approx(other.tau2)
    assert error == pytest.approx(max(other.sd_eff_w_re_hksj, other.sd_eff_w_re))


def test_five_sites_give_a_prediction_interval_wider_than_the_mean_s():
    summary = site_summary(at_sites([0.7, 0.75, 0.85, 0.9, 0.8, 0.65]), "f0", resamples=200)
    assert [name for name, _ in summary.sites] == [f"s{k}" for k in range(6)]
    assert summary.mean.low < summary.mean.value < summary.mean.high
    assert summary.predicted[0] < summary.mean.low
    assert summary.predicted[1] > summary.mean.high
    assert 0.7 < summary.mean.value < 0.85


def test_four_sites_give_none_and_a_site_with_one_class_cannot_be_estimated():
    held = at_sites([0.7, 0.8, 0.8, 0.8, 0.75])
    blind = replace(held, truth=held.truth & (held.strata["site"] != "s2")[:, None])
    summary = site_summary(blind, "f0", resamples=100)
    assert summary.predicted is None
    assert summary.mean.value is None
    assert "4 sites" in summary.note
    estimate = dict(summary.sites)["s2"]
    assert estimate.value is None
    assert "one class only (0 events of 200)" in estimate.note
    with pytest.raises(ValueError, match="'site'"):
        site_summary(replace(held, strata={}), "f0")


def test_a_prediction_interval_holds_a_new_site():
    rng = np.random.default_rng(0)
    held = []
    for _ in range(1000):
        errors = rng.uniform(0.15, 0.35, 8)
        values = 1.0 + 0.4 * rng.normal(size=8) + errors * rng.normal(size=8)
        mean, error, spread = random_effects(values, errors)
        # t of 6 degrees of freedom, 97.5 %.
        held.append(abs(1.0 + 0.4 * rng.normal() - mean) <= 2.446912 * np.sqrt(spread**2 + error**2))
    assert 0.91 <= np.mean(held) <= 0.99


def test_local_recalibration_mends_the_mean_of_each_site():
    held = at_sites([0.8] * 5, n=600, shift=[1.5, -1.5, 1.0, -1.0, 0.5])
    before = site_summary(held, "f0", metric="calibration_intercept", resamples=100)
    after = site_summary(locally_recalibrated(held), "f0", metric="calibration_intercept", resamples=100)
    assert max(abs(e.value) for _, e in before.sites) > 1.0
    assert max(abs(e.value) for _, e in after.sites) < 0.3
    assert after.predicted[1] - after.predicted[0] < before.predicted[1] - before.predicted[0]


def test_judging_tells_what_a_new_site_may_expect():
    held = at_sites([0.7, 0.75, 0.85, 0.9, 0.8, 0.65])
    rows = {row.metric: row for row in judge({"m": held}, primary="m", terms=Terms(resamples=100), metrics=("auroc",))}
    summary = site_summary(held, "f0", resamples=200)
    assert rows["auroc_over_sites"].value == summary.mean.value
    assert (rows["auroc_at_new_site"].low, rows["auroc_at_new_site"].high) == summary.predicted
    assert rows["calibration_intercept_at_new_site"].low < rows["calibration_intercept_over_sites"].low
    few = at_sites([0.7, 0.8])
    told = [
        row for row in judge({"m": few}, primary="m", terms=Terms(resamples=50), metrics=("auroc",)) if "site" in row.metric
    ]
    assert all(row.value is None and "2 sites" in row.note for row in told)
    one = at_sites([0.7])
    alone = judge({"m": one}, primary="m", terms=Terms(resamples=50), metrics=("auroc",))
    assert not [row for row in alone if "site" in row.metric or "local" in row.metric]
