"""The two real tables are read correctly, given only the target."""

from pathlib import Path

import pytest

from attending.records import Role, infer_schema, read_charts, read_table
from attending.records.column import INPUTS

APPENDICITIS_NEVER = {
    "severity", "management", "management_binary", "diagnosis_presumptive", "length_of_stay_days", "perforation",
    "appendicular_abscess", "alvarado_score", "pediatric_appendicitis_score", "us_number",
}  # fmt: skip
COVIDCXR_NEVER = {
    "finding", "finding_raw", "finding_from", "ards", "severe", "survival", "intubated", "went_icu", "survival_patient",
    "intubated_patient", "went_icu_patient", "in_icu", "intubation_present", "needed_supplemental_O2", "extubated",
    "geographic_extent", "opacity", "lung_boxes_xywh", "lung_mask", "notes_names_dx", "notes_names_outcome", "source", "url",
    "doi", "license", "license_class", "credit_notes", "date", "location", "source_file", "orig_width", "orig_height", "width",
    "height", "study_id", "patient_id", "group_id",
}  # fmt: skip


@pytest.mark.data("appendicitis")
def test_appendicitis_is_read_from_its_target_alone(real: Path) -> None:
    table = read_table(real)
    schema = infer_schema(table, targets=["diagnosis"])
    inputs = {column.name for column in schema.inputs}
    assert not inputs & APPENDICITIS_NEVER
    assert {"age_years", "sex", "crp_mg_l", "wbc_1e3_ul", "peritonitis", "target_sign", "ketones_in_urine"} <= inputs
    assert schema.column("crp_mg_l").unit == "mg/L"
    assert schema.column("wbc_1e3_ul").unit == "10^3/uL"
    assert schema.column("temperature_c").unit == "°C"
    assert schema.column("bmi_kg_m2").unit == "kg/m^2"
    assert schema.column("ketones_in_urine").levels == ("no", "+", "++", "+++")
    assert (schema.column("patient_id").role, schema.column("group_id").role) == (Role.PATIENT, Role.GROUP)
    assert all(column.why for column in schema.columns)
    records = read_charts(table, schema)
    assert (len(records.charts), len(records.refused)) == (546, 0)
    assert sum(chart.truth["diagnosis"] for chart in records.charts) == 222  # the rarer value, as the README counts it
    assert all(counts.rows == 546 for counts in records.counts.values())


@pytest.mark.data("covidcxr")
def test_covidcxr_is_read_from_its_target_alone(real: Path) -> None:
    table = read_table(real)
    schema = infer_schema(table, targets=["dx"], positive="covid19")
    inputs = {column.name for column in schema.inputs}
    assert not inputs & COVIDCXR_NEVER
    assert {"image", "notes", "sex", "age_years", "offset_days", "crp_mg_l", "spo2_pct"} <= inputs
    assert schema.column("source").role is Role.SITE
    assert schema.column("view").role is Role.VIEW
    assert schema.column("crp_mg_l").time == "crp_mg_l_dayoffset"
    records = read_charts(table, schema)
    assert len(records.charts) == 515
    assert len({chart.patient for chart in records.charts}) == 263
    assert len({chart.group for chart in records.charts}) == 226
    assert sum(chart.truth.get("dx", False) for chart in records.charts) == 419
    assert sum("dx" not in chart.truth for chart in records.charts) == 1  # the row labelled "unknown"
    assert records.counts["crp_mg_l"].late == sum(float(day or 0) > 0 for day in table.cells("crp_mg_l_dayoffset"))
    assert all(counts.rows == 515 for counts in records.counts.values())


@pytest.mark.data("covidcxr")
def test_matched_sources_are_the_issues_rows(real: Path) -> None:
    table = read_table(real, where="source in ('radiopaedia','eurorad') and dx not in ('no_finding','unknown')")
    schema = infer_schema(table, targets=["dx"], positive="covid19")
    assert not {column.name for column in schema.inputs} & COVIDCXR_NEVER
    charts = read_charts(table, schema).charts
    assert len({chart.patient for chart in charts}) == len(set(table.cells("patient_id")))
    assert {chart.site for chart in charts} == {"radiopaedia", "eurorad"}
    assert (len(charts), table.n_read) == (len(table), 515)


@pytest.mark.parametrize("target", ["severity", "management_binary"])
@pytest.mark.data("appendicitis")
def test_another_target_keeps_the_diagnosis_out(real: Path, target: str) -> None:
    schema = infer_schema(read_table(real), targets=[target])
    assert schema.column("diagnosis").role is Role.OUTCOME
    assert schema.column(target).role is Role.TARGET


@pytest.mark.data("covidcxr")
def test_severity_of_covid_keeps_the_course_out(real: Path) -> None:
    schema = infer_schema(read_table(real), targets=["severe"])
    assert schema.findings == ("severe",)
    for name in ("dx", "finding", "survival", "went_icu", "intubated"):
        assert schema.column(name).role not in INPUTS
