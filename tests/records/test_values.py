"""One cell at a time: every way of writing a number, and what is none."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attending.records import RecordError
from attending.records.column import Rule, ValueRules
from attending.records.units import UnitError
from attending.records.values import Reading, decimal_mark, is_unknown, read_number, tally

PLAIN = ValueRules()


@pytest.mark.parametrize(
    ("cell", "reading", "value"),
    [
        ("5", Reading.READ, 5.0),
        (" 5.25 ", Reading.READ, 5.25),
        ("-3e2", Reading.READ, -300.0),
        ("\N{MINUS SIGN}4", Reading.READ, -4.0),
        ("<5", Reading.BELOW, 5.0),
        ("≤ 0.3", Reading.BELOW, 0.3),
        ("> 200", Reading.ABOVE, 200.0),
        (">=200", Reading.ABOVE, 200.0),
        ("?", Reading.UNKNOWN, math.nan),
        ("N/A", Reading.UNKNOWN, math.nan),
        ("inf", Reading.UNKNOWN, math.nan),
        ("", Reading.BLANK, math.nan),
        (None, Reading.BLANK, math.nan),
        ("haemolysed", Reading.REFUSED, math.nan),
        ("5,2", Reading.REFUSED, math.nan),
        ("1_000", Reading.REFUSED, math.nan),
        ("1e999", Reading.REFUSED, math.nan),
        ("5 6", Reading.REFUSED, math.nan),
        ("<", Reading.REFUSED, math.nan),
        ("12 mg/dL", Reading.REFUSED, math.nan),
    ],
)
def test_a_cell_is_read_as_it_is_meant(cell: str | None, reading: Reading, value: float) -> None:
    found = read_number(cell, PLAIN)
    assert found.reading is reading
    assert found.value == value or (math.isnan(found.value) and math.isnan(value))


def test_rules_of_the_schema_decide() -> None:
    refuse = ValueRules(below=Rule.REFUSED, above=Rule.UNKNOWN, infinite=Rule.REFUSED, unknown=("x",))
    assert [read_number(cell, refuse).reading for cell in ("<5", ">5", "inf", "X", "?")] == [
        Reading.REFUSED,
        Reading.UNKNOWN,
        Reading.REFUSED,
        Reading.UNKNOWN,
        Reading.REFUSED,
    ]
    limited = ValueRules(detection_low=1.0, detection_high=35.0)
    assert read_number("inf", limited)[:2] == (Reading.ABOVE, 35.0)
    assert read_number("-inf", limited)[:2] == (Reading.BELOW, 1.0)
    assert read_number("2,5", ValueRules(decimal="comma"))[:2] == (Reading.READ, 2.5)


def test_a_unit_behind_the_number_is_converted_or_refused() -> None:
    assert read_number("12 mg/dL", PLAIN, unit="mg/L")[:2] == (Reading.READ, 120.0)
    assert read_number("<0.5mg/dl", PLAIN, unit="mg/L")[:2] == (Reading.BELOW, 5.0)
    with pytest.raises(UnitError, match=r'found unit "mmol", expected one that converts to "mmol/L"'):
        read_number("12 mmol", PLAIN, unit="mmol/L")
    wrong = read_number("12 mmol", ValueRules(misfit="refused"), unit="mmol/L")
    assert wrong.reading is Reading.REFUSED
    assert 'Did you mean "mmol/L"' in wrong.why


def test_a_reason_never_quotes_prose() -> None:
    assert "Smith" not in read_number("12 Mr Smith called", PLAIN, unit="mg/L").why
    assert "Smith" not in read_number("Smith", PLAIN, unit="mg/L").why


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_plain_number_reads_back_to_the_same_bits(value: float) -> None:
    assert read_number(repr(value), PLAIN)[:2] == (Reading.READ, value)


@given(st.lists(st.one_of(st.none(), st.text(max_size=6), st.floats().map(repr), st.sampled_from(["<5", ">3", "?", "inf"]))))
def test_every_cell_ends_in_exactly_one_count(cells: list[str | None]) -> None:
    counts = tally(read_number(cell, PLAIN).reading for cell in cells)
    assert counts.rows == len(cells)


def test_the_decimal_mark_is_the_columns_own() -> None:
    assert decimal_mark(["1.5", "2", None, "<0.5"], place="t") == "point"
    assert decimal_mark(["1,5", "2", "<0,55", "?"], place="t") == "comma"
    assert decimal_mark([None], place="t") == "point"
    with pytest.raises(RecordError, match=r"t: 2 numbers have a decimal comma and 1 a decimal point"):
        decimal_mark(["1,5", "2,5", "3.5"], place="t")
    with pytest.raises(RecordError, match=r'"1,234" may be 1.234 or 1234'):
        decimal_mark(["1,234", "22,500"], place="t")


def test_words_for_unknown_ignore_case() -> None:
    assert all(is_unknown(word) for word in ("?", "NA", "Unknown", " not stated "))
    assert not any(is_unknown(word) for word in ("no", "none", "0", "negative"))
