"""The pictures of a report, drawn from result rows and curves by `attending.drawing`."""

from collections.abc import Collection, Sequence
from itertools import groupby

from attending.drawing import (
    ForestRow,
    PatternRow,
    calibration_plot,
    coverage_plot,
    decision_plot,
    forest_plot,
    pattern_bars,
)
from attending.evaluation import Result
from attending.report.ledger import Ledger
from attending.report.report import Curves, Report
from attending.report.sharing import SharedPattern, shared_counts
from attending.report.words import count, lowered, metric_name, model_name, ruling, with_interval

MOST_SILENT = 3
"""Groups of one subgroup without a value that are drawn one by one; more of them share a line."""
TOO_FEW = "too few to say or to share"


def calibration_figure(curves: Curves) -> str:
    """Calibration of the primary model, and before recalibration; under few events the lines of slope and intercept."""
    return calibration_plot(
        curves.calibration,
        edges=[float(edge) for edge in curves.risk.edges],
        events=shared_counts([int(number) for number in curves.risk.events]),
        others=shared_counts([int(number) for number in curves.risk.others]),
        before=curves.before,
        title=f"Calibration and spread of estimated probabilities, {curves.finding}",
    )


def models_figure(report: Report, ledger: Ledger, finding: str, metric: str = "auroc") -> str:
    """All models beside each other."""
    rows = [
        ForestRow(
            label=model_name(report, model),
            value=row.value,
            low=row.low,
            high=row.high,
            told=with_interval(row),
            is_lead=model == report.primary.model,
        )
        for model in ledger.models(finding=finding)
        if (row := ledger.value(model=model, metric=metric, finding=finding)) is not None
    ]
    return forest_plot(
        rows, title=f"{metric_name(metric)} by model", axis=metric_name(metric), reference=0.5 if "auroc" in metric else None
    )


def differences_figure(report: Report, ledger: Ledger, finding: str, metric: str = "auroc") -> str:
    """The primary model minus every other, with the adjusted intervals."""
    rows = [
        ForestRow(
            label=model_name(report, row.comparator or ""),
            value=row.value,
            low=row.low,
            high=row.high,
            told=with_interval(row),
            beside=ruling(row).removeprefix("a difference is "),
            is_lead=row.comparator == report.primary.comparator,
        )
        for row in ledger.differences(model=report.primary.model, metric=metric, finding=finding)
    ]
    name = metric_name(metric)
    axis = f"{name}: {lowered(model_name(report, report.primary.model))} minus …"
    return forest_plot(rows, title=f"Differences in {name}", axis=axis, reference=0.0) if rows else ""


def slices_figure(report: Report, ledger: Ledger, finding: str) -> str:
    """AUROC of the primary model by subgroup, with the whole on top; "too few to say" where it is so."""
    slices = ledger.slices(model=report.primary.model, metric="auroc", finding=finding)
    whole = ledger.value(model=report.primary.model, metric="auroc", finding=finding)
    rows = [] if whole is None else [_slice_row(whole, "All", is_lead=True)]
    for name, members in groupby(slices, key=lambda row: row.slice):
        rows.append(ForestRow(label=str(name).replace("_", " "), is_heading=True))
        held = list(members)
        silent = [row for row in held if row.value is None]
        pooled = silent if len(silent) > MOST_SILENT else []
        rows += [_slice_row(row, row.slice_value or "unstated") for row in held if row not in pooled]
        if pooled:
            rows.append(ForestRow(label=f"{len(pooled)} {'more' if len(pooled) < len(held) else 'groups'}", told=TOO_FEW))
    if not slices:
        return ""
    return forest_plot(rows, title="AUROC by subgroup", axis="AUROC by subgroup", reference=0.5, beside="cases / events")


def _slice_row(row: Result, label: str, *, is_lead: bool = False) -> ForestRow:
    hidden = row.n is None
    return ForestRow(
        label=label,
        value=row.value,
        low=row.low,
        high=row.high,
        told="too few to share" if hidden else with_interval(row),
        beside="hidden" if hidden else f"{count(row.n)} / {count(row.events)}",
        is_lead=is_lead,
    )


def decision_figure(report: Report, curves: Curves) -> str:
    """Decision curve of the primary model, its comparator and the shortcuts; nothing without one."""
    if curves.decision is None:
        return ""
    names = _names(report, curves.decision.models)
    return decision_plot(curves.decision, names=names, title=f"Decision curve, {curves.finding}")


def coverage_figure(report: Report, curves: Curves) -> str:
    """Risk against coverage of the same models; nothing where cases are few."""
    if not curves.coverage:
        return ""
    names = _names(report, curves.coverage)
    return coverage_plot(curves.coverage, names=names, title=f"Risk against coverage, {curves.finding}")


def _names(report: Report, models: Collection[str]) -> dict[str, str]:
    """Primary model, comparator and shortcuts, where they are there: model → what readers are told."""
    wanted = (report.primary.model, report.primary.comparator or "", "site-and-missingness")
    return {model: model_name(report, model) for model in wanted if model in models}


def patterns_figure(report: Report, patterns: Sequence[SharedPattern]) -> str:
    """Which kinds of evidence were there together."""
    rows = [
        PatternRow(
            present=tuple(kind in pattern.present for kind in report.kinds),
            n=pattern.n,
            told=f"{count(pattern.n)} cases" + (f", {count(pattern.events)} events" if pattern.events is not None else ""),
            label=f"{pattern.pooled} other patterns, pooled" if pattern.pooled else "",
        )
        for pattern in patterns
    ]
    return pattern_bars(rows, kinds=report.kinds, title="Patterns of evidence that was there") if rows else ""
