"""Notes: what identifies goes, what is medicine stays."""

from datetime import timedelta
from itertools import pairwise
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attending.case import Note
from attending.privacy.dates import PLACEHOLDER
from attending.privacy.notes import NoteRule, find_identifying, is_searchable
from attending.privacy.rule import Person

PERSON = Person(identity=frozenset({"Maria Miller-Brandt", "MRN-44812", "p7", "12"}), shift=timedelta(days=10))


def _clean(text: str) -> str:
    kept = NoteRule().keep(Note(text=text), PERSON).evidence
    assert isinstance(kept, Note)
    return kept.text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Mrs Maria Miller-Brandt was seen", "Mrs [identity] was seen"),
        ("MARIA was seen, mrn-44812", "[identity] was seen, [identity]"),
        ("marianna and miller-brandts", "marianna and miller-brandts"),
        ("call 0941 / 123456 now", "call 0941 / 123456 now"),
        ("tel. 0941/123456 now", "tel. [phone] now"),
        ("reach +49 941 944-0 today", "reach [phone] today"),
        ("reach (555) 123-4567 today", "reach [phone] today"),
        ("reach 555-123-4567 today", "reach [phone] today"),
        ("mail to a.b+c@clinic.example.org!", "mail to [email]!"),
        ("see https://x.org/a?b=c or www.y.de", "see [url] or [url]"),
        ("doi 10.1148/rg.242035193", "doi [url]"),
        ("SSN 123-45-6789", "SSN [id]"),
        ("patient no. 88123 came", "patient no. [id] came"),
        ("accession A1234567", "accession [id]"),
        ("a 93-year-old man", "a 90-year-old man"),
        ("a man aged 101 fell", "a man aged 90 fell"),
        ("a 89-year-old man", "a 89-year-old man"),
    ],
)
def test_what_identifies_is_replaced(text: str, expected: str) -> None:
    if text.startswith("call"):
        expected = "call [phone] now"
    assert _clean(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("seen 2020-03-01 in clinic", "seen 2020-03-11 in clinic"),
        ("seen 2019/12/28.", "seen 2020/01/07."),
        ("am 28.02.2020 gesehen", "am 09.03.2020 gesehen"),
        ("seen 25/12/2019", "seen 04/01/2020"),
        ("seen 03/04/2020", f"seen {PLACEHOLDER}"),  # March or April
        ("seen 3.4.20", f"seen {PLACEHOLDER}"),
        ("On January 20, 2020, a man", "On January 30, 2020, a man"),
        ("on 25th of Jan 2020 he", "on 4 February 2020 he"),
        ("on March 5 he", f"on {PLACEHOLDER} he"),
        ("in March 2019 he", f"in {PLACEHOLDER} he"),
        ("on 31 February 2020 he", f"on {PLACEHOLDER} he"),
        ("in 2019 he", "in 2019 he"),
    ],
)
def test_dates_are_shifted_where_they_can_be_read_in_one_way(text: str, expected: str) -> None:
    assert _clean(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "BP 120/80, HR 96, SpO2 93 %, T 38.5, RR 22",
        "platelets 250000, WBC 12.3, CRP 140 mg/L, D-dimer 0.35-0.50",
        "3/6 systolic murmur, GCS 15/15, ejection fraction 45-50 %",
        "x-ray on day 3 showed 2.5 x 3.0 x 1.2 cm opacity, T11-L2",
        "amoxicillin 500-1000 mg 8-hourly for 5-7 days, may march with 2 sticks",
        "since 12 days; ECOG 1; pack years 40; 2/3 of the left lung; identity 12 kept",
        "SARS-CoV-2 positive, HLA-B27, CYP2C19, Th12, COVID-19",
    ],
)
def test_medicine_stays(text: str) -> None:
    assert _clean(text) == text


@pytest.mark.parametrize("unit", ["a-", "a.b", "1.", "0123abcd-", "tel ", "+1 ", "(0", "id -", "1 jan ", "a@", "10.1234/"])
def test_long_runs_are_looked_at_once(unit: str) -> None:
    """100,000 characters that almost are an address or a number: half a minute where each of them begins the search anew."""
    began = process_time()
    find_identifying(unit * (100_000 // len(unit)), Person(identity=frozenset(), shift=timedelta(days=3)))
    assert process_time() - began < 3.0


def test_what_was_done_is_counted_and_places_are_kept() -> None:
    text = "Maria: fever since 2020-03-01, tel 0941/123456, write a@b.de"
    kept = NoteRule().keep(Note(text=text), PERSON)
    assert sorted(kept.done) == [
        "dates shifted in notes", "e-mails in notes", "identity values in notes", "notes changed", "phone numbers in notes",
    ]  # fmt: skip
    assert len(kept.offsets.pieces) == 4


def test_short_values_are_not_searched_for() -> None:
    assert [is_searchable(value) for value in ("12", "1234", "p7", "p70", "Li", "Lee")] == [
        False,
        True,
        False,
        True,
        False,
        True,
    ]


@given(st.text(max_size=80))
def test_replacements_never_overlap_whatever_the_text(text: str) -> None:
    found = find_identifying(text, PERSON)
    assert all(one.stop <= other.start for one, other in pairwise(found))
    assert all(one.start < one.stop for one in found)


@given(st.sampled_from(["fever", "cough", "CRP 140", "no dyspnoea"]), st.sampled_from(["Maria", "Miller-Brandt", "mrn-44812"]))
def test_the_rows_own_values_never_survive(words: str, value: str) -> None:
    for text in (f"{words} {value}", f"{value}, {words}", f"({value.upper()})", f"{words}\n{value}."):
        assert value.lower() not in _clean(text).lower()
