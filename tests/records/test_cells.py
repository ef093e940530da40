"""What stands in a cell of a chart: values with their times and units, signs, pictures, and what is refused of them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from attending.case import Absence, Demographics, Lab, Scan
from attending.records import (
    Column,
    RecordError,
    Role,
    SchemaError,
    infer_schema,
    read_table,
)
from attending.records.column import AT_QUESTION, UNRECORDED_TIME, UNSTATED, ValueRules
from tests.records.reading import Write, number, read, schema_of


def test_values_keep_their_time_and_nothing_later_than_the_question_enters(csv: Write) -> None:
    path = csv("""
        patient,seen,crp,crp_at,ldh,ldh_days,dx
        a,2020-03-02 12:00,1,2020-03-01 12:00,1,-2,1
        b,2020-03-02 12:00,2,2020-03-02 13:00,2,1,1
        c,2020-03-02 12:00,3,,3,0,1
        d,2020-03-02 12:00,4,soon,4,?,1
        e,2020-03-02 12:00,5,2020-01-01,5,-40,1
        f,,6,2020-03-01 12:00,6,0,0
    """)
    schema = schema_of(
        Column(name="seen", role=Role.ASKED_AT),
        number("crp", time="crp_at"),
        Column(name="crp_at", role=Role.TIME, unit="datetime"),
        number("ldh", time="ldh_days"),
        Column(name="ldh_days", role=Role.TIME, unit="d"),
        look_back_hours=30 * 24.0,
    )
    records = read(path, schema)
    got = [{lab.code: lab.at for lab in chart.of(Lab)} for chart in records.charts]
    assert got == [{"crp": -24.0, "ldh": -48.0}, {}, {"ldh": 0.0}, {}, {}]
    crp, ldh = records.counts["crp"], records.counts["ldh"]
    assert (crp.read, crp.late, crp.early, crp.refused, crp.rows) == (1, 1, 1, 2, 5)
    assert (ldh.read, ldh.late, ldh.early, ldh.refused, ldh.rows) == (2, 1, 1, 1, 5)
    assert [r.row for r in records.refused] == [7]  # no readable prediction time to compare with
    assert Absence(kind=Lab, name="crp", reason="later than the question") in records.charts[1].absent


def test_a_missing_time_or_unit_column_is_never_taken_for_the_default(csv: Write) -> None:
    schema = schema_of(
        number("crp", time="crp_hours"),
        Column(name="crp_hours", role=Role.TIME, unit="h"),
        number("ldh", unit_column="ldh_unit"),
        Column(name="ldh_unit", role=Role.UNIT),
    )
    records = read(csv("patient,crp,ldh,dx\na,1,2,1"), schema)
    assert records.charts[0].of(Lab) == ()
    assert dict(records.reasons["crp"]) == {'its time column "crp_hours" is missing': 1}
    assert dict(records.reasons["ldh"]) == {"its unit is blank": 1}


def test_values_are_held_in_the_schemas_unit(csv: Write) -> None:
    path = csv("""
        patient,glucose,glucose_unit,dx
        a,90,mg/dL,1
        b,5,mmol/L,1
        c,5,mmol,1
        d,5,kg,0
        e,5,,0
        f,5,Mrs Secret phoned,0
    """)
    unit = Column(name="glucose_unit", role=Role.UNIT)
    glucose = number("glucose", unit="mg/dL", unit_column="glucose_unit")
    with pytest.raises(RecordError, match=r'row 4, column "glucose_unit": found unit "mmol", expected one.*"mg/dL".*misfit = '):
        read(path, schema_of(glucose, unit))
    schema = schema_of(replace(glucose, rules=ValueRules(misfit="refused")), unit)
    records = read(path, schema)
    values = [lab.value for chart in records.charts for lab in chart.of(Lab)]
    assert values == pytest.approx([90.0, 90.078])
    reasons = " ".join(records.reasons["glucose"])
    assert 'found unit "mmol", expected one that converts to "mg/dL"' in reasons
    assert records.counts["glucose"].refused == 4
    assert "Secret" not in reasons
    with pytest.raises(RecordError, match=r'table.csv row 4, column "glucose" \(number\): found unit "mmol"'):
        read(path, schema, is_strict=True)


def test_no_unit_may_stand_beside_a_column_held_in_none(csv: Write) -> None:
    unit = Column(name="crp_unit", role=Role.UNIT)
    crp = number("crp", unit=UNSTATED, unit_column="crp_unit")
    with pytest.raises(RecordError, match=r'row 3, column "crp_unit": found unit "pears", and nothing says'):
        read(csv("patient,crp,crp_unit,dx\na,1,,1\nb,2,pears,1"), schema_of(crp, unit))
    records = read(csv("patient,crp,crp_unit,dx\na,1,,1\nb,2,?,1"), schema_of(crp, unit))
    assert [lab.value for chart in records.charts for lab in chart.of(Lab)] == [1.0, 2.0]


def test_a_foreign_unit_column_does_not_make_a_unit(csv: Write) -> None:
    cells = "\n".join(f"p{n},{n + 0.5},apples,{n % 2}" for n in range(20))
    schema = infer_schema(read_table(csv(f"patient,crp,crp_unit,dx\n{cells}")), targets=["dx"])
    assert schema.column("crp").unit == UNSTATED
    with pytest.raises(RecordError, match=r'row 2, column "crp_unit": found unit "apples"'):
        read(csv(f"patient,crp,crp_unit,dx\n{cells}"), schema)


def test_the_other_decimal_mark_than_the_schemas_is_an_error(csv: Write) -> None:
    path = csv('patient,crp,dx\na,"1,5",1\nb,2.5,0')
    with pytest.raises(RecordError, match=r'column "crp": 1 numbers have a decimal comma, expected a decimal point'):
        read(path, schema_of(number("crp")))
    with pytest.raises(RecordError, match=r'column "crp": 1 numbers have a decimal point, expected a decimal comma'):
        read(path, schema_of(number("crp", rules=ValueRules(decimal="comma"))))


def test_an_unstated_unit_stays_unstated(csv: Write) -> None:
    records = read(csv("patient,crp,dx\na,1,1"), schema_of(number("crp", unit=UNSTATED)))
    assert records.charts[0].of(Lab)[0].unit.symbol == UNSTATED


def test_strict_refuses_what_nobody_declared_and_what_is_missing(csv: Write) -> None:
    path = csv("patient,crp,pain,dx\na,1,maybe,1")
    with pytest.raises(SchemaError, match=r'2 that are not, first column "crp": unit unstated'):
        read(path, schema_of(number("crp", unit=UNSTATED, time=UNRECORDED_TIME)), is_strict=True)
    with pytest.raises(SchemaError, match='no column "ldh", which was named as an input'):
        read(path, schema_of(number("ldh")), is_strict=True)
    sign = Column(name="pain", role=Role.SIGN, levels=("no", "yes"), time=AT_QUESTION)
    with pytest.raises(RecordError, match=r'row 2, column "pain" \(sign\): a value that is not one of the 2 levels') as caught:
        read(path, schema_of(sign), is_strict=True)
    assert "maybe" not in str(caught.value)


def test_a_missing_input_is_absent_and_named_a_missing_target_only_where_it_is_needed(csv: Write) -> None:
    schema = schema_of(number("crp"))
    records = read(csv("patient\na\nb"), schema, needs_truth=False)
    assert (records.missing, [dict(chart.truth) for chart in records.charts]) == (("crp",), [{}, {}])
    with pytest.raises(SchemaError, match='no column "dx", which was named as the target'):
        read(csv("patient,crp\na,1"), schema)
    with pytest.raises(SchemaError, match='no column "patient", which was named as the patient'):
        read(csv("crp,dx\n1,1"), schema)


def test_impossible_ages_and_foreign_sexes_are_refused_not_clipped(csv: Write) -> None:
    schema = schema_of(
        Column(name="age", role=Role.AGE, unit="mo", time=AT_QUESTION),
        Column(name="sex", role=Role.SEX, levels=("f", "m"), time=AT_QUESTION),
    )
    records = read(csv("patient,age,sex,dx\na,24,F,1\nb,-1,x,0\nc,9999,male,0"), schema)
    assert [chart.of(Demographics) for chart in records.charts] == [
        (Demographics(age_years=2.0, sex="female"),),
        (),
        (Demographics(sex="male"),),
    ]
    assert (records.counts["age"].refused, records.counts["sex"].refused) == (2, 1)


def test_several_pictures_in_a_cell_and_one_that_cannot_be_read(csv: Write, tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 6), 200, dtype=np.uint8)).save(tmp_path / "a.png")
    (tmp_path / "bad.png").write_bytes(b"no picture")
    path = csv("""
        patient,film,dx
        a,a.png; a.png,1
        b,bad.png,0
        c,?,0
    """)
    schema = schema_of(Column(name="film", role=Role.IMAGE, separator=";", time=AT_QUESTION))
    records = read(path, schema)
    two, bad, none = records.charts
    assert [scan.pixels.shape for scan in two.of(Scan)] == [(4, 6), (4, 6)]
    assert bad.of(Scan) == ()
    assert bad.absent == (
        Absence(kind=Scan, name="film", reason="not a readable PNG or JPEG picture (UnidentifiedImageError)"),
    )
    assert (none.of(Scan), none.absent) == ((), ())
    assert [getattr(records.counts["film"], name) for name in ("read", "refused", "unknown")] == [1, 1, 1]
    with pytest.raises(RecordError, match=r'table.csv row 3, column "film" \(image\): not a readable'):
        read(path, schema, is_strict=True)


def test_a_film_beside_an_unreadable_one_still_needs_a_time_inside_the_window(csv: Write, tmp_path: Path) -> None:
    Image.fromarray(np.zeros((4, 4), dtype=np.uint8)).save(tmp_path / "a.png")
    path = csv("patient,film,film_hours,dx\na,a.png;lost.png,-1,1\nb,a.png;lost.png,-99,1\nc,a.png;lost.png,,1\nd,;,-1,1")
    film = Column(name="film", role=Role.IMAGE, separator=";", time="film_hours")
    time = Column(name="film_hours", role=Role.TIME, unit="h")
    records = read(path, schema_of(film, time, look_back_hours=48.0))
    assert [len(chart.of(Scan)) for chart in records.charts] == [1, 0, 0, 0]
    assert (records.counts["film"].early, records.counts["film"].blank, records.counts["film"].refused) == (1, 1, 2)


def test_a_path_outside_the_data_folder_is_an_error_with_its_row(csv: Write) -> None:
    schema = schema_of(Column(name="film", role=Role.IMAGE, time=AT_QUESTION))
    with pytest.raises(RecordError, match=r'table.csv row 2, column "film": the path leads outside the data folder'):
        read(csv("patient,film,dx\na,../../x.png,1"), schema)


def test_two_decimal_marks_in_a_column_are_an_error(csv: Write) -> None:
    path = csv('patient,crp,dx\na,"1,5",1\nb,2.5,0\nc,3.5,1\nd,"4,5",0')
    with pytest.raises(RecordError, match=r'table.csv column "crp": 2 numbers have a decimal comma and 2 a decimal point'):
        infer_schema(read_table(path), targets=["dx"])
