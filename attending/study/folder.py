"""What is kept of a study: its folder of model, predictions, split and report, and the project's list of openings."""

import json
import math
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from attending.artefacts import MANIFEST, sha256, write_text
from attending.audit import Verdict
from attending.case import kind_name
from attending.cohort import Protocol
from attending.evaluation.conformal import FEWEST_PER_CLASS
from attending.evaluation.errors import worst_errors_text
from attending.evaluation.inquiry import Terms
from attending.evaluation.outcomes import Outcomes
from attending.evaluation.predictions import predictions_text
from attending.evaluation.result import Result
from attending.intake import Intake
from attending.model.catalog import to_plain
from attending.model.settling import Settling
from attending.model.switches import Switch
from attending.model.trained import MODEL, TrainedModel
from attending.report import Primary, Report, chosen_words, conduct_of, gather, write_report
from attending.study.plan import Plan, split_name, terms_of
from attending.training.recipe import Recipe
from attending.training.trial import BEST_BASELINE, FUSED, Trial

PREDICTIONS, SPLIT, REPORT_JSON, REPORT_HTML, WORK = (
    "predictions.csv",
    "split.csv",
    "report.json",
    "report.html",
    ".work",
)
DECLARED = "declared.json"
"""What was fixed before anything was trained: the terms of judging, and who is where, each with its hash."""
OPENINGS = "openings.jsonl"
"""Beside the studies of a project: every opening of outer results, so that a report can say how many came before it."""
LOCAL, WORST_ERRORS = "local", "worst_errors.csv"
"""What names single cases: beside the data, never with a report that is passed on."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Study:
    """What was found. `unknown` cases have no recorded truth at all and took no part."""

    intake: Intake
    protocol: Protocol
    recipe: Recipe
    trial: Trial
    model: TrainedModel
    results: tuple[Result, ...]
    unknown: int
    seconds: float


def provenance_of(intake: Intake, plan: Plan) -> dict[str, Any]:
    return {
        "data_sha256": intake.table.sha256,
        "attending": version("attending"),
        "torch": version("torch"),
        "python": platform.python_version(),
        "device": plan.device,
        "seed": plan.seed,
        "threads": plan.threads,
    }


def declared_text(terms: Terms, protocol: Protocol) -> str:
    """The terms of judging and their hash, as written down before outer results are opened."""
    written = {
        "terms": terms.to_plain(),
        "terms_sha256": terms.hash,
        "protocol": protocol.reason,
        "protocol_sha256": protocol.hash,
    }
    return json.dumps(written, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def write_study(study: Study, *, plan: Plan, out: Path, audit: Verdict | None) -> None:
    study.model.save(out / MODEL)
    own = study.intake.own_ids()
    named = {model: _with_own_ids(rows, own) for model, rows in study.trial.outcomes.items()}
    write_text(out / PREDICTIONS, predictions_text({split_name(study.protocol): named}))
    local = out / LOCAL
    local.mkdir(mode=0o700, exist_ok=True)
    write_text(local / WORST_ERRORS, worst_errors_text(named[FUSED]))
    write_text(out / SPLIT, split_text(study.protocol, own))
    write_report(out, report_of(study, plan=plan, out=out, audit=audit))


def report_of(study: Study, *, plan: Plan, out: Path, audit: Verdict | None = None) -> Report:
    """What the study found, as a report."""
    schema, declared = study.intake.schema, study.intake.schema.primary
    chosen = [str(choice["best baseline"]) for choice in study.trial.choices if choice["best baseline"] is not None]
    comparator = BEST_BASELINE if declared is None or declared.against == "best baseline" else declared.against
    unknown = f"{study.unknown} cases without any recorded target took no part" if study.unknown else ""
    return gather(
        title=f"{study.intake.table.name}: {', '.join(target.column for target in schema.targets)}",
        records=study.intake.records,
        manifest=study.intake.deidentified.manifest,
        cases=[case for case in study.intake.cases if case.truth],
        task=study.intake.task,
        conduct=conduct_of(study.protocol, count_opening(study.intake, out)),
        results=study.results,
        outcomes=study.trial.outcomes,
        primary=Primary(
            comparator=comparator if comparator in study.trial.outcomes else None,
            finding=None if declared is None else declared.finding,
            metric="auroc" if declared is None else declared.metric,
            chosen=chosen_words(chosen) if chosen and comparator == BEST_BASELINE else "",
        ),
        provenance=provenance_of(study.intake, plan)
        | {
            "declared before results were opened (terms_sha256)": terms_of(schema, study.protocol, seed=plan.seed).hash,
            "worst errors": f"{LOCAL}/{WORST_ERRORS} (names cases; not for sharing)",
            "seconds": round(study.seconds),
            "model": study.model.id,
            "model_manifest_sha256": sha256(out / MODEL / MANIFEST),
        },
        audit=audit,
        warning=schema.warning,
        cautions=schema.cautions,
        notes=(unknown,) if unknown else (),
        parts={} if study.protocol.split is None else dict(study.protocol.split.parts),
        model={
            "networks": len(study.model.networks),
            "parameters": sum(p.numel() for p in study.model.networks[0].parameters()),
            "configuration": json.dumps(to_plain(study.recipe.diagnoser)),
            "training": json.dumps(asdict(study.recipe.training)),
            "epochs": ", ".join(str(length) for length in study.trial.delivered.lengths),
            "switches found": "; ".join(_told(switch) for switch in study.model.tokenizers.switches) or "none",
        }
        | settled_words(study.model.settling),
    )


def settled_words(settling: Settling) -> dict[str, str]:
    """How the delivered model's answers are calibrated and what its conformal sets promise, without counts."""
    methods: dict[str, list[str]] = {}
    for part in settling.calibration.findings:
        methods.setdefault(part.method, []).append(part.finding)
    told = {"calibration": "; ".join(f"{method}: {', '.join(findings)}" for method, findings in methods.items())}
    conformal = settling.conformal
    if conformal is None:
        return told | {"conformal sets": "none: too few cases to fit any"}
    marginal = dict.fromkeys(answer.finding for answer in conformal.answers if answer.note)
    because = f"marginal, with fewer than {FEWEST_PER_CLASS} calibration cases of an answer: {', '.join(marginal)}"
    return told | {"conformal sets": "; ".join((conformal.guarantee, *((because,) if marginal else ()), *conformal.notes))}


def _told(switch: Switch) -> str:
    states, reads = kind_name(switch.states), kind_name(switch.reads)
    return f'"{switch.fact}" ({states}) changes how the {reads} is read (p below 1e{math.ceil(switch.log10_chance)} by chance)'


def count_opening(intake: Intake, out: Path) -> int:
    """Append this opening of results to the project's list, beside `out`; how often these data were opened for the targets."""
    path = out.resolve().parent / OPENINGS
    entry = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "data_sha256": intake.table.sha256,
        "targets": [target.column for target in intake.schema.targets],
        "study": out.name,
    }
    with path.open("a", encoding="utf-8") as openings:
        openings.write(json.dumps(entry) + "\n")
    held = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return sum(all(one[key] == entry[key] for key in ("data_sha256", "targets")) for one in held)


def _with_own_ids(rows: Outcomes, own: Mapping[Any, str]) -> Outcomes:
    return replace(rows, ids=np.array([own[id] for id in rows.ids]))


def split_text(protocol: Protocol, own: Mapping[Any, str]) -> str:
    """Who was in which part, by the table's own ids: `id,repeat,fold,part`."""
    lines = ["id,repeat,fold,part"]
    if protocol.split is not None:
        lines += [f"{own[id]},0,0,{part}" for id, part in sorted(protocol.split.parts.items())]
    else:
        lines += [f"{own[id]},{fold.repeat},{fold.fold},test" for fold in protocol.folds for id in fold.test]
    return "\n".join(lines) + "\n"
