"""Intervals agree with closed forms and other implementations, and cover what they claim in simulation."""

from itertools import pairwise

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats
from scipy.special import expit
from statsmodels.stats.proportion import proportion_confint

from attending.evaluation.catalog import METRICS
from attending.evaluation.estimation import Numbering, interval_of, measure, question
from attending.evaluation.inquiry import Terms
from attending.evaluation.interval import (
    area_interval,
    area_score_interval,
    delong_error,
    exact_share,
    normal,
    share_interval,
    slope_interval,
)
from attending.evaluation.judgement import judge
from attending.evaluation.logistic import intercept_given
from attending.evaluation.metric import point, sample
from tests.evaluation.cohorts import binormal, outcomes_of


def one(held):
    return question(held, "f0", numbering=Numbering.of(held)).whole[0]


def test_exact_shares_agree_with_statsmodels():
    for k, n in ((0, 10), (3, 10), (10, 10), (47, 90)):
        assert exact_share(k, n, 0.95) == pytest.approx(proportion_confint(k, n, method="beta"), abs=1e-9)
    hits = np.array([1.0, 0, 1, 1, 0, 1])
    assert share_interval(hits, np.ones(6), np.arange(6), 0.95) == exact_share(4, 6, 0.95)


def test_copies_of_a_patient_make_a_share_no_surer():
    hits = np.array([1.0, 0, 1, 1, 0, 1, 1, 1, 0, 1])
    low, high = share_interval(hits, np.ones(10), np.arange(10), 0.95)
    copied = share_interval(np.repeat(hits, 8), np.full(80, 1 / 8), np.repeat(np.arange(10), 8), 0.95)
    assert copied[1] - copied[0] >= 0.95 * (high - low)
    # No variance to go by: as many trials as patients.
    assert share_interval(np.ones(80), np.full(80, 1 / 8), np.repeat(np.arange(10), 8), 0.95) == exact_share(10, 10, 0.95)


def test_delong_agrees_with_its_definition_by_pairs():
    rng = np.random.default_rng(0)
    p, y = np.round(rng.random(60), 1), rng.random(60) < 0.4
    wins = (p[y][:, None] > p[~y]) + 0.5 * (p[y][:, None] == p[~y])
    expected = wins.mean(axis=1).var(ddof=1) / y.sum() + wins.mean(axis=0).var(ddof=1) / (~y).sum()
    assert delong_error(sample(probability=p, truth=y)) == pytest.approx(np.sqrt(expected), rel=1e-12)


def test_copies_of_a_patient_make_an_auroc_no_surer():
    rng = np.random.default_rng(0)
    p, y = rng.random(60), rng.random(60) < 0.4
    plain = delong_error(sample(probability=p, truth=y))
    copies = np.repeat(np.arange(60), 5)
    clustered = sample(probability=p[copies], truth=y[copies], cluster=copies, weight=np.full(300, 0.2))
    assert delong_error(clustered) == pytest.approx(plain, rel=1e-12)


def test_score_limits_are_areas_that_would_just_allow_the_one_seen():
    rng = np.random.default_rng(0)
    p, y = rng.random(40), rng.random(40) < 0.4
    rows = sample(probability=np.where(y, p + 0.4, p), truth=y)
    area, m, n = point(METRICS["auroc"], rows), y.sum(), (~y).sum()
    for end in area_score_interval(rows, area, 0.95):
        spread = 1 + ((m + n) / 2 - 1) * ((1 - end) / (2 - end) + end / (1 + end))
        assert abs(end - area) == pytest.approx(1.959964 * np.sqrt(end * (1 - end) * spread / (m * n)), rel=1e-5)


def test_a_perfect_ranking_has_a_lower_limit():
    rows = sample(probability=np.linspace(0, 1, 30), truth=np.arange(30) >= 20)
    low, high = area_interval(rows, 1.0, 0.95)
    assert (low, high) == area_score_interval(rows, 1.0, 0.95)
    assert 0.7 < low < 0.95
    assert high == 1.0


def test_profile_likelihood_agrees_with_a_refit_at_its_ends():
    rows = one(binormal(120, events=30, auroc=0.8, seed=1))
    low, high = slope_interval(rows, 0.95)
    family = sm.families.Binomial()
    best = sm.GLM(rows.truth, sm.add_constant(rows.logit), family=family).fit().llf
    for end in (low, high):
        held = sm.GLM(rows.truth, np.ones((len(rows), 1)), family=family, offset=end * rows.logit).fit().llf
        assert 2 * (best - held) == pytest.approx(stats.chi2.ppf(0.95, 1), abs=1e-3)


@pytest.mark.parametrize("scale", [0.1, 1.0, 15.0, 300.0])
def test_the_intercept_beside_any_offsets_is_the_root_of_its_score(scale):
    rng = np.random.default_rng(6)
    offset = scale * (rng.normal(size=80) - 3.0)
    truth = (rng.random(80) < 0.15).astype(float)
    weights = np.vstack([np.ones(80), rng.multinomial(80, np.full(80, 1 / 80), size=9), np.zeros(80)]).astype(float)
    found = intercept_given(offset, truth, weights)
    for weight, intercept in zip(weights[:-1], found, strict=False):
        assert weight @ (truth - expit(intercept + offset)) == pytest.approx(0.0, abs=1e-5)
    assert np.isnan(found[-1])


@pytest.mark.parametrize("seed", [1295, 1516, 2137, 2690])
def test_a_slope_that_hardly_exists_has_a_wide_interval_or_none(seed):
    rows = one(binormal(100, events=10, auroc=0.95, seed=seed))  # all but separated: slopes of 14 to 34
    low, high = slope_interval(rows, 0.95)
    assert np.isnan(low) or (0.0 < low < point(METRICS["calibration_slope"], rows) < high)


def test_the_slope_of_crowded_probabilities_is_that_of_spread_ones_times_the_crowding():
    rng = np.random.default_rng(4)
    z = rng.normal(size=40)
    truth = z + 1.5 * rng.normal(size=40) > 1.2
    spread = slope_interval(one(outcomes_of(expit(z), truth)), 0.95)
    crowded = slope_interval(one(outcomes_of(expit(z / 20 - 1.65), truth)), 0.95)
    assert np.isfinite(spread).all()
    assert crowded == pytest.approx(tuple(20 * end for end in spread), rel=1e-4)


def test_transformed_intervals_stay_where_they_belong():
    assert normal(0.9, 0.2, "share", 0.95)[1] < 1.0
    assert normal(0.1, 0.2, "positive", 0.95)[0] > 0.0
    assert normal(0.5, 0.1, "real", 0.95) == pytest.approx((0.5 - 0.195996, 0.5 + 0.195996), abs=1e-5)
    middle = np.log(0.9 / 0.1)
    reach = 1.959964 * 0.05 / 0.09
    assert normal(0.9, 0.05, "share", 0.95) == pytest.approx((expit(middle - reach), expit(middle + reach)), abs=1e-6)


def test_resampling_patients_is_resampling_all_their_visits():
    # Identical visits: the interval must be that of the patients alone, not of the rows.
    held = binormal(120, events=60, auroc=0.8, seed=1)
    copies = np.repeat(np.arange(120), 4)
    many = held.rows(copies)
    many = outcomes_of(
        many.probability[:, 0],
        many.truth[:, 0],
        groups=many.groups,
        weight=np.full(480, 0.25),
    )
    ends = []
    for outcomes in (held, many):
        numbering = Numbering.of(outcomes)
        asked = question(outcomes, "f0", numbering=numbering)
        (found,) = measure([(asked, (METRICS["brier"],))], n_clusters=120, resamples=200, seed=0)
        ends.append(interval_of(asked, METRICS["brier"], found["brier"], 0.95)[:2])
    assert ends[1] == pytest.approx(ends[0], rel=1e-9)


TRUE_AUROC = (0.7, 0.85, 0.95)


def coverage(n, events, auroc, visits, cohorts, *, resamples=200):
    """Share of simulated cohorts whose interval holds the truth, by metric; and the share that got an interval."""
    names = ("auroc", "auprc", "brier", "log_loss", "calibration_slope", "net_benefit", "sensitivity")
    metrics = [METRICS[name] for name in names]
    share = events / n
    big = one(binormal(400_000, events=400_000 * share, auroc=auroc, seed=99))
    big = sample(probability=big.probability, truth=big.truth, threshold=np.full(len(big), share))
    truth = {metric.name: point(metric, big) for metric in metrics} | {"auroc": auroc, "calibration_slope": 1.0}
    held, given = {name: [] for name in names}, {name: [] for name in names}
    for k in range(cohorts):
        outcomes = binormal(n, events=events, auroc=auroc, seed=1000 + k, visits=visits)
        numbering = Numbering.of(outcomes)
        asked = question(outcomes, "f0", numbering=numbering, threshold=np.full(n, share))
        (found,) = measure([(asked, metrics)], n_clusters=len(numbering.groups), resamples=resamples, seed=k)
        for metric in metrics:
            low, high, _ = interval_of(asked, metric, found[metric.name], 0.95)
            given[metric.name].append(np.isfinite(low))
            if np.isfinite(low):
                held[metric.name].append(low <= truth[metric.name] <= high)
    return {name: float(np.mean(held[name])) for name in names}, {name: float(np.mean(given[name])) for name in names}


@pytest.mark.parametrize(
    ("n", "events", "auroc", "visits"), [(40, 20, 0.95, 1), (100, 10, 0.85, 1), (250, 60, 0.85, 1), (300, 100, 0.85, 5)]
)
def test_intervals_cover_ninety_percent(n, events, auroc, visits):
    # 150 cohorts: three standard errors below 90 % is 0.83.
    held, given = coverage(n, events, auroc, visits, 150)
    assert min(held.values()) >= 0.83, held
    assert min(given.values()) >= 0.85, given


@pytest.mark.long
@pytest.mark.parametrize(("n", "events", "auroc"), [(250, 100, 0.7), (250, 100, 0.85), (1000, 100, 0.85), (1000, 100, 0.95)])
def test_intervals_cover_at_length_where_events_are_enough(n, events, auroc):
    held, _ = coverage(n, events, auroc, 1, 2000, resamples=400)
    # 2,000 cohorts: 93–97 % give or take three standard errors of the simulation.
    assert all(0.93 - 0.017 <= share <= 0.97 + 0.012 for name, share in held.items() if name != "sensitivity"), held
    assert held["sensitivity"] >= 0.93


@pytest.mark.long
@pytest.mark.parametrize(("n", "events"), [(60, 10), (60, 20), (250, 20), (1000, 20)])
@pytest.mark.parametrize("auroc", TRUE_AUROC)
@pytest.mark.parametrize("visits", [1, 5])
def test_intervals_cover_ninety_percent_at_length_where_events_are_few(n, events, auroc, visits):
    held, _ = coverage(n * visits, events * visits, auroc, visits, 1000)
    assert min(held.values()) >= 0.90 - 0.028, held


def test_a_fold_count_is_taken_from_the_protocol():
    rng = np.random.default_rng(0)
    held = outcomes_of(rng.random(100), rng.random(100) < 0.5, fold=np.arange(100) % 5)
    assert question(held, "f0", numbering=Numbering.of(held)).test_over_train == 0.25
    areas = [len(rows) for rows in question(held, "f0", numbering=Numbering.of(held)).folds[0]]
    assert areas == [20] * 5
    assert all(a <= b for a, b in pairwise(one(held).probability))


@pytest.mark.parametrize(("events", "method"), [(40, "t with"), (150, "t with"), (400, "percentile bootstrap")])
def test_percentiles_are_taken_only_from_two_hundred_of_a_class(events, method):
    held = binormal(1000, events=events, auroc=0.85, seed=3)
    asked = question(held, "f0", numbering=Numbering.of(held))
    metrics = [METRICS[name] for name in ("auprc", "brier", "log_loss", "aurc")]
    (found,) = measure([(asked, metrics)], n_clusters=1000, resamples=60, seed=0)
    for metric in metrics:
        low, high, told = interval_of(asked, metric, found[metric.name], 0.95)
        assert told.startswith(method)
        assert low < found[metric.name].value < high


def test_so_many_of_a_hundred_are_a_share_times_a_hundred():
    share, hundred = normal(0.93, 0.04, "share", 0.95, freedom=9), normal(93.0, 4.0, "per 100", 0.95, freedom=9)
    assert hundred == pytest.approx((100 * share[0], 100 * share[1]))
    assert hundred[1] < 100
    assert np.isnan(normal(100.0, 1.0, "per 100", 0.95)[0])


def test_flagged_of_a_hundred_has_the_exact_interval_of_its_share():
    rng = np.random.default_rng(0)
    truth = rng.random(43) < 0.3
    held = outcomes_of(np.where(np.arange(43) < 40, 0.6, 0.1), truth, threshold=np.full((43, 1), 0.5))
    (row,) = [one for one in judge({"m": held}, terms=Terms(resamples=50)) if one.metric == "flagged_per_100"]
    low, high = proportion_confint(40, 43, method="beta")
    assert (row.value, row.low, row.high) == pytest.approx((4000 / 43, 100 * low, 100 * high))
