"""Detection against strength, and false alarms on many clean tables. Half an hour, so marked `long`; both print a table.

A short slice of either runs always. `python -m benchmarks.audit --clean N` and `--detection` hold them with a time limit.
"""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import beta

from attending.audit import Severity, Verdict, audit
from attending.records.clinic.config import TRAPS, ClinicConfig, Leak, Trap
from tests.audit.conftest import material_of

STRENGTHS, SEEDS = (0.2, 0.5, 1.0), (41, 42, 43)
N_CLEAN = 300
_OWN_COLUMNS = 28
"""Of a clinic without columns of noise."""
_PREVALENCE = 0.2
"""Of its diseases, about."""


def clean_config(number: int) -> ClinicConfig:
    """One of the clean tables: 100 to 5,000 patients, 28 to 200 columns, about 10 to 500 patients with each disease.

    Patients and events are drawn evenly on the scale of factors, so that small tables are as many as large ones.
    """
    rng = np.random.default_rng([7, number])
    n = round(float(np.exp(rng.uniform(np.log(100), np.log(5000)))))
    events = float(np.exp(rng.uniform(np.log(10), np.log(min(500, 0.4 * n)))))
    odds = events / (n - events) / (_PREVALENCE / (1.0 - _PREVALENCE))
    return ClinicConfig(
        n_patients=n,
        seed=2000 + number,
        profile="clean",
        film_size=32,
        visits=int(rng.choice([1, 1, 3])),
        noise_columns=int(rng.integers(0, 200 - _OWN_COLUMNS + 1)),
        prevalence=odds,
    )


def audited(folder: Path, config: ClinicConfig) -> Verdict:
    """The verdict on a clinic that is written into `folder`."""
    return audit(material_of(folder, **vars(config)))


def at_most(faults: int, n: int) -> float:
    """Exact one-sided 95 % limit of a share of which `faults` in `n` were seen (Clopper and Pearson)."""
    return 1.0 if faults == n else float(beta.ppf(0.95, faults + 1, n - faults))


def is_found(folder: Path, trap: Trap, *, strength: float, seed: int) -> bool:
    """Whether a trap that was planted is found, as more than a note."""
    config = ClinicConfig(n_patients=300, seed=seed, leaks=(Leak(trap=trap, strength=strength),), film_size=32)
    return any(one.trap == trap and one.severity is not Severity.NOTE for one in audited(folder, config).findings)


def test_a_limit_by_hand() -> None:
    assert at_most(0, 300) == pytest.approx(1 - 0.05 ** (1 / 300))  # 0.00994: the least number that can say "under 1 %"
    assert at_most(0, 298) > 0.01
    assert at_most(3, 3) == 1.0


def test_the_clean_tables_span_what_was_asked() -> None:
    made = [clean_config(number) for number in range(N_CLEAN)]
    n = [config.n_patients for config in made]
    assert 100 <= min(n) < 120
    assert 4000 < max(n) <= 5000
    assert min(config.noise_columns for config in made) < 10
    assert 190 < _OWN_COLUMNS + max(config.noise_columns for config in made) <= 200
    assert len({config.seed for config in made}) == N_CLEAN


@pytest.mark.parametrize("number", [4, 5])
def test_two_of_the_clean_tables_raise_no_block(number: int, tmp_path: Path) -> None:
    assert not audited(tmp_path / "clinic", clean_config(number)).blocking


@pytest.mark.long
def test_detection_against_strength(tmp_path: Path) -> None:
    """Every trap at full strength under every seed; what is found below is printed."""
    found = Counter[tuple[str, float]]()
    for trap in TRAPS:
        for strength in STRENGTHS:
            for seed in SEEDS:
                found[trap, strength] += is_found(tmp_path / f"{trap}-{strength}-{seed}", trap, strength=strength, seed=seed)
        print(trap, *(f"{strength:g}: {found[trap, strength]} of {len(SEEDS)}" for strength in STRENGTHS), sep="  ")  # noqa: T201
    assert all(found[trap, 1.0] == len(SEEDS) for trap in TRAPS)


@pytest.mark.long
def test_false_alarms_on_clean_tables(tmp_path: Path) -> None:
    """At most 1 % of clean tables with a blocking finding; warnings are printed."""
    blocked, warned = 0, Counter[str]()
    for number in range(N_CLEAN):
        verdict = audited(tmp_path / str(number), clean_config(number))
        blocked += bool(verdict.blocking)
        warned.update({one.check for one in verdict.findings if one.severity is Severity.WARN})
    told = f"under {100 * at_most(blocked, N_CLEAN):.2f} % (exact, one-sided 95 %)"
    print(f"{N_CLEAN} clean tables: {blocked} blocked, {told}, warnings {dict(warned)}")  # noqa: T201
    assert blocked <= 0.01 * N_CLEAN
