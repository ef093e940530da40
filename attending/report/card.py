"""The model card (Mitchell et al. 2019; FDA draft guidance of January 2025, appendix E), as `model_card.json` and `.md`.

Only what the report holds; what nobody stated is a named blank.
"""

import json
from typing import Any

from attending.report.checklists import BLANK
from attending.report.ledger import Ledger
from attending.report.report import UNSTATED, Report
from attending.report.words import DISCLAIMER, METRIC_NAMES, known_events, model_name, not_to_be_concluded, protocol_sentence

TOLD = ("auroc", "auprc", "brier", "calibration_slope", "calibration_intercept", "sensitivity", "specificity", "ppv", "npv")


def card_of(report: Report) -> dict[str, Any]:
    """The card as JSON types; `report` has been through `sharing.shared`."""
    ledger, model = Ledger(report.results), report.primary.model
    asked = report.question
    rows = [row for one in ledger.findings() for row in ledger.metrics(model=model, finding=one) if row.metric in TOLD]
    slices = [row for one in ledger.findings() for row in ledger.slices(model=model, metric="auroc", finding=one)]
    return {
        "notice": DISCLAIMER,
        "model": {"name": model_name(report, model), **dict(report.model)},
        "output": f"estimated probability of the recorded label {asked.target}",
        "population": _stated(asked.population),
        "prediction time": _stated(asked.prediction_time),
        "reference standard": _stated(asked.reference_standard),
        "sampling": _stated(asked.sampling),
        "intended use and users": BLANK,
        "uses that are out of scope": "decisions about patients; " + BLANK,
        "inputs": [f"{column.name} ({column.role})" for column in report.columns if column.role in _INPUTS],
        "data": {
            "cases": report.flow.cases,
            "patients": report.flow.patients,
            "events": {one.finding: known_events(one) for one in report.flow.findings},
        },
        "evaluation": protocol_sentence(report),
        "performance": [
            {"finding": r.finding, "metric": r.metric, "value": r.value, "low": r.low, "high": r.high, "n": r.n, "note": r.note}
            for r in rows
        ],
        "subgroups": [
            {"finding": r.finding, "slice": f"{r.slice} = {r.slice_value}", "auroc": r.value, "low": r.low, "high": r.high,
             "n": r.n, "events": r.events, "note": r.note}
            for r in slices
        ],
        "audit": report.audit.verdict or "not run",
        "waivers": dict(report.audit.waivers),
        "limits": [*report.cautions, *not_to_be_concluded(report, ledger)],
        "provenance": dict(report.provenance),
        "monitoring and updating": BLANK,
        "ethics, funding, contact": BLANK,
    }  # fmt: skip


_INPUTS = ("note", "image", "number", "sign", "age", "sex", "embedding")


def _stated(words: str) -> str:
    return BLANK if words == UNSTATED else words


def card_text(card: dict[str, Any]) -> str:
    """The card as Markdown, under the same headings."""
    lines = ["# Model card", ""]
    for name, held in card.items():
        lines += [f"## {name[:1].upper()}{name[1:]}", ""]
        if name in ("performance", "subgroups"):
            lines += _rows(held)
        elif isinstance(held, dict):
            lines += [f"- {key}: {value if isinstance(value, str) else json.dumps(value)}" for key, value in held.items()]
        elif isinstance(held, list):
            lines += [f"- {value}" for value in held]
        else:
            lines.append(str(held))
        lines += ["none", ""] if not held else [""]
    return "\n".join(lines).rstrip() + "\n"


def _rows(held: list[dict[str, Any]]) -> list[str]:
    lines = ["| label | what | value (interval) | n |", "| --- | --- | --- | --- |"]
    for row in held:
        what = METRIC_NAMES.get(row["metric"], row["metric"]) if "metric" in row else f"AUROC, {row['slice']}"
        value = row["value"] if "metric" in row else row["auroc"]
        told = row["note"] if value is None else f"{value:.3f}"
        told += "" if value is None else " (no interval)" if row["low"] is None else f" ({row['low']:.3f} to {row['high']:.3f})"
        lines.append(f"| {row['finding']} | {what} | {told} | {'under 5' if row['n'] is None else row['n']} |")
    return lines
