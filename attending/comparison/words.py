"""Numbers in words: bytes, seconds, shares and intervals, as tables and pages show them."""

from collections.abc import Iterable

from attending.comparison.row import Row

NOTHING = "–"


def told_bytes(value: float) -> str:
    """Bytes in the unit that keeps them short."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if value >= size:
            return f"{three_figures(value / size)} {unit}"
    return f"{value:.0f} B"


def told_seconds(value: float) -> str:
    """Seconds in the unit that keeps them short."""
    unit, size = _unit(value)
    return f"{three_figures(value / size)} {unit}"


def _unit(seconds: float) -> tuple[str, float]:
    return next((found for found in (("s", 1.0), ("ms", 1e-3)) if seconds >= found[1]), ("µs", 1e-6))


def three_figures(value: float) -> str:
    """Three figures that matter, no exponent."""
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def told_share(row: Row | None) -> str:
    """How near a time comes to its floor: floor over time, in percent."""
    if row is None or row.limit is None or row.value <= 0.0:
        return NOTHING
    share = 100.0 * row.limit / row.value
    return f"{share:.0f} %" if share >= 9.5 else f"{share:.1f} %"


def told_time(row: Row | None, unit: tuple[str, float]) -> str:
    """The median in this unit, and the rounds that it lies between."""
    if row is None:
        return NOTHING
    told = three_figures(row.value / unit[1])
    if row.low is None or row.high is None:
        return told
    return f"{told} ({three_figures(row.low / unit[1])} to {three_figures(row.high / unit[1])})"


def unit_of(rows: Iterable[Row | None]) -> tuple[str, float]:
    """The unit in which the middle one of these times is short: its name, and how many seconds it is."""
    seconds = sorted(row.value for row in rows if row is not None)
    return _unit(seconds[len(seconds) // 2] if seconds else 1.0)


def told_quality(row: Row | None, decimals: int = 2) -> str:
    """A value with its interval."""
    if row is None:
        return NOTHING
    told = _signed(row.value, decimals)
    if row.low is None or row.high is None:
        return told
    return f"{told} ({_signed(row.low, decimals)} to {_signed(row.high, decimals)})"


def _signed(value: float, decimals: int) -> str:
    """With a true minus sign, and none before a zero."""
    return f"{round(value, decimals) + 0.0:.{decimals}f}".replace("-", "−")


def told_growth(row: Row | None) -> str:
    """The power of the length."""
    return NOTHING if row is None else _signed(row.value, 2)


def told_count(value: float) -> str:
    """A whole number with its thousands apart."""
    return f"{value:,.0f}"
