"""Labels that are missing by chance are noted, and those that are missing for a reason warn."""

from pathlib import Path

import numpy as np

from attending.audit import Finding, Severity
from attending.audit.catalog import CHECKS
from attending.audit.inputs import indicators_of
from tests.audit.test_checks import material
from tests.tables import rows


def looked(folder: Path, is_unknown: np.ndarray) -> tuple[Finding, ...]:
    entries = [
        {**row, "sick": "" if unknown else row["sick"]} for row, unknown in zip(rows(len(is_unknown)), is_unknown, strict=True)
    ]
    return CHECKS["unknowns"].look(material(folder, entries))


def test_labels_missing_by_chance_are_a_note(tmp_path: Path) -> None:
    (one,) = looked(tmp_path, np.random.default_rng(0).random(160) < 0.3)
    assert one.severity is Severity.NOTE
    assert "hardly tell of whom" in one.told
    assert 'for "sick unknown"' in one.evidence


def test_labels_missing_among_the_old_warn(tmp_path: Path) -> None:
    ages = np.array([float(row["age"]) for row in rows(160)])
    (one,) = looked(tmp_path, ages > np.quantile(ages, 0.7))
    assert one.severity is Severity.WARN
    assert "these are others than those whose label is not" in one.effect


def test_nothing_is_said_where_nothing_or_too_little_is_unknown(tmp_path: Path) -> None:
    assert looked(tmp_path, np.zeros(80, dtype=bool)) == ()
    (tmp_path / "few").mkdir()
    assert looked(tmp_path / "few", np.arange(80) < 5) == ()


def test_indicators_by_hand(tmp_path: Path) -> None:
    held = material(
        tmp_path, [{**row, "crp_mg_l": "" if n % 4 == 3 else str(n % 4)} for n, row in enumerate(rows(40))], only=["crp_mg_l"]
    )
    told = indicators_of(held)
    assert set(np.unique(told)) <= {0.0, 1.0}
    assert (told[3::4] == 0).all()  # an absent value is all zeros
    assert (told[0::4].sum(axis=1) == 1).all()
