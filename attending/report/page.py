"""The report as one HTML file: no script, no network, light and dark, on screen and on paper.

Gathers what the template shows. All words go through Jinja with escaping on; only pictures of our own drawing are markup.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from attending.drawing.pages import environment, style
from attending.evaluation import Result
from attending.report import figures, words
from attending.report.flow import flow_figure
from attending.report.ledger import Ledger
from attending.report.report import Report
from attending.report.sharing import shared_patterns

HEAD_METRICS = ("auroc", "calibration_slope", "brier")
WHOLE_METRICS = (
    "auroc", "auroc_within_site", "auroc_over_sites", "auroc_at_new_site", "auprc", "brier", "log_loss", "aurc",
    "calibration_slope", "calibration_intercept",
)  # fmt: skip
UNADJUSTED = {"foreign": "not adjusted; whether it was declared beforehand is unknown"}
SET_METRICS = (
    "set_coverage", "set_coverage_events", "set_coverage_others", "set_size", "set_empty", "set_full", "abstained",
)  # fmt: skip
RECALIBRATED = ("calibration_slope", "calibration_intercept")
"""Metrics told before and after recalibration."""
SITE_COLUMNS = ("auroc", "calibration_intercept_before_local", "calibration_intercept_after_local")
RANDOM_EFFECTS = ("auroc", "calibration_intercept")
SLICE_COLUMNS = ("auroc", "brier", "calibration_slope", "calibration_intercept", "sensitivity", "specificity")
THRESHOLD_METRICS = ("sensitivity", "specificity", "ppv", "npv", "flagged_per_100", "net_benefit")
MOST_SHORTCUTS = 30


@dataclass(frozen=True, kw_only=True)
class HeadRow:
    """One model of the first screen."""

    name: str
    cells: tuple[str, ...]
    is_lead: bool
    remark: str = ""


def page_of(report: Report) -> str:
    """The whole page; `report` has been through `sharing.shared`."""
    templates = environment("attending.report")
    templates.filters.update(
        count=words.count,
        figure=words.figure,
        signed=words.signed,
        metric=words.metric_name,
        told=words.with_interval,
        known_events=words.known_events,
    )
    ledger = Ledger(report.results)
    patterns = shared_patterns(report.patterns)
    asked = [one for one in report.audit.shortcuts if one.n_asked]
    return templates.get_template("report.html").render(
        report=report,
        style=style(("attending.report", "report.css")),
        disclaimer=words.DISCLAIMER,
        sentence=words.question_sentence(report),
        protocol=words.protocol_sentence(report),
        openings=words.openings_sentence(report),
        head_metrics=HEAD_METRICS,
        site_columns=SITE_COLUMNS,
        slice_columns=SLICE_COLUMNS,
        head=_head(report, ledger),
        verdict=_verdict(report, ledger),
        worst=_worst(report, ledger),
        cautions=words.not_to_be_concluded(report, ledger),
        primary_events=next((one for one in report.flow.findings if one.finding == report.finding), None),
        first_figure=_first_figure(report),
        findings=[_finding(report, ledger, name) for name in ledger.findings()],
        patterns_figure=Markup(figures.patterns_figure(report, patterns)),
        flow_figure=Markup(flow_figure(report)),
        shortcuts=asked[:MOST_SHORTCUTS],
        n_shortcuts=len(asked),
        best=words.BEST,
        sets_sentence=words.sets_sentence(report),
        not_transferable=words.not_transferable(report),
    )


def _head(report: Report, ledger: Ledger) -> list[HeadRow]:
    primary = report.primary
    wanted = dict.fromkeys(
        name for name in (primary.model, primary.comparator, "site-and-missingness", "demographics") if name is not None
    )
    rows = []
    for model in wanted:
        found = [ledger.value(model=model, metric=metric, finding=report.finding) for metric in HEAD_METRICS]
        if any(row is not None for row in found):
            cells = tuple(words.with_interval(row) for row in found)
            remark = primary.chosen if model == primary.comparator else words.DETAILS.get(model, "")
            name = words.model_name(report, model)
            rows.append(HeadRow(name=name, cells=cells, is_lead=model == primary.model, remark=remark))
    return rows


def _verdict(report: Report, ledger: Ledger) -> dict[str, str] | None:
    primary = report.primary
    if primary.comparator is None:
        return None
    row = ledger.difference(model=primary.model, comparator=primary.comparator, metric=primary.metric, finding=report.finding)
    if row is None:
        return None
    return {
        "compared": words.compared(report, row),
        "interval": f"{words.level_words(row)} {words.interval(row)}" if row.low is not None else "no interval",
        "ruling": words.ruling(row),
        "adjusted": row.adjusted or UNADJUSTED.get(report.conduct.kind, "declared as primary beforehand, not adjusted"),
        "note": row.note,
    }


def _worst(report: Report, ledger: Ledger) -> dict[str, Any] | None:
    row, judged, small = words.worst_slice(report, ledger)
    if row is None:
        return {"judged": 0, "small": small} if small else None
    return {
        "slice": (f"{row.finding}, " if report.finding == "macro" else "") + (row.slice or "").replace("_", " "),
        "value": row.slice_value,
        "told": words.with_interval(row),
        "n": row.n,
        "events": row.events,
        "judged": judged,
        "small": small,
    }


def _first_figure(report: Report) -> dict[str, Any] | None:
    curves = next((one for one in report.curves if one.finding == report.finding), None)
    curves = curves or next(iter(report.curves), None)
    if curves is None:
        return None
    return {
        "svg": Markup(figures.calibration_figure(curves)),
        "finding": curves.finding,
        "note": curves.calibration.note,
        "has_before": curves.before is not None,
    }


def _finding(report: Report, ledger: Ledger, finding: str) -> dict[str, Any]:
    """All that is told about one finding."""
    model = report.primary.model
    curves = next((one for one in report.curves if one.finding == finding), None)
    models = ledger.models(finding=finding)
    whole = {name: {row.metric: row for row in ledger.metrics(model=name, finding=finding)} for name in models}
    # A metric that no model has a value of would be a column of "not estimable"; why stands among the remarks.
    metrics = [name for name in WHOLE_METRICS if any(name in rows and rows[name].value is not None for rows in whole.values())]
    at = whole.get(model, {})
    thresholds = [at[metric] for metric in THRESHOLD_METRICS if metric in at]
    differences = ledger.differences(model=model, metric="auroc", finding=finding)
    reason = next((row.note for row in thresholds if row.value is None), "")
    return {
        "name": finding,
        "counts": next((one for one in report.flow.findings if one.finding == finding), None),
        "metrics": metrics,
        "best": {**words.BEST, "auprc": words.best_auprc(at.get("auprc"))},
        "rows": [_row(report, name, whole[name], metrics) for name in models],
        "models_figure": Markup(figures.models_figure(report, ledger, finding)),
        "differences_figure": Markup(figures.differences_figure(report, ledger, finding)),
        "slices_figure": Markup(figures.slices_figure(report, ledger, finding)),
        "decision_figure": Markup(figures.decision_figure(report, curves)) if curves else "",
        "decision_note": curves.decision.note if curves and curves.decision else "",
        "calibration_figure": Markup(figures.calibration_figure(curves)) if curves else "",
        "calibration_note": curves.calibration.note if curves else "",
        "recalibration": _recalibration(at),
        "coverage_figure": Markup(figures.coverage_figure(report, curves)) if curves else "",
        "aurc": at.get("aurc"),
        "adjusted": next((row.adjusted for row in differences if row.adjusted is not None), None),
        "sites": _sites(report, ledger, finding),
        "slices": _slices(report, ledger, finding),
        "thresholds": [row for row in thresholds if row.value is not None],
        "no_threshold": reason,
        "sets": [at[metric] for metric in SET_METRICS if metric in at and at[metric].value is not None],
        "remarks": _remarks(tuple(row for name, row in at.items() if name not in SET_METRICS)),
    }


def _recalibration(at: Mapping[str, Result]) -> list[tuple[str, str, str]]:
    """Metric, before and after recalibration; empty where nothing was answered before it."""
    held = [(name, at.get(f"{name}_raw"), at.get(name)) for name in RECALIBRATED]
    if all(before is None for _, before, _ in held):
        return []
    return [(name, words.with_interval(before), words.with_interval(after)) for name, before, after in held]


def _sites(report: Report, ledger: Ledger, finding: str) -> dict[str, Any] | None:
    """Each site of the primary model, then their mean and what a new site may expect; None where no two sites are known."""
    model = report.primary.model
    by_metric = {
        metric: _by_level(ledger, model=model, metric=metric, finding=finding, slice="site") for metric in SITE_COLUMNS
    }
    if not by_metric[SITE_COLUMNS[1]]:
        return None
    rows = [
        {
            "name": level,
            "counts": _counts(first),
            "cells": [_told(by_metric[metric].get(level)) for metric in SITE_COLUMNS],
        }
        for level, first in by_metric[SITE_COLUMNS[1]].items()
    ]
    over = []
    for name, ending in (("Mean over sites", "over_sites"), ("Expected at a new site", "at_new_site")):
        found = [ledger.value(model=model, metric=f"{metric}_{ending}", finding=finding) for metric in RANDOM_EFFECTS]
        if any(row is not None for row in found):
            over.append({"name": name, "cells": [words.with_interval(row) for row in found]})
    first = ledger.value(model=model, metric="auroc_over_sites", finding=finding)
    note = first.note if first is not None and first.value is None else ""
    return {"rows": rows, "over": over, "note": note}


def _slices(report: Report, ledger: Ledger, finding: str) -> list[dict[str, Any]]:
    """Every figure of the subgroups that anything can be said of."""
    model, found = report.primary.model, []
    for name in dict.fromkeys(row.slice for row in ledger.slices(model=model, metric="auroc", finding=finding)):
        by_metric = {
            metric: _by_level(ledger, model=model, metric=metric, finding=finding, slice=name) for metric in SLICE_COLUMNS
        }
        for level, first in by_metric["auroc"].items():
            if first.value is not None:
                cells = [words.with_interval(by_metric[metric].get(level)) for metric in SLICE_COLUMNS]
                found.append({"slice": str(name).replace("_", " "), "name": level, "counts": _counts(first), "cells": cells})
    return found


def _by_level(ledger: Ledger, *, model: str, metric: str, finding: str, slice: str | None) -> dict[str, Result]:
    rows = ledger.slices(model=model, metric=metric, finding=finding)
    return {row.slice_value or "unstated": row for row in rows if row.slice == slice}


def _told(row: Result | None) -> str:
    return "too few to share" if row is not None and row.n is None else words.with_interval(row)


def _counts(row: Result) -> str:
    return "hidden" if row.n is None else f"{words.count(row.n)} / {words.count(row.events)}"


def _row(report: Report, model: str, rows: dict[str, Result], metrics: list[str]) -> dict[str, Any]:
    return {
        "name": words.model_name(report, model),
        "remark": words.DETAILS.get(model, ""),
        "is_lead": model == report.primary.model,
        "cells": [words.with_interval(rows.get(metric)) for metric in metrics],
    }


def _remarks(rows: Sequence[Result]) -> list[str]:
    """Methods and notes of the primary model's rows, each once, with the metrics they belong to."""
    told: dict[str, list[str]] = {}
    for row in rows:
        for remark in (row.method, row.note):
            if remark:
                told.setdefault(remark, []).append(words.metric_name(row.metric))
    return [f"{', '.join(names)}: {remark}" for remark, names in told.items()]
