"""Long-format files: joined by id and time, each row counted once."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from attending.case import Censoring, Lab, Note, Scan
from attending.records import (
    Column,
    Companion,
    RecordError,
    Role,
    Schema,
    SchemaError,
    infer_schema,
    load_schema,
    read_charts,
    read_table,
)
from attending.records.clinic import ClinicConfig, draw_clinic, write_clinic
from attending.records.column import AT_QUESTION, ValueRules
from attending.records.companions import infer_companion

Write = Callable[..., Path]

VISITS = """
    visit_id,patient_id,seen
    v1,p1,2020-03-02 12:00
    v2,p1,2020-03-05 12:00
    v3,p2,2020-03-02 12:00
"""
SCHEMA = Schema(
    columns=(
        Column(name="visit_id", role=Role.ID),
        Column(name="patient_id", role=Role.PATIENT),
        Column(name="seen", role=Role.ASKED_AT),
    )
)


def test_labs_join_by_visit_with_units_times_and_ranges(csv: Write) -> None:
    table = read_table(csv(VISITS))
    labs = read_table(
        csv(
            """
            visit_id,code,value,unit,taken_at,low,high
            v1,crp,12,mg/dL,2020-03-01 12:00,0,0.5
            v1,crp,150,mg/L,2020-03-02 11:00,0,5
            v1,crp,<5,mg/L,2020-03-02 12:00,0,5
            v1,crp,80,mg/L,2020-03-02 12:01,0,5
            v2,glucose,5.5,mmol/L,2020-03-05 12:00,,
            v2,glucose,99,mmol,2020-03-05 12:00,,
            v2,glucose,99,,2020-03-05 12:00,,
            v9,crp,1,mg/L,2020-03-01 12:00,0,5
            v3,crp,?,mg/L,2020-03-01 12:00,0,5
            v3,,7,mg/L,2020-03-01 12:00,0,5
            v3,crp,7,mg/L,,0,5
            v3,crp,,mg/L,2020-03-01,0,5
            """,
            "labs.csv",
        )
    )
    with pytest.raises(RecordError, match=r'labs.csv row 7, column "unit": found unit "mmol", expected .*misfit = "refused"'):
        read_charts(table, SCHEMA, companions={"labs": labs})
    inferred = infer_companion("labs", labs, SCHEMA)
    counting = replace(SCHEMA, companions=(replace(inferred, rules=ValueRules(misfit="refused")),))
    records = read_charts(table, counting, companions={"labs": labs})
    one, two, three = records.charts
    assert [(lab.at, lab.value, lab.reference, lab.censoring) for lab in one.of(Lab)] == [
        (-24.0, 120.0, (0.0, 5.0), Censoring.NONE),
        (-1.0, 150.0, (0.0, 5.0), Censoring.NONE),
        (0.0, 5.0, (0.0, 5.0), Censoring.BELOW),
    ]
    assert {lab.unit.symbol for lab in one.of(Lab)} == {"mg/L"}  # written most often
    assert [lab.value for lab in two.of(Lab)] == [5.5]
    assert three.of(Lab) == ()
    counts = records.companions["labs"]
    assert counts.rows == len(labs)
    assert (counts.read, counts.below, counts.late, counts.refused, counts.unknown, counts.blank, counts.unmatched) == (
        3, 1, 1, 4, 1, 1, 1,
    )  # fmt: skip
    reasons = records.companion_reasons["labs"]
    assert reasons["later than the question"] == 1
    assert any('Did you mean "mmol/L"' in reason for reason in reasons)
    assert records.schema.companions[0].units == {"crp": "mg/L", "glucose": "mmol/L"}
    with pytest.raises(RecordError, match=r'labs.csv row 7, column "unit": found unit "mmol"'):
        read_charts(table, _declared(), companions={"labs": labs}, is_strict=True)


def _declared() -> Schema:
    labs = Companion(
        kind="labs", id="visit_id", value="value", code="code", unit="unit", time="taken_at", time_unit="datetime",
        units={"crp": "mg/L", "glucose": "mmol/L"},
    )  # fmt: skip
    return Schema(columns=SCHEMA.columns, companions=(labs,))


def test_a_patients_values_go_to_each_visit_that_could_know_them(csv: Write) -> None:
    labs = read_table(
        csv(
            """
            patient_id,test,result,units,charttime
            p1,crp,1,mg/L,2020-03-01 12:00
            p1,crp,2,mg/L,2020-03-04 12:00
            p1,crp,3,mg/L,2020-03-06 12:00
            p1,crp,4,mg/L,2020-01-01 12:00
            """,
            "labs.csv",
        )
    )
    schema = Schema(columns=SCHEMA.columns, look_back_hours=240.0)
    records = read_charts(read_table(csv(VISITS)), schema, companions={"labs": labs})
    assert [[(lab.value, lab.at) for lab in chart.of(Lab)] for chart in records.charts] == [
        [(1.0, -24.0)],
        [(1.0, -96.0), (2.0, -24.0)],
        [],
    ]
    counts = records.companions["labs"]
    assert (counts.read, counts.late, counts.early, counts.rows) == (2, 1, 1, 4)


def test_notes_and_images_join_too(csv: Write, tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 4), 99, dtype=np.uint8)).save(tmp_path / "a.png")
    notes = read_table(csv('visit_id,text,hours\nv1,"fever, cough",-2\nv1,result is known,1', "notes.csv"))
    images = read_table(csv("visit_id,image,day_offset\nv1,a.png,-1\nv3,missing.png,0", "images.csv"))
    records = read_charts(read_table(csv(VISITS)), SCHEMA, companions={"notes": notes, "images": images})
    one, _, three = records.charts
    assert [(note.text, note.at) for note in one.of(Note)] == [("fever, cough", -2.0)]
    assert [scan.at for scan in one.of(Scan)] == [-24.0]
    assert (three.of(Scan), [absence.reason for absence in three.absent]) == ((), ["the file does not exist"])
    assert (records.companions["notes"].late, records.companions["images"].refused) == (1, 1)
    outside = read_table(csv("visit_id,image\nv1,../a.png", "images.csv"))
    with pytest.raises(RecordError, match=r'images.csv row 2, column "image": the path leads outside'):
        read_charts(read_table(csv(VISITS)), SCHEMA, companions={"images": outside})


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        ("labs", "who,code,value\nv1,crp,1", "labs.csv: shares no id with the table; expected one of its columns visit_id"),
        ("labs", "visit_id,value\nv1,1", "no column that says what was measured"),
        ("labs", "visit_id,code\nv1,crp", "no column for the labs; expected one of value"),
        ("labs", "visit_id,code,value,time\nv1,crp,1,soon", 'column "time": not readable as times'),
        ("labs", 'visit_id,code,value\nv1,crp,"1,5"\nv1,crp,1.5', 'column "value": 1 numbers have a decimal comma'),
        ("scans", "visit_id,image\nv1,x.png", "expected labs, notes or images"),
    ],
)
def test_companions_that_cannot_be_joined_are_refused(csv: Write, kind: str, text: str, expected: str) -> None:
    companion = read_table(csv(text, "labs.csv"))
    with pytest.raises(SchemaError if "decimal" not in expected else RecordError, match=expected):
        read_charts(read_table(csv(VISITS)), SCHEMA, companions={kind: companion})


def test_a_companion_without_time_is_undeclared(csv: Write) -> None:
    labs = read_table(csv("visit_id,code,value,unit\nv1,crp,1,mg/L", "labs.csv"))
    records = read_charts(read_table(csv(VISITS)), SCHEMA, companions={"labs": labs})
    assert records.schema.undeclared() == ('companion "labs": time not recorded: taken at the question',)
    with pytest.raises(SchemaError, match=r'companion "labs": time not recorded'):
        read_charts(read_table(csv(VISITS)), SCHEMA, companions={"labs": labs}, is_strict=True)


def test_a_declared_companion_that_is_not_given_is_named(csv: Write) -> None:
    table = read_table(csv(VISITS))
    assert read_charts(table, _declared()).missing == ("--labs",)
    with pytest.raises(SchemaError, match=r"declares the companion labs, which was not given; give it \(--labs FILE\)"):
        read_charts(table, _declared(), is_strict=True)


def test_the_tables_own_unit_holds_for_its_code(csv: Write) -> None:
    columns = (*SCHEMA.columns, Column(name="crp_mg_l", code="crp", role=Role.NUMBER, unit="mg/L", time=AT_QUESTION))
    table = read_table(csv(VISITS.replace("seen", "seen,crp_mg_l").replace("12:00", "12:00,3")))
    labs = read_table(csv("visit_id,code,value,unit,hours\nv1,crp,1,mg/dL,-1", "labs.csv"))
    records = read_charts(table, Schema(columns=columns), companions={"labs": labs})
    assert [(lab.code, lab.value, lab.unit.symbol) for lab in records.charts[0].of(Lab)] == [
        ("crp", 3.0, "mg/L"),
        ("crp", 10.0, "mg/L"),
    ]


def test_a_clinic_reads_back_as_it_was_drawn(tmp_path: Path) -> None:
    """Two independent ways: the charts the generator holds, and those read from the files it writes."""
    clinic = draw_clinic(ClinicConfig(n_patients=25, seed=4))
    write_clinic(clinic, tmp_path)
    table, labs = read_table(tmp_path / "patients.csv"), read_table(tmp_path / "labs.csv")
    schema = load_schema(tmp_path / "schema.toml")
    records = read_charts(table, schema, companions={"labs": labs})
    read = {chart.id: chart for chart in records.charts}
    assert len(read) == len(clinic.charts)
    for drawn in clinic.charts:
        chart = read[drawn.id]
        assert (chart.patient, chart.site, dict(chart.truth)) == (drawn.patient, drawn.site, dict(drawn.truth))
        assert [note.text for note in chart.of(Note)] == [note.text for note in drawn.of(Note)]
        assert len(chart.of(Lab)) == len(drawn.of(Lab))
        for got, made in zip(chart.of(Scan), drawn.of(Scan), strict=True):
            np.testing.assert_allclose(got.pixels, made.pixels, atol=0.5 / 255 + 1e-6)
    inferred = infer_schema(table, targets=[target.column for target in schema.targets])
    assert {column.name for column in inferred.inputs} == {column.name for column in schema.inputs}
    assert inferred.targets == schema.targets
    assert records.companions["labs"].read == len(labs)
