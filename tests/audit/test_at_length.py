"""Detection against strength, and false alarms on many clean tables. Minutes, so marked `long`; both print a table."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from attending.audit import Severity, audit
from attending.records.clinic.config import TRAPS, Leak
from tests.audit.conftest import material_of

STRENGTHS, SEEDS = (0.2, 0.5, 1.0), (41, 42, 43)
N_CLEAN = 300


@pytest.mark.long
def test_detection_against_strength(tmp_path: Path) -> None:
    """Every trap at full strength under every seed; what is found below is printed."""
    found = Counter[tuple[str, float]]()
    for trap in TRAPS:
        for strength in STRENGTHS:
            for seed in SEEDS:
                leaks = (Leak(trap=trap, strength=strength),)
                held = material_of(tmp_path / f"{trap}-{strength}-{seed}", n_patients=300, seed=seed, leaks=leaks)
                found[trap, strength] += any(
                    one.trap == trap and one.severity is not Severity.NOTE for one in audit(held).findings
                )
        print(trap, *(f"{strength:g}: {found[trap, strength]} of {len(SEEDS)}" for strength in STRENGTHS), sep="  ")  # noqa: T201
    assert all(found[trap, 1.0] == len(SEEDS) for trap in TRAPS)


@pytest.mark.long
def test_false_alarms_on_clean_tables(tmp_path: Path) -> None:
    """At most 1 % of clean tables with a blocking finding; warnings are printed."""
    rng = np.random.default_rng(7)
    blocked, warned = 0, Counter[str]()
    for seed in range(N_CLEAN):
        n = int(rng.choice([100, 200, 400, 800]))
        held = material_of(
            tmp_path / str(seed),
            n_patients=n,
            seed=2000 + seed,
            profile="clean",
            film_size=32,
            visits=int(rng.choice([1, 3])),
            noise_columns=int(rng.choice([0, 20, 150])),
            prevalence=float(rng.choice([0.3, 1.0])),
        )
        verdict = audit(held)
        blocked += bool(verdict.blocking)
        warned.update({one.check for one in verdict.findings if one.severity is Severity.WARN})
    print(f"{N_CLEAN} clean tables: {blocked} blocked, warnings {dict(warned)}")  # noqa: T201
    assert blocked <= 0.01 * N_CLEAN
