"""`attending evaluate`: a delivered model judged on a further table."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np

from attending.artefacts import write_text
from attending.case import Case
from attending.commands.showing import err, show_results
from attending.commands.showing import out as console
from attending.commands.using import ready_model, take_in_for
from attending.evaluation.inquiry import Terms
from attending.evaluation.judgement import judge
from attending.evaluation.outcomes import Outcomes
from attending.evaluation.predictions import predictions_text
from attending.evaluation.result import Result
from attending.evaluation.sharing import FEWEST
from attending.intake import Intake
from attending.model.trained import EVALUATION_BATCH, TrainedModel
from attending.report import Conduct, Primary, Report, gather, write_report
from attending.study import PREDICTIONS, REPORT_JSON, count_opening
from attending.training.bridge import outcomes_of, with_subgroups
from attending.training.trial import FUSED


def evaluate_table(
    path: Path,
    table: Path,
    *,
    out: Path,
    where: str | None,
    companions: Mapping[str, Path],
    seed: int,
    device: str,
    threads: int,
    is_strict: bool,
) -> None:
    """Judge the model on a table: predictions.csv and the report of an external evaluation."""
    if (out / REPORT_JSON).exists():
        raise ValueError(f"{out}: holds a finished report; name another --out, or remove it")
    model = ready_model(path, device=device, threads=threads)
    intake = take_in_for(model, table, where=where, companions=companions, is_strict=is_strict, needs_truth=True, beside=out)
    cases = [case for case in intake.cases if case.truth]
    if not cases:
        raise ValueError(f"{table.name}: the target is unknown in every row, nothing can be judged; use attending predict")
    why_not = unanswered(model, cases)
    settled = model.settling.apply(outcomes_of(cases, model.raw_probability(cases), task=model.task))
    abstained = np.array([why is not None for why in why_not])
    rows = with_subgroups({FUSED: replace(settled, abstained=abstained)}, cases)[FUSED]
    reasons = Counter(why for why in why_not if why is not None)
    own = intake.own_ids()
    schema = intake.schema
    terms = Terms(
        target=", ".join(target.column for target in schema.targets),
        protocol="evaluation",
        split="evaluation",
        sampling=schema.sampling.value,
        target_prevalence=schema.target_prevalence,
        seed=seed,
    )
    results = judge({FUSED: rows}, primary=FUSED, terms=terms)
    named = replace(rows, ids=np.array([own[id] for id in rows.ids]))
    write_text(out / PREDICTIONS, predictions_text({"evaluation": {FUSED: named}}))
    page, _ = write_report(out, _evaluated(model, intake, cases, rows, results, reasons=reasons, out=out, seed=seed))
    show_results(results)
    for reason, count in reasons.most_common():
        err.print(f"abstained: {count}: {reason}", highlight=False, soft_wrap=True)
    n = reasons.total()
    err.print(f"{len(cases)} cases: {len(cases) - n} answered, {n} abstained", highlight=False)
    console.print(f"report: {page}", highlight=False, soft_wrap=True)


def unanswered(model: TrainedModel, cases: Sequence[Case]) -> tuple[str | None, ...]:
    """Per case why the model gives no answer (None: it gives one), of as many at a time as `attending predict` asks."""
    pieces = (cases[start : start + EVALUATION_BATCH] for start in range(0, len(cases), EVALUATION_BATCH))
    return tuple(why for piece in pieces for why in model.tokenizers.unusable(piece))


def _evaluated(
    model: TrainedModel,
    intake: Intake,
    cases: Sequence[Case],
    rows: Outcomes,
    results: Sequence[Result],
    *,
    reasons: Counter[str],
    out: Path,
    seed: int,
) -> Report:
    """The report of a finished model on a further table. What was declared about the study travels with the model."""
    schema, trained_on = intake.schema, model.provenance.get("data_sha256")
    unknown = len(intake.cases) - len(cases)
    notes = [f"{unknown} cases without any recorded target took no part"] if unknown else []
    notes += [f"{_told(count)} cases not answered: {why}" for why, count in reasons.most_common()]
    seen = "the model was trained on rows of this very file: unless --where kept them apart, it has seen these patients"
    return gather(
        title=f"{intake.table.name}: {', '.join(target.column for target in schema.targets)}, a finished model evaluated",
        records=intake.records,
        manifest=intake.deidentified.manifest,
        cases=cases,
        task=model.task,
        conduct=Conduct(
            kind="evaluation", reason="every case with a recorded target", seed=seed, openings=count_opening(intake, out)
        ),
        results=results,
        outcomes={FUSED: rows},
        primary=Primary(),
        provenance={
            "data_sha256": intake.table.sha256,
            "trained_on_data_sha256": trained_on or "not recorded",
            "model": model.id,
            "attending": version("attending"),
            "seed": seed,
        },
        warning=schema.warning,
        cautions=((seen,) if trained_on == intake.table.sha256 else ()) + schema.cautions,
        notes=tuple(notes),
        model={"id": model.id, "networks": len(model.networks)},
    )


def _told(count: int) -> str:
    """A count as a report that is passed on may tell it."""
    return str(count) if count >= FEWEST else f"fewer than {FEWEST}"
