"""Characters carried through replacements, and back."""

from hypothesis import given
from hypothesis import strategies as st

from attending.case import Characters
from attending.privacy.spans import Replacement, replace_spans


def test_worked_by_hand() -> None:
    text = "Mrs Miller (born 1950-01-02) has fever"
    edits = [
        Replacement(start=4, stop=10, text="[identity]", kind="identity"),
        Replacement(start=17, stop=27, text="[date]", kind="dates"),
    ]
    new, offsets = replace_spans(text, edits)
    assert new == "Mrs [identity] (born [date]) has fever"
    fever = Characters(text.index("fever"), text.index("fever") + 5)
    moved = offsets.to_new(fever)
    assert new[moved.start : moved.stop] == "fever"
    inside = offsets.to_new(Characters(5, 7))  # part of the name: all of the placeholder
    assert new[inside.start : inside.stop] == "[identity]"
    across = offsets.to_new(Characters(6, 20))
    assert new[across.start : across.stop] == "[identity] (born [date]"
    assert offsets.to_old(Characters(4, 14)) == Characters(4, 10)
    assert offsets.to_new(Characters(0, 3)) == Characters(0, 3)


@st.composite
def edited(draw: st.DrawFn) -> tuple[str, list[Replacement]]:
    text = draw(st.text("abcdefgh ", min_size=1, max_size=40))
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=8, unique=True)))
    pairs = list(zip(cuts[::2], cuts[1::2], strict=False))
    return text, [Replacement(start=a, stop=b, text=draw(st.sampled_from(["", "[x]", "XYZXYZ"])), kind="k") for a, b in pairs]


@given(edited(), st.data())
def test_untouched_spans_keep_their_words(case: tuple[str, list[Replacement]], data: st.DataObject) -> None:
    text, edits = case
    new, offsets = replace_spans(text, edits)
    start = data.draw(st.integers(0, len(text) - 1))
    stop = data.draw(st.integers(start + 1, len(text)))
    moved = offsets.to_new(Characters(start, stop))
    assert 0 <= moved.start <= moved.stop <= len(new)
    touches = any(edit.start < stop and start < edit.stop for edit in edits)
    if not touches:
        assert new[moved.start : moved.stop] == text[start:stop]
        assert offsets.to_old(moved) == Characters(start, stop)
    else:  # every untouched character of the span is still inside
        kept = [c for i, c in enumerate(text[start:stop], start) if not any(e.start <= i < e.stop for e in edits)]
        found = iter(new[moved.start : moved.stop])
        assert all(any(c == f for f in found) for c in kept)
