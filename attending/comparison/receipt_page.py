"""The receipt of a conversion as one HTML file: no script, no network, light and dark."""

from collections.abc import Sequence

from markupsafe import Markup

from attending.comparison.conversion import ConversionReceipt
from attending.comparison.receipt import LAYER_HEADS, RESULT_HEADS, layer_rows, result_rows, total_of
from attending.drawing.pages import environment, style
from attending.drawing.palette import FIRST, INK, PAPER, QUIET, SMALL
from attending.drawing.svg import box, picture, tooltip, words

CELL, LEFT = 26.0, 210.0


def receipt_page(receipt: ConversionReceipt) -> str:
    """The whole page."""
    templates = environment("attending.comparison")
    rows, layers = layer_rows(receipt), [layer for member in receipt.members for layer in member.layers]
    return templates.get_template("receipt.html").render(
        receipt=receipt,
        style=style(("attending.comparison", "compare.css")),
        total=total_of(receipt),
        layer_heads=LAYER_HEADS,
        layers=rows,
        result_heads=RESULT_HEADS,
        results=result_rows(receipt),
        heads=Markup(head_map(receipt)),
        told=[(row[0], layer.told) for row, layer in zip(rows, layers, strict=True)],
    )


def head_map(receipt: ConversionReceipt) -> str:
    """The relative error of every head of every layer: a cell each, the darker the further off."""
    several = len(receipt.members) > 1
    rows = [
        (f"{number + 1}: {layer.name}" if several else layer.name, layer.error.by_head)
        for number, member in enumerate(receipt.members)
        for layer in member.layers
    ]
    n_heads = max(len(errors) for _, errors in rows)
    parts = [
        words(LEFT + CELL * (head + 0.5), 12, str(head), text_anchor="middle", fill=QUIET, font_size=SMALL)
        for head in range(n_heads)
    ]
    for number, (name, errors) in enumerate(rows):
        y = 20 + CELL * number
        parts.append(words(0, y + CELL / 2 + 4, _clipped(name), fill=INK, font_size=SMALL))
        parts += [_cell(LEFT + CELL * head, y, error) for head, error in enumerate(errors)]
    title = "Relative output error of each head"
    return picture(LEFT + CELL * n_heads + 4, 24 + CELL * len(rows), *parts, title=title, description=_described(rows))


def _cell(x: float, y: float, error: float | None) -> str:
    shade = 0.0 if error is None else min(error, 1.0)
    told = "adds only a constant" if error is None else f"{error:.3f}"
    ground = box(x + 1, y + 1, CELL - 2, CELL - 2, tooltip(told), fill=PAPER, stroke=QUIET, stroke_width=0.5)
    ink = box(x + 1, y + 1, CELL - 2, CELL - 2, tooltip(told), fill=FIRST, fill_opacity=f"{shade:.3f}")
    number = "" if error is None else f"{error:.2f}".removeprefix("0") if error < 1 else f"{error:.1f}"
    colour = PAPER if shade > 0.55 else INK
    return ground + ink + words(x + CELL / 2, y + CELL / 2 + 3, number, text_anchor="middle", fill=colour, font_size=9)


def _clipped(name: str) -> str:
    return name if len(name) <= 36 else f"{name[:16]}…{name[-19:]}"


def _described(rows: Sequence[tuple[str, Sequence[float | None]]]) -> str:
    worst = [(max((e for e in errors if e is not None), default=0.0), name) for name, errors in rows]
    error, name = max(worst)
    return f"The head that moved furthest is in {name}: {error:.3f}"
