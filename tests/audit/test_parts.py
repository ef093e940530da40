"""The split under audit: groups torn apart, twins across parts, cases in no part, classes that a part lacks."""

import json
from pathlib import Path

import pytest

from attending.audit import AuditError, Material, audit, audit_parts, read_split
from attending.audit.catalog import CHECKS
from attending.cohort import Protocol, plan_protocol
from attending.training.bridge import members_of
from tests.audit.conftest import Look
from tests.audit.test_checks import films
from tests.command_line import call
from tests.tables import rows, taken_in, write_rows


def by_patient(material: Material) -> dict[str, str]:
    """Three quarters of the patients to train on."""
    return {id: "test" if patient % 4 == 0 else "train" for id, patient in zip(material.ids, material.patients, strict=True)}


def parted(material: Material, parts: dict[str, str], folder: Path) -> Material:
    from dataclasses import replace

    path = folder / "split.csv"
    path.write_text("id,part\n" + "".join(f"{id},{part}\n" for id, part in parts.items()), encoding="utf-8")
    return replace(material, protocol=read_split(path, material.ids))


def test_a_split_by_patients_is_clean_and_one_by_visits_blocks(clinic: Look, tmp_path: Path) -> None:
    material = clinic(None, n=120, seed=21, visits=4)
    whole = by_patient(material)
    assert CHECKS["parts"].look(material) == ()
    assert CHECKS["parts"].look(parted(material, whole, tmp_path)) == ()
    by_visit = {id: "test" if at % 4 == 0 else "train" for at, id in enumerate(material.ids)}
    (torn,) = CHECKS["parts"].look(parted(material, by_visit, tmp_path))
    assert (torn.trap, torn.severity.value) == ("T1", "block")
    met: dict[int, set[str]] = {}
    for id, patient in zip(material.ids, material.patients, strict=True):
        met.setdefault(int(patient), set()).add(by_visit[id])
    several = [patient for patient, parts in met.items() if len(parts) > 1]
    assert torn.evidence.startswith(f"{len(several)} of ")


def test_a_visit_moved_to_tune_is_torn_too(clinic: Look, tmp_path: Path) -> None:
    material = clinic(None, n=120, seed=21, visits=4)
    parts = by_patient(material)
    shared = next(at for at in range(len(parts)) if (material.patients == material.patients[at]).sum() > 1)
    parts[material.ids[shared]] = "tune"
    (torn, *_) = CHECKS["parts"].look(parted(material, parts, tmp_path))
    assert torn.evidence.startswith("1 of ")


def test_cases_in_no_part_are_told(clinic: Look, tmp_path: Path) -> None:
    material = clinic(None, seed=11)
    parts = by_patient(material)
    for id in material.ids[:7]:
        del parts[id]
    (left_out,) = CHECKS["parts"].look(parted(material, parts, tmp_path))
    assert (left_out.trap, left_out.rows) == ("T18", material.ids[:7])


def test_a_class_that_a_part_lacks_is_told(clinic: Look, tmp_path: Path) -> None:
    material = clinic(None, seed=11)
    first = material.schema.findings[0]
    parts = {str(chart.id): "train" if chart.truth.get(first) else "test" for chart in material.charts}
    told = [one for one in CHECKS["parts"].look(parted(material, parts, tmp_path)) if one.trap == "data"]
    assert f'train: nobody without "{first}"' in told[0].evidence
    assert f'test: nobody with "{first}"' in told[0].evidence


def test_twins_across_the_parts_are_counted(tmp_path: Path) -> None:
    first: dict[str, object] = {}
    material = films(tmp_path, lambda n, pixels: first.setdefault("film", pixels) if n in (7, 41) else pixels)  # type: ignore[arg-type,return-value]
    for apart, told in ((True, "parts 1 of 1 pairs"), (False, "parts 0 of 1 pairs")):
        parts = {id: "test" if at == 41 and apart else "train" for at, id in enumerate(material.ids)}
        parts[material.ids[3]] = "test"
        twins = [one for one in audit(parted(material, parts, tmp_path)).findings if one.trap == "T12"]
        assert told in twins[0].evidence


def test_the_split_of_a_run_is_read_as_it_is_written(tmp_path: Path) -> None:
    intake = taken_in(write_rows(tmp_path / "table.csv", rows(60)), target="sick", ignore="kind,a,b")
    protocol: Protocol = plan_protocol(members_of(intake.cases), kind="cv", folds=3, repeats=2, seed=0)
    assert [one for one in audit_parts(intake, protocol) if one.severity.value != "note"] == []
    from attending.study import split_text

    path = tmp_path / "split.csv"
    path.write_text(split_text(protocol, intake.own_ids()), encoding="utf-8")
    read = read_split(path, list(intake.own_ids().values()))
    own = intake.own_ids()
    assert [{own[id] for id in fold.test} for fold in protocol.folds] == [set(fold.test) for fold in read.folds]
    assert [{own[id] for id in fold.train} for fold in protocol.folds] == [set(fold.train) for fold in read.folds]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("id,where\na,test\n", 'no column "part"'),
        ("id,part\nrow 2,left\n", "row 2"),
        ("id,part\nsomebody,test\n", "none of its 1 ids"),
        ("id,part\nrow 2,test\nrow 2,train\n", "two parts"),
        ("id,fold,part\nrow 2,x,test\n", 'column "fold"'),
    ],
)
def test_a_split_that_cannot_be_read_is_refused(text: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "split.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(AuditError, match=told):
        read_split(path, ("row 2", "row 3"))


def test_a_split_beside_a_table_is_audited_by_the_command(tmp_path: Path) -> None:
    entries = [{**row, "patient_id": f"p{at // 2}"} for at, row in enumerate(rows(40))]
    table = write_rows(tmp_path / "table.csv", entries)
    split = tmp_path / "split.csv"
    split.write_text("id,part\n" + "".join(f"row {at + 2},{'test' if at < 11 else 'train'}\n" for at in range(40)))
    said = call("audit", table, "--target", "sick", "--ignore", "kind,a,b", "--split", split, "--json", tmp_path / "found.json")
    assert said.code == 1, said.out
    found = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))["findings"]
    torn = next(one for one in found if one["check"] == "parts" and one["trap"] == "T1")
    assert torn["rows"] == ["row 12", "row 13"]
