"""Several studies beside each other: one row each for what a model looked at, what it reached, and what circumstances reach.

For variants of one question (other inputs, other patients, other rules of absence). It judges nothing: rows come from the
studies' own reports, differences from whoever judged them on the same cases.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from attending.artefacts import write_text
from attending.drawing import ForestRow, forest_plot
from attending.drawing.pages import environment, style
from attending.evaluation import Result, shareable
from attending.report import words
from attending.report.ledger import Ledger
from attending.report.report import ReportError

MODELS = ("fused", "best-baseline", "site-and-missingness")
"""What is told of each study."""
METRIC = "auroc"
FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One study: its name, what is peculiar to it in words, and the rows of its report."""

    name: str
    told: str
    results: tuple[Result, ...]

    def row(self, model: str) -> Result | None:
        """AUROC of one model on all cases: of the only finding, or the mean over several."""
        ledger = Ledger(self.results)
        findings = ledger.findings()
        return ledger.value(model=model, metric=METRIC, finding=findings[-1]) if findings else None


@dataclass(frozen=True, kw_only=True)
class SideBySide:
    """What the page shows. `differences` were judged on the same cases; their `model` and `comparator` name variants."""

    title: str
    variants: tuple[Variant, ...]
    differences: tuple[Result, ...] = ()
    warning: str = ""
    cautions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.variants:
            raise ReportError("nothing to put side by side; hold at least one study")

    @property
    def protocols(self) -> tuple[str, ...]:
        """How the studies were judged, a sentence each kind."""
        rows = [row for one in self.variants if (row := one.row(MODELS[0])) is not None]
        return tuple(dict.fromkeys(_protocol_words(row) for row in rows))


def _protocol_words(row: Result) -> str:
    if row.protocol == "quick":
        return "One quick split: exploratory, nothing may be concluded."
    if row.protocol in ("cv", "site"):
        kind = "Nested cross-validation" if row.protocol == "cv" else "One site left out at a time"
        return f"{kind}, {row.repeats or 1} {'repeat' if row.repeats in (None, 1) else 'repeats'}, whole groups held out."
    return "One split into train, tune, calibrate and test, whole groups apart."


def results_of(folder: Path) -> tuple[Result, ...]:
    """The rows of a finished study's `report.json`, as they may be shared."""
    record = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    return tuple(Result(**row) for row in record["results"])


def write_side_by_side(folder: Path, shown: SideBySide) -> tuple[Path, Path]:
    """Write `comparison.html` and `comparison.json` into `folder` and return their paths. Counts under 5 are hidden."""
    differences = shareable(shown.differences)
    record = {
        "format": FORMAT,
        "disclaimer": words.DISCLAIMER,
        "title": shown.title,
        "warning": shown.warning,
        "cautions": list(shown.cautions),
        "protocols": list(shown.protocols),
        "variants": [
            {"name": one.name, "told": one.told, "rows": [row.to_row() for model in MODELS if (row := one.row(model))]}
            for one in shown.variants
        ],
        "differences": [row.to_row() for row in differences],
    }
    page = _page(shown, differences)
    write_text(folder / "comparison.json", json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    write_text(folder / "comparison.html", page)
    return folder / "comparison.html", folder / "comparison.json"


def _page(shown: SideBySide, differences: Sequence[Result]) -> str:
    templates = environment("attending.report")
    templates.filters.update(count=words.count, told=words.with_interval)
    told = {one.name: one.told for one in shown.variants}
    return templates.get_template("side_by_side.html").render(
        shown=shown,
        style=style(("attending.report", "report.css")),
        disclaimer=words.DISCLAIMER,
        models=[words.MODELS[model] for model in MODELS],
        rows=[(one, [one.row(model) for model in MODELS]) for one in shown.variants],
        forest=Markup(_forest(shown)),
        differences=[
            {
                "told": f"{told.get(row.model, row.model)} − {told.get(row.comparator or '', row.comparator)}",
                "value": words.with_interval(row),
                "level": words.level_words(row),
                "ruling": words.ruling(row),
            }
            for row in differences
        ],
    )


def _forest(shown: SideBySide) -> str:
    rows: list[ForestRow] = []
    for one in shown.variants:
        rows.append(ForestRow(label=one.told, is_heading=True))
        for model in MODELS:
            row = one.row(model)
            if row is not None:
                rows.append(
                    ForestRow(
                        label=words.MODELS[model],
                        value=row.value,
                        low=row.low,
                        high=row.high,
                        told=words.with_interval(row),
                        beside="" if model != MODELS[0] else f"{words.count(row.n)} / {words.count(row.events)}",
                        is_lead=model == MODELS[0],
                    )
                )
    return forest_plot(rows, title="AUROC by variant", axis="AUROC", reference=0.5, beside="cases / events")
