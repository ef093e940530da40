"""Our own pictures as PNG, for slides and documents that take no SVG. Reads what `svg.py` writes and nothing else.

Texts, lines, boxes, circles and paths of straight pieces and curves, with groups that move and scale; links and tooltips are
left out. Anything unknown is refused, so that a picture is whole or not there. Not a renderer of SVG in general.
"""

import io
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from operator import mul
from xml.etree import ElementTree

from PIL import Image, ImageColor, ImageDraw, ImageFont

from attending.drawing.palette import FIRST, FOURTH, GRID, INK, PAPER, QUIET, SECOND, SHADE, THIRD

FINE = 2
"""Drawn so many times larger than asked, then shrunk: edges are smooth."""
MARGIN = 12.0
"""White around the picture, in its own pixels."""
CURVE = 14
"""Straight pieces for one curve."""
LIGHT: Mapping[str, str] = {
    colour: re.sub(r".*(#\w+).*", r"\1", colour) for colour in (INK, QUIET, GRID, PAPER, FIRST, SECOND, THIRD, FOURTH, SHADE)
}
UNDRAWN = ("title", "style")
_SHOWN = {"−": "-", "→": "›", "…": "...", "×": "x", "·": "·", "∞": "inf"}
_NUMBER = re.compile(r"-?(?:\d+\.?\d*|\.\d+)")
_TOKEN = re.compile(r"[MLCZhvz]|-?(?:\d+\.?\d*|\.\d+)")
Point = tuple[float, float]


class RasterError(ValueError):
    """A picture holds what this file cannot draw."""


@dataclass(frozen=True)
class _Pen:
    """Where and how an element is drawn: x and y are moved, then scaled; what a group says holds for what is in it."""

    x: float
    y: float
    scale: float
    given: Mapping[str, str]

    def at(self, x: float, y: float) -> Point:
        return self.x + x * self.scale, self.y + y * self.scale


def png(svg: str, *, scale: float = 2.0) -> bytes:
    """The picture as PNG on white, `scale` pixels for each of its own."""
    root = ElementTree.fromstring(svg)
    width, height = (float(part) + 2 * MARGIN for part in root.get("viewBox", "0 0 1 1").split()[2:])
    large = scale * FINE
    image = Image.new("RGB", (max(round(width * large), 1), max(round(height * large), 1)), LIGHT[PAPER])
    for child in root:
        _draw(child, _Pen(MARGIN * large, MARGIN * large, large, {}), image)
    image = image.resize((max(round(width * scale), 1), max(round(height * scale), 1)), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def _draw(node: ElementTree.Element, pen: _Pen, image: Image.Image) -> None:
    tag = node.tag.rpartition("}")[2]
    if tag in UNDRAWN or node.get("opacity") == "0":
        return
    pen = replace(pen, given={**pen.given, **node.attrib})
    if tag == "g":
        pen = _moved(pen, node.get("transform", ""))
        for child in node:
            _draw(child, replace(pen, given={k: v for k, v in pen.given.items() if k != "transform"}), image)
    elif tag == "text":
        _write(node.text or "", pen, image)
    else:
        for outline, is_closed in _outlines(tag, node, pen):
            _fill_and_stroke(outline, pen, image, is_closed=is_closed)


def _moved(pen: _Pen, transform: str) -> _Pen:
    for kind, inside in re.findall(r"(\w+)\(([^)]*)\)", transform):
        numbers = [float(one) for one in _NUMBER.findall(inside)]
        if kind == "translate":
            pen = replace(pen, x=pen.x + numbers[0] * pen.scale, y=pen.y + numbers[1] * pen.scale)
        elif kind == "scale" and len(numbers) == 1:
            pen = replace(pen, scale=pen.scale * numbers[0])
        else:
            raise RasterError(f"png: found the transform {kind}, expected translate or scale; save the picture as SVG")
    return pen


def _outlines(tag: str, node: ElementTree.Element, pen: _Pen) -> Iterator[tuple[list[Point], bool]]:
    """Every outline in pixels, and whether it ends where it began."""

    def of(name: str) -> float:
        return float(node.get(name, "0"))

    if tag == "rect":
        x, y, wide, high = of("x"), of("y"), of("width"), of("height")
        yield [pen.at(x, y), pen.at(x + wide, y), pen.at(x + wide, y + high), pen.at(x, y + high)], True
    elif tag == "line":
        yield [pen.at(of("x1"), of("y1")), pen.at(of("x2"), of("y2"))], False
    elif tag == "circle":
        turns = [2 * math.pi * i / 36 for i in range(36)]
        yield [pen.at(of("cx") + of("r") * math.cos(t), of("cy") + of("r") * math.sin(t)) for t in turns], True
    elif tag == "path":
        for outline, is_closed in _traced(node.get("d", "")):
            yield [pen.at(*point) for point in outline], is_closed
    else:
        raise RasterError(f"png: found the element {tag}, which is not drawn here; save the picture as SVG")


def _traced(drawn: str) -> Iterator[tuple[list[Point], bool]]:
    """The outlines of a path's M, L, C, h, v and z."""
    outline: list[Point] = []
    command = ""
    numbers: list[float] = []
    for token in _TOKEN.findall(drawn):
        if token.isalpha():
            command, numbers = token, []
            if token in "Zz":
                yield outline, True
                outline = []
            continue
        numbers.append(float(token))
        if command in "hv":
            x, y = outline[-1]
            outline.append((x + numbers[0], y) if command == "h" else (x, y + numbers[0]))
            numbers = []
        elif command in "ML" and len(numbers) == 2:
            if command == "M" and outline:
                yield outline, False
                outline = []
            outline.append((numbers[0], numbers[1]))
            numbers = []
        elif command == "C" and len(numbers) == 6:
            outline += _curve(outline[-1], numbers)
            numbers = []
    if outline:
        yield outline, False


def _curve(start: Point, numbers: list[float]) -> list[Point]:
    xs, ys = [start[0], *numbers[0::2]], [start[1], *numbers[1::2]]
    found = []
    for i in range(1, CURVE + 1):
        t = i / CURVE
        shares = ((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3)
        found.append((sum(map(mul, shares, xs)), sum(map(mul, shares, ys))))
    return found


def _fill_and_stroke(outline: list[Point], pen: _Pen, image: Image.Image, *, is_closed: bool) -> None:
    fill, stroke = pen.given.get("fill"), pen.given.get("stroke")
    if is_closed and fill not in (None, "none"):
        with _over(image, outline, 1.0, float(pen.given.get("fill-opacity", 1))) as (draw, local):
            if draw is not None:
                draw.polygon(local, fill=_colour(fill))
    if stroke not in (None, "none"):
        width = float(pen.given.get("stroke-width", 1)) * pen.scale
        closed = [*outline, outline[0]] if is_closed else outline
        dash = [float(one) * pen.scale for one in _NUMBER.findall(pen.given.get("stroke-dasharray", "") or "")]
        with _over(image, closed, width + 2, float(pen.given.get("stroke-opacity", 1))) as (draw, local):
            if draw is not None:
                for piece in _dashed(local, dash):
                    draw.line(piece, fill=_colour(stroke), width=max(round(width), 1), joint="curve")


class _over:  # noqa: N801 -- read as a verb: with _over(image, …)
    """A drawing on a part of the image that is laid over it with an opacity when done; None where nothing of it would show."""

    def __init__(self, image: Image.Image, outline: list[Point], margin: float, opacity: float) -> None:
        xs, ys = [p[0] for p in outline], [p[1] for p in outline]
        left, top = max(math.floor(min(xs) - margin), 0), max(math.floor(min(ys) - margin), 0)
        right, bottom = min(math.ceil(max(xs) + margin), image.width), min(math.ceil(max(ys) + margin), image.height)
        self.image, self.opacity = image, opacity
        self.box = (left, top, max(right, left), max(bottom, top))
        self.local = [(x - left, y - top) for x, y in outline]
        self.part: Image.Image | None = None

    def __enter__(self) -> tuple[ImageDraw.ImageDraw | None, list[Point]]:
        if self.opacity > 0 and self.box[2] > self.box[0] and self.box[3] > self.box[1]:
            self.part = self.image.crop(self.box)
            return ImageDraw.Draw(self.part), self.local
        return None, self.local

    def __exit__(self, *_: object) -> None:
        if self.part is not None:
            self.image.paste(Image.blend(self.image.crop(self.box), self.part, min(self.opacity, 1.0)), self.box)


def _dashed(points: list[Point], dash: list[float]) -> Iterator[list[Point]]:
    if not dash:
        yield points
        return
    lengths = dash if len(dash) % 2 == 0 else dash * 2
    at, left, is_drawn = 0, lengths[0], True
    piece = [points[0]]
    for start, stop in pairwise(points):
        far = math.dist(start, stop)
        gone = 0.0
        while far - gone > left:
            gone += left
            share = gone / far
            here = (start[0] + share * (stop[0] - start[0]), start[1] + share * (stop[1] - start[1]))
            if is_drawn:
                yield [*piece, here]
            at, is_drawn = (at + 1) % len(lengths), not is_drawn
            left, piece = lengths[at], [here]
        left -= far - gone
        piece.append(stop)
    if is_drawn and len(piece) > 1:
        yield piece


def _write(content: str, pen: _Pen, image: Image.Image) -> None:
    """Text by its baseline; turned where a rotation about its own place is asked for."""
    told = "".join(_SHOWN.get(letter, letter) for letter in content)
    size = float(pen.given.get("font-size", 13)) * pen.scale
    font = _font(max(round(size), 1))
    x, y = pen.at(float(pen.given.get("x", 0)), float(pen.given.get("y", 0)))
    length = font.getlength(told)
    shift = {"middle": length / 2, "end": length}.get(pen.given.get("text-anchor", "start"), 0.0)
    ink = _colour(pen.given.get("fill", INK))
    transform = pen.given.get("transform", "")
    if not transform:
        ImageDraw.Draw(image).text((x - shift, y), told, font=font, fill=ink, anchor="ls")
        return
    turned = re.fullmatch(r"rotate\((-?[\d.]+) [-\d.]+ [-\d.]+\)", transform)
    if turned is None:
        raise RasterError(f"png: found the transform {transform} of a text, expected a rotation; save the picture as SVG")
    side = 2 * math.ceil(length + size)
    mask = Image.new("L", (side, side), 0)
    ImageDraw.Draw(mask).text((side / 2 - shift, side / 2), told, font=font, fill=255, anchor="ls")
    mask = mask.rotate(-float(turned.group(1)), resample=Image.Resampling.BICUBIC)
    image.paste(Image.new("RGB", mask.size, ink), (round(x - side / 2), round(y - side / 2)), mask)


@lru_cache(maxsize=32)
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _colour(named: str | None) -> tuple[int, ...]:
    return ImageColor.getrgb(LIGHT.get(named or INK, named or INK))
