"""What is read: the list and the case, in words, with the numbers of predict and of the API, nothing made of hostile text."""

import asyncio
import io
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from attending.case import Case
from attending.model.trained import TrainedModel
from attending.reading_room.asking import Asking
from attending.reading_room.listing import Listing
from attending.reading_room.pages import POLICY
from attending.reading_room.room import RoomPlan
from attending.reading_room.roster import Roster
from attending.reading_room.words import percent
from attending.service.desk import Desk
from tests.command_line import call
from tests.explanation.models_at_hand import EITHER, model_of
from tests.reading_room.rooms import FORMULA, SCRIPT, Visitor, rows_of, stream_of, text_of
from tests.service.asking import case_of_row

NOTHING, SCRIPTED, FORMULAIC, TRAVERSING = 43, 40, 41, 42


@pytest.fixture(scope="module")
def predicted(folder: Path, table: Path) -> list[dict[str, str]]:
    out = folder / "predictions.csv"
    said = call("predict", folder / "model", table, "--out", out, "--threads", "1")
    assert said.code == 0, said.err
    return rows_of(out)


def test_every_page_says_what_it_is_and_what_it_is_not(visitor: Visitor) -> None:
    for path in ("/", f"/room/cases/{visitor.ids()[1]}", "/room/model", "/room/cases/nobody"):
        page = visitor.get(path)
        said = text_of(page.text)
        assert "Research software, not a medical device." in said
        assert "Not for decisions about patients." in said
        assert page.headers["content-security-policy"] == POLICY
        assert page.headers["cache-control"] == "no-store"
        for word in ("diagnosis:", "detected", "rules out", "safe", "accuracy", "✓"):
            assert word not in said.lower(), f"{path}: {word}"


def test_no_page_has_anything_inline(visitor: Visitor) -> None:
    one = visitor.ids()[1]
    for path in ("/", f"/room/cases/{one}", f"/room/cases/{one}?finding=sick&marks=on", "/room/model"):
        page = visitor.get(path).text
        assert not re.search(r'\sstyle="|\son\w+="|<style|javascript:|data:', page), path
        assert re.findall(r"<script[^>]*>(.*?)</script>", page, re.DOTALL) == [""]
        assert not re.search(r'(?:src|href|action)="(?!/|#|"|\?)', page), path


def test_the_estimates_are_those_of_predict_and_of_the_api(
    visitor: Visitor, table: Path, predicted: list[dict[str, str]]
) -> None:
    rows = rows_of(table)
    assert len(rows) == len(predicted) == len(visitor.ids())
    for number in (0, 1, 4, 6, 13, 39, SCRIPTED):
        id, expected = visitor.ids()[number], predicted[number]
        answer = visitor.send(f"/room/cases/{id}/if.json", {"off": ()}, headers={"accept": "application/json"}).json()
        (finding,) = answer["findings"]
        assert abs(finding["now"] - float(expected["p_calibrated"])) <= 1e-6
        assert finding["then"] == pytest.approx(finding["now"], abs=1e-6)
        if number < 40:
            case = {**case_of_row(rows[number], table.parent)}
            served = visitor.diagnose(case).json()["estimates"][0]["estimated_probability"]
            assert abs(finding["now"] - served) <= 1e-6
        assert f"<b>{percent(float(expected['p_calibrated']))}</b>" in visitor.get(f"/room/cases/{id}").text


def test_the_list_waits_for_no_film(model: TrainedModel, table: Path) -> None:
    """What is not read in time is read behind the page, once, and is there the next time."""
    roster = Roster(stream_of(model, table))
    read: list[int] = []

    async def reading(work: Callable[[], tuple[Case, ...]]) -> tuple[Case, ...]:
        cases = await asyncio.to_thread(work)
        read.extend(roster.number_of(case.id) or 0 for case in cases)
        return cases

    async def turned() -> None:
        desk = Desk(model, most_body_bytes=1)
        listing = Listing(roster, Asking(desk), reading)
        assert await listing.rows(range(10), within_seconds=0.0) == (None,) * 10
        later = await asyncio.gather(*(listing.rows(range(5, 12), within_seconds=30.0) for _ in range(2)))
        assert later[0] == later[1]
        assert None not in later[0]
        whole = await listing.rows(range(12), within_seconds=0.0)
        assert [row.answered.diagnosis.case for row in whole if row] == list(roster.ids[:12])
        desk.close()

    asyncio.run(turned())
    assert sorted(read) == list(range(12))


def test_the_list_shows_what_is_there_and_the_estimate(visitor: Visitor, predicted: list[dict[str, str]]) -> None:
    page = visitor.get("/").text
    for id, expected in list(zip(visitor.ids(), predicted, strict=True))[:20]:
        row = page[page.index(f"/room/cases/{id}") :].partition("</tr>")[0]
        assert percent(float(expected["p_calibrated"])) in row
        missing = [name for name in expected["missing"].split("+") if name]
        assert row.count('<span class="unseen">missing</span>') == len(missing)
    assert visitor.ids()[20] not in page
    assert visitor.ids()[20] in visitor.get("/?from=20").text


def test_own_ids_stand_on_no_page(visitor: Visitor, table: Path) -> None:
    for path in ("/", "/?from=20", "/?from=40", *(f"/room/cases/{id}" for id in visitor.ids()[:3])):
        page = visitor.get(path).text
        assert not [row["patient_id"] for row in rows_of(table) if row["patient_id"] in page]


def test_an_abstention_has_a_reason_and_no_numbers(visitor: Visitor) -> None:
    id = visitor.ids()[NOTHING]
    page = visitor.get(f"/room/cases/{id}")
    said = text_of(page.text)
    assert page.status_code == 200
    assert "The model abstains: no evidence of a kind that the model reads" in said
    assert "Missing: laboratory values, signs, age and sex, note, film" in said
    assert not re.search(r"\d+ %", said)
    assert "What each kind of evidence adds" not in said
    listed = visitor.get("/?from=40").text
    row = listed[listed.index(id) :].partition("</tr>")[0]
    assert "abstains: no evidence" in row
    assert "%" not in row


def test_scripts_and_formulas_in_notes_are_text(visitor: Visitor) -> None:
    for marks in ("", "?finding=sick&marks=on"):
        page = visitor.get(f"/room/cases/{visitor.ids()[SCRIPTED]}{marks}").text
        assert "<script>alert" not in page
        assert "<img src=x" not in page
        assert "&lt;" in page
        note = re.search(r'data-part="note-\d+">(.*?)</p>', page, re.DOTALL)
        assert note
        plain = re.sub(r"</?mark[^>]*>", "", note.group(1))
        assert plain.replace("&lt;", "<").replace("&gt;", ">").replace("&#34;", '"').replace("&amp;", "&").startswith(SCRIPT)
    formula = visitor.get(f"/room/cases/{visitor.ids()[FORMULAIC]}").text
    assert FORMULA[:12].replace('"', "&#34;") in formula


def test_a_case_shows_its_evidence(visitor: Visitor, table: Path) -> None:
    row = rows_of(table)[1]
    said = text_of(visitor.get(f"/room/cases/{visitor.ids()[1]}").text)
    assert row["note"] in said
    assert f"crp {float(row['crp_mg_l']):.4g} mg/L not given" in said
    assert f"cough {row['cough']}" in said
    assert f"{row['age']} years" in said
    assert "it is not the effect of a treatment" in said.lower()
    assert "spread over 2 refits (not a confidence interval)" in said
    assert "What this model does not know" in said


def test_films_are_pictures_of_the_case_and_of_no_other_field(visitor: Visitor, folder: Path, table: Path) -> None:
    row, id = rows_of(table)[1], visitor.ids()[1]
    page = visitor.get(f"/room/cases/{id}").text
    (number,) = set(re.findall(rf"/room/cases/{id}/films/(\d+)", page))
    film = visitor.get(f"/room/cases/{id}/films/{number}")
    assert film.headers["content-type"] == "image/png"
    shown = np.asarray(Image.open(io.BytesIO(film.content)), dtype=int)
    with Image.open(folder / row["film"]) as taken:
        assert np.abs(shown - np.asarray(taken, dtype=int)).max() <= 1
    for other in ("-1", "99", "x", "1e3", "²", "999999999", "..%2f0"):
        assert visitor.get(f"/room/cases/{id}/films/{other}").status_code == 404
    for wrong in set(range(6)) - {int(number)}:
        assert visitor.get(f"/room/cases/{id}/films/{wrong}").status_code == 404


def test_marks_come_only_when_they_are_asked_for(visitor: Visitor) -> None:
    id = visitor.ids()[1]
    plain = visitor.get(f"/room/cases/{id}").text
    assert "<mark" not in plain
    marked = visitor.get(f"/room/cases/{id}?finding=sick&marks=on").text
    assert "<mark" in marked
    assert 'class="weight"' in marked
    assert "What was weighed on the film" in marked
    assert "Is it true of the model? Not assessed." in text_of(marked)
    assert "not a cause" in marked
    assert visitor.get(f"/room/cases/{id}?finding=nonsense&marks=on").status_code == 200


def test_marks_are_held_against_the_model_when_that_is_asked_for(visitor: Visitor, model: TrainedModel) -> None:
    id = visitor.ids()[1]
    page = visitor.get(f"/room/cases/{id}?finding=sick&marks=on&truth=on").text
    said = text_of(page)
    assert "Networks with random weights explain alike: refused from 0.5 on" in said
    assert "this case, your data" in said
    assert "Not assessed." not in said
    # this model never learned either: whichever way it comes out, marks and refusal exclude each other
    assert ("<mark" in page) != ("Nothing is marked." in said)
    assert "Measured on this case alone" in said
    assert "Is it true of the model?" not in visitor.get(f"/room/cases/{id}?truth=on").text


def test_findings_that_exclude_each_other_are_told_as_such(model: TrainedModel, table: Path) -> None:
    either = replace(model_of(task=EITHER), schema=model.schema)
    with Visitor(either, RoomPlan(stream=stream_of(either, table))) as visitor:
        id = visitor.ids()[1]
        page = visitor.get(f"/room/cases/{id}?finding=old&marks=on")
        said = text_of(page.text)
        assert "In log-probability:" in said
        assert "in the conformal set" in said
        assert "For old" in said
        shown = [int(number) for number in re.findall(r"<b>(\d+) %</b>", page.text)]
        assert abs(sum(shown) - 100) <= 1
        said_if = visitor.send(f"/room/cases/{id}/if.json", {"off": "note"}, headers={"accept": "application/json"}).json()
        assert sum(finding["then"] for finding in said_if["findings"]) == pytest.approx(1.0)


def test_an_unknown_case_is_a_page_in_words(visitor: Visitor) -> None:
    for name in ("nobody", "0" * 16, "%2e%2e%2fetc%2fpasswd", "<b>", "..", "p001", "%00", "é" * 400):
        page = visitor.get(f"/room/cases/{name}")
        assert page.status_code in (404, 307), name
        assert page.headers["content-type"].startswith("text/html")
        assert "There is nothing here" in text_of(page.text)
        assert name not in page.text or name in ("..", "<b>")


def test_next_and_previous_lead_through_the_table(visitor: Visitor) -> None:
    ids = visitor.ids()
    seen, path = [], f"/room/cases/{ids[0]}"
    while path:
        seen.append(path.rpartition("/")[2])
        found = re.search(r'<a href="([^"]+)" rel="next">', visitor.get(path).text)
        path = found.group(1) if found and len(seen) < 60 else ""
    assert tuple(seen) == ids
    last = visitor.get(f"/room/cases/{ids[-1]}").text
    assert f'<a href="/room/cases/{ids[-2]}" rel="prev">' in last


def test_the_filter_finds_what_a_look_at_every_case_finds(visitor: Visitor, model: TrainedModel, table: Path) -> None:
    roster = Roster(stream_of(model, table))
    cases = roster.stream.take_in(0, len(roster)).intake.cases
    assert tuple(case.id for case in cases) == roster.ids
    for kind, name in (("image", "Scan"), ("note", "Note"), ("lab", "Lab")):
        there = [i for i, case in enumerate(cases) if any(type(e).__name__ == name for e in case.evidence)]
        lacking = [i for i in range(len(cases)) if i not in there]
        assert list(roster.looking_for(start=0, most=99, has=kind).numbers) == there
        assert list(roster.looking_for(start=0, most=99, lacks=kind).numbers) == lacking
    page = visitor.get("/?lacks=image").text
    shown = re.findall(r'href="/room/cases/([0-9a-f]+)" data-row', page)
    assert shown == [str(case.id) for case in cases if not any(type(e).__name__ == "Scan" for e in case.evidence)][:20]
    one = visitor.ids()[17]
    assert re.findall(r'href="/room/cases/([0-9a-f]+)" data-row', visitor.get(f"/?id={one[3:9]}").text) == [one]
    assert "No case is like that" in visitor.get("/?id=zzz").text


def test_looking_goes_on_from_where_it_stopped(model: TrainedModel, table: Path) -> None:
    roster = Roster(stream_of(model, table))
    whole = roster.looking_for(start=0, most=99, lacks="image").numbers
    found: list[int] = []
    start: int | None = 0
    while start is not None:
        part = roster.looking_for(start=start, most=2, lacks="image", patience_seconds=0.0)
        found += part.numbers
        start = part.onward
    assert tuple(found) == whole
