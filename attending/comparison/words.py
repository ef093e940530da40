"""Numbers in words: bytes, seconds, shares and intervals, as tables and pages show them."""

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


def told_time(row: Row | None) -> str:
    """The median, and the rounds that it lies between."""
    if row is None:
        return NOTHING
    if row.low is None or row.high is None:
        return told_seconds(row.value)
    unit, size = _unit(row.value)
    middle, low, high = (three_figures(value / size) for value in (row.value, row.low, row.high))
    return f"{middle} ({low} to {high}) {unit}"


def told_quality(row: Row | None, decimals: int = 2) -> str:
    """A value with its interval."""
    if row is None:
        return NOTHING
    ends = "" if row.low is None or row.high is None else f" ({row.low:.{decimals}f} to {row.high:.{decimals}f})"
    return f"{row.value:.{decimals}f}{ends}".replace("-", "−")


def told_growth(row: Row | None) -> str:
    """The power of the length."""
    return NOTHING if row is None else f"{row.value:.2f}".replace("-", "−")


def told_count(value: float) -> str:
    """A whole number with its thousands apart."""
    return f"{value:,.0f}"
