"""A picture as a file of its own: the page's colours, light and dark, travel with it."""

from attending.drawing.palette import PAPER

_COLOURS = (
    ":root{--ink:#1c2127;--quiet:#56606b;--grid:#e3e6ea;--paper:#ffffff;--first:#0062a3;--second:#b34700}"
    "@media (prefers-color-scheme:dark){:root{--ink:#e7e9ec;--quiet:#a3adb8;--grid:#30363d;--paper:#1a1e23;"
    "--first:#6cb6ee;--second:#f2955a}}"
    f"svg{{background:{PAPER};font-family:system-ui,sans-serif;padding:12px;box-sizing:border-box}}"
)


def alone(svg: str) -> str:
    """The same picture with its colours in it. Expects what `svg.picture` makes."""
    head, _, rest = svg.partition(">")
    return f"{head}><style>{_COLOURS}</style>{rest}\n"
