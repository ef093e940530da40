"""Pictures of weighed evidence: films, notes and bars say what they were given, to scale, and cannot be broken by a note."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attending.case import Box, Characters
from attending.drawing.alone import alone
from attending.drawing.contributions import Contribution, contribution_bars, signed
from attending.drawing.marked_words import ACROSS, LEAST, marked_words, pieces_of
from attending.drawing.overlay import AGAINST, DEEPEST, FOR, WIDTH, film_overlay
from attending.drawing.palette import FIRST, SECOND

SVG = "{http://www.w3.org/2000/svg}"


def found(svg: str, tag: str) -> list[ElementTree.Element]:
    return ElementTree.fromstring(svg).findall(f".//{SVG}{tag}")


@st.composite
def weighed_text(draw: st.DrawFn) -> tuple[str, list[tuple[Characters, float]]]:
    letters = st.characters(exclude_categories=("Cs", "Cc"), include_characters="\n <&")
    text = draw(st.text(letters, min_size=1, max_size=300))
    spans = []
    for start in draw(st.lists(st.integers(0, len(text) - 1), max_size=8)):
        stop = draw(st.integers(start + 1, min(len(text), start + 12)))
        spans.append((Characters(start, stop), draw(st.floats(-5, 5))))
    return text, spans


@given(weighed_text())
def test_pieces_are_the_whole_text_and_nothing_else(given_: tuple[str, list[tuple[Characters, float]]]) -> None:
    text, spans = given_
    pieces = pieces_of(text, spans)
    assert "".join(piece.text for piece in pieces) == text
    assert all(-1 <= piece.share <= 1 for piece in pieces)
    marked = marked_words(text, spans, title="note")
    told = "".join(each.text or "" for each in found(marked, "text"))
    assert re.sub(r"\s", "", told) == re.sub(r"\s", "", text)


def test_light_words_are_not_marked_and_signs_have_their_colours() -> None:
    text = "no fever but cough"
    spans = [(Characters(0, 2), LEAST), (Characters(3, 8), -1.0), (Characters(13, 18), 2.0)]
    pieces = {piece.text: piece.share for piece in pieces_of(text, spans) if piece.share}
    assert pieces == {"fever": -0.5, "cough": 1.0}
    fills = [each.get("fill") for each in found(marked_words(text, spans, title="note"), "rect")]
    assert fills == [SECOND, FIRST]


def test_a_note_cannot_leave_its_picture() -> None:
    hostile = '</text><script>alert(1)</script> =HYPERLINK("x") ' + "a" * 500
    svg = marked_words(hostile, [(Characters(0, 7), 1.0)], title=hostile)
    assert "<script" not in svg
    assert max(len(each.text or "") for each in found(svg, "text")) <= ACROSS


def test_boxes_lie_where_they_lie_on_the_film() -> None:
    pixels = np.linspace(0, 1, 40 * 20).reshape(40, 20)
    svg = film_overlay(pixels, [(Box(10, 5, 20, 15), -2.0), (Box(0, 0, 10, 5), 1.0), (Box(20, 0, 30, 5), 0.0)], title="film")
    first, second, frame = found(svg, "rect")
    scale = WIDTH / 20
    assert [float(first.get(key, "")) for key in ("x", "y", "width", "height")] == [
        5 * scale,
        10 * scale,
        10 * scale,
        10 * scale,
    ]
    assert (first.get("fill"), float(first.get("fill-opacity", ""))) == (AGAINST, DEEPEST)
    assert (second.get("fill"), float(second.get("fill-opacity", ""))) == (FOR, DEEPEST / 2)
    assert frame.get("x") == first.get("x")
    assert found(svg, "image")[0].get("href", "").startswith("data:image/png;base64,")
    assert found(film_overlay(pixels, [], title="film"), "rect") == []


def test_bars_are_to_scale_and_on_their_side() -> None:
    rows = [Contribution(label="crp", value=2.0, beside="40 mg/L"), Contribution(label="age", value=-1.0)]
    svg = contribution_bars(rows, title="values", axis="log-odds")
    right, left = found(svg, "rect")
    assert float(right.get("width", "")) == pytest.approx(2 * float(left.get("width", "")), abs=0.02)
    assert float(left.get("x", "")) + float(left.get("width", "")) == pytest.approx(float(right.get("x", "")), abs=0.02)
    assert (right.get("fill"), left.get("fill")) == (FIRST, SECOND)
    told = [each.text for each in found(svg, "text")]
    assert {"+2.00", "−1.00", "40 mg/L", "log-odds"} <= set(told)
    assert found(contribution_bars([], title="nothing", axis="log-odds"), "rect") == []
    assert signed(-0.5) == "−0.50"


def test_a_picture_alone_has_its_colours() -> None:
    svg = alone(contribution_bars([Contribution(label="crp", value=2.0)], title="values", axis="log-odds"))
    style = found(svg, "style")[0].text or ""
    assert all(name in style for name in ("--ink:", "--first:", "--second:", "prefers-color-scheme:dark"))
