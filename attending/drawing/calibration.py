"""Calibration: observed against estimated risk with its band, and below it how the risks are spread, by outcome."""

from collections.abc import Sequence

import numpy as np

from attending.drawing.frame import Frame, Scale, axes, ticks
from attending.drawing.palette import FIRST, FOURTH, INK, PAPER, QUIET, SECOND, SHADE, SMALL
from attending.drawing.svg import box, group, line, path, picture, tooltip, words
from attending.evaluation.curve import CalibrationCurve

TENTHS = tuple(place / 5 for place in range(6))


def calibration_plot(
    curve: CalibrationCurve,
    *,
    edges: Sequence[float],
    events: Sequence[int | None],
    others: Sequence[int | None],
    before: CalibrationCurve | None = None,
    title: str,
) -> str:
    """The curve where there is one, otherwise its straight line (on log-odds), dashed. `before`, the same of the
    probabilities before recalibration, is drawn dotted.

    `events` and `others` count cases per bin of risk between `edges`; None is a count under 5 that may not be shown, drawn as
    a hatched stub of fixed height.
    """
    frame = Frame(x=Scale(low=0, high=1, start=44, stop=404), y=Scale(low=0, high=1, start=300, stop=30))
    x, y = frame.x, frame.y
    parts = [axes(frame, x_label="", y_label="Observed share with the recorded label", x_ticks=TENTHS, y_ticks=TENTHS)]
    parts.append(line(x(0), y(0), x(1), y(1), stroke=SHADE, stroke_dasharray="4 4"))
    parts.append(words(x.stop, y.stop - 10, "thin dashes: ideal", text_anchor="end", fill=QUIET, font_size=SMALL))
    if before is not None:
        parts.append(_drawn(frame, before, colour=FOURTH, dash="2 3", opacity=0.1))
    parts.append(_drawn(frame, curve, colour=FIRST, dash=None, opacity=0.16))
    if before is not None:
        parts.append(words(x.stop - 4, y.start - 22, "as reported", text_anchor="end", fill=FIRST, font_size=SMALL))
        parts.append(
            words(x.stop - 4, y.start - 8, "dotted: before recalibration", text_anchor="end", fill=FOURTH, font_size=SMALL)
        )
    told = curve.note
    if len(curve.predicted):
        told = "Smooth curve with a pointwise 95 % interval"
    elif curve.line is not None:
        told = "Dashed: the line of slope and intercept, because there are too few events for a smooth curve"
    parts.append(_histogram(x, edges=edges, events=events, others=others, top=336))
    return picture(430, 472, *parts, title=title, description=told)


def _drawn(frame: Frame, curve: CalibrationCurve, *, colour: str, dash: str | None, opacity: float) -> str:
    x, y = frame.x, frame.y
    if len(curve.predicted):
        band = [*zip(curve.predicted, curve.high, strict=True), *zip(curve.predicted[::-1], curve.low[::-1], strict=True)]
        middle = [(x(a), y.held(b)) for a, b in zip(curve.predicted, curve.observed, strict=True)]
        return group(
            path([(x.held(a), y.held(b)) for a, b in band], is_closed=True, fill=colour, fill_opacity=opacity),
            path(middle, fill="none", stroke=colour, stroke_width=2.4 if dash is None else 1.8, stroke_dasharray=dash),
        )
    if curve.line is None:
        return ""
    slope, intercept = curve.line
    risk = np.linspace(0.01, 0.99, 60)
    observed = 1.0 / (1.0 + np.exp(-(intercept + slope * np.log(risk / (1.0 - risk)))))
    points = [(x(a), y(b)) for a, b in zip(risk, observed, strict=True)]
    return path(points, fill="none", stroke=colour, stroke_width=2.2 if dash is None else 1.8, stroke_dasharray=dash or "7 4")


def _histogram(
    x: Scale, *, edges: Sequence[float], events: Sequence[int | None], others: Sequence[int | None], top: float
) -> str:
    """Cases with the label upward, without it downward, from one middle line."""
    most = max((count for count in (*events, *others) if count), default=1)
    middle, reach = top + 48.0, 44.0
    parts = []
    for side, counts, colour in ((-1.0, events, SECOND), (1.0, others, SHADE)):
        for low, high, count in zip(edges, edges[1:], counts, strict=False):
            if count == 0:
                continue
            hidden = count is None
            height = 4.0 if count is None else max(reach * count / most, 1.0)
            told = f"risk {low:.2f} to {high:.2f}: {'under 5, hidden' if hidden else count}"
            left, right = x(low) + 0.75, x(high) - 0.75
            parts.append(
                box(
                    left,
                    middle - height if side < 0 else middle,
                    right - left,
                    height,
                    tooltip(told),
                    fill=PAPER if hidden else colour,
                    stroke=colour if hidden else None,
                    stroke_dasharray="2 2" if hidden else None,
                    stroke_width=0.8 if hidden else None,
                )
            )
    parts.append(line(x.start, middle, x.stop, middle, stroke=QUIET))
    for tick in ticks(0.0, 1.0):
        parts.append(words(x(tick), middle + reach + 16, f"{tick:.1f}", text_anchor="middle", fill=QUIET, font_size=SMALL))
    right = x.stop
    parts.append(words(x.start, top + 8, "recorded label present", fill=SECOND, font_size=SMALL))
    parts.append(words(right, middle + reach - 2, "recorded label absent", text_anchor="end", fill=QUIET, font_size=SMALL))
    parts.append(
        words(
            (x.start + right) / 2,
            middle + reach + 33,
            "Estimated probability of the recorded label",
            text_anchor="middle",
            fill=INK,
            font_size=SMALL + 1,
        )
    )
    return group(*parts)
