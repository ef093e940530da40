"""Units against hand-worked conversions, and refusals that say what would fit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attending.records.units import KNOWN, UnitError, canonical, convert, fits, from_column_name, measure


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("crp_mg_l", ("crp", "mg/L")),
        ("wbc_1e3_ul", ("wbc", "10^3/uL")),
        ("rbc_1e6_ul", ("rbc", "10^6/uL")),
        ("platelets_k_ul", ("platelets", "10^3/uL")),
        ("temperature_c", ("temperature", "°C")),
        ("body_temp_f", ("body_temp", "°F")),
        ("bmi_kg_m2", ("bmi", "kg/m^2")),
        ("ldh_u_l", ("ldh", "U/L")),
        ("spo2_pct", ("spo2", "%")),
        ("po2_mmhg", ("po2", "mmHg")),
        ("hemoglobin_g_dl", ("hemoglobin", "g/dL")),
        ("creatinine_umol_l", ("creatinine", "umol/L")),
        ("CRP (mg/L)", ("CRP", "mg/L")),
        ("wbc [10^9/L]", ("wbc", "10^9/L")),
        ("resp_rate_per_min", ("resp_rate", "1/min")),
        ("offset_days", ("offset", "d")),
        ("vitamin_d", ("vitamin_d", None)),
        ("protein_c", ("protein_c", None)),
        ("troponin_t", ("troponin_t", None)),
        ("pain (left)", ("pain (left)", None)),
        ("nausea", ("nausea", None)),
    ],
)
def test_units_are_read_from_column_names(name: str, expected: tuple[str, str | None]) -> None:
    assert from_column_name(name) == expected


@pytest.mark.parametrize(
    ("value", "found", "expected", "code", "worked"),
    [
        (12.0, "mg/dL", "mg/L", "", 120.0),
        (7.5, "10^9/L", "10^3/uL", "", 7.5),
        (7500.0, "1/uL", "10^3/uL", "", 7.5),
        (98.6, "°F", "°C", "", 37.0),
        (310.15, "K", "°C", "", 37.0),
        (5.5, "mmol/L", "mg/dL", "glucose", 99.0858),  # 5.5 × 180.156 / 10
        (1.0, "mg/dL", "umol/L", "creatinine", 88.4017),  # 10 000 / 113.12
        (7.5, "kPa", "mmHg", "", 56.2548),  # 7500 / 133.322
        (5.0, "ukat/L", "U/L", "", 300.0),
        (180.0, "cm", "m", "", 1.8),
        (2.0, "d", "h", "", 48.0),
        (0.45, "1", "%", "", 45.0),
        (13.5, "g/dL", "g/l", "", 135.0),
        (80.0, "bpm", "1/min", "", 80.0),
        (500.0, "ng/ml", "mg/L", "", 0.5),
    ],
)
def test_conversions_worked_by_hand(value: float, found: str, expected: str, code: str, worked: float) -> None:
    assert convert(value, found, expected, code=code) == pytest.approx(worked, rel=1e-5)


@given(st.sampled_from(KNOWN), st.sampled_from(KNOWN), st.floats(0.01, 1e4))
def test_there_and_back_is_the_same_value(one: str, other: str, value: float) -> None:
    if fits(one, other):
        assert convert(convert(value, one, other), other, one) == pytest.approx(value, rel=1e-9, abs=1e-9)
    else:
        with pytest.raises(UnitError):
            convert(value, one, other)


@pytest.mark.parametrize("symbol", KNOWN)
def test_canonical_is_canonical(symbol: str) -> None:
    assert canonical(canonical(symbol)) == canonical(symbol)
    assert measure(canonical(symbol)) == measure(symbol)


def test_one_unit_in_many_spellings_is_one_unit() -> None:
    assert {canonical(each) for each in ("mg/L", "mg/l", "mg / l", "MG/L".lower())} == {"mg/L"}
    assert {canonical(each) for each in ("10^9/L", "10E9/l", "1e9/L", "x10^9/L", "10*9/L".replace("*", "^"))} == {"10^9/L"}
    assert {canonical(each) for each in ("ug/L", "µg/L", "μg/l", "mcg/L")} == {"ug/L"}


def test_a_count_of_something_converts_to_nothing_but_itself() -> None:
    assert convert(3.0, "{points}", "{points}") == 3.0
    assert convert(3.0, "{copies}/mL", "{copies}/L") == pytest.approx(3000.0)
    for other in ("{copies}", "1", "%"):
        with pytest.raises(UnitError, match="converts to"):
            convert(3.0, "{points}", other)


def test_what_does_not_fit_is_refused_with_what_would() -> None:
    with pytest.raises(UnitError, match=r'found unit "mmol".*converts to "mmol/L".*Did you mean "mmol/L"'):
        convert(5.0, "mmol", "mmol/L", code="glucose")
    with pytest.raises(UnitError, match=r'found unit "mgl".*converts to "mg/L".*Did you mean "mg/L"'):
        convert(5.0, "mgl", "mg/L")
    with pytest.raises(UnitError, match=r'found unit "mmol/L".*converts to "mg/L"'):
        convert(5.0, "mmol/L", "mg/L", code="crp")  # no molar mass is known for crp, so none is invented
