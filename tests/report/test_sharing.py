"""What is hidden cannot be worked out."""

from hypothesis import given, settings
from hypothesis import strategies as st

from attending.report import Pattern
from attending.report.sharing import shared_counts, shared_patterns

counts = st.lists(st.integers(0, 30), min_size=1, max_size=12)


@given(counts)
def test_no_count_from_one_to_four_is_shown_and_nothing_is_changed(numbers: list[int]):
    told = shared_counts(numbers)
    for number, shown in zip(numbers, told, strict=True):
        assert shown is None or shown == number
        assert shown is None or not 0 < shown < 5


@given(counts)
def test_the_total_gives_no_hidden_count_away_where_others_can_be_hidden(numbers: list[int]):
    told = shared_counts(numbers)
    hidden = [number for number, shown in zip(numbers, told, strict=True) if shown is None]
    others_left = any(shown for shown in told)
    if hidden and others_left:
        assert len(hidden) > 1
        assert sum(hidden) > len(hidden)


patterns = st.lists(st.tuples(st.integers(1, 40), st.integers(0, 40)), min_size=1, max_size=8)


@settings(max_examples=40, deadline=None)
@given(patterns)
def test_patterns_keep_their_total_and_show_no_small_count(drawn: list[tuple[int, int]]):
    rows = [
        Pattern(present=tuple(f"k{i}" for i in range(place)), n=n, known=n, events=min(events, n))
        for place, (n, events) in enumerate(drawn)
    ]
    told = shared_patterns(rows)
    total = sum(row.n for row in rows)
    if total >= 5:
        assert sum(row.n or 0 for row in told) == total
    for row in told:
        assert row.n is None or row.n >= 5
        assert row.events is None or row.n is None or (row.events == 0 or row.events >= 5)
