"""Cases taken in piece by piece are those of the whole table, wherever their rows lie and however it is cut."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from attending.case import Case, Embedding, Note, Scan
from attending.intake import Intake, declare, read_table, take_in
from attending.records import Column, Companion, RecordError, Role, Schema, SchemaError
from attending.records.companion_rows import count_reasons
from attending.records.paged import open_table
from attending.streaming import Stream, open_stream
from tests.tables import rows, with_notes_and_films, write_rows

N = 61
CUTS = (1, 7, N)


def first_name(case: int) -> str:
    """Another one for every case, in letters: with a digit it would be no name."""
    return f"Ann{chr(97 + case // 10)}{chr(97 + case % 10)}"


def entries(folder: Path) -> list[dict[str, str]]:
    """Joined rows and visits that lie far apart: row i and i + 40 are one case, every patient has several cases."""
    made = []
    for number, row in enumerate(with_notes_and_films(folder, rows(N))):
        case = number % 40
        vector = "1;2;3" if number < 3 else "" if number % 4 == 0 else "0.5;-1;2;4"
        made.append(
            {
                **row,
                "case_id": f"c{case}",
                "patient_id": f"p{case % 9}",
                "name": f"{first_name(case)} Kern",
                "sick": "yes" if case % 3 else "no",
                "asked": f"2020-03-{case % 9 + 10} 12:00",
                "note": f"{row['note']} Before: {first_name((case + 9) % 40)}, ward 3, 2019-12-24.",
                "ecg_embedding": vector,
            }
        )
    made[44]["sick"] = "no" if made[4]["sick"] == "yes" else "yes"  # its rows disagree
    made[50]["patient_id"] = ""
    made[13]["asked"] = "some day"
    return made


def labs() -> list[dict[str, str]]:
    """Of patients with several cases: before each question, before some, after all, unreadable, and of nobody."""
    moments = ("2020-03-09 08:00", "2020-03-14 12:00", "2020-04-01 09:00", "then")
    made = [
        {"patient_id": f"p{patient}", "code": "lactate", "value": str(number), "unit": "mmol/L", "time": moment}
        for patient in range(12)
        for number, moment in enumerate(moments)
    ]
    made[5]["value"] = "much"
    return made


def declared(table: Path) -> Schema:
    found = declare(read_table(table), schema=None, targets=("sick",), positive="yes", ignore=("kind", "a", "b"), only=())
    roles = {"case_id": Role.CASE, "name": Role.IDENTITY, "asked": Role.ASKED_AT, "ecg_embedding": Role.EMBEDDING}
    values = Companion(kind="labs", id="patient_id", value="value", code="code", unit="unit", time="time", time_unit="datetime")
    columns = tuple(replace(c, role=roles.get(c.name, c.role)) for c in found.columns)
    return replace(found, columns=columns, companions=(values,))


@pytest.fixture
def table(tmp_path: Path) -> Path:
    write_rows(tmp_path / "labs.csv", labs())
    return write_rows(tmp_path / "table.csv", entries(tmp_path))


def whole(table: Path, schema: Schema, **changes: Any) -> Intake:
    beside = {"labs": table.parent / "labs.csv"}
    return take_in(read_table(table), schema, key_file=table.parent / "key", companions=beside, needs_truth=False, **changes)


def stream(table: Path, schema: Schema, **changes: Any) -> Stream:
    beside = {"labs": table.parent / "labs.csv"}
    return open_stream(open_table(table), schema, key_file=table.parent / "key", companions=beside, **changes)


def told(case: Case) -> tuple[Any, ...]:
    """All that a case holds, comparable."""
    evidence = [
        (e.field_name, e.at, e.pixels.tobytes()) if isinstance(e, Scan) else
        (e.name, e.at, e.vector.tobytes()) if isinstance(e, Embedding) else e
        for e in case.evidence
    ]  # fmt: skip
    return case.id, case.patient, case.site, case.truth, case.strata, case.absent, evidence


def cut(opened: Stream, size: int) -> list[Any]:
    return [opened.take_in(start, min(start + size, len(opened))) for start in range(0, len(opened), size)]


@pytest.mark.parametrize("size", CUTS)
def test_cases_and_counts_are_those_of_the_whole_table(table: Path, size: int) -> None:
    schema = declared(table)
    expected, opened = whole(table, schema), stream(table, schema, piece=size)
    pieces = cut(opened, size)
    found = [case for piece in pieces for case in piece.intake.cases]
    assert [told(case) for case in found] == [told(case) for case in expected.cases]
    names = {id: own for piece in pieces for id, own in piece.intake.own_ids().items()}
    assert names == expected.own_ids()
    assert list(names) == list(expected.own_ids())
    records = expected.records
    assert opened.plan.refused == records.refused
    assert len(opened.plan.rows) == records.n_rows_used == N - len(records.refused)
    assert tuple(rows for piece in pieces for rows in piece.intake.records.rows) == records.rows
    for column, reasons in records.reasons.items():
        counted = [piece.intake.records.reasons[column] for piece in pieces]
        assert {why: sum(each.get(why, 0) for each in counted) for why in reasons} == reasons
    outcomes = [outcome for piece in pieces for outcome in piece.companion_rows["labs"]]
    assert count_reasons(len(labs()), outcomes) == records.companion_reasons["labs"]


@pytest.mark.parametrize("size", CUTS)
def test_notes_and_films_that_lie_beside_the_table_are_those_of_the_whole(table: Path, size: int) -> None:
    """Films are joined by the case, notes by a ward that patients of all pieces share."""
    folder = table.parent
    wards = [{**row, "visit_id": f"ward {number % 3}"} for number, row in enumerate(entries(folder))]
    path = write_rows(folder / "wards.csv", wards)
    found = declared(table)
    columns = [c for c in found.columns if c.role is not Role.IMAGE]
    schema = replace(
        found,
        columns=(*columns, Column(name="visit_id", role=Role.VISIT)),
        companions=(
            Companion(kind="notes", id="visit_id", value="text"),
            Companion(kind="images", id="case_id", value="image"),
        ),
    )
    said = [{"visit_id": f"ward {n}", "text": f"Round on ward {n}: {first_name(5)} sleeps."} for n in (2, 0, 7)]
    films = [{"case_id": f"c{n}", "image": f"film{n}.png"} for n in (39, 1, 1, 50, 6)]  # case 6 has none in the folder
    beside = {"notes": write_rows(folder / "notes.csv", said), "images": write_rows(folder / "images.csv", films)}
    expected = take_in(read_table(path), schema, key_file=folder / "key", companions=beside, needs_truth=False)
    pieces = cut(open_stream(open_table(path), schema, key_file=folder / "key", companions=beside), size)
    assert [told(case) for piece in pieces for case in piece.intake.cases] == [told(case) for case in expected.cases]
    assert any("Round on" in note.text for case in expected.cases for note in case.of(Note))
    assert sum(len(case.of(Scan)) for case in expected.cases) == 3
    for kind, rows_of_kind in (("notes", said), ("images", films)):
        outcomes = [outcome for piece in pieces for outcome in piece.companion_rows[kind]]
        assert count_reasons(len(rows_of_kind), outcomes) == expected.records.companion_reasons[kind]


def test_a_visit_is_cleaned_of_names_that_only_another_visits_row_gives(table: Path) -> None:
    opened = stream(table, declared(table))
    (piece,) = cut(opened, len(opened))
    texts = [e.text for case in piece.intake.cases for e in case.evidence if hasattr(e, "text")]
    assert texts
    assert sum("[identity]" in text for text in texts) > 20
    alone = [e.text for piece in cut(opened, 1) for e in piece.intake.cases[0].evidence if hasattr(e, "text")]
    assert alone == texts


def test_the_length_that_most_vectors_have_is_told_by_the_whole_table(table: Path) -> None:
    opened = stream(table, declared(table), piece=7)
    assert opened.vector_lengths == {"ecg_embedding": 4}
    # the first rows alone would say that three numbers are usual
    lengths = {len(e.vector) for piece in cut(opened, 1) for case in piece.intake.cases for e in case.of(Embedding)}
    assert lengths == {4}


def test_pieces_may_be_asked_for_in_any_order(table: Path) -> None:
    opened = stream(table, declared(table))
    there = [opened.take_in(start, start + 1).intake.cases[0] for start in range(len(opened))]
    back = [opened.take_in(start, start + 1).intake.cases[0] for start in reversed(range(len(opened)))]
    assert [told(case) for case in there] == [told(case) for case in reversed(back)]


def refusal(ask: Any) -> str:
    with pytest.raises(RecordError) as found:
        ask()
    return str(found.value)


def changed(table: Path, **cells: Sequence[tuple[int, str]]) -> Path:
    made = entries(table.parent)
    for column, places in cells.items():
        for row, cell in places:
            made[row][column] = cell
    return write_rows(table.parent / "changed.csv", made)


def test_what_the_whole_table_refuses_is_refused_in_its_words(table: Path) -> None:
    schema = declared(table)
    every = [(row, "") for row in range(N)]
    one_row = replace(schema, columns=tuple(replace(c, role=Role.ID) if c.role is Role.CASE else c for c in schema.columns))
    asked: list[tuple[Path, Schema, dict[str, Any]]] = [
        (table, one_row, {}),
        (changed(table, patient_id=every), schema, {}),
        (table, schema, {"is_strict": True}),
    ]
    for path, by, options in asked:
        assert refusal(lambda: stream(path, by, **options)) == refusal(lambda: whole(path, by, **options))  # noqa: B023
    with pytest.raises(SchemaError, match='no column "case_id", which was named as the case'):
        stream(write_rows(table.parent / "narrow.csv", [{"patient_id": "p1", "sick": "yes", "asked": "2020-03-10"}]), schema)


def test_numbers_written_in_another_way_are_refused_with_the_rows_of_the_piece(table: Path) -> None:
    path, schema = changed(table, crp_mg_l=[(30, "3,5"), (36, "4,5")]), declared(table)
    assert 'changed.csv column "crp_mg_l": 2 numbers have a decimal comma' in refusal(lambda: whole(path, schema))
    opened = stream(path, schema)
    said = refusal(lambda: opened.take_in(27, 32))
    assert re.search(r'changed.csv rows \d+ to \d+, column "crp_mg_l": \d numbers? have a decimal comma', said)


def test_an_error_in_a_late_piece_names_the_row_of_the_file(table: Path) -> None:
    opened = stream(changed(table, film=[(38, "../../outside.png")]), declared(table))
    start = next(n for n in range(len(opened)) if 38 in opened.plan.rows[opened.plan.starts[n] : opened.plan.starts[n + 1]])
    assert 'changed.csv row 40, column "film"' in refusal(lambda: opened.take_in(start, start + 1))
    assert np.diff(opened.plan.starts).min() == 1
