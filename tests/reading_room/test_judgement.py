"""A study by yes or no with a confidence: what the form takes, what the file holds, and that a study keeps its scale."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attending.model.trained import TrainedModel
from attending.reading_room.judgement import DECISIONS, SCALES, SCORES, Decision, Scale, Score, UnreadableError
from attending.reading_room.room import RoomPlan
from attending.reading_room.study_file import COLUMNS, StudyError, columns_of
from tests.reading_room.rooms import Visitor, form_of, rows_of, stream_of, text_of

STUDY = "/room/study"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "study.csv"


def opened(model: TrainedModel, table: Path, file: Path, scale: Scale = DECISIONS) -> Visitor:
    return Visitor(model, RoomPlan(stream=stream_of(model, table), study=file, study_seed=3, reader="anna", scale=scale))


@pytest.fixture
def reader(model: TrainedModel, table: Path, file: Path) -> Iterator[Visitor]:
    with opened(model, table, file) as made:
        yield made


def judge(reader: Visitor, judgement: object, confidence: object, **more: object) -> int:
    sent = {"judgement-0": judgement, "confidence-0": confidence, **more}
    return reader.send(STUDY, {**form_of(reader.get(STUDY).text), **sent}).status_code


@given(value=st.integers(0, 100), is_yes=st.booleans(), scale=st.sampled_from(sorted(SCALES)))
def test_what_a_row_holds_is_read_again(value: int, is_yes: bool, scale: str) -> None:
    judged = Score(value=value) if scale == "score" else Decision(is_yes=is_yes, confidence=value)
    cells = {name: str(cell) for name, cell in judged.cells().items()}
    assert set(cells) == {"judgement", *SCALES[scale].more_columns}
    assert SCALES[scale].read(cells["judgement"], cells.get("confidence", "")) == judged


def test_sides_by_hand() -> None:
    assert [Score(value=value).is_above(0.3) for value in (0, 29, 30, 100)] == [False, False, True, True]
    assert [Decision(is_yes=is_yes, confidence=0).is_above(0.3) for is_yes in (True, False)] == [True, False]


@pytest.mark.parametrize("judgement", ["", "YES", "maybe", "1", "yes "])
def test_only_yes_and_no_are_decisions(judgement: str) -> None:
    with pytest.raises(UnreadableError, match="choose yes or no"):
        DECISIONS.read(judgement, "50")


@pytest.mark.parametrize("confidence", ["", "101", "-1", "5.5", "sure", "²"])
def test_only_whole_numbers_are_confidences(confidence: str) -> None:
    with pytest.raises(UnreadableError, match="how sure you are, a whole number from 0"):
        DECISIONS.read("yes", confidence)


def test_a_case_is_decided_before_and_after(reader: Visitor, model: TrainedModel, file: Path) -> None:
    page = reader.get(STUDY).text
    assert "how sure are you" in text_of(page)
    assert "%" not in text_of(page)
    assert page.count('type="radio"') == 2
    assert judge(reader, "yes", 80) == 303
    after = reader.get(STUDY).text
    assert "yes, confidence 80 before" in text_of(after)
    assert judge(reader, "no", 60, **{"reason-0": "the film"}) == 303
    rows = rows_of(file)
    assert tuple(rows[0]) == columns_of(DECISIONS) != COLUMNS
    assert [(row["stage"], row["judgement"], row["confidence"]) for row in rows] == [
        ("opened", "", ""),
        ("before", "yes", "80"),
        ("after", "no", "60"),
    ]
    is_above = float(rows[2]["estimate"]) >= float(rows[2]["threshold"])
    assert rows[2]["override_reason"] == ("the film" if is_above else "")


def test_a_decision_against_the_model_needs_a_reason(reader: Visitor, file: Path) -> None:
    judge(reader, "yes", 50)
    codes = {word: judge(reader, word, 50) for word in ("yes", "no")}
    (last,) = [row for row in rows_of(file) if row["stage"] == "after"]
    with_it = "yes" if last["model_side"] == "at or above" else "no"
    assert last["judgement"] == with_it
    assert codes[with_it] == 303
    if with_it == "no":  # "yes" was sent first, and refused
        assert codes["yes"] == 422


def test_what_was_sent_stands_there_again_with_what_is_wrong(reader: Visitor, file: Path) -> None:
    form = form_of(reader.get(STUDY).text)
    refused = reader.send(STUDY, {**form, "judgement-0": "no", "confidence-0": "much"})
    assert refused.status_code == 422
    assert 'value="no" required checked' in refused.text
    assert "much" not in refused.text
    assert "how sure you are" in text_of(refused.text)
    assert [row["stage"] for row in rows_of(file)] == ["opened"]


def test_a_restart_goes_on_and_the_scale_stays(model: TrainedModel, table: Path, file: Path, tmp_path: Path) -> None:
    with opened(model, table, file) as reader:
        judge(reader, "no", 35)
        id = form_of(reader.get(STUDY).text)["case"]
    before = file.read_bytes()
    with pytest.raises(StudyError, match="was begun with --judgement yes-no; give that again, or another file"):
        opened(model, table, file, SCORES)
    assert file.read_bytes() == before
    with opened(model, table, file) as reader:
        page = reader.get(STUDY).text
        assert (form_of(page)["case"], form_of(page)["stage"]) == (id, "after")
        assert "no, confidence 35 before" in text_of(page)
    other = tmp_path / "scores.csv"
    with opened(model, table, other, SCORES) as reader:
        reader.get(STUDY)
    with pytest.raises(StudyError, match="was begun with --judgement score"):
        opened(model, table, other)
