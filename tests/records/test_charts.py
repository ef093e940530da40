"""Tables into charts: joins, times, refusals, and no row or cell that vanishes uncounted."""

import csv as csv_module
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from attending.case import Absence, Censoring, Demographics, Embedding, Lab, Note, Scan, Sign, Unit
from attending.records import (
    EACH_ROW,
    Column,
    RecordError,
    Records,
    Role,
    Schema,
    SchemaError,
    Table,
    Target,
    TargetKind,
    infer_schema,
    read_charts,
    read_table,
)
from attending.records.column import AT_QUESTION, UNRECORDED_TIME, UNSTATED, ValueRules
from attending.records.groups import widest_groups

Write = Callable[..., Path]
TARGET = Target(column="dx", kind=TargetKind.BINARY, classes=("0", "1"), positive="1")


def _number(name: str, **rest: object) -> Column:
    return Column(**{"name": name, "role": Role.NUMBER, "unit": "mg/L", "time": AT_QUESTION, **rest})  # type: ignore[arg-type]


def _schema(*columns: Column, **rest: object) -> Schema:
    fixed = (Column(name="patient", role=Role.PATIENT), Column(name="dx", role=Role.TARGET))
    return Schema(columns=(*fixed, *columns), targets=(TARGET,), **rest)  # type: ignore[arg-type]


def _read(path: Path, schema: Schema, **options: object) -> Records:
    return read_charts(read_table(path), schema, **options)  # type: ignore[arg-type]


def test_a_row_becomes_a_chart(csv: Write) -> None:
    path = csv("""
        id,patient,family,site,age,sex,note,crp,pain,vector,film_view,dx
        a,p1,f1,S1,92,F,fever and cough,<5,yes,"[1, 2]",AP,1
    """)
    schema = _schema(
        Column(name="id", role=Role.ID),
        Column(name="family", role=Role.GROUP),
        Column(name="site", role=Role.SITE),
        Column(name="age", role=Role.AGE, unit="a", time=AT_QUESTION),
        Column(name="sex", role=Role.SEX, levels=("F", "M"), time=AT_QUESTION),
        Column(name="note", role=Role.NOTE, time=AT_QUESTION),
        _number("crp"),
        Column(name="pain", role=Role.SIGN, levels=("no", "yes"), time=AT_QUESTION),
        Column(name="vector", role=Role.EMBEDDING, time=AT_QUESTION),
        Column(name="film_view", role=Role.VIEW),
    )
    (chart,) = _read(path, schema).charts
    assert (chart.id, chart.patient, chart.group, chart.site) == ("a", "p1", "f1", "S1")
    assert chart.of(Demographics) == (Demographics(age_years=92.0, sex="female"),)
    assert chart.of(Note) == (Note(text="fever and cough", field_name="note"),)
    assert chart.of(Lab) == (Lab(code="crp", value=5.0, unit=Unit("mg/L"), censoring=Censoring.BELOW),)
    assert chart.of(Sign) == (Sign(name="pain", value="yes", levels=("no", "yes")),)
    assert chart.of(Embedding)[0].vector.tolist() == [1.0, 2.0]
    assert (dict(chart.truth), dict(chart.strata)) == ({"dx": True}, {"film_view": "AP"})
    assert dict(chart.identity.values) == {"id": "a", "patient": "p1", "family": "f1"}


def test_blank_and_unknown_truth_is_unknown_not_negative(csv: Write) -> None:
    records = _read(csv("patient,dx\na,1\nb,\nc,?\nd,0\ne,2"), _schema())
    assert [dict(chart.truth) for chart in records.charts] == [{"dx": True}, {}, {}, {"dx": False}, {}]
    assert records.unread_labels == {"dx": 1}  # the value 2, which the schema does not list


def test_rows_that_share_the_case_column_are_joined(csv: Write) -> None:
    path = csv("""
        case,patient,crp,crp_hours,pain,dx
        x,p,10,-5,yes,1
        x,p,20,-1,yes,
        y,p,30,0,,0
        z,p,1,0,,1
        z,q,2,0,,1
        w,q,2,0,,1
        w,q,2,0,,0
    """)
    schema = _schema(
        Column(name="case", role=Role.CASE),
        _number("crp", time="crp_hours"),
        Column(name="crp_hours", role=Role.TIME, unit="h"),
        Column(name="pain", role=Role.SIGN, levels=("no", "yes"), time=AT_QUESTION),
    )
    records = _read(path, schema)
    joined, single = records.charts
    assert [(lab.at, lab.value) for lab in joined.of(Lab)] == [(-5.0, 10.0), (-1.0, 20.0)]
    assert len(joined.of(Sign)) == 1  # said twice, held once
    assert (dict(joined.truth), dict(single.truth)) == ({"dx": True}, {"dx": False})
    assert records.rows == ((2, 3), (4,))
    assert [(r.row, r.reason) for r in records.refused] == [
        (5, "rows of one case name different patients"),
        (6, "rows of one case name different patients"),
        (7, "rows of one case disagree on the target"),
        (8, "rows of one case disagree on the target"),
    ]
    assert records.n_rows == records.n_rows_used + len(records.refused) == 7


def test_joined_rows_share_one_moment_of_the_question(csv: Write) -> None:
    path = csv("""
        patient,stay,seen,crp,dx
        a,s1,2020-03-01 10:00,1,1
        a,s1,2020-03-01 10:00,2,1
        b,s2,2020-03-01 10:00,3,0
        b,s2,2020-03-02 10:00,4,0
        c,s3,,5,0
        c,s3,2020-03-02 10:00,6,0
    """)
    stay, seen = Column(name="stay", role=Role.CASE), Column(name="seen", role=Role.ASKED_AT)
    records = _read(path, _schema(stay, seen, _number("crp")))
    assert [chart.id for chart in records.charts] == ["s1", "s3"]
    assert {(one.row, one.reason) for one in records.refused} == {
        (row, "rows of one case name different prediction times") for row in (4, 5)
    }


def test_a_doubled_id_is_an_error_that_names_both_rows(csv: Write) -> None:
    path = csv("id,patient,dx\na,p,1\nb,p,0\na,q,0")
    with pytest.raises(RecordError, match=r'table.csv row 4, column "id": the id already stands in row 2.*role "case"'):
        _read(path, _schema(Column(name="id", role=Role.ID)))


def test_rows_without_patient_or_id_are_refused_and_reported(csv: Write) -> None:
    records = _read(csv("id,patient,dx\na,p,1\n,p,0\nc,,0"), _schema(Column(name="id", role=Role.ID)))
    assert [(r.file, r.row, r.column) for r in records.refused] == [("table.csv", 3, "id"), ("table.csv", 4, "patient")]
    assert len(records.charts) == 1
    with pytest.raises(RecordError, match="none of 1 rows can be used"):
        _read(csv("id,patient,dx\n,p,1"), _schema(Column(name="id", role=Role.ID)))


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
    schema = _schema(
        Column(name="seen", role=Role.ASKED_AT),
        _number("crp", time="crp_at"),
        Column(name="crp_at", role=Role.TIME, unit="datetime"),
        _number("ldh", time="ldh_days"),
        Column(name="ldh_days", role=Role.TIME, unit="d"),
        look_back_hours=30 * 24.0,
    )
    records = _read(path, schema)
    got = [{lab.code: lab.at for lab in chart.of(Lab)} for chart in records.charts]
    assert got == [{"crp": -24.0, "ldh": -48.0}, {}, {"ldh": 0.0}, {}, {}]
    crp, ldh = records.counts["crp"], records.counts["ldh"]
    assert (crp.read, crp.late, crp.early, crp.refused, crp.rows) == (1, 1, 1, 2, 5)
    assert (ldh.read, ldh.late, ldh.early, ldh.refused, ldh.rows) == (2, 1, 1, 1, 5)
    assert [r.row for r in records.refused] == [7]  # no readable prediction time to compare with
    assert Absence(kind=Lab, name="crp", reason="later than the question") in records.charts[1].absent


def test_a_missing_time_or_unit_column_is_never_taken_for_the_default(csv: Write) -> None:
    schema = _schema(
        _number("crp", time="crp_hours"),
        Column(name="crp_hours", role=Role.TIME, unit="h"),
        _number("ldh", unit_column="ldh_unit"),
        Column(name="ldh_unit", role=Role.UNIT),
    )
    records = _read(csv("patient,crp,ldh,dx\na,1,2,1"), schema)
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
    glucose = _number("glucose", unit="mg/dL", unit_column="glucose_unit")
    with pytest.raises(RecordError, match=r'row 4, column "glucose_unit": found unit "mmol", expected one.*"mg/dL".*misfit = '):
        _read(path, _schema(glucose, unit))
    schema = _schema(replace(glucose, rules=ValueRules(misfit="refused")), unit)
    records = _read(path, schema)
    values = [lab.value for chart in records.charts for lab in chart.of(Lab)]
    assert values == pytest.approx([90.0, 90.078])
    reasons = " ".join(records.reasons["glucose"])
    assert 'found unit "mmol", expected one that converts to "mg/dL"' in reasons
    assert records.counts["glucose"].refused == 4
    assert "Secret" not in reasons
    with pytest.raises(RecordError, match=r'table.csv row 4, column "glucose" \(number\): found unit "mmol"'):
        _read(path, schema, is_strict=True)


def test_no_unit_may_stand_beside_a_column_held_in_none(csv: Write) -> None:
    unit = Column(name="crp_unit", role=Role.UNIT)
    crp = _number("crp", unit=UNSTATED, unit_column="crp_unit")
    with pytest.raises(RecordError, match=r'row 3, column "crp_unit": found unit "pears", and nothing says'):
        _read(csv("patient,crp,crp_unit,dx\na,1,,1\nb,2,pears,1"), _schema(crp, unit))
    records = _read(csv("patient,crp,crp_unit,dx\na,1,,1\nb,2,?,1"), _schema(crp, unit))
    assert [lab.value for chart in records.charts for lab in chart.of(Lab)] == [1.0, 2.0]


def test_a_foreign_unit_column_does_not_make_a_unit(csv: Write) -> None:
    cells = "\n".join(f"p{n},{n + 0.5},apples,{n % 2}" for n in range(20))
    schema = infer_schema(read_table(csv(f"patient,crp,crp_unit,dx\n{cells}")), targets=["dx"])
    assert schema.column("crp").unit == UNSTATED
    with pytest.raises(RecordError, match=r'row 2, column "crp_unit": found unit "apples"'):
        _read(csv(f"patient,crp,crp_unit,dx\n{cells}"), schema)


def test_the_other_decimal_mark_than_the_schemas_is_an_error(csv: Write) -> None:
    path = csv('patient,crp,dx\na,"1,5",1\nb,2.5,0')
    with pytest.raises(RecordError, match=r'column "crp": 1 numbers have a decimal comma, expected a decimal point'):
        _read(path, _schema(_number("crp")))
    with pytest.raises(RecordError, match=r'column "crp": 1 numbers have a decimal point, expected a decimal comma'):
        _read(path, _schema(_number("crp", rules=ValueRules(decimal="comma"))))


def test_an_unstated_unit_stays_unstated(csv: Write) -> None:
    records = _read(csv("patient,crp,dx\na,1,1"), _schema(_number("crp", unit=UNSTATED)))
    assert records.charts[0].of(Lab)[0].unit.symbol == UNSTATED


def test_strict_refuses_what_nobody_declared_and_what_is_missing(csv: Write) -> None:
    path = csv("patient,crp,pain,dx\na,1,maybe,1")
    with pytest.raises(SchemaError, match=r'2 that are not, first column "crp": unit unstated'):
        _read(path, _schema(_number("crp", unit=UNSTATED, time=UNRECORDED_TIME)), is_strict=True)
    with pytest.raises(SchemaError, match='no column "ldh", which was named as an input'):
        _read(path, _schema(_number("ldh")), is_strict=True)
    sign = Column(name="pain", role=Role.SIGN, levels=("no", "yes"), time=AT_QUESTION)
    with pytest.raises(RecordError, match=r'row 2, column "pain" \(sign\): a value that is not one of the 2 levels') as caught:
        _read(path, _schema(sign), is_strict=True)
    assert "maybe" not in str(caught.value)


def test_a_missing_input_is_absent_and_named_a_missing_target_only_where_it_is_needed(csv: Write) -> None:
    schema = _schema(_number("crp"))
    records = _read(csv("patient\na\nb"), schema, needs_truth=False)
    assert (records.missing, [dict(chart.truth) for chart in records.charts]) == (("crp",), [{}, {}])
    with pytest.raises(SchemaError, match='no column "dx", which was named as the target'):
        _read(csv("patient,crp\na,1"), schema)
    with pytest.raises(SchemaError, match='no column "patient", which was named as the patient'):
        _read(csv("crp,dx\n1,1"), schema)


def test_impossible_ages_and_foreign_sexes_are_refused_not_clipped(csv: Write) -> None:
    schema = _schema(
        Column(name="age", role=Role.AGE, unit="mo", time=AT_QUESTION),
        Column(name="sex", role=Role.SEX, levels=("f", "m"), time=AT_QUESTION),
    )
    records = _read(csv("patient,age,sex,dx\na,24,F,1\nb,-1,x,0\nc,9999,male,0"), schema)
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
    schema = _schema(Column(name="film", role=Role.IMAGE, separator=";", time=AT_QUESTION))
    records = _read(path, schema)
    two, bad, none = records.charts
    assert [scan.pixels.shape for scan in two.of(Scan)] == [(4, 6), (4, 6)]
    assert bad.of(Scan) == ()
    assert bad.absent == (
        Absence(kind=Scan, name="film", reason="not a readable PNG or JPEG picture (UnidentifiedImageError)"),
    )
    assert (none.of(Scan), none.absent) == ((), ())
    assert [getattr(records.counts["film"], name) for name in ("read", "refused", "unknown")] == [1, 1, 1]
    with pytest.raises(RecordError, match=r'table.csv row 3, column "film" \(image\): not a readable'):
        _read(path, schema, is_strict=True)


def test_a_film_beside_an_unreadable_one_still_needs_a_time_inside_the_window(csv: Write, tmp_path: Path) -> None:
    Image.fromarray(np.zeros((4, 4), dtype=np.uint8)).save(tmp_path / "a.png")
    path = csv("patient,film,film_hours,dx\na,a.png;lost.png,-1,1\nb,a.png;lost.png,-99,1\nc,a.png;lost.png,,1\nd,;,-1,1")
    film = Column(name="film", role=Role.IMAGE, separator=";", time="film_hours")
    time = Column(name="film_hours", role=Role.TIME, unit="h")
    records = _read(path, _schema(film, time, look_back_hours=48.0))
    assert [len(chart.of(Scan)) for chart in records.charts] == [1, 0, 0, 0]
    assert (records.counts["film"].early, records.counts["film"].blank, records.counts["film"].refused) == (1, 1, 2)


def test_a_path_outside_the_data_folder_is_an_error_with_its_row(csv: Write) -> None:
    schema = _schema(Column(name="film", role=Role.IMAGE, time=AT_QUESTION))
    with pytest.raises(RecordError, match=r'table.csv row 2, column "film": the path leads outside the data folder'):
        _read(csv("patient,film,dx\na,../../x.png,1"), schema)


def test_two_decimal_marks_in_a_column_are_an_error(csv: Write) -> None:
    path = csv('patient,crp,dx\na,"1,5",1\nb,2.5,0\nc,3.5,1\nd,"4,5",0')
    with pytest.raises(RecordError, match=r'table.csv column "crp": 2 numbers have a decimal comma and 2 a decimal point'):
        infer_schema(read_table(path), targets=["dx"])


def test_no_patient_text_in_any_error(csv: Write) -> None:
    path = csv("patient,crp,dx\na,Mrs Secret phoned,1")
    with pytest.raises(RecordError, match="not a number") as caught:
        _read(path, _schema(_number("crp")), is_strict=True)
    assert "Secret" not in str(caught.value)
    assert "Secret" not in str(_read(path, _schema(_number("crp"))).reasons)


def test_groups_are_the_widest_that_ids_give() -> None:
    assert widest_groups(["a", "a", "b", "c"], []) == ["a", "a", "b", "c"]
    assert widest_groups(["a", "b", "c"], [["f", "f", None]]) == ["f", "f", "c"]
    # the patient b is in two families, and families meet in an article: all one group
    chained = widest_groups(["a", "b", "b", "c", "d"], [["f", "f", "g", "g", "h"], [None, None, None, "x", "x"]])
    assert chained == ["f"] * 5


@given(
    st.lists(
        st.tuples(st.sampled_from("ab "), st.sampled_from(["u", "v", "w", " "]), st.none() | st.sampled_from("fg")),
        min_size=1,
        max_size=12,
    )
)
def test_groups_never_split_what_shares_an_id(rows: list[tuple[str, str, str | None]]) -> None:
    patients, wider = [patient + other for patient, other, _ in rows], [family for *_, family in rows]
    groups = widest_groups(patients, [wider])
    for i in range(len(rows)):
        for j in range(len(rows)):
            if patients[i] == patients[j] or (wider[i] is not None and wider[i] == wider[j]):
                assert groups[i] == groups[j]


CELLS = st.sampled_from(["", "1", "2.5", "<3", ">9", "inf", "?", "soup", "4 mg/dL", "7 parsecs"])


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["p", "q", ""]), st.sampled_from(["x", "y", "z", ""]), CELLS,
            st.sampled_from(["", "-1", "0", "2", "?"]), st.sampled_from(["", "yes", "no", "maybe"]),
            st.sampled_from(["0", "1", "", "9"]),
        ),
        min_size=1,
        max_size=10,
    )
)  # fmt: skip
def test_rows_in_are_rows_used_and_rows_reported(tmp_path: Path, rows: list[tuple[str, ...]]) -> None:
    path = tmp_path / "t.csv"
    with path.open("w", newline="", encoding="utf-8") as handle:
        csv_module.writer(handle).writerows([("patient", "case", "crp", "crp_days", "pain", "dx"), *rows])
    schema = _schema(
        Column(name="case", role=Role.CASE),
        _number("crp", time="crp_days", rules=ValueRules(detection_high=50.0)),
        Column(name="crp_days", role=Role.TIME, unit="d"),
        Column(name="pain", role=Role.SIGN, levels=("no", "yes"), time=AT_QUESTION),
    )
    try:
        records = _read(path, schema)
    except RecordError as error:
        assert "none of" in str(error)  # noqa: PT017 -- both ends are fine, and each is checked
        return
    assert records.n_rows == len(rows) == records.n_rows_used + len(records.refused)
    numbers = sorted([row for each in records.rows for row in each] + [refused.row for refused in records.refused])
    assert numbers == list(range(2, len(rows) + 2))
    assert all(counts.rows == records.n_rows_used for counts in records.counts.values())
    assert sum(len({*chart.of(Lab)}) for chart in records.charts) <= records.counts["crp"].used
    assert all(evidence.at <= 0 for chart in records.charts for evidence in chart.evidence)


def test_each_row_may_be_declared_a_person(csv: Write) -> None:
    schema = Schema(columns=(_number("crp"),), patient_rows=EACH_ROW)
    charts = _read(csv("crp\n1\n2"), schema).charts
    assert [chart.patient for chart in charts] == ["row 2", "row 3"]
    assert replace(charts[0], truth={}).id == "row 2"


def test_columns_are_taken_out_of_the_frame_as_often_for_many_rows_as_for_few(
    csv: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A column taken out once for each row made reading grow with the square of the rows."""
    schema = _schema(_number("crp"), Column(name="family", role=Role.GROUP))
    taken = 0
    take = Table.cells

    def counted(table: Table, column: str) -> list[str | None]:
        nonlocal taken
        taken += 1
        return take(table, column)

    monkeypatch.setattr(Table, "cells", counted)
    found = []
    for n in (10, 40):
        taken = 0
        rows = "\n".join(f"p{i},f{i},{i}.5,{i % 2}" for i in range(n))
        assert len(_read(csv(f"patient,family,crp,dx\n{rows}\n"), schema).charts) == n
        found.append(taken)
    assert found[0] == found[1]
