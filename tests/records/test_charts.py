"""Tables into charts: joins, refusals, groups, and no row or cell that vanishes uncounted."""

import csv as csv_module
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from attending.case import Censoring, Demographics, Embedding, Lab, Note, Sign, Unit
from attending.records import (
    EACH_ROW,
    Column,
    RecordError,
    Role,
    Schema,
    Table,
)
from attending.records.column import AT_QUESTION, ValueRules
from attending.records.groups import widest_groups
from tests.records.reading import Write, number, read, schema_of


def test_a_row_becomes_a_chart(csv: Write) -> None:
    path = csv("""
        id,patient,family,site,age,sex,note,crp,pain,vector,film_view,dx
        a,p1,f1,S1,92,F,fever and cough,<5,yes,"[1, 2]",AP,1
    """)
    schema = schema_of(
        Column(name="id", role=Role.ID),
        Column(name="family", role=Role.GROUP),
        Column(name="site", role=Role.SITE),
        Column(name="age", role=Role.AGE, unit="a", time=AT_QUESTION),
        Column(name="sex", role=Role.SEX, levels=("F", "M"), time=AT_QUESTION),
        Column(name="note", role=Role.NOTE, time=AT_QUESTION),
        number("crp"),
        Column(name="pain", role=Role.SIGN, levels=("no", "yes"), time=AT_QUESTION),
        Column(name="vector", role=Role.EMBEDDING, time=AT_QUESTION),
        Column(name="film_view", role=Role.VIEW),
    )
    (chart,) = read(path, schema).charts
    assert (chart.id, chart.patient, chart.group, chart.site) == ("a", "p1", "f1", "S1")
    assert chart.of(Demographics) == (Demographics(age_years=92.0, sex="female"),)
    assert chart.of(Note) == (Note(text="fever and cough", field_name="note"),)
    assert chart.of(Lab) == (Lab(code="crp", value=5.0, unit=Unit("mg/L"), censoring=Censoring.BELOW),)
    assert chart.of(Sign) == (Sign(name="pain", value="yes", levels=("no", "yes")),)
    assert chart.of(Embedding)[0].vector.tolist() == [1.0, 2.0]
    assert (dict(chart.truth), dict(chart.strata)) == ({"dx": True}, {"film_view": "AP"})
    assert dict(chart.identity.values) == {"id": "a", "patient": "p1", "family": "f1"}


def test_blank_and_unknown_truth_is_unknown_not_negative(csv: Write) -> None:
    records = read(csv("patient,dx\na,1\nb,\nc,?\nd,0\ne,2"), schema_of())
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
    schema = schema_of(
        Column(name="case", role=Role.CASE),
        number("crp", time="crp_hours"),
        Column(name="crp_hours", role=Role.TIME, unit="h"),
        Column(name="pain", role=Role.SIGN, levels=("no", "yes"), time=AT_QUESTION),
    )
    records = read(path, schema)
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
    records = read(path, schema_of(stay, seen, number("crp")))
    assert [chart.id for chart in records.charts] == ["s1", "s3"]
    assert {(one.row, one.reason) for one in records.refused} == {
        (row, "rows of one case name different prediction times") for row in (4, 5)
    }


def test_a_doubled_id_is_an_error_that_names_both_rows(csv: Write) -> None:
    path = csv("id,patient,dx\na,p,1\nb,p,0\na,q,0")
    with pytest.raises(RecordError, match=r'table.csv row 4, column "id": the id already stands in row 2.*role "case"'):
        read(path, schema_of(Column(name="id", role=Role.ID)))


def test_rows_without_patient_or_id_are_refused_and_reported(csv: Write) -> None:
    records = read(csv("id,patient,dx\na,p,1\n,p,0\nc,,0"), schema_of(Column(name="id", role=Role.ID)))
    assert [(r.file, r.row, r.column) for r in records.refused] == [("table.csv", 3, "id"), ("table.csv", 4, "patient")]
    assert len(records.charts) == 1
    with pytest.raises(RecordError, match="none of 1 rows can be used"):
        read(csv("id,patient,dx\n,p,1"), schema_of(Column(name="id", role=Role.ID)))


def test_no_patient_text_in_any_error(csv: Write) -> None:
    path = csv("patient,crp,dx\na,Mrs Secret phoned,1")
    with pytest.raises(RecordError, match="not a number") as caught:
        read(path, schema_of(number("crp")), is_strict=True)
    assert "Secret" not in str(caught.value)
    assert "Secret" not in str(read(path, schema_of(number("crp"))).reasons)


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
    schema = schema_of(
        Column(name="case", role=Role.CASE),
        number("crp", time="crp_days", rules=ValueRules(detection_high=50.0)),
        Column(name="crp_days", role=Role.TIME, unit="d"),
        Column(name="pain", role=Role.SIGN, levels=("no", "yes"), time=AT_QUESTION),
    )
    try:
        records = read(path, schema)
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
    schema = Schema(columns=(number("crp"),), patient_rows=EACH_ROW)
    charts = read(csv("crp\n1\n2"), schema).charts
    assert [chart.patient for chart in charts] == ["row 2", "row 3"]
    assert replace(charts[0], truth={}).id == "row 2"


def test_columns_are_taken_out_of_the_frame_as_often_for_many_rows_as_for_few(
    csv: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A column taken out once for each row made reading grow with the square of the rows."""
    schema = schema_of(number("crp"), Column(name="family", role=Role.GROUP))
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
        assert len(read(csv(f"patient,family,crp,dx\n{rows}\n"), schema).charts) == n
        found.append(taken)
    assert found[0] == found[1]
