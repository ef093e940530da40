"""The plan's widths agree with simulated ones, and it says what will be too small to say."""

import numpy as np
import pytest
from statsmodels.stats.proportion import proportion_confint

from attending.evaluation.catalog import METRICS
from attending.evaluation.metric import point, sample
from attending.evaluation.plan import area_error, expected_widths, too_small_slices
from tests.evaluation.cohorts import binormal


def found(lines, quantity, guess):
    (line,) = [line for line in lines if line.quantity == quantity and line.guess == guess]
    return line


def test_errors_agree_with_simulation():
    drawn = {"auroc": [], "calibration_slope": [], "calibration_intercept": []}
    for k in range(400):
        held = binormal(400, events=100, auroc=0.8, seed=k)
        rows = sample(probability=held.probability[:, 0], truth=held.truth[:, 0])
        for name, values in drawn.items():
            values.append(point(METRICS[name], rows))
    assert area_error(0.8, 100, 300) == pytest.approx(np.std(drawn["auroc"]), rel=0.15)
    lines = expected_widths("ill", events=100, others=300)
    for name in ("calibration_slope", "calibration_intercept"):
        assert found(lines, name, 0.8).width == pytest.approx(2 * 1.96 * np.std(drawn[name]), rel=0.15)


def test_shares_are_exact():
    low, high = proportion_confint(95, 100, method="beta")
    assert found(expected_widths("ill", events=100, others=300), "sensitivity", 0.95).width == pytest.approx(high - low)


def test_more_patients_narrower_and_folds_wider():
    few, many = (expected_widths("ill", events=n, others=3 * n, folds=5) for n in (60, 240))
    assert found(many, "auroc", 0.8).width < 0.6 * found(few, "auroc", 0.8).width
    assert found(many, "auroc_difference", 0.8).width < found(few, "auroc_difference", 0.8).width
    alone = expected_widths("ill", events=60, others=180)
    assert found(few, "auroc", 0.8).width > found(alone, "auroc", 0.8).width
    # A fifth of the patients in test is twice as wide, and more.
    fifth = expected_widths("ill", events=240, others=720, test_share=0.2)
    assert found(fifth, "auroc", 0.8).width > 2.0 * found(expected_widths("ill", events=240, others=720), "auroc", 0.8).width


def test_too_few_say_so():
    (line,) = expected_widths("ill", events=20, others=100, test_share=0.2)
    assert line.width is None
    assert "4 patients with" in line.note
    assert any(line.quantity == "calibration_curve" for line in expected_widths("ill", events=60, others=600))
    assert too_small_slices({"A": (9, 100), "B": (30, 30), "C": (40, 2)}) == ("A", "C")
    with pytest.raises(ValueError, match="0 or more"):
        expected_widths("ill", events=-1, others=3)
