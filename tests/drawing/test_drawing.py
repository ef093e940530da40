"""Pictures: well formed, escaped, to scale, and silent about what is hidden."""

import re
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attending.drawing import (
    ForestRow,
    PatternRow,
    calibration_plot,
    coverage_plot,
    decision_plot,
    forest_plot,
    pattern_bars,
)
from attending.drawing.forest import shortened
from attending.drawing.frame import Scale, number, ticks
from attending.drawing.svg import element, picture, words
from attending.evaluation.curve import CalibrationCurve, DecisionCurve, RiskCoverage

NONE = np.zeros(0)
EMPTY = CalibrationCurve(predicted=NONE, observed=NONE, low=NONE, high=NONE, note="no smooth curve: few")
LINE = np.linspace(0.1, 0.9, 9)
IDEAL = CalibrationCurve(predicted=LINE, observed=LINE, low=LINE - 0.05, high=LINE + 0.05)
EDGES = [0.0, 0.25, 0.5, 0.75, 1.0]


def parsed(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(svg)


def tags(svg: str, tag: str) -> list[ElementTree.Element]:
    return parsed(svg).findall(f".//{{http://www.w3.org/2000/svg}}{tag}")


def said(svg: str) -> list[str]:
    return [one.text or "" for one in tags(svg, "text")]


def test_text_and_attributes_are_escaped():
    assert words(1, 2, "<b>&") == '<text x="1" y="2">&lt;b&gt;&amp;</text>'
    assert element("g", data='"<') == '<g data="&quot;&lt;"/>'
    assert element("line", stroke_width=1.0, fill=None) == '<line stroke-width="1"/>'


def test_a_picture_is_named_for_those_who_cannot_see_it():
    root = parsed(picture(10, 20, title="A & B", description="what it shows"))
    assert root.get("role") == "img"
    assert root.get("aria-label") == "A & B. what it shows"
    assert root.get("viewBox") == "0 0 10 20"


def test_a_scale_by_hand():
    scale = Scale(low=0.0, high=2.0, start=100.0, stop=0.0)
    assert [scale(value) for value in (0.0, 0.5, 2.0)] == [100.0, 75.0, 0.0]
    assert scale.held(9.0) == 0.0


@given(st.floats(-50, 50), st.floats(0.01, 100), st.integers(2, 9))
def test_ticks_are_round_inside_and_evenly_spaced(low: float, width: float, about: int):
    marks = ticks(low, low + width, about)
    steps = np.diff(marks)
    assert all(low - 1e-6 <= mark <= low + width + 1e-6 for mark in marks)
    assert len(marks) <= about + 2
    if len(steps):
        step = float(steps[0])
        assert np.allclose(steps, step)
        leading = step / 10.0 ** np.floor(np.log10(step) + 1e-9)
        assert min(abs(leading - good) for good in (1.0, 2.0, 5.0, 10.0)) < 1e-6


@pytest.mark.parametrize(
    ("value", "step", "told"), [(0.5, 0.1, "0.5"), (-0.05, 0.05, "−0.05"), (20, 20, "20"), (0.3, 0.02, "0.30")]
)
def test_ticks_have_the_decimals_of_their_step(value: float, step: float, told: str):
    assert number(value, step) == told


def test_the_calibration_curve_lies_where_the_numbers_say():
    svg = calibration_plot(IDEAL, edges=EDGES, events=[9, 9, 9, 9], others=[9, 9, 9, 9], title="t")
    lines = [one.get("d") or "" for one in tags(svg, "path")]
    points = np.array(re.findall(r"(-?[\d.]+) (-?[\d.]+)", lines[-1]), dtype=float)
    ideal = next(one for one in tags(svg, "line") if one.get("stroke-dasharray") == "4 4")
    x1, y1, x2, y2 = (float(ideal.get(name) or "nan") for name in ("x1", "y1", "x2", "y2"))
    on_line = y1 + (points[:, 0] - x1) * (y2 - y1) / (x2 - x1)
    np.testing.assert_allclose(points[:, 1], on_line, atol=0.02)


def test_without_a_curve_the_line_of_slope_and_intercept_is_drawn_dashed():
    lined = replace(EMPTY, line=(1.0, 0.0))
    svg = calibration_plot(lined, edges=EDGES, events=[9] * 4, others=[9] * 4, title="t")
    (drawn,) = tags(svg, "path")
    assert drawn.get("stroke-dasharray")
    assert "too few events" in (parsed(svg).get("aria-label") or "")
    assert not tags(calibration_plot(EMPTY, edges=EDGES, events=[9] * 4, others=[9] * 4, title="t"), "path")


def test_before_recalibration_is_drawn_dotted_beneath_and_named():
    plain = calibration_plot(IDEAL, edges=EDGES, events=[9] * 4, others=[9] * 4, title="t")
    both = calibration_plot(
        IDEAL, edges=EDGES, events=[9] * 4, others=[9] * 4, before=replace(EMPTY, line=(0.5, 0.0)), title="t"
    )
    before, *after = tags(both, "path")
    assert [one.get("d") for one in after] == [one.get("d") for one in tags(plain, "path")]
    assert before.get("stroke-dasharray") == "2 3"
    assert "dotted: before recalibration" in said(both)
    assert "dotted: before recalibration" not in said(plain)


def test_risk_against_coverage_lies_where_the_numbers_say():
    curve = RiskCoverage(coverage=np.array([0.5, 1.0]), brier=np.array([0.1, 0.2]))
    svg = coverage_plot({"m": curve, "unnamed": curve}, names={"m": "Model <m>"}, title="t")
    (drawn,) = tags(svg, "path")
    (x1, y1), (x2, y2) = (map(float, one) for one in re.findall(r"(-?[\d.]+) (-?[\d.]+)", drawn.get("d") or ""))
    floor = max(float(one.get("y1") or 0) for one in tags(svg, "line"))
    left = min(float(one.get("x1") or 0) for one in tags(svg, "line"))
    assert (floor - y2) / (floor - y1) == pytest.approx(2.0, abs=0.01)
    assert (x2 - left) / (x1 - left) == pytest.approx(2.0, abs=0.01)
    assert "Model <m>" in said(svg)


def test_a_hidden_count_is_a_stub_of_one_height_and_says_no_number():
    few = calibration_plot(EMPTY, edges=EDGES, events=[None, 40, None, 0], others=[9] * 4, title="t")
    stubs = [one for one in tags(few, "rect") if one.get("stroke-dasharray")]
    assert len({one.get("height") for one in stubs}) == 1
    assert [one[0].text for one in stubs] == ["risk 0.00 to 0.25: under 5, hidden", "risk 0.50 to 0.75: under 5, hidden"]


def test_bars_are_to_scale():
    svg = calibration_plot(EMPTY, edges=EDGES, events=[10, 20, 40, 0], others=[0, 0, 0, 0], title="t")
    heights = [float(one.get("height") or 0) for one in tags(svg, "rect")]
    np.testing.assert_allclose(np.array(heights) / heights[2], [0.25, 0.5, 1.0], atol=0.01)


def test_a_forest_puts_values_in_order_and_arrows_where_an_interval_leaves():
    rows = [
        ForestRow(label="a", value=0.6, low=0.5, high=0.7, told="0.6"),
        ForestRow(label="b", value=0.8, low=0.4, high=1.2, told="0.8", is_lead=True),
        ForestRow(label="c", told="too few to say"),
    ]
    svg = forest_plot(rows, title="t", axis="AUROC", reference=0.5, bounds=(0.45, 1.0))
    first, second = (float(one.get("x") or 0) for one in tags(svg, "rect"))
    assert first < second
    assert len(tags(svg, "path")) == 2
    assert "too few to say" in said(svg)


def test_a_decision_curve_has_a_line_each_and_names_them():
    thresholds = np.linspace(0.05, 0.5, 10)
    curve = DecisionCurve(
        thresholds=thresholds,
        models={"fused": 0.3 - 0.2 * thresholds, "other": 0.2 - 0.2 * thresholds, "unnamed": thresholds},
        treat_all=0.3 - thresholds,
    )
    svg = decision_plot(curve, names={"fused": "Fused <model>", "other": "Other"}, title="t")
    assert len(tags(svg, "path")) == 3
    assert {"Fused <model>", "Other", "Act on everybody", "Act on nobody"} <= set(said(svg))


def test_patterns_have_a_dot_per_kind_and_hide_what_is_hidden():
    rows = [
        PatternRow(present=(True, False), n=50, told="50 cases"),
        PatternRow(present=(), n=None, told="under 5 cases", label="3 other patterns, pooled"),
    ]
    svg = pattern_bars(rows, kinds=("Notes", "Films"), title="t")
    assert [one[0].text for one in tags(svg, "circle")] == ["Notes there", "Films absent"]
    full, hidden = (float(one.get("width") or 0) for one in tags(svg, "rect"))
    assert hidden < full
    assert "3 other patterns, pooled" in said(svg)


def test_every_colour_can_follow_the_page_into_the_dark():
    svg = forest_plot([ForestRow(label="a", value=0.6, low=0.5, high=0.7)], title="t", axis="AUROC", reference=0.5)
    colours = re.findall(r'(?:fill|stroke)="([^"]+)"', svg)
    assert colours
    assert all(colour == "none" or colour.startswith("var(--") for colour in colours)


def test_long_labels_end_in_an_ellipsis():
    assert shortened("short", 10) == "short"
    assert shortened("a very long label", 10) == "a very lo…"
