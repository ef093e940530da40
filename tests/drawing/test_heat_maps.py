"""Maps, links and dots show the weights that they are given, and the page says what it is not."""

import io
import re
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from PIL import Image

from attending.attention import GroupedConfig, LowRankConfig, RotaryConfig, causal, everything, trace
from attending.attention.tracing import title_of
from attending.drawing.attention_page import MOST, LayerView, Page, attention_page, pictures
from attending.drawing.heads import Measure, diversity_plot, head_dots
from attending.drawing.heat_maps import LEVELS, head_maps, heat_map, similarity_map
from attending.drawing.palette import FIRST, SECOND
from attending.drawing.raster import LIGHT, MARGIN, RasterError, png
from attending.drawing.svg import box, element, group, line, path, picture, words
from attending.drawing.word_links import word_links

SVG = "{http://www.w3.org/2000/svg}"
WEIGHTS = np.array([[1.0, 0.0, 0.0], [0.25, 0.75, 0.0], [0.5, -0.25, 0.75]])
WORDS = ["no", "<fever>", "today"]


def tags(svg: str, tag: str) -> list[ElementTree.Element]:
    return ElementTree.fromstring(svg).findall(f".//{SVG}{tag}")


def cells(svg: str) -> dict[tuple[int, int], float]:
    """(row, column) → shade with the sign of its colour; 0 for a dot."""
    found = {}
    for one in tags(svg, "path"):
        drawn = one.get("d") or ""
        for column, row in re.findall(r"M(\d+) (\d+)h1v1", drawn):
            found[int(row), int(column)] = float(one.get("fill-opacity") or 0) * (1 if one.get("fill") == FIRST else -1)
        for column, row in re.findall(r"M(\d+)\.42 (\d+)\.42", drawn):
            found[int(row), int(column)] = 0.0
    return found


def test_every_weight_has_its_shade_and_its_sign() -> None:
    svg = heat_map(WEIGHTS, rows=WORDS, columns=WORDS, title="t")
    assert cells(svg) == {(i, j): pytest.approx(WEIGHTS[i, j]) for i in range(3) for j in range(3)}
    assert "<fever> → no: 0.250" in [one.text for one in tags(svg, "title")]
    assert {"no", "<fever>", "today"} <= {one.text for one in tags(svg, "text")}
    assert "0 to 1.00, second colour: negative" in {one.text for one in tags(svg, "text")}


def test_the_least_weight_is_still_seen_and_the_scale_is_named() -> None:
    svg = heat_map(np.array([[1e-6, 0.5]]), rows=["a"], columns=["a", "b"], title="t")
    assert cells(svg) == {(0, 0): 1 / LEVELS, (0, 1): 1.0}
    assert "0 to 0.50" in {one.text for one in tags(svg, "text")}


def test_small_maps_share_one_scale() -> None:
    svg = head_maps(np.stack([WEIGHTS.clip(0), WEIGHTS.clip(0) / 2]), names=["head 0", "head 1"], title="t")
    shades = [float(one.get("fill-opacity") or 1) for one in tags(svg, "path") if one.get("fill") == FIRST]
    assert max(shades) == 1.0
    assert 0.4 in shades  # 0.75 / 2 of 1, rounded up to a shade


def test_heads_stand_by_their_clusters_and_each_has_a_frame() -> None:
    distance = np.array([[0, 1, 0.2, 1], [1, 0, 1, 0.4], [0.2, 1, 0, 1], [1, 0.4, 1, 0]])
    svg = similarity_map(distance, clusters=[0, 1, 0, 1], title="t")
    assert [one.text for one in tags(svg, "text") if (one.text or "").startswith("head")] == [
        "head 0", "head 2", "head 1", "head 3",
    ]  # fmt: skip
    frames = [one for one in tags(svg, "rect") if one.get("stroke") == SECOND]
    assert len(frames) == 2
    assert "head 0 and head 2: 0.80" in [one.text for one in tags(svg, "title")]


def test_links_are_the_weights_and_numbers_wait_for_the_pointer() -> None:
    svg = word_links(np.array([[0.9, 0.1, 0.0], [0.01, 0.99, 0.0], [0.005, 0.0, 0.01]]), rows=WORDS, columns=WORDS, title="t")
    asks = [one for one in tags(svg, "g") if one.get("class") == "asks"]
    assert [len(one.findall(f".//{SVG}path")) for one in asks] == [2, 1, 1], "the strongest stays, however weak"
    told = [[number.text for number in one.findall(f"{SVG}g[@class='told']/{SVG}text")] for one in asks]
    assert told == [["0.90", "0.10"], ["0.99"], ["0.01"]]
    assert all(one.find(f"{SVG}g[@class='told']").get("opacity") == "0" for one in asks)  # type: ignore[union-attr]
    assert "<script" not in svg


def test_dots_lie_where_the_numbers_say() -> None:
    svg = head_dots([Measure(name="m", values=[0.0, 2.0, float("nan")], most=4.0)], names=["a", "b", "c"], title="t")
    first, second = (float(one.get("cx") or 0) for one in tags(svg, "circle"))
    ends = sorted(float(one.get("x2") or 0) for one in tags(svg, "line"))
    assert second == pytest.approx((first + ends[-1]) / 2)
    layers = diversity_plot([0.5, float("nan"), 0.25], names=["x", "y", "z"], title="t")
    heights = [float(one.get("cy") or 0) for one in tags(layers, "circle")]
    assert len(heights) == 2
    assert heights[0] < heights[1]


def opened(svg: str) -> Image.Image:
    return Image.open(io.BytesIO(png(svg, scale=1.0))).convert("RGB")


def rgb(colour: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(LIGHT[colour].removeprefix("#")))


def test_a_picture_as_pixels() -> None:
    svg = picture(
        60, 40,
        box(0, 0, 10, 10, fill=FIRST), box(20, 0, 10, 10, fill=FIRST, fill_opacity=0.5),
        group(element("path", d="M0 0h1v1h-1z", fill=SECOND), transform="translate(40 0) scale(10)"),
        line(0, 30, 60, 30, stroke=SECOND, stroke_width=4, stroke_dasharray="10 10"),
        group(words(5, 20, "hidden", font_size=12), opacity=0),
        title="t",
    )  # fmt: skip
    image = opened(svg)
    assert image.size == (60 + 2 * MARGIN, 40 + 2 * MARGIN)

    def at(x: float, y: float) -> tuple[int, ...]:
        return image.getpixel((int(x + MARGIN), int(y + MARGIN)))  # type: ignore[return-value]

    assert at(5, 5) == rgb(FIRST)
    assert at(25, 5) == pytest.approx([(one + 255) / 2 for one in rgb(FIRST)], abs=1)
    assert at(45, 5) == rgb(SECOND)
    assert [at(x, 30) == (255, 255, 255) for x in (5, 15, 25, 35)] == [False, True, False, True]
    assert {at(x, y) for x in range(0, 50) for y in range(14, 24)} == {(255, 255, 255)}


def test_words_are_written_and_turned() -> None:
    level = np.array(opened(picture(80, 80, words(10, 40, "llllllll", font_size=14), title="t"))).min(axis=2) < 128
    turned = words(40, 70, "llllllll", font_size=14, transform="rotate(-90 40 70)")
    upright = np.array(opened(picture(80, 80, turned, title="t"))).min(axis=2) < 128
    assert np.ptp(np.nonzero(level)[1]) > np.ptp(np.nonzero(level)[0])
    assert np.ptp(np.nonzero(upright)[0]) > np.ptp(np.nonzero(upright)[1])


def test_what_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(RasterError, match="found the element ellipse"):
        png(picture(9, 9, element("ellipse", cx=1), title="t"))
    with pytest.raises(RasterError, match="found the transform skewX"):
        png(picture(9, 9, group(path([(0, 0), (1, 1)]), transform="skewX(3)"), title="t"))


def layer(n: int = 4, name: str = "layers.0") -> LayerView:
    torch.manual_seed(0)
    named = [f"word{i}" for i in range(n)]
    found = trace(GroupedConfig(dim=8, n_heads=2, position=RotaryConfig()).build(), torch.randn(1, n, 8), causal())
    return LayerView(name=name, trace=found, rows=named, columns=named)


def svgs(page: str) -> list[str]:
    return re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL)


def test_the_page_says_what_it_is_not_and_needs_no_script() -> None:
    page = attention_page(Page(title="a <b> c", sentence="s", cautions=("random",)), [layer(), layer(name="layers.1")])
    assert "Attention is not explanation." in page
    assert "<script" not in page
    assert "default-src 'none'" in page
    assert "a &lt;b&gt; c" in page
    assert page.count('type="radio"') == 2 * 3, "the mean and two heads, for each layer"
    assert page.count(" checked>") == 2
    assert "masked scores" in page
    assert all(ElementTree.fromstring(svg) is not None for svg in svgs(page))
    assert len(svgs(page)) == 1 + 2 * (2 * 3 + 3)


def test_one_layer_has_no_picture_over_layers() -> None:
    assert "over layers" not in attention_page(Page(title="t", sentence="s"), [layer()])
    assert set(pictures([layer()])) == {f"layer-1-{kind}" for kind in ("mean", "links", "heads", "similarity", "numbers")}


def test_every_plot_of_the_page_becomes_pixels() -> None:
    for name, svg in pictures([layer(), layer()]).items():
        colours = opened(svg).getcolors(1 << 20)
        assert colours is not None, name
        assert len(colours) > 10, name


def test_of_many_keys_those_most_looked_at_are_drawn() -> None:
    config, n = GroupedConfig(dim=8, n_heads=2), MOST + 9
    torch.manual_seed(1)
    found = trace(config.build(), torch.randn(1, 2, 8), everything(), context=torch.randn(1, n, 8))
    names = [f"k{j}" for j in range(n)]
    view = LayerView(name="readout", trace=found, rows=["a", "b"], columns=names)
    strongest = found.weights[0].mean(dim=(0, 1)).topk(MOST).indices.sort().values
    assert view.words[1] == [names[j] for j in strongest]
    assert view.notes == (f"{MOST} of {n} keys are drawn: the most looked at of those there.",)
    assert layer(MOST + 1).notes[0] == f"{MOST} of {MOST + 1} queries are drawn: the first of those there."
    with pytest.raises(ValueError, match=r"readout: found names for 1 queries and 2 keys, expected \(2, 49\)"):
        LayerView(name="readout", trace=found, rows=["a"], columns=["b", "c"])


def test_weights_that_may_be_negative_are_told_so() -> None:
    torch.manual_seed(0)
    names = list("abcde")
    found = trace(LowRankConfig(dim=8, n_heads=2, length=5, rank=2).build(), torch.randn(1, 5, 8), everything())
    page = attention_page(Page(title="t", sentence="s"), [LayerView(name="one", trace=found, rows=names, columns=names)])
    assert "those of the weights over slots" in page
    assert "second colour: negative" in page


def test_a_mechanism_is_named_by_what_differs_from_the_defaults() -> None:
    config = GroupedConfig(dim=8, n_heads=2, position=RotaryConfig(layout="interleaved"))
    assert title_of(config) == "grouped: dim=8, n_heads=2, position=rotary(layout=interleaved)"
    assert title_of(LowRankConfig(dim=8, n_heads=2, length=5, rank=2)) == "low rank: dim=8, n_heads=2, length=5, rank=2"
