"""The page: what comes first, in which order, and that any browser and any paper can show it."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from attending.report import Audit, AuditShortcut, Refusal
from attending.report.record import record_of
from attending.report.report import LEFT_OUT, UNLABELLED
from attending.report.sharing import shared
from attending.report.words import DISCLAIMER, METRIC_NAMES, sets_sentence
from tests.report.evidence import report
from tests.report.reading import cells, page, text


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


def test_with_several_findings_the_lowest_subgroup_is_sought_in_all():
    seen = text(page(report(2)))
    lowest = seen.split("Lowest subgroup or site")[1][:200]
    judged = [row for row in shared(report(2)).results if row.slice and row.metric == "auroc" and row.value is not None]
    assert judged
    worst = min(judged, key=lambda row: row.value or 0.0)
    assert f"{worst.finding}, site: {worst.slice_value}" in lowest
    assert f"{worst.value:.3f}" in lowest


def test_what_is_folded_on_the_screen_is_open_on_paper():
    html = page(report())
    assert html.count("<details>") >= 2
    printed = html.split("@media print")[1].split("</style>")[0]
    # Chromium folds the content of details by content-visibility: a display of their children alone does not open them
    assert "details::details-content { content-visibility: visible;" in printed


def test_what_leaves_before_the_analysis_stands_beside_the_counts():
    one = report()
    reported = (
        Refusal(reason="left out by --where site = 'a'", count=24, step=LEFT_OUT),
        Refusal(reason="no known label: took no part", count=1, what="cases", step=UNLABELLED),
    )
    head = text(page(replace(one, flow=replace(one.flow, reported=reported)))).split("Audit")[0]
    assert "3 rows refused 24 rows left out 1 case unlabelled" in head
    assert "rows left out" not in text(page(one)).split("Audit")[0]


def test_auprc_names_the_prevalence_and_what_does_not_transfer_says_so():
    html = page(report())
    prevalence = next(row.prevalence for row in report().results if row.metric == "auprc" and row.model == "fused")
    assert f"AUPRC<small>best 1; the prevalence {prevalence:.3f} is chance</small>" in html
    assert html.count("<small>not transferable</small>") == 4  # PPV, NPV, flagged per 100, net benefit
    assert "Absolute probabilities are not transferable: the sampling is convenience." in html
    cohort = replace(report(), question=replace(report().question, sampling="cohort"))
    assert "Absolute probabilities" not in page(cohort)


def test_what_shortcuts_reach_stands_below_the_findings():
    one = AuditShortcut(
        check="T6 origins",
        input='the column "ward"',
        finding="fever",
        auroc=0.812,
        low=0.604,
        high=0.931,
        is_alarm=True,
        n_asked=3,
    )
    silent = replace(one, input="the rims of the films", auroc=0.52, low=0.44, high=0.61, is_alarm=False, n_asked=1)
    audit = Audit(verdict="1 warning", shortcuts=(one, silent, replace(one, finding="rash", n_asked=0)))
    section = page(replace(report(), audit=audit)).split('id="audit"')[1].split("</section>")[0]
    assert cells(section, "the ") == [
        'the column "ward" fever of 3 asked 0.81 0.60–0.93 T6 origins warns',
        "the rims of the films fever 0.52 0.44–0.61 T6 origins",
    ]
    assert record_of(replace(report(), audit=audit))["audit"]["shortcuts"][2]["finding"] == "rash"


def test_conformal_sets_promise_what_the_protocol_allows():
    assert "guaranteed are 80 of 100 with the models of those folds" in sets_sentence(report())
    split = replace(report(), conduct=replace(report().conduct, kind="split"))
    assert sets_sentence(split).endswith("not for this patient, on average over calibration parts.")
    assert "it does not say" in sets_sentence(replace(report(), conduct=replace(report().conduct, kind="foreign")))
