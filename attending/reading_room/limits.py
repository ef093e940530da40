"""The limits of a model in plain words: what it was trained on and judged by, what it reads, and what it does not know.

From the schema that the model carries, its settling, and the model card of its run where that lies beside it. What nobody
stated is said to be not stated; nothing is made up.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from attending.case import kind_name
from attending.explanation.assessment import Assessed
from attending.explanation.assessment_words import NOT_ASSESSED, sentence_of
from attending.explanation.drawn import NAMES
from attending.model.trained import MODEL, TrainedModel
from attending.reading_room.words import COVERAGE, ESTIMATED
from attending.records import Schema
from attending.records.column import UNSTATED

CARD = "model_card.json"
DOES_NOT_KNOW = (
    "It knows the labels that were recorded in its training table and no others. What nobody recorded, it cannot answer.",
    "It knows patients like those it was trained on. Where others are seen, or with other devices, it was not judged.",
    "It knows what the table held when the question was asked: nothing of what came later, and nothing that stood elsewhere.",
    "It knows no causes. What it answers if a value were different is not what a treatment would do.",
)


@dataclass(frozen=True, kw_only=True)
class Figure:
    """How well the estimates of one finding ranked patients, with its interval, as the run measured it."""

    finding: str
    told: str


@dataclass(frozen=True, kw_only=True)
class Limits:
    """All of it: `cautions` first, then pairs of a question and its answer in words."""

    model: str
    findings: tuple[str, ...]
    cautions: tuple[str, ...]
    stated: tuple[tuple[str, str], ...]
    figures: tuple[Figure, ...]
    does_not_know: tuple[str, ...]
    n_told: str


def limits_of(
    model: TrainedModel, schema: Schema, *, card: Mapping[str, Any], assessed: Mapping[str, Assessed] = MappingProxyType({})
) -> Limits:
    """The limits of this model. `card` is its model card, `assessed` what was found of its explanations; both may be empty."""
    conformal = model.settling.conformal
    n_told = _n_told(card)
    reads = ", ".join(NAMES.get(kind, kind_name(kind)) for kind in model.tokenizers.by_kind)
    window = schema.look_back_hours
    stated = [
        ("What it answers", f"{ESTIMATED}: {', '.join(model.task.findings)}"),
        ("How the labels were made", _stated(schema.reference_standard)),
        ("Patients it was trained on", _stated(schema.population)),
        ("How they came into the table", _stated(schema.sampling.value)),
        ("How many", n_told or "not stated: no model card lies beside the model"),
        ("When the question is asked", _stated(schema.prediction_time)),
        ("What it reads", reads),
        ("How far back", "not limited" if window is None else f"{window:g} hours before the question"),
        ("Networks", f"{len(model.networks)}" + (", averaged" if len(model.networks) > 1 else "")),
        ("Conformal sets", "none were fitted" if conformal is None else f"{conformal.guarantee}; {COVERAGE}"),
        ("Are explanations true of it", "; ".join(map(sentence_of, assessed.values())) or NOT_ASSESSED),
        ("Intended use", _of_card(card, "intended use and users")),
        ("Out of scope", _of_card(card, "uses that are out of scope", "decisions about patients")),
    ]
    return Limits(
        model=model.id,
        findings=model.task.findings,
        cautions=tuple(text for text in (schema.warning, *schema.cautions) if text.strip()),
        stated=tuple(stated),
        figures=_figures(card),
        does_not_know=DOES_NOT_KNOW,
        n_told=n_told,
    )


def read_card(path: Path) -> Mapping[str, Any]:
    """The model card of the run that MODEL is of, or that it lies in; empty where there is none that can be read."""
    run = path.resolve()
    if not (run / MODEL).is_dir():
        run = run.parent
    try:
        found = json.loads((run / CARD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _n_told(card: Mapping[str, Any]) -> str:
    data = card.get("data")
    if not isinstance(data, dict) or not isinstance(data.get("cases"), int):
        return ""
    events = data.get("events")
    with_finding = ", ".join(f"{name} {count}" for name, count in events.items()) if isinstance(events, dict) else ""
    told = f"{data['cases']} cases of {data.get('patients', 'an unknown number of')} patients"
    return f"{told}; recorded with the label: {with_finding}" if with_finding else told


def _figures(card: Mapping[str, Any]) -> tuple[Figure, ...]:
    rows = card.get("performance")
    found = []
    for row in rows if isinstance(rows, list) else ():
        if isinstance(row, dict) and row.get("metric") == "auroc" and isinstance(row.get("finding"), str):
            found.append(Figure(finding=row["finding"], told=_auroc(row)))
    return tuple(found)


def _auroc(row: Mapping[str, Any]) -> str:
    value, low, high = (row.get(name) for name in ("value", "low", "high"))
    if not isinstance(value, int | float):
        return str(row.get("note") or "cannot be estimated")
    between = f" ({low:.2f} to {high:.2f})" if isinstance(low, int | float) and isinstance(high, int | float) else ""
    return f"AUROC {value:.2f}{between}, n = {row.get('n', 'not stated')}"


def _of_card(card: Mapping[str, Any], name: str, otherwise: str = "not stated") -> str:
    found = card.get(name)
    return found if isinstance(found, str) and found.strip() else otherwise


def _stated(text: str) -> str:
    return "not stated" if not text.strip() or text == UNSTATED else text
