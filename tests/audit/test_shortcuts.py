"""What circumstances alone reach: told with both ends of an adjusted interval, alarm or none, and the same everywhere."""

import json
from pathlib import Path

import numpy as np
import pytest

from attending.audit import Material, audit, strongest
from attending.audit.catalog import CHECKS
from attending.audit.check import ShortcutCheck
from attending.audit.material import Truth
from attending.audit.ranking import ALPHA, rank, rank_upward
from attending.evaluation.interval import area_interval, area_score_interval
from attending.report.gathering import audit_of
from tests.audit.conftest import Look
from tests.audit.test_checks import material
from tests.command_line import call
from tests.tables import rows

TRAP_OF = {"origins": "T6", "filing": "T8", "borders": "T7", "presence": "T11"}


def two_classes(folder: Path, n: int = 80) -> tuple[Material, Truth]:
    return material(folder, rows(n)), Truth(finding="sick", cases=np.arange(n), is_event=np.arange(n) % 2 == 0)


def test_both_ends_are_the_farther_of_two_methods_at_a_level_for_all_questions(tmp_path: Path) -> None:
    held, truth = two_classes(tmp_path)
    scores = np.random.default_rng(0).normal(size=80) + truth.is_event
    found = rank_upward(held, truth, scores, tests=7)
    assert found is not None
    level = 1 - 2 * ALPHA / 7
    both = [area_interval(found.rows, found.area, level), area_score_interval(found.rows, found.area, level)]
    assert found.interval == (min(low for low, _ in both), max(high for _, high in both))
    assert found.low < found.area < found.high
    alone = rank_upward(held, truth, scores, tests=1)
    assert alone is not None
    assert found.low < alone.low < alone.high < found.high


def test_an_interval_covers_chance_in_either_direction(tmp_path: Path) -> None:
    """Scores that know nothing: both ends together are wrong in 2 of 100 at most; 7 of 120 would be a fault (p < 0.02)."""
    held, truth = two_classes(tmp_path)
    rng = np.random.default_rng(1)
    asked = [rank_upward(held, truth, rng.normal(size=80), tests=1) for _ in range(120)]
    missed = sum(one is None or not one.low <= 0.5 <= one.high for one in asked)
    assert missed < 7


def test_an_interval_covers_a_true_area(tmp_path: Path) -> None:
    """Two normal classes one standard deviation apart: the true area is Φ(1/√2) = 0.760."""
    held, truth = two_classes(tmp_path)
    rng = np.random.default_rng(2)
    asked = [rank_upward(held, truth, rng.normal(size=80) + truth.is_event, tests=1) for _ in range(120)]
    assert sum(one is None or not one.low <= 0.7602 <= one.high for one in asked) < 7


def test_the_better_direction_is_told_with_its_interval(tmp_path: Path) -> None:
    held, truth = two_classes(tmp_path)
    scores = np.random.default_rng(3).normal(size=80) - 2.0 * truth.is_event
    found, upward = rank(held, truth, scores, tests=1), rank_upward(held, truth, -scores, tests=2)
    assert found is not None
    assert upward is not None
    assert (found.area, found.interval) == (upward.area, upward.interval)
    assert found.low > 0.5
    assert (
        str(found)
        == f'AUROC {found.area:.2f} for "sick" (adjusted interval {found.low:.2f} to {found.high:.2f}; 40 events in 80 cases)'
    )
    assert found.told in str(found).replace("; 40 events in 80 cases", "")


@pytest.mark.parametrize("name", [name for name in TRAP_OF if name != "filing"])  # the films of a clean clinic are filed alike
def test_the_shortcut_checks_are_told_also_where_nothing_is_wrong(name: str, clinic: Look) -> None:
    assert isinstance(CHECKS[name], ShortcutCheck)
    told = [one for one in audit(clinic(None, seed=11)).shortcuts if one.check == name]
    assert told
    for one in told:
        assert one.trap == TRAP_OF[name]
        assert 0.0 <= one.low <= one.auroc <= one.high <= 1.0
        assert not one.is_alarm
        assert 0 < one.events < one.n


def test_only_these_checks_are_shortcuts() -> None:
    assert {name for name, check in CHECKS.items() if isinstance(check, ShortcutCheck)} == set(TRAP_OF)


@pytest.mark.parametrize("trap", ["T6", "T7", "T8", "T11"])
def test_a_planted_shortcut_is_told_with_the_numbers_of_its_finding(trap: str, clinic: Look) -> None:
    verdict = audit(clinic(trap))
    alarms = [one for one in verdict.shortcuts if one.is_alarm]
    assert alarms
    for one in alarms:
        ends = f"{one.low:.2f} to {one.high:.2f}; {one.events} events in {one.n}"
        told = f'AUROC {one.auroc:.2f} for "{one.finding}" (adjusted interval {ends}'
        findings = [found for found in verdict.findings if found.check == one.check]
        assert findings
        listed = sum(found.evidence.count("AUROC") for found in findings)
        assert any(told in found.evidence for found in findings) or listed >= 6  # findings list six at most
    assert not any(" events in " in found.told for found in verdict.findings)  # words that are passed on tell no counts


def test_of_each_input_the_surest_finding_comes_first(clinic: Look) -> None:
    verdict = audit(clinic("T6"))
    first = strongest(verdict.shortcuts)
    assert len({(one.trap, one.input) for one, _ in first}) == len(first)
    assert [one.low for one, _ in first] == sorted((one.low for one, _ in first), reverse=True)
    assert sum(n for _, n in first) == len(verdict.shortcuts)
    shown = audit_of(verdict).shortcuts
    assert len(shown) == len(verdict.shortcuts)
    assert [(one.input, one.finding, one.low, one.high) for one in shown if one.n_asked] == [
        (one.input, one.finding, one.low, one.high) for one, _ in first
    ]
    assert not any(hasattr(one, "events") for one in shown)  # counts stay with the data


def test_the_command_prints_and_writes_them(clinic: Look, tmp_path: Path) -> None:
    held = clinic("T6")
    folder = held.table.path.parent
    said = call(
        "audit",
        held.table.path,
        "--schema",
        folder / "schema.toml",
        "--labs",
        folder / "labs.csv",
        "--json",
        tmp_path / "found.json",
    )
    written = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))["shortcuts"]
    assert written == [one.to_plain() for one in audit(held).shortcuts]
    assert "What models reach that see one circumstance and no evidence" in said.out
    best, _ = strongest(audit(held).shortcuts)[0]
    assert f"{best.low:.2f} to {best.high:.2f}" in said.out


def test_a_class_too_rare_to_ask_about_is_told_without_its_count(tmp_path: Path) -> None:
    entries = [{**row, "rare": "yes" if number in (3, 40, 50) else "no"} for number, row in enumerate(rows(60))]
    held = material(tmp_path, entries, target="rare")
    (sentence,) = audit(held).unasked
    assert sentence.startswith('"rare": fewer than 5 groups of the rarer class, where 10 are needed')
