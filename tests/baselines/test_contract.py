"""What every baseline of the catalog must do."""

import warnings
from dataclasses import replace

import numpy as np
import pytest

from attending.baselines import CATALOG, BaselineConfig, BaselineError, forced_baselines
from attending.baselines.embeddings import EmbeddingsConfig
from attending.baselines.film import FilmConfig
from attending.baselines.late_fusion import LateFusionConfig
from attending.baselines.notes import NotesConfig
from attending.baselines.trees import BoostedTreesConfig, RandomForestConfig
from attending.case import Case, Lab
from attending.diagnosis import Task
from tests.baselines.drawn import TASK, auroc, draw

KINDS = Task(findings=("cold", "flu", "none"), exclusive=True)
BOTH = Task(findings=("fever", "rash"))
VISIBLE = frozenset({"crp", "cough"})

QUICK: dict[str, BaselineConfig] = {
    **CATALOG,
    "boosted-trees": BoostedTreesConfig(bags=2, rounds=20),
    "random-forest": RandomForestConfig(trees=20),
    "late-fusion": LateFusionConfig(members=(RandomForestConfig(trees=10), NotesConfig(), FilmConfig(), EmbeddingsConfig())),
}
"""The catalog with fewer trees, so that the sweep takes seconds."""

every_baseline = pytest.mark.parametrize("config", QUICK.values(), ids=QUICK.keys())


def fit(config: BaselineConfig, cases: list[Case], task: Task = TASK, seed: int = 0) -> np.ndarray:
    fitted = config.fit(cases, task=task, visible=VISIBLE, seed=seed)
    return fitted.probability(cases)


@every_baseline
def test_probabilities_have_the_shape_of_cases_and_findings(config):
    cases = draw(60)
    fitted = config.fit(cases, task=TASK, visible=VISIBLE, seed=0)
    found = fitted.probability(draw(17, seed=5))
    assert found.shape == (17, 1)
    assert found.dtype == np.float64
    assert ((found > 0) & (found < 1)).all()
    assert fitted.probability([]).shape == (0, 1)


@every_baseline
def test_same_seed_same_bits(config):
    cases = draw(60)
    assert np.array_equal(fit(config, cases, seed=3), fit(config, cases, seed=3))


def _only(kind: str) -> dict[str, bool]:
    return {name: name == kind for name in KINDS.findings}


@every_baseline
def test_exclusive_findings_sum_to_one_also_where_a_class_was_never_met(config):
    kinds = np.random.default_rng(1).choice(KINDS.findings, size=60, p=[0.5, 0.3, 0.2])
    cases = [replace(case, truth=_only(kind)) for case, kind in zip(draw(60), kinds, strict=True)]
    two = [replace(case, truth=_only(KINDS.findings[i % 2])) for i, case in enumerate(draw(40))]
    for group in (cases, two):
        found = fit(config, group, task=KINDS)
        np.testing.assert_allclose(found.sum(axis=1), 1.0, atol=1e-9)
        assert (found > 0).all()


@every_baseline
def test_one_class_only_gives_a_constant(config):
    cases = [replace(case, truth={"fever": False}) for case in draw(30)]
    found = fit(config, cases)
    np.testing.assert_allclose(found, found[0, 0])
    assert 0 < found[0, 0] < 0.05


@every_baseline
def test_a_finding_known_nowhere_gets_one_half_and_leaves_the_other_alone(config):
    cases = draw(60)
    found = fit(config, cases, task=BOTH)
    np.testing.assert_allclose(found[:, 1], 0.5)
    np.testing.assert_allclose(found[:, 0], fit(config, cases)[:, 0], rtol=1e-6)


@every_baseline
def test_unknown_truth_is_left_out_of_the_fit(config):
    cases = [replace(case, truth={"fever": case.truth["fever"], "rash": i % 3 == 0}) for i, case in enumerate(draw(60))]
    hidden = [replace(case, truth={"fever": case.truth["fever"]}) if i % 2 else case for i, case in enumerate(cases)]
    known = [case for case in hidden if "rash" in case.truth]
    if config.name not in ("prevalence", "boosted-trees", "random-forest"):
        # vocabularies, scalings and folds are learned from all cases, so only these three can be compared number by number
        assert np.isfinite(fit(config, hidden, task=BOTH)).all()
        return
    rash = config.fit(hidden, task=BOTH, visible=VISIBLE, seed=0).probability(cases)[:, 1]
    alone = config.fit(known, task=Task(findings=("rash",)), visible=VISIBLE, seed=0).probability(cases)[:, 0]
    np.testing.assert_allclose(rash, alone, rtol=1e-12)


@every_baseline
def test_blanking_the_truth_of_a_case_changes_no_answer(config):
    fitted = config.fit(draw(60), task=TASK, visible=VISIBLE, seed=0)
    fresh = draw(20, seed=9)
    blanked = [replace(case, truth={}) for case in fresh]
    assert np.array_equal(fitted.probability(fresh), fitted.probability(blanked))


@pytest.mark.parametrize("config", [c for c in CATALOG.values() if c.name != "site-and-missingness"], ids=lambda c: c.name)
def test_blanking_the_site_changes_no_answer(config):
    fitted = config.fit(draw(60), task=TASK, visible=VISIBLE, seed=0)
    fresh = draw(20, seed=9)
    assert np.array_equal(fitted.probability(fresh), fitted.probability([replace(case, site=None) for case in fresh]))


@pytest.mark.parametrize(
    "name", [name for name in CATALOG if name not in ("prevalence", "site-and-missingness", "late-fusion")]
)
def test_a_case_without_its_modality_gets_the_prevalence(name):
    cases = draw(80)
    bare = replace(cases[0], evidence=())
    fitted = CATALOG[name].fit(cases, task=TASK, visible=frozenset(), seed=0)
    prevalence = CATALOG["prevalence"].fit(cases, task=TASK, visible=frozenset(), seed=0).probability(cases)[0, 0]
    assert fitted.probability([bare])[0, 0] == prevalence == np.mean([case.truth["fever"] for case in cases])


@every_baseline
def test_a_patient_seen_ten_times_counts_once(config):
    """Copying one patient's case tenfold leaves the weighted prevalence where it was."""
    cases = draw(40)
    copies = [replace(cases[0], id=f"copy{i}") for i in range(9)]
    plain, heavy = (CATALOG["prevalence"].fit(group, task=TASK, visible=VISIBLE, seed=0) for group in (cases, cases + copies))
    np.testing.assert_allclose(plain.probability(cases), heavy.probability(cases), rtol=1e-12)
    assert np.isfinite(fit(config, cases + copies)).all()


@every_baseline
def test_no_case_is_refused_in_words(config):
    if config.name == "prevalence":
        assert fit(config, draw(1)).shape == (1, 1)
        return
    with pytest.raises(BaselineError, match="fewer folds"):
        config.fit([], task=TASK, visible=VISIBLE, seed=0)


@pytest.mark.parametrize("name", ["boosted-trees", "random-forest", "logistic-regression", "notes", "film", "late-fusion"])
def test_each_modality_finds_what_was_planted_in_it(name):
    train, fresh = draw(400, absent=0.0), draw(400, seed=1, absent=0.0)
    fitted = CATALOG[name].fit(train, task=TASK, visible=frozenset(), seed=0)
    truth = np.array([case.truth["fever"] for case in fresh])
    assert auroc(fitted.probability(fresh)[:, 0], truth) > 0.65


def test_missingness_is_invisible_unless_it_is_declared():
    """CRP is measured in exactly the ill, and its value says nothing."""
    cases = []
    for i, case in enumerate(draw(200, absent=0.0)):
        rest = tuple(evidence for evidence in case.evidence if not isinstance(evidence, Lab))
        lab = (Lab(code="crp", value=1.0 + (i % 7)),) if case.truth["fever"] else ()
        cases.append(replace(case, evidence=lab + rest[:1]))
    truth = np.array([case.truth["fever"] for case in cases])
    for name in ("boosted-trees", "random-forest", "logistic-regression"):
        seen = CATALOG[name].fit(cases, task=TASK, visible=frozenset({"crp"}), seed=0).probability(cases)[:, 0]
        assert auroc(seen, truth) > 0.95
        values = np.array([next((lab.value for lab in case.of(Lab)), 4.0) for case in cases])
        denied = CATALOG[name].fit(cases, task=TASK, visible=frozenset(), seed=0)
        filled = [
            replace(case, evidence=(Lab(code="crp", value=value), *[e for e in case.evidence if not isinstance(e, Lab)]))
            for case, value in zip(cases, values, strict=True)
        ]
        assert np.array_equal(denied.probability(cases), denied.probability(filled))
    gaps = CATALOG["site-and-missingness"].fit(cases, task=TASK, visible=frozenset(), seed=0).probability(cases)[:, 0]
    assert auroc(gaps, truth) > 0.95


def test_site_and_missingness_reads_no_value():
    cases = draw(80)
    fitted = CATALOG["site-and-missingness"].fit(cases, task=TASK, visible=frozenset(), seed=0)
    other = [
        replace(case, evidence=tuple(replace(e, value=e.value + 100.0) if isinstance(e, Lab) else e for e in case.evidence))
        for case in cases
    ]
    assert np.array_equal(fitted.probability(cases), fitted.probability(other))


def test_forced_baselines_are_those_with_something_to_see():
    without_film = [replace(case, evidence=tuple(e for e in case.evidence if not hasattr(e, "pixels"))) for case in draw(30)]
    names = [config.name for config in forced_baselines(without_film)]
    assert "film" not in names
    assert "embeddings" not in names
    assert {"prevalence", "site-and-missingness", "demographics", "boosted-trees", "notes", "late-fusion"} <= set(names)
    only_numbers = [replace(case, evidence=(Lab(code="crp", value=1.0),)) for case in draw(5)]
    assert "late-fusion" not in [config.name for config in forced_baselines(only_numbers)]


def test_fits_raise_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for config in QUICK.values():
            fit(config, draw(50, seed=4, visits=3))
