"""The report: what comes first, which words it never uses, what it never gives away, and that programs can read it."""

import json
import re
from dataclasses import fields, replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

from attending.evaluation import Result
from attending.report import Audit, AuditFinding, Pattern, Report, ReportError, write_report
from attending.report.page import page_of
from attending.report.record import record_of
from attending.report.sharing import shared
from attending.report.words import DISCLAIMER, METRIC_NAMES, with_interval
from tests.report.evidence import SMALL_SITE, N, report, with_results

FORBIDDEN = (
    r"accura(?:cy|te)",
    r"\bdetect(?:s|ed|ion)?\b(?! limit)",
    r"diagnosis:",
    r"rul(?:e|es|ed|ing) out",
    r"\bsafe(?:ly|ty)?\b",
    r"\bprov(?:e|es|en)\b",
    r"state of the art",
    r"clinically (?:proven|validated)",
    r"\bequivalent\b",
    r"\bas good as\b(?! it: a difference is not shown)",
    "[✓✔✅☑]",
)


def page(one: Report) -> str:
    return page_of(shared(one))


def text(html: str) -> str:
    """What a reader sees, tags and styles removed."""
    seen = re.sub(r"(?s)<style>.*?</style>", " ", html)
    seen = re.sub(r"<[^>]+>", " ", seen)
    for entity, sign in (("&nbsp;", " "), ("\u00a0", " "), ("&#34;", '"'), ("&#39;", "'"), ("&lt;", "<"), ("&gt;", ">")):
        seen = seen.replace(entity, sign)
    return re.sub(r"\s+", " ", seen)


@pytest.mark.parametrize("n_findings", [1, 2])
def test_the_first_screen_tells_who_and_how_before_any_figure(n_findings: int):
    seen = text(page(report(n_findings))).split(" evidence report ", 1)[1]
    order = [
        DISCLAIMER,
        "adults drawn by a generator",
        "on arrival",
        'the estimated probability of the recorded label condition = "fever"',
        "reference standard: the generator's own truth",
        "rows read",
        "240 patients",
        "3 rows refused",
        "Audit Not run",
        "Waivers None",
        "Nested cross-validation, 3 folds × 2 repeats",
        "Outer results opened once",
        "AUROC",
        "Fused model",
        "Best baseline",
        "chosen in inner folds: boosted trees in 6 of 6",
        "Site and missingness alone",
        "Age and sex alone",
        "Fused model minus best baseline, AUROC",
        "Lowest subgroup or site",
        "May not be concluded",
        "Flow and refusals",
    ]
    places = [seen.find(words) for words in order]
    assert -1 not in places, order[places.index(-1)]
    assert places == sorted(places)


@pytest.mark.parametrize("n_findings", [1, 2])
@pytest.mark.parametrize("pattern", FORBIDDEN)
def test_forbidden_words_never_occur(n_findings: int, pattern: str):
    html = page(report(n_findings))
    found = re.search(pattern, text(html) + " ".join(re.findall(r"<title>(.*?)</title>", html)), re.IGNORECASE)
    assert found is None, found


def test_a_percent_sign_stands_only_beside_an_interval():
    seen = text(page(report(2)))
    assert "%" in seen
    assert re.sub(r"\b95 % interval", "", seen).count("%") == 0


def test_the_header_and_the_foot_say_what_it_is_not():
    html = page(report())
    assert DISCLAIMER in html.split("</header>")[0]
    assert DISCLAIMER in html.split("<footer>")[1]


def test_the_page_needs_no_network_and_no_script():
    html = page(report(2))
    assert "<script" not in html
    assert not re.search(r"\b(?:src|srcset|data)\s*=", html)
    assert not re.search(r"url\(|@import", html)
    assert set(re.findall(r"https?://[^\"'\s<)]+", html)) == {"http://www.w3.org/2000/svg"}
    assert all(link.startswith("#") for link in re.findall(r'href="([^"]*)"', html))


class Balance(HTMLParser):
    """Tags opened and not yet closed."""

    EMPTY = frozenset({"meta", "br"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.ids += [value or "" for name, value in attrs if name == "id"]
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.ids += [value or "" for name, value in attrs if name == "id"]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_every_tag_is_closed_and_every_picture_is_well_formed():
    html = page(report(2))
    parser = Balance()
    parser.feed(html)
    assert parser.open == []
    assert len(parser.ids) == len(set(parser.ids))
    for link in re.findall(r'href="#([^"]*)"', html):
        assert link in parser.ids
    pictures = re.findall(r"(?s)<svg.*?</svg>", html)
    assert len(pictures) >= 8
    for picture in pictures:
        root = ElementTree.fromstring(picture)
        assert root.get("aria-label")


def test_names_from_the_table_are_escaped():
    html = page(report())
    assert "Fever &lt;in&gt; a drawn cohort" in html
    assert "crp&lt;mg&gt;" in html
    assert "<in>" not in html
    assert "<mg>" not in html


def test_no_id_of_a_case_or_group_leaves(tmp_path: Path):
    html_path, json_path = write_report(tmp_path, report(2))
    for path in (html_path, json_path):
        written = path.read_text(encoding="utf-8")
        assert "case-id-" not in written
        assert "group-id-" not in written


def test_counts_under_five_are_hidden_with_their_neighbours(tmp_path: Path):
    """The small site has 7 cases: fewer than 5 of one class. It and a second site are hidden, the third is shown."""
    rows = json.loads(write_report(tmp_path, report())[1].read_text())["results"]
    sites = {row["slice_value"]: row for row in rows if row["slice"] == "site" and row["metric"] == "auroc"}
    assert sites[SMALL_SITE]["n"] is None
    assert sites[SMALL_SITE]["events"] is None
    assert sites[SMALL_SITE]["value"] is None
    assert sum(row["n"] is None for row in sites.values()) == 2
    assert not re.search(r"\b[1-4] (?:events|without)", sites[SMALL_SITE]["note"])


def test_rare_patterns_are_pooled_and_rare_counts_said_to_be_under_five(tmp_path: Path):
    """2 + 1 cases are still under 5, so the 37 join the pool: 40 in three patterns, of them 14 events."""
    record = json.loads(write_report(tmp_path, report())[1].read_text())
    assert record["patterns"] == [
        {"present": ["Notes", "Numbers"], "n": 200, "events": 80, "pooled": 0},
        {"present": [], "n": 40, "events": 14, "pooled": 3},
    ]
    assert "names replaced under 5" in text(page(report()))


def test_histogram_counts_under_five_are_hidden_in_both_files(tmp_path: Path):
    one = report()
    raw = [int(count) for count in one.curves[0].risk.events]
    told = json.loads(write_report(tmp_path, one)[1].read_text())["curves"][0]["risk"]["events"]
    assert any(0 < count < 5 for count in raw)
    for count, shown in zip(raw, told, strict=True):
        assert shown is None or (shown == count and not 0 < count < 5)


def test_rows_in_are_rows_used_plus_rows_reported(tmp_path: Path):
    flow = json.loads(write_report(tmp_path, report())[1].read_text())["flow"]
    assert flow["rows"] == flow["cases"] + flow["rows_refused"] == N + 3


def test_result_rows_of_the_record_are_frozen(tmp_path: Path):
    record = json.loads(write_report(tmp_path, report())[1].read_text())
    assert list(record["results"][0]) == [
        *("target", "finding", "split", "model", "metric", "value", "low", "high", "n", "events", "comparator", "slice"),
        *("slice_value", "threshold", "level", "clusters", "prevalence", "method", "protocol", "repeats", "seed"),
        *("adjusted", "note"),
    ]
    assert list(record["results"][0]) == [field.name for field in fields(Result)]
    assert len(record["results"]) == len(report().results)
    assert all(row["value"] is not None or row["note"] for row in record["results"])
    assert set(record) >= {"disclaimer", "question", "flow", "audit", "protocol", "primary", "results", "provenance", "columns"}


def test_a_number_that_is_none_is_null_not_nan():
    rows = (*report().results, replace(report().results[0], value=float("nan"), note="not a number"))
    assert record_of(replace(report(), results=rows))["results"][-1]["value"] is None


@pytest.mark.parametrize(
    ("value", "low", "high", "metric", "words"),
    [
        (0.05, 0.01, 0.09, "auroc", "better: shown"),
        (-0.05, -0.09, -0.01, "auroc", "worse: shown"),
        (0.05, -0.01, 0.11, "auroc", "a difference is not shown"),
        (0.05, None, None, "auroc", "a difference is not shown"),
        (-0.05, -0.09, -0.01, "brier", "better: shown"),
    ],
)
def test_a_difference_is_shown_only_where_its_interval_excludes_zero(value, low, high, metric, words):
    one = replace(report(), primary=replace(report().primary, metric=metric))
    seen = text(page(with_results(one, value=value, low=low, high=high)))
    verdict = seen.split("Fused model minus best baseline")[1][:140]
    assert words in verdict
    told = "is better than best baseline, or as good as it: a difference is not shown"
    assert (told in seen) == ("not shown" in words)


def test_what_may_not_be_concluded_follows_from_the_evidence():
    seen = text(page(report()))
    section = seen.split("May not be concluded")[1][:1600]
    for words in ("the sampling is convenience", "no audit was run", "another site"):
        assert words in section
    quick = replace(report(), conduct=replace(report().conduct, kind="quick"))
    assert "one exploratory split" in text(page(quick))


def test_what_the_schema_declares_heads_the_page_before_any_figure():
    one = replace(report(), warning="shows <confounding>", cautions=("label made of inputs", "differential verification"))
    head = text(page(one)).split("rows read")[0]
    assert "AUROC" not in head
    places = [head.index(words) for words in ("shows <confounding>", "label made of inputs", "differential verification")]
    assert places == sorted(places)
    assert "shows <confounding>" not in page(one)
    record = record_of(shared(one))
    assert record["warning"] == "shows <confounding>"
    assert record["cautions"] == ["label made of inputs", "differential verification"]
    assert 'class="declared"' not in page(report())


def test_scarce_evidence_is_named():
    few = (
        Pattern(present=("Notes",), n=233, known=233, events=80),
        Pattern(present=("Notes", "Numbers"), n=7, known=7, events=0),
    )
    one = replace(report(), patterns=few)
    assert "What numbers add: they are nearly absent, there in 7 of 240 cases." in text(page(one))


def test_each_opening_after_the_first_is_told():
    seen = text(page(replace(report(), conduct=replace(report().conduct, openings=4))))
    assert "opened 4 times" in seen
    assert "more optimistic" in seen


def test_an_audit_that_ran_is_told_with_its_waivers():
    audit = Audit(
        verdict="1 warning",
        findings=(AuditFinding(check="T6", level="warns", told="site alone reaches 0.7"),),
        waivers={"T2": "no times are recorded"},
    )
    seen = text(page(replace(report(), audit=audit)))
    assert "Audit 1 warning Waivers T2: no times are recorded" in seen
    assert "site alone reaches 0.7" in seen
    assert "no audit was run" not in seen


def test_what_blocks_and_was_not_waived_stands_among_what_may_not_be_concluded():
    found = (
        AuditFinding(check="T1 persons", level="blocks", told="x"),
        AuditFinding(check="T4", level="blocks, waived", told="y"),
    )
    seen = text(page(replace(report(), audit=Audit(verdict="2 blocking findings", findings=found))))
    assert "the audit found what blocks (T1 persons)" in seen
    assert "what blocks (T4)" not in seen


def test_a_metric_that_no_model_has_a_value_of_takes_no_column():
    whole = report(2)
    column = f'<th scope="col">{METRIC_NAMES["auprc"]}'
    assert page(whole).count(column) == 3

    def without(spared: str) -> str:
        rows = tuple(
            replace(row, value=None, low=None, high=None, note="not for this table")
            if row.metric == "auprc" and row.model != spared
            else row
            for row in whole.results
        )
        return page(replace(whole, results=rows))

    assert column not in without("")
    assert "AUPRC: not for this table" in text(without(""))
    assert without("best-baseline").count(column) == 3


def test_the_events_of_several_findings_stand_under_the_counts():
    seen = text(page(report(2)))
    one, two = (f"{each.finding} {each.events}" for each in report(2).flow.findings)
    assert f"240 cases used 2 findings 3 rows refused Events {one}, {two} Audit" in seen
    assert "Events" not in text(page(report(1))).partition("Audit")[0]


def test_many_subgroups_that_say_nothing_share_a_line():
    whole = report(1)
    north = [row for row in whole.results if row.slice_value == "North" and row.metric == "auroc" and row.model == "fused"]
    first = next(row for row in north if row.value is not None)
    nothing = replace(first, slice="ward", value=None, low=None, high=None, n=12, events=6, note="too small")
    silent = tuple(replace(nothing, slice_value=f"ward {at}") for at in range(5))
    seen = text(page(replace(whole, results=(*whole.results, *silent, replace(first, slice="ward", slice_value="main")))))
    assert "5 more" in seen
    assert "main" in seen
    assert "ward 0" not in seen
    few = text(page(replace(whole, results=(*whole.results, *silent[:3]))))
    assert all(f"ward {at}" in few for at in range(3))


@pytest.mark.parametrize(("declared", "told"), [("the visit", "asked at the visit:"), ("On arrival", "asked On arrival:")])
def test_a_prediction_time_reads_as_a_sentence(declared: str, told: str):
    one = report(1)
    assert told in text(page(replace(one, question=replace(one.question, prediction_time=declared))))


def test_a_lone_model_has_no_comparison_to_tell():
    alone = replace(report(), primary=replace(report().primary, comparator=None))
    assert "No comparison was declared as primary" in text(page(alone))


def test_few_events_give_a_dashed_line_instead_of_a_curve():
    html = page(report())
    assert "no smooth curve" in html.lower()
    assert "too few events for a smooth curve" in html


def test_a_report_without_results_is_refused_in_words():
    with pytest.raises(ReportError, match="judge the predictions first"):
        replace(report(), results=())


def test_the_same_report_gives_the_same_bytes(tmp_path: Path):
    first = [path.read_bytes() for path in write_report(tmp_path / "a", report())]
    second = [path.read_bytes() for path in write_report(tmp_path / "b", report())]
    assert first == second


def test_with_several_findings_the_lowest_subgroup_is_sought_in_all():
    seen = text(page(report(2)))
    lowest = seen.split("Lowest subgroup or site")[1][:200]
    judged = [row for row in shared(report(2)).results if row.slice and row.metric == "auroc" and row.value is not None]
    assert judged
    worst = min(judged, key=lambda row: row.value or 0.0)
    assert f"{worst.finding}, site: {worst.slice_value}" in lowest
    assert f"{worst.value:.3f}" in lowest


@pytest.mark.parametrize("events", [0, 3, N - 2])
def test_a_finding_with_under_five_of_a_class_tells_no_number_and_no_curve(tmp_path: Path, events: int):
    one = report()
    flow = replace(one.flow, findings=(replace(one.flow.findings[0], events=events),))
    html_path, json_path = write_report(tmp_path, replace(one, flow=flow))
    record = json.loads(json_path.read_text(encoding="utf-8"))
    assert record["flow"]["findings"][0]["events"] is None
    assert record["curves"] == []
    seen = text(html_path.read_text(encoding="utf-8"))
    assert "few events, of 240 known" in seen
    assert "240 cases with a known label, few with it" in seen


def cells(html: str, first: str) -> list[str]:
    """The rows of tables that begin with this cell, each as its words."""
    rows = [text(row).strip() for row in re.findall(r"(?s)<tr[^>]*>.*?</tr>", html)]
    return [row for row in rows if row.startswith(first)]


def whole_rows(one: Report, *metrics: str) -> list[Result]:
    held = {row.metric: row for row in shared(one).results if row.model == "fused" and not row.slice and not row.comparator}
    return [held[metric] for metric in metrics]


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


def test_what_is_folded_on_the_screen_is_open_on_paper():
    html = page(report())
    assert html.count("<details>") >= 2
    printed = html.split("@media print")[1].split("</style>")[0]
    # Chromium folds the content of details by content-visibility: a display of their children alone does not open them
    assert "details::details-content { content-visibility: visible;" in printed
