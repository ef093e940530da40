"""Risk against coverage: how the Brier score grows as cases are answered that the model is less sure of."""

from collections.abc import Mapping

from attending.drawing.frame import Frame, Scale, axes, ticks
from attending.drawing.palette import INK, PAPER, SMALL, Hand, hand
from attending.drawing.svg import box, group, line, path, picture, tooltip, words
from attending.evaluation.curve import RiskCoverage

TENTHS = tuple(place / 5 for place in range(6))


def coverage_plot(curves: Mapping[str, RiskCoverage], *, names: Mapping[str, str], title: str) -> str:
    """Brier score of the cases that are answered, by the share that is, of each model in `names` (model → label)."""
    drawn = {model: curves[model] for model in names if model in curves}
    top = max((float(curve.brier.max()) for curve in drawn.values()), default=0.25) * 1.08 or 0.25
    frame = Frame(x=Scale(low=0, high=1, start=48, stop=540), y=Scale(low=0, high=top, start=300, stop=30))
    parts = [
        axes(
            frame,
            x_label="Share of cases answered, those the model is surest of first",
            y_label="Brier score of the answered",
            x_ticks=TENTHS,
            y_ticks=ticks(0.0, top, 5),
        )
    ]
    parts += [_curve(frame, curve, hand(place), names[model]) for place, (model, curve) in enumerate(drawn.items())]
    for place, model in enumerate(drawn):
        pen, y = hand(place), 44 + 22 * place
        parts.append(line(564, y, 592, y, stroke=pen.colour, stroke_dasharray=pen.dash, stroke_width=pen.width))
        parts.append(words(600, y + 4, names[model], fill=INK, font_size=SMALL + 1))
    return picture(800, 344, *parts, title=title)


def _curve(frame: Frame, curve: RiskCoverage, pen: Hand, label: str) -> str:
    points = [(frame.x(float(a)), frame.y(float(b))) for a, b in zip(curve.coverage, curve.brier, strict=True)]
    drawn = path(
        points, fill="none", stroke=pen.colour, stroke_width=pen.width, stroke_dasharray=pen.dash, stroke_linejoin="round"
    )
    marks = [
        box(x - 2.5, y - 2.5, 5, 5, tooltip(f"{label}: {share:.1f} answered, {risk:.3f}"), fill=PAPER, stroke=pen.colour)
        for (x, y), share, risk in zip(points, curve.coverage, curve.brier, strict=True)
    ]
    return group(drawn, *marks)
