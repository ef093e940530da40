"""`report.json`: the report as plain data, for programs. `results` are frozen rows; keys are only ever added."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from attending.evaluation.curve import CalibrationCurve
from attending.report.ledger import Ledger
from attending.report.report import Curves, Flow, Report
from attending.report.sharing import shared_counts, shared_patterns
from attending.report.words import DISCLAIMER, not_to_be_concluded

FORMAT = 1


def record_of(report: Report) -> dict[str, Any]:
    """Everything the page shows, as JSON types; `report` has been through `sharing.shared`."""
    return {
        "format": FORMAT,
        "disclaimer": DISCLAIMER,
        "title": report.title,
        "warning": report.warning,
        "cautions": list(report.cautions),
        "question": asdict(report.question),
        "flow": {**asdict(report.flow), **_steps(report.flow)},
        "audit": {**asdict(report.audit), "verdict": report.audit.verdict or "not run"},
        "protocol": asdict(report.conduct),
        "primary": asdict(report.primary),
        "may_not_be_concluded": list(not_to_be_concluded(report, Ledger(report.results))),
        "results": [_plain(row.to_row()) for row in report.results],
        "curves": [_curves(one) for one in report.curves],
        "columns": [asdict(column) for column in report.columns],
        "patterns": [asdict(pattern) for pattern in shared_patterns(report.patterns)],
        "characteristics": [asdict(table) for table in report.characteristics],
        "privacy": None if report.privacy is None else asdict(report.privacy),
        "provenance": dict(report.provenance),
        "model": dict(report.model),
        "undeclared": list(report.undeclared),
        "notes": list(report.notes),
    }


def _steps(flow: Flow) -> dict[str, int]:
    """What leaves at each step: rows = rows refused + left out + joined + cases without a label + cases + unaccounted."""
    names = ("rows_refused", "rows_left_out", "rows_joined", "cases_unlabelled", "rows_unaccounted")
    return {name: getattr(flow, name) for name in names}


def _curves(curves: Curves) -> dict[str, Any]:
    risk, decision, covered = curves.risk, curves.decision, list(curves.coverage.items())
    return {
        "finding": curves.finding,
        "calibration": _calibration(curves.calibration),
        "calibration_before": None if curves.before is None else _calibration(curves.before),
        "risk": {
            "edges": _numbers(risk.edges),
            "events": shared_counts([int(number) for number in risk.events]),
            "others": shared_counts([int(number) for number in risk.others]),
        },
        "decision": None
        if decision is None
        else {
            "thresholds": _numbers(decision.thresholds),
            "models": {name: _numbers(values) for name, values in decision.models.items()},
            "treat_all": _numbers(decision.treat_all),
            "note": decision.note,
        },
        "risk_coverage": None
        if not covered
        else {
            "coverage": _numbers(covered[0][1].coverage),
            "brier": _numbers(covered[0][1].brier),
            "models": {name: _numbers(curve.brier) for name, curve in covered},
        },
    }


def _calibration(curve: CalibrationCurve) -> dict[str, Any]:
    return {
        "predicted": _numbers(curve.predicted),
        "observed": _numbers(curve.observed),
        "low": _numbers(curve.low),
        "high": _numbers(curve.high),
        "line": None if curve.line is None else dict(zip(("slope", "intercept"), _numbers(np.array(curve.line)), strict=True)),
        "note": curve.note,
    }


def _numbers(values: np.ndarray) -> list[float | None]:
    return [round(float(value), 6) if np.isfinite(value) else None for value in values]


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _number(value) for name, value in row.items()}


def _number(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not np.isfinite(value) else value
