"""Judging gives the rows of report.json: their names are frozen, their numbers agree with simpler ways."""

from dataclasses import fields, replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from attending.evaluation.inquiry import Terms
from attending.evaluation.judgement import judge
from attending.evaluation.result import EvaluationError, Result, verdict, verdict_of_margin
from attending.evaluation.threshold import Rule
from tests.evaluation.cohorts import binormal, crossed, outcomes_of


def only(rows, **wanted):
    wanted = {"slice": None, "comparator": None} | wanted
    found = [row for row in rows if all(getattr(row, name) == value for name, value in wanted.items())]
    assert len(found) == 1, (wanted, len(found))
    return found[0]


def test_the_fields_of_a_row_are_frozen():
    assert [field.name for field in fields(Result)] == [
        "target",
        "finding",
        "split",
        "model",
        "metric",
        "value",
        "low",
        "high",
        "n",
        "events",
        "comparator",
        "slice",
        "slice_value",
        "threshold",
        "level",
        "clusters",
        "prevalence",
        "method",
        "protocol",
        "repeats",
        "seed",
        "adjusted",
        "note",
    ]


def test_one_model_on_one_test_set():
    held = binormal(400, events=160, auroc=0.8, seed=3)
    rows = judge({"any": held}, terms=Terms(resamples=200, rules={"f0": Rule(kind="risk", value=0.3)}))
    auroc = only(rows, metric="auroc")
    assert auroc.value == pytest.approx(roc_auc_score(held.truth[:, 0], held.probability[:, 0]))
    assert auroc.low < auroc.value < auroc.high
    assert (auroc.n, auroc.events, auroc.clusters) == (400, int(held.truth.sum()), 400)
    assert "retraining variability not included" in auroc.method
    assert only(rows, metric="sensitivity").threshold == 0.3
    assert all(row.comparator is None for row in rows)


def test_under_cross_validation_auroc_is_the_mean_over_folds():
    held = crossed(binormal(200, events=80, auroc=0.8, seed=3), folds=4, repeats=2, seed=1, jitter=0.5)
    row = only(judge({"fused": held}, terms=Terms(resamples=50, split="cv", protocol="cv")), metric="auroc")
    areas = [
        roc_auc_score(held.truth[here, 0], held.probability[here, 0])
        for repeat in range(2)
        for fold in range(4)
        for here in [(held.repeat == repeat) & (held.fold == fold)]
    ]
    assert row.value == pytest.approx(np.mean(areas))
    assert (row.n, row.events, row.repeats, row.protocol, row.split) == (200, int(held.truth.sum()) // 2, 2, "cv", "cv")
    assert "widened for retraining" in row.method


def test_cases_of_a_patient_weigh_one_together():
    # One patient filmed nine times and wrong each time counts as one of four patients.
    held = outcomes_of(
        [0.9] * 9 + [0.8, 0.2, 0.1],
        [0] * 9 + [1, 0, 1],
        groups=["p"] * 9 + ["q", "r", "s"],
        weight=np.array([1 / 9] * 9 + [1, 1, 1]),
    )
    # Pairs (q, s) × (p, r), each of weight 1: q above r only, s above none.
    assert only(judge({"m": held}, terms=Terms(resamples=20)), metric="auroc").value == pytest.approx(1 / 4)


def test_a_difference_is_paired_and_its_interval_adjusted():
    held = binormal(400, events=160, auroc=0.85, seed=3)
    rng = np.random.default_rng(0)
    noisy = replace(held, probability=np.clip(held.probability + rng.normal(0, 0.3, size=(400, 1)), 0.001, 0.999))
    chance = replace(held, probability=rng.random((400, 1)))
    terms = Terms(resamples=300, primary_comparator="noisy")
    rows = judge({"fused": held, "noisy": noisy, "chance": chance}, terms=terms)
    primary = only(rows, metric="auroc", comparator="noisy")
    other = only(rows, metric="auroc", comparator="chance")
    values = [only(rows, metric="auroc", model=name).value for name in ("fused", "noisy", "chance")]
    assert primary.value == pytest.approx(values[0] - values[1])
    assert other.value == pytest.approx(values[0] - values[2])
    assert primary.adjusted is None
    assert "primary comparison" in primary.note
    assert other.adjusted.startswith("max-T over ")
    assert verdict(other) == "shown"
    alone = judge({"fused": held, "chance": chance}, terms=replace(terms, primary_comparator="chance"))
    unadjusted = only(alone, metric="auroc", comparator="chance")
    assert other.high - other.low > unadjusted.high - unadjusted.low


def test_a_model_is_not_shown_to_differ_from_itself():
    held = binormal(300, events=120, auroc=0.8, seed=3)
    row = only(judge({"fused": held, "twin": held}, terms=Terms(resamples=100)), metric="auroc", comparator="twin")
    assert (row.value, row.low, row.high) == (0.0, 0.0, 0.0)
    assert verdict(row) == "not shown"


def test_what_cannot_be_estimated_says_why_and_the_rest_goes_on():
    rng = np.random.default_rng(0)
    truth = np.column_stack([rng.random(100) < 0.4, np.zeros(100), np.arange(100) < 4])
    held = outcomes_of(rng.random((100, 3)), truth, findings=("common", "never", "rare"))
    rows = judge({"m": held}, terms=Terms(resamples=50))
    assert only(rows, finding="common", metric="auroc").low is not None
    never = only(rows, finding="never", metric="auroc")
    assert never.value is None
    assert "one class only (0 events of 100)" in never.note
    rare = only(rows, finding="rare", metric="auroc")
    assert rare.value is not None
    assert rare.low is None
    assert "too few events: 4" in rare.note
    macro = only(rows, finding="macro", metric="auroc")
    assert macro.value == only(rows, finding="common", metric="auroc").value
    assert macro.note == "left out with under 10 events: never, rare"
    assert only(rows, finding="common", metric="ppv").note == "no threshold rule is stated for this finding"


def test_unknown_truth_has_no_influence():
    held = binormal(200, events=80, auroc=0.8, seed=3)
    known = np.arange(200)[:, None] >= 50
    blind = replace(held, known=known)
    moved = replace(blind, probability=np.where(known, held.probability, 0.999), truth=np.where(known, held.truth, True))
    terms = Terms(resamples=50)
    assert judge({"m": blind}, terms=terms) == judge({"m": moved}, terms=terms)


def test_slices_have_intervals_or_are_too_small_to_say():
    held = binormal(300, events=120, auroc=0.8, seed=3)
    site = np.array(["A"] * 150 + ["B"] * 140 + ["C"] * 10, dtype=object)
    rows = judge({"m": replace(held, strata={"site": site})}, terms=Terms(resamples=100))
    here = held.rows(site == "A")
    a = only(rows, metric="auroc", slice="site", slice_value="A")
    assert a.value == pytest.approx(roc_auc_score(here.truth[:, 0], here.probability[:, 0]))
    assert a.low < a.value < a.high
    c = only(rows, metric="auroc", slice="site", slice_value="C")
    assert c.value is None
    assert "too small to say" in c.note
    assert only(rows, metric="auroc_within_site").value is not None


def test_what_depends_on_prevalence_does_not_transfer_from_a_case_control_sample():
    held = binormal(300, events=150, auroc=0.8, seed=3)
    terms = Terms(resamples=50, sampling="case-control", rules={"f0": Rule(kind="risk", value=0.3)})
    rows = judge({"m": held}, terms=terms)
    for name in ("ppv", "npv", "net_benefit", "calibration_intercept", "auprc"):
        assert "not transferable" in only(rows, metric=name).note
    for name in ("auroc", "sensitivity", "specificity", "calibration_slope"):
        assert "not transferable" not in only(rows, metric=name).note
    reweighted = judge({"m": held}, terms=replace(terms, target_prevalence={"f0": 0.1}))
    ppv = only(reweighted, metric="ppv")
    assert ppv.prevalence == pytest.approx(0.1)
    sensitivity, specificity = (only(reweighted, metric=name).value for name in ("sensitivity", "specificity"))
    assert ppv.value == pytest.approx(0.1 * sensitivity / (0.1 * sensitivity + 0.9 * (1 - specificity)))


def test_models_of_other_cases_are_refused():
    held = binormal(100, events=40, auroc=0.8, seed=3)
    with pytest.raises(EvaluationError, match=r"differ in 1 \(case, repeat\) rows"):
        judge({"fused": held, "other": held.rows(np.arange(99))})
    with pytest.raises(EvaluationError, match="disagree on what was recorded"):
        judge({"fused": held, "other": replace(held, truth=~held.truth)})
    with pytest.raises(EvaluationError, match="unknown metric 'accuracy'"):
        judge({"fused": held}, metrics=["accuracy"])
    with pytest.raises(EvaluationError, match="no model 'fused'"):
        judge({"a": held, "b": held})


def test_terms_have_a_fingerprint_that_any_change_changes():
    terms = Terms(rules={"f0": Rule(kind="risk", value=0.3)})
    assert terms.hash == Terms(rules={"f0": Rule(kind="risk", value=0.3)}).hash
    others = [replace(terms, primary_metric="brier"), replace(terms, rules={}), replace(terms, seed=1)]
    assert len({terms.hash, *(other.hash for other in others)}) == 4


def test_no_worse_by_a_margin():
    held = binormal(400, events=160, auroc=0.85, seed=3)
    terms = Terms(resamples=100, primary_comparator="twin")
    row = only(judge({"fused": held, "twin": held}, terms=terms), metric="auroc", comparator="twin")
    assert verdict_of_margin(row, 0.02) == "shown"
    assert verdict_of_margin(replace(row, low=-0.03), 0.02) == "not shown"
    assert verdict_of_margin(replace(row, low=None), 0.02) == "not shown"
    with pytest.raises(EvaluationError, match="above 0"):
        verdict_of_margin(row, 0.0)


def test_before_calibration_has_rows_of_its_own():
    held = binormal(400, events=160, auroc=0.8, seed=3)
    logit = np.log(held.probability / (1 - held.probability))
    raw = 1 / (1 + np.exp(-2 * logit))
    rows = judge({"m": replace(held, raw=raw)}, terms=Terms(resamples=50))
    after, before = only(rows, metric="calibration_slope"), only(rows, metric="calibration_slope_raw")
    assert before.value == pytest.approx(after.value / 2)
    assert before.low < before.value < before.high


def test_several_seeds_on_one_test_set_are_averaged():
    held = binormal(100, events=40, auroc=0.8, seed=3)
    rng = np.random.default_rng(0)
    twice = held.rows(np.tile(np.arange(100), 2))
    noisy = np.clip(twice.probability + 0.1 * rng.random((200, 1)), 0, 1)
    twice = replace(twice, probability=noisy, repeat=np.repeat([0, 1], 100))
    row = only(judge({"m": twice}, terms=Terms(resamples=100)), metric="auroc")
    areas = [roc_auc_score(held.truth[:, 0], noisy[k * 100 : k * 100 + 100, 0]) for k in range(2)]
    assert row.value == pytest.approx(np.mean(areas))
    assert (row.n, row.repeats) == (100, 2)
    assert "bootstrap" in row.method
