"""Charts become cases: nothing of identity passes, everything else does, and all is counted."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from attending.case import (
    KINDS,
    Absence,
    Case,
    CaseId,
    Characters,
    Chart,
    Demographics,
    Embedding,
    Evidence,
    GroupId,
    Identity,
    Lab,
    Note,
    PatientId,
    Place,
    Scan,
    Sign,
    Unit,
)
from attending.privacy import PrivacyError, deidentify, project_key
from attending.privacy.catalog import RULES, rule_for
from attending.privacy.ids import MOST_SHIFT_DAYS, date_shift, hashed

KEY = bytes(range(32))
EVIDENCE: Sequence[Evidence] = (
    Note(at=-2.0, text="Anna Schmidt, 93-year-old, fever since 2020-03-01", field_name="note", author_role="nurse"),
    Scan(at=-1.0, pixels=np.eye(3, dtype=np.float32), field_name="film", spacing_mm=0.2, view="AP"),
    Lab(code="crp", value=5.0, unit=Unit("mg/L")),
    Sign(name="pain", value="yes", levels=("no", "yes")),
    Demographics(age_years=93.0, sex="female"),
    Embedding(name="ecg", vector=np.ones(4)),
)


def _chart(name: str = "visit-1", patient: str = "patient-1", evidence: Sequence[Evidence] = EVIDENCE) -> Chart:
    return Chart(
        id=CaseId(name),
        patient=PatientId(patient),
        group=GroupId("family-1"),
        evidence=tuple(evidence),
        truth={"dx": True},
        site="S1",
        strata={"view": "AP"},
        absent=(Absence(kind=Scan, name="ct", reason="the file does not exist"),),
        identity=Identity(values={"name": "Anna Schmidt", "mrn": "778812"}),
        asked_at=datetime(2020, 3, 2, 12),
    )


def _everything(thing: object) -> str:
    """All text that is reachable from a case, whatever its repr hides."""
    if isinstance(thing, dict) or hasattr(thing, "items"):
        return " ".join(_everything(each) for pair in thing.items() for each in pair)  # type: ignore[union-attr]
    if isinstance(thing, tuple | list):
        return " ".join(map(_everything, thing))
    fields = getattr(thing, "__dataclass_fields__", None)
    return (
        " ".join(_everything(getattr(thing, name)) for name in fields) if fields and not isinstance(thing, type) else str(thing)
    )


def test_nothing_of_identity_passes() -> None:
    case = deidentify([_chart()], key=KEY).cases[0]
    text = _everything(case)
    assert isinstance(case, Case)
    assert not hasattr(case, "identity")
    assert not hasattr(case, "asked_at")
    for secret in ("Anna", "Schmidt", "778812", "visit-1", "patient-1", "family-1", "2020-03-01", "93"):
        assert secret not in text, secret


def test_all_else_passes_in_its_place() -> None:
    chart = _chart()
    case = deidentify([chart], key=KEY).cases[0]
    assert [type(evidence) for evidence in case.evidence] == [type(evidence) for evidence in EVIDENCE]
    assert (case.site, dict(case.strata), dict(case.truth), case.absent) == ("S1", {"view": "AP"}, {"dx": True}, chart.absent)
    assert case.of(Lab) == chart.of(Lab)
    assert case.of(Sign) == chart.of(Sign)
    assert case.of(Demographics) == (Demographics(age_years=90.0, sex="female"),)
    (scan,) = case.of(Scan)
    assert (scan.at, scan.spacing_mm, scan.view, scan.field_name) == (-1.0, 0.2, "AP", "film")
    np.testing.assert_array_equal(scan.pixels, np.eye(3))
    (note,) = case.of(Note)
    assert (note.at, note.field_name, note.author_role) == (-2.0, "note", "nurse")
    assert "fever since" in note.text


def test_places_are_carried_through() -> None:
    result = deidentify([_chart()], key=KEY)
    old = EVIDENCE[0].text  # type: ignore[attr-defined]
    place = Place(0, Characters(old.index("fever"), old.index("fever") + 5))
    part = result.carry(0, place).part
    assert isinstance(part, Characters)
    assert result.cases[0].of(Note)[0].text[part.start : part.stop] == "fever"
    assert result.carry(0, Place(2)) == Place(2)


def test_the_manifest_counts_and_names_no_one() -> None:
    charts = [_chart(), _chart("visit-2"), _chart("visit-3", "patient-2", evidence=EVIDENCE[2:3])]
    manifest = deidentify(charts, key=KEY).manifest
    assert (manifest.n_cases, manifest.n_patients, manifest.n_groups) == (3, 2, 1)
    assert manifest.identity_columns == ("mrn", "name")
    assert dict(manifest.counts) == {
        "ages pooled": 2,
        "ages pooled in notes": 2,
        "dates shifted in notes": 2,
        "identity values in notes": 2,
        "notes changed": 2,
        "scans stripped of metadata": 2,
    }
    assert set(manifest.promises) == {kind.__name__ for kind in KINDS}
    assert "Schmidt" not in _everything(manifest)
    assert any("burned into" in each for each in manifest.not_found)


def test_identity_of_one_visit_is_searched_in_all_visits_of_the_patient() -> None:
    other = replace(_chart("visit-2", evidence=[Note(text="Schmidt came again")]), identity=Identity())
    assert "Schmidt" not in _everything(deidentify([_chart(), other], key=KEY).cases[1])


def test_ids_are_stable_under_one_key_and_strange_under_another() -> None:
    one, again = (deidentify([_chart()], key=KEY).cases[0] for _ in range(2))
    strange = deidentify([_chart()], key=bytes(reversed(KEY))).cases[0]
    assert (one.id, one.patient, one.group) == (again.id, again.patient, again.group)
    assert not {one.id, one.patient, one.group} & {strange.id, strange.patient, strange.group}
    same_word = replace(_chart(), id=CaseId("x"), patient=PatientId("x"), group=GroupId("x"))
    case = deidentify([same_word], key=KEY).cases[0]
    assert len({case.id, case.patient, case.group}) == 3
    assert len({hashed(str(i), key=KEY, kind="case") for i in range(20_000)}) == 20_000


def test_one_shift_per_patient_never_zero() -> None:
    shifts = [date_shift(f"p{i}", key=KEY).days for i in range(3000)]
    assert 0 not in shifts
    assert (min(shifts), max(shifts)) == (-MOST_SHIFT_DAYS, MOST_SHIFT_DAYS)
    two = deidentify([_chart(evidence=EVIDENCE[:1]), _chart("visit-2", evidence=EVIDENCE[:1])], key=KEY).cases
    assert two[0].of(Note)[0].text == two[1].of(Note)[0].text


@dataclass(frozen=True, kw_only=True)
class _Tracing(Evidence):
    """A kind of evidence nobody has written a rule for."""


def test_a_kind_without_rule_is_refused() -> None:
    with pytest.raises(PrivacyError, match="evidence of the kind _Tracing has no privacy rule"):
        deidentify([_chart(evidence=[_Tracing()])], key=KEY)
    assert set(RULES) == set(KINDS)
    assert all(rule_for(kind).promise for kind in KINDS)


def test_two_charts_with_one_id_are_refused() -> None:
    with pytest.raises(PrivacyError, match="two charts have the same id"):
        deidentify([_chart(), _chart()], key=KEY)


@pytest.mark.parametrize("key", [b"", b"short", b"\0" * 32])
def test_a_key_that_could_be_guessed_is_refused(key: bytes) -> None:
    with pytest.raises(PrivacyError, match="expected at least 16 random ones"):
        deidentify([_chart()], key=key)


def test_the_projects_key_is_made_once_and_kept_private(tmp_path: Path) -> None:
    path = tmp_path / "new" / "key"
    key = project_key(path)
    assert (len(key), project_key(path), path.stat().st_mode & 0o777) == (32, key, 0o600)
    path.write_bytes(b"")
    with pytest.raises(PrivacyError, match="has 0 bytes"):
        project_key(path)
