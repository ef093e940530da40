"""`attending assess`: figures kept with the model, shown by explain, the room and the card; no word of a patient anywhere."""

import json
import re
from pathlib import Path

import pytest

from attending.commands.serving import RoomOptions, _plan
from attending.explanation.assessment_file import folder_of, read_assessed
from attending.intake import declared_by
from attending.model.trained import load_model
from attending.reading_room.limits import CARD, limits_of, read_card
from attending.reading_room.room import RoomPlan
from tests.command_line import Said, call
from tests.explanation.models_at_hand import folder_with_model
from tests.reading_room.rooms import Visitor, stream_of, text_of

WORDS = ("fever", "productive", "Patient reports", "p002")


def assess(folder: Path, *more: str | Path) -> Said:
    return call("assess", folder / "model", folder / "table.csv", "--patients", "6", "--threads", "1", *more)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = folder_with_model(tmp_path_factory.mktemp("assessed"))
    (made / CARD).write_text(json.dumps({"notice": "n", "data": {"cases": 20, "patients": 20}}), encoding="utf-8")
    return made


@pytest.fixture(scope="module")
def assessed(folder: Path) -> Said:
    return assess(folder)


def test_figures_are_printed_and_kept(folder: Path, assessed: Said) -> None:
    assert assessed.code == 0, assessed.err
    model = load_model(folder / "model")
    found = read_assessed(folder, model=model.id)
    assert list(found) == ["window-occlusion"]
    assert found["window-occlusion"].figures.n == 6
    assert re.search(r"window-occlusion, on 6 patients of table\.csv, \d{4}-\d\d-\d\d", assessed.out)
    assert "kept: " in assessed.out
    kept = "".join(path.read_text(encoding="utf-8") for path in folder_of(folder).iterdir())
    assert not [word for word in WORDS if word in assessed.out + assessed.err + kept]


def test_other_methods_stay_and_the_same_is_replaced(folder: Path, assessed: Said) -> None:
    model = load_model(folder / "model").id
    before = read_assessed(folder, model=model)["window-occlusion"]
    assert assess(folder, "--method", "occlusion").code == 0
    found = read_assessed(folder, model=model)
    assert list(found) == ["window-occlusion", "occlusion"]
    assert found["window-occlusion"] == before
    assert assess(folder, "--method", "occlusion", "--seed", "5").code == 0
    assert read_assessed(folder, model=model)["occlusion"].ground.seed == 5
    assert len(list(folder_of(folder).glob("assessment-*.json"))) == 1


def test_the_card_and_the_limits_say_it(folder: Path, assessed: Said) -> None:
    card = read_card(folder / "model")
    assert card["data"] == {"cases": 20, "patients": 20}
    assert card["explanations"][0].startswith("window-occlusion: gain over random orders")
    assert "## Explanations" in (folder / "model_card.md").read_text(encoding="utf-8")
    model = load_model(folder / "model")
    found = read_assessed(folder, model=model.id)
    limits = dict(limits_of(model, declared_by(model.schema), card=card, assessed=found).stated)
    assert "measured on 6 patients of table.csv" in limits["Are explanations true of it"]
    assert "not assessed" in dict(limits_of(model, declared_by(model.schema), card=card).stated)["Are explanations true of it"]


def test_the_page_has_it_below_the_case(folder: Path, assessed: Said, tmp_path: Path) -> None:
    said = call(
        "explain", folder / "model", folder / "table.csv", "--patient", "p002", "--out", tmp_path,
        "--method", "window-occlusion,attention",
    )  # fmt: skip
    assert said.code == 0, said.err
    page = (tmp_path / "explanation.html").read_text(encoding="utf-8")
    assert "6 patients of table.csv" in page
    assert page.count("as a rule, which does not show that the marks of this case are true of the model") == 1
    assert page.count("Over many patients: not assessed: attending assess MODEL TABLE measures it") == 1


def test_the_room_has_it_beside_the_marks(folder: Path, assessed: Said) -> None:
    model = load_model(folder / "model")
    plan = _plan(folder / "model", model, RoomOptions(cases=folder / "table.csv"), None)
    assert "window-occlusion" in plan.assessed
    with Visitor(model, plan) as visitor:
        id = visitor.ids()[2]
        assert "Measured on" not in text_of(visitor.get(f"/room/cases/{id}").text)
        marked = text_of(visitor.get(f"/room/cases/{id}?finding=sick&marks=on").text)
        assert "6 patients of table.csv" in marked
        assert "On this case not assessed." in marked
        assert "this case, your data" not in marked
        both = text_of(visitor.get(f"/room/cases/{id}?finding=sick&marks=on&truth=on").text)
        assert "6 patients of table.csv" in both
        assert "this case, your data" in both
        assert "6 patients of table.csv" in text_of(visitor.get("/room/model").text)
    with Visitor(model, RoomPlan(stream=stream_of(model, folder / "table.csv"))) as other:
        page = text_of(other.get(f"/room/cases/{other.ids()[2]}?finding=sick&marks=on&truth=on").text)
        assert "Over many patients it was not assessed" in page


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (("--method", "lime"), 'method "lime" is not known'),
        (("--method", "shapley"), "weighs whole kinds of evidence"),
        (("--method", ","), "names no method"),
        (("--where", "age > 500"), "--where keeps none of 20 rows"),
        (("--patients", "0"), "--patients"),
    ],
)
def test_bad_input_is_one_sentence_and_changes_nothing(
    folder: Path, assessed: Said, more: tuple[str, str], expected: str
) -> None:
    before = {path.name: path.read_bytes() for path in folder_of(folder).iterdir()}
    said = assess(folder, *more)
    assert said.code == 2
    assert expected in said.err
    assert "Traceback" not in said.err
    assert {path.name: path.read_bytes() for path in folder_of(folder).iterdir()} == before


def test_what_is_damaged_is_begun_anew(folder: Path, assessed: Said) -> None:
    for path in folder_of(folder).glob("assessment-*.json"):
        path.write_text("{}", encoding="utf-8")
    refused = call("explain", folder / "model", folder / "table.csv", "--patient", "p002", "--out", folder / "why")
    assert refused.code == 2
    assert "attending assess measures and writes it anew" in refused.sentence
    again = assess(folder)
    assert again.code == 0
    assert "begun anew" in again.err
    assert list(read_assessed(folder, model=load_model(folder / "model").id)) == ["window-occlusion"]
