"""What the audit finds by itself in the two real tables, held against what their README files say of them."""

from pathlib import Path

import pytest

from attending.audit import Material, Severity, Verdict, audit
from attending.records import infer_schema, read_charts, read_table


def verdict(path: Path, target: str) -> Verdict:
    table = read_table(path)
    records = read_charts(table, infer_schema(table, targets=[target]), longest_side=512)
    return audit(Material(table=table, records=records))


@pytest.mark.data("covidcxr")
def test_covidcxr_diagnosis(real: Path) -> None:
    said = verdict(real, "dx")
    by = {(one.trap, one.check): one for one in said.findings if one.severity is not Severity.NOTE}
    assert "source" in by["T6", "origins"].columns
    assert '"source" = hannover: 50 of 50 groups' in by["T7", "origins"].evidence
    assert {"age_years", "crp_mg_l", "notes"} <= set(by["T11", "presence"].columns)
    assert len(by["T2", "lateness"].columns) == 8
    assert abs(len(by["T5", "wording"].rows) - 144) <= 5  # README: 144 of 343 notes name the own diagnosis
    assert ("T12", "repeats") in by
    assert ("T7", "borders") in by
    kept_out = next(one for one in said.findings if one.trap == "T4")
    assert {"finding", "finding_raw"} <= set(kept_out.columns)


@pytest.mark.data("covidcxr")
def test_covidcxr_severity_goes_with_the_projection(real: Path) -> None:
    said = verdict(real, "severe")
    assert any(one.trap == "T8" and "view" in one.columns and one.severity is Severity.WARN for one in said.findings)
    assert any(one.trap == "T4" and {"went_icu", "in_icu"} <= set(one.columns) for one in said.findings)


@pytest.mark.data("appendicitis")
def test_appendicitis_diagnosis(real: Path) -> None:
    said = verdict(real, "diagnosis")
    strong = [one for one in said.findings if one.trap == "T4"]
    assert any("appendix_diameter_mm" in one.columns and one.severity is Severity.WARN for one in strong)
    kept_out = {column for one in strong if one.severity is Severity.NOTE for column in one.columns}
    assert {"alvarado_score", "pediatric_appendicitis_score", "management", "length_of_stay_days"} <= kept_out
    absent = next(one for one in said.findings if one.trap == "T11")
    assert {"appendix_diameter_mm", "surrounding_tissue_reaction", "target_sign"} <= set(absent.columns)
    impossible = next(one for one in said.findings if one.check == "ranges")
    assert "temperature_c" in impossible.columns
