"""SVG as text: elements that escape what they are given, and a picture with a title for those who cannot see it.

Pure functions, standard library only. Knows nothing of what is drawn; colours are in `palette.py`.
"""

from collections.abc import Iterable
from html import escape


def element(tag: str, *children: str, **attributes: object) -> str:
    """One SVG element. Children are markup already; attribute values are escaped; `font_size` becomes `font-size`.

    An attribute of None is left out; a float is rounded to hundredths of a pixel.
    """
    written = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{_value(value)}"' for name, value in attributes.items() if value is not None
    )
    return f"<{tag}{written}>{''.join(children)}</{tag}>" if children else f"<{tag}{written}/>"


def words(x: float, y: float, content: str, **attributes: object) -> str:
    """Text with its baseline at `y`; `content` is escaped."""
    return element("text", escape(content, quote=False), x=x, y=y, **attributes)


def line(x1: float, y1: float, x2: float, y2: float, **attributes: object) -> str:
    """A straight line."""
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, **attributes)


def box(x: float, y: float, width: float, height: float, *children: str, **attributes: object) -> str:
    """A rectangle; children may be a `tooltip`."""
    return element("rect", *children, x=x, y=y, width=max(width, 0.0), height=max(height, 0.0), **attributes)


def path(points: Iterable[tuple[float, float]], *, is_closed: bool = False, **attributes: object) -> str:
    """Straight pieces through the points."""
    told = " L".join(f"{x:.2f} {y:.2f}" for x, y in points)
    return element("path", d=f"M{told}{' Z' if is_closed else ''}", **attributes)


def tooltip(content: str) -> str:
    """What a pointer that rests on the element is told."""
    return element("title", escape(content, quote=False))


def group(*children: str, **attributes: object) -> str:
    """Elements that share attributes."""
    return element("g", *children, **attributes)


def picture(width: float, height: float, *children: str, title: str, description: str = "") -> str:
    """A whole picture that scales with the page; `title` and `description` are read out in its place."""
    told = f"{title}. {description}" if description else title
    return element(
        "svg",
        element("title", escape(title, quote=False)),
        *([element("desc", escape(description, quote=False))] if description else []),
        *children,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {width:g} {height:g}",
        role="img",
        aria_label=told,
        font_family="inherit",
        style=f"max-width:{width:g}px;width:100%;height:auto",
    )


def _value(value: object) -> str:
    if isinstance(value, float):
        value = f"{value:.2f}".rstrip("0").rstrip(".")
    return escape(str(value), quote=True)
