"""Pictures and tables of a finding: each curve that guidance asks for, beside the numbers it was drawn from."""

import json
import re
from dataclasses import replace
from pathlib import Path

from attending.report import write_report
from attending.report.sharing import shared
from attending.report.words import with_interval
from tests.report.evidence import SMALL_SITE, report
from tests.report.reading import cells, page, text, whole_rows


def test_few_events_give_a_dashed_line_instead_of_a_curve():
    html = page(report())
    assert "no smooth curve" in html.lower()
    assert "too few events for a smooth curve" in html


def test_every_picture_that_guidance_asks_for_is_on_the_page():
    html = page(report())
    titles = re.findall(r"<svg[^>]*?><title>(.*?)</title>", html)
    assert {
        "Calibration and spread of estimated probabilities, fever",
        "Decision curve, fever",
        "Risk against coverage, fever",
        "AUROC by model",
        "Differences in AUROC",
        "AUROC by subgroup",
        "Patterns of evidence that was there",
    } <= set(titles)
    curve = html.split("<title>Decision curve, fever</title>")[1].split("</svg>")[0]
    assert all(f">{name}<" in curve for name in ("Fused model", "Best baseline", "Act on everybody", "Act on nobody"))
    family = next(row.adjusted for row in report().results if row.adjusted)
    assert f"adjusted for looking at many ({family})" in html


def test_calibration_is_told_before_and_after_recalibration():
    html = page(report())
    for metric, name in (("calibration_slope", "Calibration slope"), ("calibration_intercept", "Calibration in the large")):
        before, after = whole_rows(report(), f"{metric}_raw", metric)
        (told,) = [row for row in cells(html, name) if row.count(".") >= 6]
        for row in (before, after):
            assert with_interval(row).replace(" (", " ").rstrip(")") in told
    assert "Dotted: before recalibration" in html
    plain = replace(report(), results=tuple(row for row in report().results if not row.metric.endswith("_raw")))
    assert "before and after recalibration" not in page(plain)


def test_the_area_under_risk_and_coverage_stands_beside_its_curve_with_its_interval(tmp_path: Path):
    (area,) = whole_rows(report(), "aurc")
    assert None not in (area.low, area.high)
    assert f"Area under this curve, fused model: {with_interval(area)}" in text(page(report()))
    _, path = write_report(tmp_path, report())
    record = json.loads(path.read_text(encoding="utf-8"))
    (written,) = [
        row for row in record["results"] if (row["metric"], row["model"], row["comparator"]) == ("aurc", "fused", None)
    ]
    assert (written["value"], written["low"], written["high"]) == (area.value, area.low, area.high)
    curve = record["curves"][0]["risk_coverage"]
    assert curve["models"]["fused"] == curve["brier"]
    assert set(curve["models"]) == {"fused", "best-baseline", "site-and-missingness", "demographics"}
    assert len(curve["coverage"]) == len(curve["brier"]) == 10


def test_each_site_stands_with_its_counts_and_what_recalibration_there_does():
    html = page(report())
    listed = html.split("<h3>Each site</h3>")[1].split("</table>")[0]
    held = [row for row in shared(report()).results if row.slice == "site" and row.model == "fused"]
    (told,) = cells(listed, "North")
    for metric in ("auroc", "calibration_intercept_before_local", "calibration_intercept_after_local"):
        (row,) = [row for row in held if (row.metric, row.slice_value) == (metric, "North")]
        assert with_interval(row).split(" ")[0] in told
    for site in (SMALL_SITE, "South"):  # the second would give the first away
        assert cells(listed, site) == [f"{site} hidden" + " too few to share" * 3]
    assert "not what a site that was never seen would show" in text(listed)
    left_out = replace(report(), conduct=replace(report().conduct, kind="site"))
    assert "Each site judged by models that never saw it" in text(page(left_out))
    nowhere = replace(report(), results=tuple(row for row in report().results if row.slice is None))
    assert "<h3>Each site</h3>" not in page(nowhere)


def test_every_figure_of_a_subgroup_stands_in_one_row():
    listed = page(report()).split("Every figure by subgroup")[1].split("</table>")[0]
    (told,) = cells(listed, "North")
    for metric in ("auroc", "brier", "calibration_slope", "calibration_intercept", "sensitivity", "specificity"):
        row = next(
            row
            for row in shared(report()).results
            if (row.metric, row.slice_value, row.model) == (metric, "North", "fused") and row.comparator is None
        )
        assert with_interval(row).split(" ")[0] in told
    assert not cells(listed, SMALL_SITE)


def test_too_few_cases_for_a_curve_leave_the_area_under_it():
    few = replace(report(), curves=tuple(replace(one, coverage={}) for one in report().curves))
    (area,) = whole_rows(report(), "aurc")
    assert f"the area under it is {with_interval(area)}, best 0" in text(page(few))
    assert "Risk against coverage" not in page(few)
