"""A reader study: the reader's own order, nothing of the model before the first judgement, and a file that survives a kill."""

import csv
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attending.model.trained import TrainedModel
from attending.reading_room.room import RoomPlan
from attending.reading_room.study import Study, order_for
from attending.reading_room.study_file import COLUMNS, StudyError, _defused
from attending.reading_room.words import percent
from attending.service.credentials import new_token, read_tokens
from tests.reading_room.rooms import Visitor, form_of, stream_of, text_of

STUDY = "/room/study"
JSON = {"accept": "application/json"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "study.csv"


def opened(model: TrainedModel, table: Path, file: Path, **more: object) -> Visitor:
    return Visitor(model, RoomPlan(stream=stream_of(model, table), study=file, study_seed=3, reader="anna", **more))  # type: ignore[arg-type]


@pytest.fixture
def reader(model: TrainedModel, table: Path, file: Path) -> Iterator[Visitor]:
    with opened(model, table, file) as made:
        yield made


def rows_in(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


def judge(reader: Visitor, value: object, **more: object) -> "object":
    page = reader.get(STUDY).text
    return reader.send(STUDY, {**form_of(page), "judgement-0": value, **more})


def the_estimate(model: TrainedModel, reader: Visitor, id: str) -> float:
    assert reader.room.roster is not None
    number = reader.room.roster.number_of(id)
    assert number is not None
    case = reader.room.roster.stream.take_in(number, number + 1).intake.cases[0]
    return float(model.probability([case])[0, 0])


def test_the_order_is_the_readers_own(model: TrainedModel, table: Path, file: Path) -> None:
    anna, bert = (order_for(name, n=44, seed=3) for name in ("anna", "bert"))
    assert sorted(anna) == sorted(bert) == list(range(44))
    assert anna != bert
    assert anna == order_for("anna", n=44, seed=3) != order_for("anna", n=44, seed=4)
    with opened(model, table, file) as reader:
        ids = reader.ids()
        for number in anna[:3]:
            assert form_of(reader.get(STUDY).text)["case"] == ids[number]
            judge(reader, 50)
            judge(reader, 50, **{"reason-0": "as it is"})


def test_nothing_of_the_model_is_told_before_the_first_judgement(reader: Visitor, model: TrainedModel) -> None:
    page = reader.get(STUDY).text
    id = form_of(page)["case"]
    told = percent(the_estimate(model, reader, id))
    said = text_of(page)
    assert "%" not in said
    assert "gauge" not in page
    assert "<mark" not in page
    assert "conformal" not in said
    for hidden in (f"/room/cases/{id}", f"/room/cases/{id}?finding=sick&marks=on"):
        answer = reader.get(hidden)
        assert answer.status_code == 403
        assert told not in answer.text
    for path in ("if", "if.json"):
        answer = reader.send(f"/room/cases/{id}/{path}", {"off": "note"}, headers=JSON)
        assert answer.status_code == 403
        assert told not in answer.text
    assert (reader.get("/").status_code, reader.get("/").headers["location"]) == (303, STUDY)
    assert reader.diagnose({"age_years": 50}).status_code == 403
    assert reader.ask("POST", "/v1/diagnoses/upload", content=b"").status_code == 403
    # the model was not even asked
    assert not reader.room.asking._answers._held
    assert not reader.room.asking._weighed._held


def test_what_is_held_back_is_held_back_on_every_route(reader: Visitor) -> None:
    """Whatever routes there are: none that names a case tells of one that is not judged yet; films show evidence alone."""
    reader.get(STUDY)
    for route in reader.app.app.routes:  # type: ignore[attr-defined]
        path = getattr(route, "path", "")
        if "{case}" not in path or "films" in path:
            continue
        for id in reader.ids()[:5]:
            method = "GET" if "GET" in route.methods else "POST"
            assert reader.send(path.replace("{case}", id), {"off": ()}).status_code in (403, 405), path
            assert reader.ask(method, path.replace("{case}", id)).status_code in (403, 415), path


def test_a_case_is_judged_before_and_after(reader: Visitor, model: TrainedModel, file: Path) -> None:
    id = form_of(reader.get(STUDY).text)["case"]
    estimate = the_estimate(model, reader, id)
    assert judge(reader, 40).status_code == 303  # type: ignore[attr-defined]
    after = reader.get(STUDY).text
    assert form_of(after) | {"mark": ""} == {"mark": "", "case": id, "stage": "after"}
    assert percent(estimate) in text_of(after)
    assert "40 before" in text_of(after)
    judged = reader.get(f"/room/cases/{id}")
    assert judged.status_code == 200
    assert "Back to the study" in judged.text
    assert not [other for other in reader.ids() if other != id and other in judged.text]
    assert judge(reader, 55, **{"reason-0": "the film"}).status_code == 303  # type: ignore[attr-defined]
    assert form_of(reader.get(STUDY).text)["case"] != id
    rows = rows_in(file)
    assert [row["stage"] for row in rows] == ["opened", "before", "after", "opened"]
    opened_, before, after_, _ = rows
    assert (before["finding"], before["judgement"], before["estimate"]) == ("sick", "40", "")
    assert (after_["judgement"], float(after_["estimate"])) == ("55", pytest.approx(estimate, abs=1e-6))
    assert {row["case"] for row in rows[:3]} == {id}
    assert {row["reader"] for row in rows} == {"anna"}
    assert {row["position"] for row in rows[:3]} == {"1"}
    for row in (before, after_):
        assert 0 <= float(row["seconds"]) < 60
        assert row["interrupted"] == "no"
    assert after_["override_reason"] == ("the film" if (estimate >= 0.5) != (0.55 >= 0.5) else "")
    assert after_["model_side"] == ("at or above" if estimate >= 0.5 else "below")
    assert opened_["seconds"] == ""


def test_going_against_the_model_needs_a_reason(reader: Visitor, model: TrainedModel, file: Path) -> None:
    id = form_of(reader.get(STUDY).text)["case"]
    against = 0 if the_estimate(model, reader, id) >= 0.5 else 100
    judge(reader, against)
    refused = judge(reader, against)
    assert refused.status_code == 422  # type: ignore[attr-defined]
    assert "say why" in refused.text  # type: ignore[attr-defined]
    assert rows_in(file)[-1]["stage"] == "before"
    kept = judge(reader, against, **{"reason-0": '=HYPERLINK("x")'})
    assert kept.status_code == 303  # type: ignore[attr-defined]
    assert rows_in(file)[-1]["override_reason"] == '\'=HYPERLINK("x")'


def test_only_whole_numbers_from_0_to_100_are_judgements(reader: Visitor, file: Path) -> None:
    for wrong in ("", "101", "-1", "5.5", "yes", "1e2", "²", "９", "<b>", " "):
        answer = judge(reader, wrong)
        assert answer.status_code == 422, wrong  # type: ignore[attr-defined]
        assert "from 0" in answer.text  # type: ignore[attr-defined]
    assert [row["stage"] for row in rows_in(file)] == ["opened"]


def test_a_judgement_cannot_be_sent_twice_or_for_another_case(reader: Visitor, file: Path) -> None:
    page = reader.get(STUDY).text
    form = form_of(page)
    other = next(id for id in reader.ids() if id != form["case"])
    assert reader.send(STUDY, {**form, "case": other, "judgement-0": 1}).status_code == 409
    assert reader.send(STUDY, {**form, "stage": "after", "judgement-0": 1}).status_code == 409
    assert reader.send(STUDY, {**form, "mark": "", "judgement-0": 1}).status_code == 403
    assert reader.send(STUDY, {**form, "judgement-0": 1}).status_code == 303
    assert reader.send(STUDY, {**form, "judgement-0": 99}).status_code == 409
    assert [row["judgement"] for row in rows_in(file)] == ["", "1"]


def test_a_restart_goes_on_where_it_stopped(model: TrainedModel, table: Path, file: Path) -> None:
    with opened(model, table, file) as reader:
        judge(reader, 20)
        judge(reader, 20, **{"reason-0": "so"})
        judge(reader, 30)
        id = form_of(reader.get(STUDY).text)["case"]
    before = file.read_bytes()
    with opened(model, table, file) as reader:
        page = reader.get(STUDY).text
        assert form_of(page)["case"] == id
        assert form_of(page)["stage"] == "after"
        assert "30 before" in text_of(page)
        judge(reader, 30, **{"reason-0": "so"})
    assert file.read_bytes().startswith(before)
    row = rows_in(file)[len(before.splitlines()) - 1]
    assert (row["stage"], row["interrupted"]) == ("after", "yes")


def test_a_stage_that_was_shown_before_a_restart_is_marked(model: TrainedModel, table: Path, file: Path) -> None:
    with opened(model, table, file) as reader:
        reader.get(STUDY)
    with opened(model, table, file) as reader:
        judge(reader, 10)
    assert [(row["stage"], row["interrupted"]) for row in rows_in(file)] == [("opened", ""), ("before", "yes")]


def test_a_torn_end_is_cut_and_asked_again(model: TrainedModel, table: Path, file: Path) -> None:
    with opened(model, table, file) as reader:
        judge(reader, 20)
        id = form_of(reader.get(STUDY).text)["case"]
    whole = file.read_bytes()
    last = whole.splitlines(keepends=True)[-1]
    for cut in (1, len(last) // 2, len(last) - 1):
        file.write_bytes(whole[:-cut])
        with opened(model, table, file) as reader:
            form = form_of(reader.get(STUDY).text)
            assert (form["case"], form["stage"]) == (id, "before")
            assert file.read_bytes() == whole[: -len(last)]


def test_what_cannot_be_written_is_not_taken_for_kept(reader: Visitor, file: Path) -> None:
    form = form_of(reader.get(STUDY).text)
    before = file.read_bytes()
    assert reader.room.study is not None
    held = reader.room.study._file
    writable, held._file = held._file, os.open(file, os.O_RDONLY)
    refused = reader.send(STUDY, {**form, "judgement-0": 7})
    assert refused.status_code == 503
    assert "nothing was kept" in refused.text
    os.close(held._file)
    held._file = writable
    assert file.read_bytes() == before
    assert reader.send(STUDY, {**form, "judgement-0": 8}).status_code == 303
    assert rows_in(file)[-1]["judgement"] == "8"


def test_a_file_of_something_else_is_refused(model: TrainedModel, table: Path, file: Path) -> None:
    with opened(model, table, file) as reader:
        reader.get(STUDY)
        with pytest.raises(StudyError, match="another process"):
            opened(model, table, file)
    with pytest.raises(StudyError, match="another model, table or --study-seed"):
        Study(file, ids=reader.ids()[1:], model=model, seed=3)
    with pytest.raises(StudyError, match="another model, table or --study-seed"):
        Study(file, ids=reader.ids(), model=model, seed=4)
    other = file.with_name("other.csv")
    for content in (b"id,finding\n1,2\n", b"hello", b"\xff\xfe\x00\n"):
        other.write_bytes(content)
        with pytest.raises(StudyError, match="something else"):
            Study(other, ids=reader.ids(), model=model, seed=3)
        assert other.read_bytes() == content


def test_readers_with_tokens_are_apart(model: TrainedModel, table: Path, file: Path, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens.txt"
    secrets = {name: new_token(tokens, name) for name in ("anna", "bert")}
    plan = RoomPlan(stream=stream_of(model, table), study=file, credentials=read_tokens(tokens))
    with Visitor(model, plan) as visitor:
        seen = {}
        for name, secret in secrets.items():
            visitor._client.cookies.clear()
            visitor.send("/room/sign-in", {"token": secret, "mark": visitor.mark("/room/sign-in")})
            seen[name] = form_of(visitor.get(STUDY).text)["case"]
            if name == "anna":
                judge(visitor, 5)
                assert visitor.get(f"/room/cases/{seen['anna']}").status_code == 200
            else:
                assert visitor.get(f"/room/cases/{seen['anna']}").status_code == 403
    rows = rows_in(file)
    assert {(row["reader"], row["case"]) for row in rows} == set(seen.items())
    assert seen == {name: visitor.ids()[order_for(name, n=44, seed=0)[0]] for name in secrets}


def test_all_cases_judged_ends_the_study(model: TrainedModel, table: Path, file: Path) -> None:
    with opened(model, table, file) as reader:
        for _ in range(44):
            judge(reader, 50)
            judge(reader, 50, **{"reason-0": "so"})
        assert "You have judged all cases" in reader.get(STUDY).text
    rows = rows_in(file)
    assert tuple(rows[0]) == COLUMNS
    assert len(rows) == 3 * 44
    (blank,) = [row for row in rows if row["abstained"]]
    assert (blank["estimate"], blank["model_side"], blank["override_reason"]) == ("", "", "")


@given(text=st.text(max_size=40))
def test_no_cell_is_a_formula_or_breaks_its_line(text: str) -> None:
    cell = _defused(text)
    assert not cell.startswith(("=", "+", "-", "@", "\t", "\r"))
    assert not set("\n\r\x00") & set(cell)
    assert len((cell + "x").splitlines()) == 1
    assert "".join(cell.removeprefix("'").split()) == "".join(text.replace("\x00", "").split()).removeprefix(
        "'"
    ) or text.startswith("'")
