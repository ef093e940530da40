"""What is hidden cannot be worked out, and nothing that names a patient leaves."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attending.report import Events, Part, Pattern, write_report
from attending.report.sharing import shared, shared_counts, shared_patterns
from tests.report.evidence import SMALL_SITE, N, report
from tests.report.reading import page, text

counts = st.lists(st.integers(0, 30), min_size=1, max_size=12)


@given(counts)
def test_no_count_from_one_to_four_is_shown_and_nothing_is_changed(numbers: list[int]):
    told = shared_counts(numbers)
    for number, shown in zip(numbers, told, strict=True):
        assert shown is None or shown == number
        assert shown is None or not 0 < shown < 5


@given(counts)
def test_the_total_gives_no_hidden_count_away_where_others_can_be_hidden(numbers: list[int]):
    told = shared_counts(numbers)
    hidden = [number for number, shown in zip(numbers, told, strict=True) if shown is None]
    others_left = any(shown for shown in told)
    if hidden and others_left:
        assert len(hidden) > 1
        assert sum(hidden) > len(hidden)


patterns = st.lists(st.tuples(st.integers(1, 40), st.integers(0, 40)), min_size=1, max_size=8)


@settings(max_examples=40, deadline=None)
@given(patterns)
def test_patterns_keep_their_total_and_show_no_small_count(drawn: list[tuple[int, int]]):
    rows = [
        Pattern(present=tuple(f"k{i}" for i in range(place)), n=n, known=n, events=min(events, n))
        for place, (n, events) in enumerate(drawn)
    ]
    told = shared_patterns(rows)
    total = sum(row.n for row in rows)
    if total >= 5:
        assert sum(row.n or 0 for row in told) == total
    for row in told:
        assert row.n is None or row.n >= 5
        assert row.events is None or row.n is None or (row.events == 0 or row.events >= 5)


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


@pytest.mark.parametrize("events", [0, 3, N - 2])
def test_a_finding_with_under_five_of_a_class_tells_no_number_and_no_curve(tmp_path: Path, events: int):
    one = report()
    flow = replace(one.flow, findings=(replace(one.flow.findings[0], events=events),))
    html_path, json_path = write_report(tmp_path, replace(one, flow=flow))
    record = json.loads(json_path.read_text(encoding="utf-8"))
    assert record["flow"]["findings"][0]["events"] is None
    assert record["curves"] == []
    seen = text(html_path.read_text(encoding="utf-8"))
    assert "hidden events, of 240 known" in seen
    assert "240 cases with a known label, how many with it is hidden" in seen


def test_no_curve_is_shown_of_a_part_that_holds_few(tmp_path: Path):
    """The table holds 94 events, the judged part 3: the note, the histogram and the curve would count them."""
    one = report()
    few = tuple(
        replace(row, n=40, events=3) if row.slice is None and row.finding == "fever" and row.comparator is None else row
        for row in one.results
    )
    record = json.loads(write_report(tmp_path, replace(one, results=few))[1].read_text(encoding="utf-8"))
    assert record["flow"]["findings"][0]["events"] is not None
    assert record["curves"] == []
    assert "fewer than 5 of a class were judged" in text(page(replace(one, results=few)))


def test_in_a_part_no_class_follows_from_the_others():
    def part(name: str, *events: int) -> Part:
        n = sum(events)
        findings = tuple(Events(finding=f, known=n, events=count) for f, count in zip("abc", events, strict=True))
        return Part(name=name, cases=n, patients=n, findings=findings)

    parts = (part("train", 30, 40, 50), part("tune", 6, 9, 12), part("calibrate", 3, 8, 14), part("test", 7, 12, 20))
    one = report()
    told = shared(replace(one, flow=replace(one.flow, parts=parts))).flow.parts
    hidden = {held.name: [each.finding for each in held.findings if each.events is None] for held in told}
    assert hidden == {"train": ["a", "b"], "tune": ["a", "b"], "calibrate": ["a", "b"], "test": []}
