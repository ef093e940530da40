"""From cases to numbers: fields by hand, films by what they must not depend on, circumstances by what they may see."""

from dataclasses import replace

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier

from attending.baselines.baseline import patient_weights, prevalence
from attending.baselines.circumstances import circumstances
from attending.baselines.fields import learn_fields
from attending.baselines.film import CELLS, ORIENTATIONS, THUMBNAIL, scan_features
from attending.baselines.ridge import INNER_FOLDS, _folds
from attending.baselines.trees import MOST_BINS, Binned
from attending.case import Censoring, Demographics, Evidence, Lab, Scan, Sign, Unit
from attending.diagnosis import Task
from tests.baselines.drawn import draw

KINDS: tuple[type[Evidence], ...] = (Lab, Sign, Demographics)
YES_NO = ("no", "yes")


def hold(*evidence: Evidence):
    return replace(draw(1)[0], evidence=evidence)


def test_fields_worked_by_hand():
    cases = [
        hold(Lab(code="crp", value=4.0), Sign(name="pain", value="yes", levels=YES_NO), Demographics(age_years=30.0, sex="f")),
        hold(Lab(code="crp", value=8.0), Sign(name="pain", value="yes", levels=YES_NO)),
        hold(Lab(code="crp", value=5.0), Demographics(age_years=50.0)),
    ]
    fields = learn_fields(cases, kinds=KINDS, visible=frozenset({"age_years"}))
    assert [column.key for column in fields.columns] == ["age_years", "crp [unstated]", "pain", "sex"]
    found = fields.values([*cases, hold()])
    nan = np.nan
    expected = [[30, 4, 1, 0], [nan, 8, 1, 0], [50, 5, 1, 0], [nan, 5, 1, 0]]  # median CRP 5, most children have pain
    np.testing.assert_array_equal(found, np.array(expected, dtype=float))


def test_repeated_values_give_latest_lowest_and_highest():
    series = (Lab(code="crp", value=9.0, at=-2.0), Lab(code="crp", value=3.0, at=-9.0), Lab(code="crp", value=5.0, at=-1.0))
    fields = learn_fields([hold(*series)], kinds=KINDS, visible=frozenset())
    assert [column.key for column in fields.columns] == [f"crp [unstated]{end}" for end in ("", " (lowest)", " (highest)")]
    np.testing.assert_array_equal(fields.values([hold(*series)]), [[5.0, 3.0, 9.0]])


def test_two_units_are_two_columns():
    cases = [
        hold(Lab(code="glucose", value=5.0, unit=Unit("mmol/l"))),
        hold(Lab(code="glucose", value=90.0, unit=Unit("mg/dl"))),
    ]
    fields = learn_fields(cases, kinds=KINDS, visible=frozenset({"glucose"}))
    np.testing.assert_array_equal(np.isnan(fields.values(cases)), [[True, False], [False, True]])


def test_a_censored_value_lies_just_beyond_its_limit():
    cases = [hold(Lab(code="crp", value=5.0, censoring=censoring)) for censoring in Censoring]
    none, below, above = learn_fields(cases, kinds=KINDS, visible=frozenset()).values(cases)[:, 0]
    assert below < none < above
    assert above - below < 0.001


def test_a_level_never_met_is_a_blank():
    fields = learn_fields([hold(Sign(name="pain", value="yes", levels=YES_NO))], kinds=KINDS, visible=frozenset({"pain"}))
    assert np.isnan(fields.values([hold(Sign(name="pain", value="radiating", levels=("radiating",)))])).all()


def test_the_prevalence_counts_patients():
    """Patient a: 3 cases, all ill. Patient b: 1 case, well. Prevalence 1/2, not 3/4."""
    a, b = draw(2)
    cases = [replace(a, id=f"a{i}", patient="a", truth={"fever": True}) for i in range(3)] + [
        replace(b, patient="b", truth={"fever": False})
    ]
    np.testing.assert_allclose(patient_weights(cases), [1 / 3, 1 / 3, 1 / 3, 1])
    assert prevalence(cases, Task(findings=("fever",)))[0] == 0.5
    alone = [replace(b, truth={"fever": False})]
    assert prevalence(alone, Task(findings=("fever",)))[0] == 0.25  # half a patient in two


def test_film_features_do_not_change_with_brightness_contrast_or_size():
    random = np.random.default_rng(0)
    picture = np.kron(random.random((16, 16)), np.ones((8, 8)))
    features = scan_features(picture)
    assert features.shape == (THUMBNAIL**2 + CELLS**2 * ORIENTATIONS,)
    np.testing.assert_allclose(scan_features(picture * 0.3 + 0.2), features, atol=1e-4)
    np.testing.assert_allclose(scan_features(np.kron(picture, np.ones((2, 2)))), features, atol=1e-4)


def test_edges_fall_into_the_orientation_across_them():
    upright = np.tile((np.arange(64) // 8 % 2).astype(float), (64, 1))
    for picture, expected in ((upright, 0), (upright.T, ORIENTATIONS // 2)):
        histogram = scan_features(picture)[THUMBNAIL**2 :].reshape(-1, ORIENTATIONS).sum(axis=0)
        assert histogram.argmax() == expected
        assert histogram[expected] > 0.99 * histogram.sum()


def test_circumstances_are_names_never_values():
    case = hold(
        Lab(code="crp", value=1.0), Lab(code="crp", value=2.0), Scan(pixels=np.zeros((4, 4)), view="AP"), Demographics(sex="f")
    )
    assert circumstances(case) == {"Lab crp", "Lab crp ×2", "Scan image", "view AP", "sex", f"site {case.site}"}


def test_ridge_folds_keep_groups_whole():
    random = np.random.default_rng(3)
    groups = [f"g{random.integers(12)}" for _ in range(70)]
    y = (random.random(70) < 0.3).astype(int)
    folds = _folds(groups, y, seed=0)
    assert set(folds) == set(range(INNER_FOLDS))
    for group in set(groups):
        assert len({fold for fold, name in zip(folds, groups, strict=True) if name == group}) == 1


def test_binning_keeps_order_and_what_is_missing_and_leaves_few_values_alone():
    rng = np.random.default_rng(0)
    many, few = rng.lognormal(size=2000), rng.integers(0, 9, 2000) / 2.0
    many[::7] = np.nan
    values = np.stack([many, few], axis=1)
    binned = Binned(values).features(values)
    np.testing.assert_array_equal(binned[:, 1], few)
    np.testing.assert_array_equal(np.isnan(binned[:, 0]), np.isnan(many))
    order = np.argsort(many[~np.isnan(many)])
    assert (np.diff(binned[~np.isnan(many), 0][order]) >= 0).all()
    counts = np.unique(binned[~np.isnan(many), 0], return_counts=True)[1]
    assert len(counts) == MOST_BINS
    assert counts.max() - counts.min() <= 2
    beyond = Binned(values).features(np.array([[-5.0, -5.0], [1e9, 1e9]]))
    np.testing.assert_array_equal(beyond, [[0.0, -5.0], [MOST_BINS - 1, 1e9]])


def test_trees_on_bins_say_what_trees_on_values_say():
    """Of rows without weights, histogram boosting bins by the same rule: the same bits."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(1500, 3))
    truth = rng.random(1500) < 1 / (1 + np.exp(-2 * values[:, 0] * values[:, 1]))
    settings = {"max_iter": 40, "max_leaf_nodes": 6, "early_stopping": False, "random_state": 0}
    encoding = Binned(values[:1000])
    on_values = HistGradientBoostingClassifier(**settings).fit(values[:1000], truth[:1000])
    on_bins = HistGradientBoostingClassifier(**settings).fit(encoding.features(values[:1000]), truth[:1000])
    said = on_values.predict_proba(values[1000:])[:, 1], on_bins.predict_proba(encoding.features(values[1000:]))[:, 1]
    np.testing.assert_array_equal(*said)
