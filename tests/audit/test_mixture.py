"""A column in two units without a column of units: which values, which units, and that the remedy as written mends it."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from attending.audit import Finding, Material, audit
from attending.audit.mixture import Mixture, mixture
from attending.case import Lab
from attending.intake import declare
from attending.records import NOTHING_AMENDED, Amendments, read_charts, read_table
from tests.command_line import call
from tests.tables import rows, write_rows

Draw = Callable[[np.random.Generator], float]
PLANTED: dict[str, tuple[str, str, str, Draw, Callable[[float], float], str]] = {
    "glucose": ("glucose",
                "mmol/L", "mg/dL", lambda r: r.lognormal(1.75, 0.25), lambda v: 18.016 * v, "1 mmol/L is 18.02 mg/dL"),
    "temperature": ("temperature", "°C", "°F", lambda r: r.normal(37.3, 0.8), lambda v: 1.8 * v + 32, "°F = 1.8 × °C + 32"),
    "creatinine": ("creatinine",
                   "mg/dL", "umol/L", lambda r: r.lognormal(0.0, 0.4), lambda v: 88.4 * v, "1 mg/dL is 88.4 umol/L"),
    "haemoglobin": ("hb", "g/dL", "g/L", lambda r: r.normal(13.0, 1.8), lambda v: 10 * v, "1 g/dL is 10 g/L"),
    "oxygen": ("pao2", "kPa", "mmHg", lambda r: r.lognormal(2.4, 0.2), lambda v: 7.50064 * v, "1 kPa is 7.501 mmHg"),
}  # fmt: skip


def planted(folder: Path, name: str, *, column: str, share: float = 0.3, written: float | None = None, n: int = 160) -> Path:
    """A table in which `share` of a column stands in the second unit; `written`: with a column of units, parted there."""
    _, small, large, draw, convert, _ = PLANTED[name]
    rng = np.random.default_rng(11)
    entries = []
    for row in rows(n):
        value = draw(rng)
        shown = convert(value) if rng.random() < share else value
        unit = {} if written is None else {"written_in": large if shown > written else small}
        entries.append({**row, column: f"{shown:.2f}", **unit})
    return write_rows(folder / f"table{'' if written is None else '-mended'}.csv", entries)


def looked_at(path: Path, amendments: Amendments = NOTHING_AMENDED) -> Material:
    table = read_table(path)
    schema = declare(
        table, schema=None, targets=["sick"], positive=None, ignore=["kind", "a", "b"], only=(), amendments=amendments
    )
    return Material(table=table, records=read_charts(table, schema))


def two_units(material: Material) -> list[Finding]:
    return [one for one in audit(material).findings if one.check == "ranges" and "two units" in one.told]


@pytest.mark.parametrize("name", PLANTED)
@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.8])
def test_a_planted_unit_is_named_with_its_factor_and_the_remedy_as_written_mends_it(
    name: str, share: float, tmp_path: Path
) -> None:
    column, small, large, draw, _, factor = PLANTED[name]
    (told,) = two_units(looked_at(planted(tmp_path, name, column=column, share=share)))
    assert told.columns == (column,)
    assert factor in told.remedy
    assert f"--unit-column {column}=COLUMN" in told.remedy
    said = re.search(rf'"{small}" for values below ([\d.]+) and "{large}" for those above', told.remedy)
    assert said is not None, told.remedy
    mended = planted(tmp_path, name, column=column, share=share, written=float(said[1]))
    again = looked_at(mended, Amendments(units={column: small}, unit_columns={column: "written_in"}))
    assert not two_units(again)
    values = np.array([lab.value for chart in again.charts for lab in chart.of(Lab) if lab.code == column])
    usual = [draw(np.random.default_rng(seed)) for seed in range(400)]
    assert len(values) == 160
    assert min(usual) * 0.8 < values.min()
    assert values.max() < max(usual) * 1.25
    call_it = ("audit", mended, "--target", "sick", "--ignore", "kind,a,b", "--unit-column", f"{column}=written_in")
    assert "two units" not in call(*call_it).out


def test_one_typing_error_does_not_hide_two_units() -> None:
    rng = np.random.default_rng(0)
    heaps = np.concatenate([rng.uniform(4, 9, 60), rng.uniform(80, 160, 40), [90_000.0, 0.001]])
    found = mixture("glucose", heaps, gap=5.0, share=0.05, distinct=5)
    assert found is not None
    assert (found.n_below, found.n_above, found.pair) == (61, 41, ("mmol/L", "mg/dL"))


def test_a_power_of_ten_is_told_where_the_name_says_nothing() -> None:
    rng = np.random.default_rng(0)
    grams = rng.uniform(11, 16, 100)
    found = mixture("content", np.where(np.arange(100) % 3 == 0, 10 * grams, grams), gap=5.0, share=0.05, distinct=5)
    assert found is not None
    assert found.pair is None
    assert "are about 10 times the others" in found.suggestion
    odd = mixture("content", np.where(np.arange(100) % 3 == 0, 30 * grams, grams), gap=5.0, share=0.05, distinct=5)
    assert odd is not None
    assert "times the others" in odd.suggestion
    assert "10 times" not in odd.suggestion


@pytest.mark.parametrize("name", ["crp", "glucose", "creatinine", "temperature", "bilirubin", "content"])
@pytest.mark.parametrize("n", [40, 100, 1000])
def test_skewed_values_of_one_unit_are_not_two(name: str, n: int) -> None:
    alarms = sum(
        mixture(name, np.random.default_rng(seed).lognormal(2.0, 1.3, n), gap=5.0, share=0.05, distinct=5) is not None
        for seed in range(150)
    )
    assert alarms == 0


def test_a_boundary_is_round_and_nobodys_value() -> None:
    held = Mixture(n_below=1, n_above=1, last=11.37, first=54.0, ratio=5.0)
    assert held.between == 20.0
    close = Mixture(n_below=1, n_above=1, last=24.96, first=25.04, ratio=1.0)
    assert 24.96 < close.between < 25.04
