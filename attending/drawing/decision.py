"""Decision curve: net benefit over thresholds, of models, of treating all and of treating none."""

from collections.abc import Mapping

import numpy as np

from attending.drawing.frame import Frame, Scale, axes, ticks
from attending.drawing.palette import INK, QUIET, SHADE, SMALL, Hand, hand
from attending.drawing.svg import group, line, path, picture, words
from attending.evaluation.curve import DecisionCurve


def decision_plot(curve: DecisionCurve, *, names: Mapping[str, str], title: str) -> str:
    """Net benefit per 100 patients of each model in `names` (model → label), over the declared thresholds."""
    drawn = {model: 100.0 * curve.models[model] for model in names if model in curve.models}
    top = max((float(np.max(values)) for values in drawn.values()), default=1.0)
    top = max(top, float(np.max(100.0 * curve.treat_all)), 0.1) * 1.06
    bottom = -0.12 * top
    first, last = float(curve.thresholds[0]), float(curve.thresholds[-1])
    frame = Frame(x=Scale(low=first, high=last, start=48, stop=540), y=Scale(low=bottom, high=top, start=300, stop=30))
    parts = [
        axes(
            frame,
            x_label="Threshold: the estimated probability from which one would act",
            y_label="Net benefit per 100 patients",
            x_ticks=ticks(first, last, 6),
            y_ticks=ticks(bottom, top, 5),
        )
    ]
    x, y = frame.x, frame.y
    parts.append(line(x.start, y(0), x.stop, y(0), stroke=QUIET, stroke_dasharray="1 4", stroke_width=1.6))
    parts.append(_curve(frame, curve.thresholds, 100.0 * curve.treat_all, Hand(SHADE, None, 1.6)))
    parts += [_curve(frame, curve.thresholds, values, hand(place)) for place, values in enumerate(drawn.values())]
    parts.append(_legend(names={model: names[model] for model in drawn}, left=564, top=44))
    return picture(800, 344, *parts, title=title, description=curve.note)


def _curve(frame: Frame, thresholds: np.ndarray, values: np.ndarray, pen: Hand) -> str:
    kept = [(frame.x(a), frame.y(b)) for a, b in zip(thresholds, values, strict=True) if b >= frame.y.low]
    if len(kept) < 2:
        return ""
    return path(
        kept, fill="none", stroke=pen.colour, stroke_width=pen.width, stroke_dasharray=pen.dash, stroke_linejoin="round"
    )


def _legend(*, names: Mapping[str, str], left: float, top: float) -> str:
    entries = [(hand(place).colour, hand(place).dash, hand(place).width, label) for place, label in enumerate(names.values())]
    entries += [(SHADE, None, 1.6, "Act on everybody"), (QUIET, "1 4", 1.6, "Act on nobody")]
    parts = []
    for place, (colour, dash, width, label) in enumerate(entries):
        y = top + 22 * place
        parts.append(line(left, y, left + 28, y, stroke=colour, stroke_dasharray=dash, stroke_width=width))
        parts.append(words(left + 36, y + 4, label, fill=INK, font_size=SMALL + 1))
    return group(*parts)
