"""The flow diagram of a report: every number is the artefact's, the boxes add up, and each way of judging has its own end."""

import re
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from attending.case import CaseId, GroupId
from attending.cohort import Member, Protocol, plan_protocol
from attending.evaluation import Outcomes
from attending.report import Events, Flow, Held, Part, Refusal, Report, Rounds
from attending.report.counting import rounds_of
from attending.report.flow import flow_figure
from attending.report.record import record_of
from attending.report.report import JOINED, LEFT_OUT, UNLABELLED
from attending.report.sharing import shared
from tests.baselines.drawn import draw
from tests.report.evidence import N, outcomes, report
from tests.report.reading import page

SVG = "{http://www.w3.org/2000/svg}"
ROUNDS = Rounds(n=6, repeats=2, trained=(160, 160), judged=(80, 80), events={"fever": (28, 33)})
HELD = (Held(kind="Notes", cases=N), Held(kind="Numbers", cases=202), Held(kind="Films", cases=3))


def flow(**changes: Any) -> Flow:
    return replace(report().flow, **changes)


def told(one: Report) -> list[list[str]]:
    """The boxes of the diagram, each as its lines."""
    root = ElementTree.fromstring(flow_figure(shared(one)))
    groups = [group for group in root.iter(f"{SVG}g") if group.find(f"{SVG}rect") is not None]
    return [[line.text or "" for line in group.findall(f"{SVG}text")] for group in groups]


def first_number(line: str) -> int:
    found = re.search(r"\d+", line.replace("\u202f", ""))
    assert found is not None, line
    return int(found[0])


def record(one: Report) -> dict[str, Any]:
    return record_of(shared(one))["flow"]


def test_boxes_add_up_to_the_rows_read_and_say_what_the_record_says() -> None:
    left = (
        Refusal(reason="left out by --where site = 'a'", count=1040, step=LEFT_OUT),
        Refusal(reason="joined to another row of the same case", count=30, step=JOINED),
        Refusal(reason="no known label: took no part", count=12, what="cases", step=UNLABELLED),
    )
    one = replace(report(), flow=flow(rows=N + 3 + 1082, reported=left, held=HELD, rounds=ROUNDS))
    read, out, used, joined, cases, unlabelled, analysed, rounds = told(one)
    numbers = record(one)
    assert first_number(read[0]) == numbers["rows"] == 1325
    assert first_number(out[0]) == numbers["rows_left_out"] + numbers["rows_refused"] == 1043
    assert out[1:] == ["1\u202f040: left out by --where site = 'a'", "3: target is <blank>"]
    assert first_number(used[0]) == first_number(read[0]) - first_number(out[0])
    assert first_number(joined[0]) == numbers["rows_joined"] == 30
    assert first_number(cases[0]) == first_number(used[0]) - first_number(joined[0])
    assert first_number(unlabelled[0]) == numbers["cases_unlabelled"] == 12
    assert first_number(analysed[0]) == first_number(cases[0]) - first_number(unlabelled[0]) == numbers["cases"] == N
    assert analysed[1] == f"fever: {numbers['findings'][0]['events']} events"
    assert "Evidence: notes in all, numbers in 202" in " ".join(analysed)
    assert "films in some (too few" in " ".join(analysed)
    assert numbers["held"][2] == {"kind": "Films", "cases": None}
    assert rounds[:2] == ["3 folds × 2 repeats", "Each round: trained on 160 cases, judged on 80 others"]
    assert "fever: 28 to 33 events among the judged of a round" in rounds
    assert numbers["rounds"]["events"] == {"fever": (28, 33)}


def test_without_exclusions_it_says_so() -> None:
    one = replace(report(), flow=flow(rows=N, refused=()))
    read, out, analysed, _ = told(one)
    assert (read, out) == (["240 rows read"], ["No row left out"])
    assert analysed[0] == "240 cases of 240 patients analysed"


def test_a_miscount_is_told_instead_of_drawn_over() -> None:
    one = replace(report(), flow=flow(rows=N + 13))
    _, out, *_ = told(one)
    assert out == ["13 rows left out", "3: target is <blank>", "10: not accounted for"]
    assert record(one)["rows_unaccounted"] == 10
    assert record(report())["rows_unaccounted"] == 0


def test_many_reasons_end_in_a_line_that_adds_up() -> None:
    refused = tuple(Refusal(reason=f"reason {place}", count=20 - place) for place in range(12))
    one = replace(report(), flow=flow(rows=N + sum(each.count for each in refused), refused=refused))
    _, out, *_ = told(one)
    lines = [line for line in out[1:] if line[0].isdecimal()]
    assert len(lines) == 6
    assert "7 other reasons" in lines[-1]
    assert sum(first_number(line) for line in lines) == first_number(out[0]) == record(one)["rows_refused"]


def split(events: tuple[int, int, int, int] = (52, 10, 14, 18), known: int = 0) -> tuple[Part, ...]:
    sizes = (132, 24, 36, 48)
    return tuple(
        Part(name=name, cases=n, patients=n, findings=(Events(finding="fever", known=known or n, events=held),))
        for name, n, held in zip(("train", "tune", "calibrate", "test"), sizes, events, strict=True)
    )


def test_the_parts_of_a_split_add_up_to_the_cases_analysed() -> None:
    one = replace(report(), flow=flow(parts=split()), conduct=replace(report().conduct, kind="split"))
    *_, train, tune, calibrate, test = told(one)
    parts = record(one)["parts"]
    for box, part in zip((train, tune, calibrate, test), parts, strict=True):
        assert box[0] == f"{part['name'].capitalize()}: {part['cases']} cases"
        assert f"fever: {part['findings'][0]['events']} events" in box
    assert sum(first_number(box[0]) for box in (train, tune, calibrate, test)) == N
    assert sum(part["findings"][0]["events"] for part in parts) == 94


@pytest.mark.parametrize(("events", "hidden"), [((58, 9, 4, 23), 3), ((70, 11, 10, 3), 4), ((52, 10, 14, 18), 0)])
def test_a_small_part_is_hidden_with_enough_beside_it(events: tuple[int, int, int, int], hidden: int) -> None:
    one = replace(report(), flow=flow(parts=split(events)))
    shown = [part["findings"][0]["events"] for part in record(one)["parts"]]
    assert shown.count(None) == hidden
    assert (shown[3] is None) == (events[3] < 5)  # the results tell those of test unless they are few
    assert " ".join(line for box in told(one)[-4:] for line in box).count("events hidden") == hidden


def test_many_findings_share_a_line() -> None:
    findings = tuple(Events(finding=f"f{place}", known=N - place, events=20 + place) for place in range(9))
    one = replace(report(), flow=flow(findings=findings))
    analysed = next(box for box in told(one) if "analysed" in box[0])
    assert analysed[1] == "9 findings, each with 20 to 28 events"
    assert analysed[2] == "Labels missing for 8 of them; by finding in the table below"


def test_missing_labels_and_sites_are_told_where_they_are_few() -> None:
    one = replace(report(), flow=flow(findings=(Events(finding="fever", known=230, events=94),)))
    analysed = next(box for box in told(one) if "analysed" in box[0])
    assert analysed[1] == "fever: 94 events of 230 known, 10 labels missing"
    sites = {
        row.slice_value: row
        for row in shared(one).results
        if row.slice == "site" and row.metric == "auroc" and row.model == "fused"
    }
    line = " ".join(analysed[2:])
    assert line.startswith("Sites (events): ")
    for name, row in sites.items():
        assert f"{name} {'hidden' if row.n is None else f'{row.n} ({row.events})'}" in line


@pytest.mark.parametrize(
    ("kind", "last"),
    [("evaluation", "by a finished model: nothing was trained"), ("foreign", "as the file came")],
)
def test_what_was_not_trained_here_has_one_end(kind: str, last: str) -> None:
    one = replace(report(), conduct=replace(report().conduct, kind=kind))
    assert told(one)[-1][0] == "240 cases judged"
    assert last in " ".join(told(one)[-1])


def test_a_predictions_file_does_not_say_what_was_read() -> None:
    one = replace(report(), flow=flow(rows=None, patients=None, refused=()), conduct=replace(report().conduct, kind="foreign"))
    first, analysed, _ = told(one)
    assert "does not say" in " ".join(first)
    assert analysed[0] == "240 cases in 240 groups analysed"


def test_rounds_are_counted_as_the_protocol_has_them() -> None:
    rows = outcomes(1.0)
    drawn = [
        replace(case, id=CaseId(str(id)), group=GroupId(str(group)))
        for case, id, group in zip(draw(N), rows.ids[:N], rows.groups[:N], strict=True)
    ]
    counted = rounds_of(rows, drawn)
    first = rows.rows((rows.repeat == 0) & (rows.fold == 0))
    assert (counted.n, counted.repeats, counted.trained, counted.judged) == (6, 2, (160, 160), (80, 80))
    per_fold = [int(rows.truth[(rows.repeat == 0) & (rows.fold == fold), 0].sum()) for fold in range(3)]
    assert counted.events == {"fever": (min(per_fold), max(per_fold))}
    assert counted.judged == (len(first), len(first))


def judged(protocol: Protocol) -> Outcomes:
    """Rows of every fold's test part."""
    rows = [(fold.repeat, fold.fold, id) for fold in protocol.folds for id in fold.test]
    zeros = np.zeros((len(rows), 1))
    return Outcomes(
        ids=np.array([id for _, _, id in rows]),
        groups=np.array([id for _, _, id in rows]),
        findings=("fever",),
        probability=zeros,
        truth=zeros > 0,
        known=zeros == 0,
        repeat=np.array([repeat for repeat, _, _ in rows]),
        fold=np.array([fold for _, fold, _ in rows]),
    )


def test_a_group_at_two_sites_is_not_trained_on() -> None:
    drawn = draw(60, seed=3)
    sites = ["ab"[at % 2 if at < 4 else at // 2 % 2] for at in range(60)]  # two groups of two cases are seen at both
    cases = [replace(case, group=GroupId(f"g{at // 2}"), site=sites[at]) for at, case in enumerate(drawn)]
    members = [Member(id=c.id, patient=c.patient, group=c.group, truth=c.truth, site=c.site) for c in cases]
    protocol = plan_protocol(members, kind="site", seed=0)
    counted = rounds_of(judged(protocol), cases)
    assert counted.n == 2
    assert sum(counted.trained) + 2 * 2 == sum(counted.judged) == len(cases)
    assert counted.trained == tuple(sorted(len(fold.train) for fold in protocol.folds))
    assert counted.judged == tuple(sorted(len(fold.test) for fold in protocol.folds))


def test_the_diagram_is_on_the_page_and_tells_its_numbers_to_those_who_cannot_see_it() -> None:
    html = page(replace(report(), flow=flow(rounds=ROUNDS, held=HELD)))
    picture = re.search(r"<svg[^>]*><title>Flow of participants</title><desc>(.*?)</desc>", html)
    assert picture is not None
    assert "243 rows read. of which leave: 3 rows left out; 3: target is &lt;blank&gt;. 240 cases of 240 patients" in picture[1]
