"""`attending serve` with a room: options that do not go together, what is read with which key, what is said at the start."""

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest

from attending.commands.running import key_file
from attending.commands.serving import RoomOptions, _plan, _tell_of_room
from attending.model.trained import TrainedModel
from attending.reading_room.limits import limits_of, read_card
from attending.reading_room.room import RoomPlan
from attending.records import Schema
from attending.service.fields import fields_of
from tests.command_line import call
from tests.reading_room.rooms import Visitor, stream_of, text_of


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            ("--similar", "t.csv"),
            "--similar: says how the reading room reads its cases, and there are none; give --cases TABLE too",
        ),
        (("--labs", "l.csv"), "--labs: says how"),
        (("--study", "s.csv"), "--study: says how"),
        (
            ("--cases", "t.csv", "--study", "s.csv", "--similar", "t.csv"),
            "--similar: shows what the model answers for other cases",
        ),
        (("--cases", "t.csv", "--reader", "anna"), "--reader: names the reader of a study; give --study FILE too"),
        (("--cases", "t.csv", "--judgement", "yes-no"), "--judgement: says how the readers of a study judge; give --study"),
    ],
)
def test_options_that_do_not_go_together_are_told(folder: Path, options: tuple[str, ...], sentence: str) -> None:
    said = call("serve", folder / "model", "--port", "0", *options)
    assert said.code == 2
    assert sentence in said.sentence


def test_a_reader_with_tokens_is_named_by_the_token() -> None:
    with pytest.raises(ValueError, match="known by the token's name"):
        RoomOptions(cases=Path("t.csv"), study=Path("s.csv"), reader="anna").check(has_tokens=True)


def test_a_table_that_cannot_be_read_is_told_before_anything_is_served(folder: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty.csv"
    empty.write_text("patient_id,age\n", encoding="utf-8")
    said = call("serve", folder / "model", "--port", "0", "--cases", empty)
    assert said.code == 2
    assert "empty.csv" in said.sentence


def test_a_room_is_planned_as_predict_reads(
    folder: Path, model: TrainedModel, table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = RoomOptions(cases=table, similar=folder / "table.csv")
    plan = _plan(folder / "model", model, options, None)
    assert plan.stream is not None
    assert len(plan.stream) == 44
    assert plan.stream.key == key_file(folder).read_bytes()
    assert len(plan.alike) == 40
    _tell_of_room(options, plan.stream, address="http://127.0.0.1:8000/")
    _tell_of_room(RoomOptions(), None, address="http://127.0.0.1:8000/")
    said = capsys.readouterr().err
    assert "reading room: 44 cases, at http://127.0.0.1:8000/" in said
    assert "--cases TABLE opens it" in said


def test_similar_cases_are_off_unless_they_are_asked_for(visitor: Visitor, model: TrainedModel, table: Path) -> None:
    id = visitor.ids()[1]
    assert "Similar cases" not in visitor.get(f"/room/cases/{id}?similar=on").text
    alike = stream_of(model, table).take_in(0, 44).intake.cases
    with Visitor(model, RoomPlan(stream=stream_of(model, table), alike=alike)) as other:
        page = other.get(f"/room/cases/{id}").text
        assert "Look for the nearest training cases" in page
        found = other.get(f"/room/cases/{id}?finding=sick&similar=on").text
        part = found[found.index("Similar cases") :].partition("</section>")[0]
        assert part.count("<code>") == 5
        assert id not in part
        assert "Alike to the model is not alike to a clinician" in part


def test_the_limits_say_what_is_known_and_what_nobody_stated(model: TrainedModel, folder: Path) -> None:
    schema: Schema = replace(
        fields_of(model).schema, cautions=("label partly composed of inputs",), population="adults of two wards"
    )
    said = limits_of(model, schema, card={})
    stated = dict(said.stated)
    assert said.cautions == ("label partly composed of inputs",)
    assert stated["Patients it was trained on"] == "adults of two wards"
    assert stated["How the labels were made"] == "not stated"
    assert stated["How many"].startswith("not stated")
    assert said.figures == ()
    card = {
        "data": {"cases": 40, "patients": 39, "events": {"sick": "20"}},
        "performance": [
            {"finding": "sick", "metric": "auroc", "value": 0.81, "low": 0.7, "high": 0.9, "n": 12},
            {"finding": "sick", "metric": "auroc", "value": None, "note": "too few events"},
            {"finding": "sick", "metric": "brier", "value": 0.2},
            "nonsense",
        ],
    }
    told = limits_of(model, schema, card=card)
    assert told.n_told == "40 cases of 39 patients; recorded with the label: sick 20"
    assert [figure.told for figure in told.figures] == ["AUROC 0.81 (0.70 to 0.90), n = 12", "too few events"]


def test_the_card_lies_beside_the_model(folder: Path, tmp_path: Path) -> None:
    assert read_card(folder / "model") == {}
    run = tmp_path / "run"
    (run / "model").mkdir(parents=True)
    (run / "model_card.json").write_text(json.dumps({"data": {"cases": 3}}), encoding="utf-8")
    assert read_card(run) == read_card(run / "model") == {"data": {"cases": 3}}
    for broken in ("[]", "{", "\x00"):
        (run / "model_card.json").write_text(broken, encoding="utf-8")
        assert read_card(run) == {}


def test_cautions_head_the_list_and_the_case(model: TrainedModel, table: Path) -> None:
    with Visitor(model, RoomPlan(stream=stream_of(model, table))) as visitor:
        visitor.room.limits = replace(visitor.room.limits, cautions=("shows confounding, not performance",))
        for path in ("/", f"/room/cases/{visitor.ids()[1]}", "/room/model"):
            assert "shows confounding, not performance" in text_of(visitor.get(path).text)


def test_help_teaches_the_room() -> None:
    said = call("serve", "--help")
    told = " ".join(io.StringIO(said.out).read().replace("│", " ").split())
    assert said.code == 0
    for words in ("The reading room", "--cases", "--study", "before each", "--similar"):
        assert words.replace("before each", "before and after") in told
