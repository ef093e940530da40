"""Late fusion: the pool agrees with scikit-learn, and an absent modality adds nothing."""

from dataclasses import replace

import numpy as np
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from attending.baselines import CATALOG
from attending.baselines.film import FilmConfig
from attending.baselines.late_fusion import LateFusionConfig, fit_pool, inner_folds
from attending.baselines.notes import NotesConfig
from attending.baselines.trees import BoostedTreesConfig
from attending.case import GroupId, Note, PatientId, Scan
from tests.baselines.drawn import TASK, auroc, draw

SMALL = LateFusionConfig(members=(BoostedTreesConfig(bags=2), NotesConfig(), FilmConfig()))


def test_a_pool_without_penalty_is_logistic_regression():
    random = np.random.default_rng(0)
    said = random.normal(size=(300, 3))
    truth = random.random(300) < expit(said @ [1.0, 0.5, 0.0] - 0.3)
    both = np.stack([np.zeros_like(said), said], axis=2)
    weight = random.random(300) + 0.5
    pool = fit_pool(
        both,
        np.zeros((300, 3), dtype=bool),
        np.stack([~truth, truth], axis=1),
        weight,
        prior=np.array([0.0, logit(0.4)]),
        ridge=1e-9,
    )
    line = LogisticRegression(C=np.inf, tol=1e-10, max_iter=5000).fit(said, truth, sample_weight=weight)
    np.testing.assert_allclose(pool.weight, line.coef_[0], atol=1e-4)
    np.testing.assert_allclose(
        pool.probability(both, np.zeros((300, 3), dtype=bool))[:, 1], line.predict_proba(said)[:, 1], atol=1e-4
    )


def test_one_class_leaves_the_pool_at_the_prior():
    pool = fit_pool(
        np.ones((1, 2, 2)),
        np.zeros((1, 2), dtype=bool),
        np.array([[False, True]]),
        np.ones(1),
        prior=np.array([0.0, logit(0.25)]),
        ridge=0.5,
    )
    found = pool.probability(np.arange(4.0).reshape(1, 2, 2), np.zeros((1, 2), dtype=bool))
    np.testing.assert_allclose(found, [[0.75, 0.25]])


def test_an_absent_modality_adds_nothing():
    """A case with only a note is answered from the prior and what the note says, whatever the film's weight is."""
    cases = draw(200)
    fitted = SMALL.fit(cases, task=TASK, visible=frozenset(), seed=0)
    only_note = replace(cases[0], evidence=(Note(text="patient reports shivering"),))
    spoken = logit(fitted.members[1].probability([only_note])[0, 0]) - fitted.centre[1, 0]
    pool = fitted.pools[0]
    expected = expit(logit(fitted.base[0]) + pool.offset[1] - pool.offset[0] + pool.weight[1] * spoken)
    np.testing.assert_allclose(fitted.probability([only_note])[0, 0], expected, rtol=1e-9)


def test_absence_is_seen_only_where_it_is_declared():
    """A film is there exactly in the ill and shows nothing."""
    grey = (Scan(pixels=np.full((8, 8), 0.5)),)
    bare = [replace(c, evidence=tuple(e for e in c.evidence if not isinstance(e, Scan))) for c in draw(240, absent=0.0)]
    cases = [replace(case, evidence=case.evidence + grey) if case.truth["fever"] else case for case in bare]
    truth = np.array([case.truth["fever"] for case in cases])
    blind = SMALL.fit(cases, task=TASK, visible=frozenset(), seed=0)
    seeing = SMALL.fit(cases, task=TASK, visible=frozenset({"image"}), seed=0).probability(cases)[:, 0]
    assert auroc(seeing, truth) > 0.98
    np.testing.assert_allclose(blind.probability(cases), blind.probability(bare), atol=0.02)


def test_two_modalities_beat_each_alone():
    train, fresh = draw(500, absent=0.0), draw(500, seed=2, absent=0.0)
    truth = np.array([case.truth["fever"] for case in fresh])
    reached = {
        name: auroc(CATALOG[name].fit(train, task=TASK, visible=frozenset(), seed=0).probability(fresh)[:, 0], truth)
        for name in ("boosted-trees", "notes", "film", "late-fusion")
    }
    assert reached["late-fusion"] > max(value for name, value in reached.items() if name != "late-fusion") + 0.02


def test_groups_stay_whole_in_inner_folds():
    cases = [replace(case, group=GroupId(f"g{i // 4}"), patient=PatientId(f"g{i // 4}")) for i, case in enumerate(draw(80))]
    folds = inner_folds(cases, TASK, n_folds=3, seed=1)
    for group in {case.group for case in cases}:
        assert len({fold for fold, case in zip(folds, cases, strict=True) if case.group == group}) == 1
    assert set(folds) == {0, 1, 2}
