"""What every check of the catalog owes: silence where nothing is wrong, its traps and no others, columns and ids that exist."""

import json

import pytest

from attending.audit import AuditError, Finding, Material, Severity, Verdict, audit
from attending.audit.catalog import CHECKS
from attending.records.clinic.config import TRAPS
from attending.records.column import Role
from tests.audit.conftest import Look

CLEAN_SEEDS = (11, 12, 13)
PLANTED = tuple(trap for trap in TRAPS if any(trap in check.traps for check in CHECKS.values()))


def of(material: Material, name: str) -> tuple[Finding, ...]:
    return CHECKS[name].look(material)


@pytest.mark.parametrize("name", CHECKS)
def test_a_check_is_called_by_its_name_in_the_catalog(name: str) -> None:
    assert CHECKS[name].name == name
    assert CHECKS[name].traps


@pytest.mark.parametrize("name", CHECKS)
@pytest.mark.parametrize("seed", CLEAN_SEEDS)
def test_a_clean_table_raises_no_alarm(name: str, seed: int, clinic: Look) -> None:
    alarms = [one for one in of(clinic(None, seed=seed), name) if one.severity is not Severity.NOTE]
    assert not alarms, alarms


@pytest.mark.parametrize("name", CHECKS)
def test_repeated_visits_of_a_clean_table_raise_no_alarm(name: str, clinic: Look) -> None:
    alarms = [one for one in of(clinic(None, n=120, seed=21, visits=4), name) if one.severity is not Severity.NOTE]
    assert not alarms, alarms


@pytest.mark.parametrize("trap", PLANTED)
def test_findings_name_their_trap_and_things_that_exist(trap: str, clinic: Look) -> None:
    material = clinic(trap)
    known = set(material.table.frame.columns) | {column.field_name for column in material.schema.columns}
    known |= {cell for cell in material.companions["labs"].cells("code") if cell is not None}
    for name, check in CHECKS.items():
        found = check.look(material)
        for one in found:
            assert one.check == name
            assert one.trap in check.traps
            assert set(one.columns) <= known, one
            assert set(one.rows) <= set(material.ids)
        assert [one.severity.rank for one in found] == sorted(one.severity.rank for one in found)


@pytest.mark.parametrize("trap", PLANTED)
def test_a_planted_trap_is_found_at_full_strength(trap: str, clinic: Look) -> None:
    found = audit(clinic(trap)).findings
    assert any(one.trap == trap and one.severity is not Severity.NOTE for one in found), [one.trap for one in found]


def test_the_same_table_gives_the_same_findings(clinic: Look) -> None:
    assert audit(clinic("T6")).to_plain() == audit(clinic("T6")).to_plain()


def test_no_finding_repeats_what_a_cell_says(clinic: Look) -> None:
    material = clinic("T1")
    private = {
        cell
        for column in (*material.schema.of(Role.IDENTITY), *material.schema.of(Role.NOTE))
        for cell in material.cells(column.name)
        if cell
    }
    told = json.dumps(audit(material).to_plain())
    assert not [cell for cell in private if cell in told]


def test_a_waiver_lifts_the_block_and_stays_in_sight(clinic: Look) -> None:
    verdict = audit(clinic("T1"))
    assert verdict.blocking
    waived = Verdict(findings=verdict.findings, checks=verdict.checks, waivers={"T1": "twins share a record"})
    assert not waived.blocking
    assert "1 waived" in str(waived)
    assert waived.to_plain()["findings"][0]["waived"] == "twins share a record"
    assert len(waived.findings) == len(verdict.findings)


def test_a_waiver_of_nothing_that_exists_is_refused(clinic: Look) -> None:
    from dataclasses import replace

    material = clinic("T1")
    wrong = replace(material.schema, waivers={"presense": "typing error"})
    with pytest.raises(AuditError, match="Did you mean"):
        audit(replace(material, records=replace(material.records, schema=wrong)))


def test_every_check_is_held_apart_from_the_others() -> None:
    import tomllib
    from pathlib import Path

    root = Path(__file__).parents[2]
    contracts = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]
    layers = next(one["layers"] for one in contracts if one["name"].startswith("the checks of the audit"))
    held = {name.strip().removeprefix("attending.audit.") for layer in layers for name in layer.split("|")}
    assert held == {path.stem for path in (root / "attending" / "audit").glob("*.py")} - {"__init__"}
