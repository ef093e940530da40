"""The flow diagram: boxes that hold their words, stand apart, and are read out whole."""

import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attending.drawing import Stage, Step, flow_diagram
from attending.drawing.flow import width_of, wrapped

SVG = "{http://www.w3.org/2000/svg}"
READ, USED = Step(headline="243 rows read"), Step(headline="240 cases", lines=("fever: 94 events", "rash: 30 events"))
OUT = Step(headline="3 rows left out", lines=("2: the target is blank", "1: age is no number"))
PARTS = tuple(Step(headline=f"Part {name}: 60 cases", lines=("fever: 23 events",)) for name in "abcd")

words = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1, max_size=90)
steps = st.builds(Step, headline=words, lines=st.lists(words, max_size=4).map(tuple))
stages = st.lists(st.builds(Stage, step=steps, leaves=st.none() | steps), min_size=1, max_size=4)


def boxes(svg: str) -> list[tuple[tuple[float, float, float, float], list[tuple[str, float, float, float]]]]:
    """Each box as left, top, right, bottom, with its lines as words, x, y and size."""
    found = []
    for group in ElementTree.fromstring(svg).iter(f"{SVG}g"):
        rect = group.find(f"{SVG}rect")
        if rect is not None:
            x, y, width, height = (float(rect.get(key, "")) for key in ("x", "y", "width", "height"))
            lines = [
                (one.text or "", *(float(one.get(key, "")) for key in ("x", "y", "font-size")))
                for one in group.findall(f"{SVG}text")
            ]
            found.append(((x, y, x + width, y + height), lines))
    return found


def size(svg: str) -> tuple[float, float]:
    _, _, width, height = (float(one) for one in (ElementTree.fromstring(svg).get("viewBox") or "").split())
    return width, height


def is_well_laid(svg: str) -> None:
    width, height = size(svg)
    held = boxes(svg)
    for (left, top, right, bottom), lines in held:
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height
        for told, x, y, letters in lines:
            assert left < x
            assert x + letters * width_of(told) <= right or len(told) == 1
            assert top + letters / 2 < y <= bottom
    for place, (one, _) in enumerate(held):
        for other, _ in held[:place]:
            assert one[0] >= other[2] or other[0] >= one[2] or one[1] >= other[3] or other[1] >= one[3], (one, other)


@given(stages, st.lists(steps, max_size=4))
def test_boxes_hold_their_words_and_stand_apart(drawn: list[Stage], ends: list[Step]) -> None:
    svg = flow_diagram(drawn, ends, title="flow")
    is_well_laid(svg)
    asked = [one for stage in drawn for one in (stage.step, stage.leaves) if one is not None] + ends
    assert len(boxes(svg)) == len(asked)
    for step, (_, lines) in zip(asked, boxes(svg), strict=True):
        told = "".join(line for line, _, _, _ in lines)
        assert re.sub(r"\s", "", told) == re.sub(r"\s", "", "".join((step.headline, *step.lines)))


@pytest.mark.parametrize("ends", [(), PARTS[:1], PARTS])
def test_every_word_is_read_out(ends: tuple[Step, ...]) -> None:
    svg = flow_diagram((Stage(step=READ, leaves=OUT), Stage(step=USED)), ends, title="Flow of participants")
    root = ElementTree.fromstring(svg)
    told = root.find(f"{SVG}desc")
    assert told is not None
    assert root.get("aria-label") == f"Flow of participants. {told.text}"
    assert root.get("role") == "img"
    for step in (READ, OUT, USED, *ends):
        for line in (step.headline, *step.lines):
            assert line in (told.text or "")
    assert "of which leave: 3 rows left out; 2: the target is blank" in (told.text or "")


def test_what_leaves_stands_at_the_side_and_parts_stand_side_by_side() -> None:
    svg = flow_diagram((Stage(step=READ, leaves=OUT), Stage(step=USED)), PARTS, title="flow")
    read, out, used, *parts = (place for place, _ in boxes(svg))
    assert out[0] > read[2]
    assert out[0] > used[2]
    assert read[3] < out[1] + 30 < used[1] + 60
    assert len({(top, bottom) for _, top, _, bottom in parts}) == 1
    assert [left for left, *_ in parts] == sorted(left for left, *_ in parts)
    assert parts[0][1] > used[3]


def test_lines_are_cut_by_hand() -> None:
    assert wrapped("aa bb cc", 2.9) == ["aa bb", "cc"]  # five letters of 0.56
    assert wrapped("aaaaaaa", 2.9) == ["aaaaa", "aa"]
    assert wrapped("", 2.9) == []
    assert width_of("年") == 1.0
