"""The head of a report as one small picture, for the README: `python docs/pictures/draw.py out/demo/report`.

Drawn by `attending.drawing` from report.json, so it shows what a run found and nothing else.
"""

import json
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attending.drawing.frame import Scale, number, ticks
from attending.drawing.palette import FIRST, GRID, INK, PAPER, QUIET, SMALL
from attending.drawing.svg import box, group, line, picture, words

MODELS = {
    "fused": "Fused model",
    "best-baseline": "Best baseline",
    "site-and-missingness": "Site and missingness alone",
    "demographics": "Age and sex alone",
}
METRICS = {"calibration_slope": "Calibration slope", "brier": "Brier score"}
WIDTH, EDGE, ROW = 960.0, 28.0, 30.0
PLOT = (232.0, 452.0)
COLUMNS = (610.0, 780.0, 932.0)


def head(report: Mapping[str, Any]) -> str:
    """Banner, sentence, counts, four rows of figures and the verdict."""
    asked, flow = report["question"], report["flow"]
    rows = {(row["model"], row["metric"]): row for row in report["results"] if _is_headline(row)}
    sentence = (
        f"In {asked['population']}, asked at {asked['prediction_time']}: the estimated probability of the recorded labels "
        f"{', '.join(one['finding'].replace('_', ' ') for one in flow['findings'])}; "
        f"reference standard: {asked['reference_standard']}."
    )
    events = ", ".join(str(one["events"]) for one in flow["findings"])
    conduct = report["protocol"]
    told = [
        *textwrap.wrap(sentence, 128),
        f"{flow['patients']} patients · events: {events} · cross-validation, {conduct['folds']} folds × {conduct['repeats']}",
    ]
    parts = [
        box(0, 0, WIDTH, 34, fill=INK),
        words(EDGE, 22, f"{report['disclaimer']}.", fill=PAPER, font_size=13, font_weight=600),
        *(
            words(EDGE, 62 + 18 * i, text, fill=INK if i < len(told) - 1 else QUIET, font_size=13)
            for i, text in enumerate(told)
        ),
    ]
    top = 62 + 18 * len(told) + 22
    parts.append(_table(rows, top))
    bottom = top + ROW * (len(MODELS) + 1) + 22
    verdict = textwrap.wrap(f"May not be concluded: {report['may_not_be_concluded'][0]}", 128)
    parts += [words(EDGE, bottom + 18 * i, text, fill=INK, font_size=13) for i, text in enumerate(verdict)]
    height = bottom + 18 * len(verdict)
    frame = box(0.5, 0.5, WIDTH - 1, height - 1, fill=PAPER, stroke=GRID)
    return picture(WIDTH, height, frame, group(*parts, font_family="system-ui, sans-serif"), title="Head of an evidence report")


def _is_headline(row: Mapping[str, Any]) -> bool:
    return row["finding"] == "macro" and row["slice"] is None and row["comparator"] is None


def _table(rows: Mapping[tuple[str, str], Mapping[str, Any]], top: float) -> str:
    ends = [rows[model, "auroc"][end] for model in MODELS for end in ("low", "high")]
    scale = Scale(low=min(0.45, *ends), high=max(0.75, *ends), start=PLOT[0], stop=PLOT[1])
    titles = ("AUROC, mean of labels", *METRICS.values())
    parts = [
        words(x, top, title, text_anchor="end", fill=QUIET, font_size=SMALL) for x, title in zip(COLUMNS, titles, strict=True)
    ]
    bottom = top + ROW * len(MODELS) + 8
    marks = ticks(scale.low, scale.high, 5)
    parts += [line(scale(mark), top + 8, scale(mark), bottom, stroke=GRID) for mark in marks]
    parts.append(line(scale(0.5), top + 8, scale(0.5), bottom, stroke=QUIET, stroke_dasharray="2 3"))
    parts += [
        words(scale(mark), bottom + 14, number(mark, marks[1] - marks[0]), text_anchor="middle", fill=QUIET, font_size=SMALL)
        for mark in marks
    ]
    for place, (model, label) in enumerate(MODELS.items()):
        y = top + ROW * (place + 0.75)
        parts.append(_row(label, [rows[model, metric] for metric in ("auroc", *METRICS)], y, scale, is_lead=place == 0))
    return group(*parts)


def _row(label: str, figures: Sequence[Mapping[str, Any]], y: float, scale: Scale, *, is_lead: bool) -> str:
    colour, weight = (FIRST, 600) if is_lead else (INK, None)
    auroc = figures[0]
    parts = [
        words(EDGE, y + 4, label, fill=INK, font_size=13, font_weight=weight),
        line(scale.held(auroc["low"]), y, scale.held(auroc["high"]), y, stroke=colour, stroke_width=2),
        box(scale(auroc["value"]) - 4, y - 4, 8, 8, fill=colour),
    ]
    parts += [
        words(x, y + 4, _told(figure), text_anchor="end", fill=INK, font_size=12.0, font_weight=weight)
        for x, figure in zip(COLUMNS, figures, strict=True)
    ]
    return group(*parts)


def _told(row: Mapping[str, Any]) -> str:
    return f"{row['value']:.2f} ({row['low']:.2f} to {row['high']:.2f})".replace("-", "−")


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path("out/demo/report")
    written = Path(__file__).with_name("report-head.svg")
    written.write_text(head(json.loads((folder / "report.json").read_text(encoding="utf-8"))) + "\n", encoding="utf-8")
