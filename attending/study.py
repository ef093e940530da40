"""A study: one table, one question, one protocol, one report. What `attending run` does, as a function.

    table + schema ─▶ intake ─▶ protocol ─▶ trial (fused model and baselines on the same folds) ─▶ judge ─▶ folder with report

A study that was killed goes on where it stopped when it is started again with the same settings: its fits lie in `.work`
until the folder is finished.
"""

import json
import platform
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from attending.artefacts import MANIFEST, sha256, write_text
from attending.audit import Finding, Verdict, audit_intake, audit_parts
from attending.audit.procedure import check_answers, check_company, check_kinds, check_predictions
from attending.baselines.catalog import forced_baselines
from attending.case import Case, Note, Scan
from attending.cohort import Protocol, plan_protocol
from attending.diagnosis import Task
from attending.evaluation.errors import worst_errors_text
from attending.evaluation.inquiry import Terms
from attending.evaluation.judgement import judge
from attending.evaluation.outcomes import Outcomes
from attending.evaluation.predictions import predictions_text
from attending.evaluation.result import Result
from attending.evaluation.threshold import Rule
from attending.intake import Intake
from attending.model.catalog import to_plain
from attending.model.diagnoser import Tokenizers
from attending.model.trained import MODEL, TrainedModel, network_from
from attending.records import Schema, to_toml
from attending.report import Primary, Report, chosen_words, conduct_of, gather, write_report
from attending.training.bridge import members_of, with_subgroups
from attending.training.encoders import with_cache, with_frozen_images, with_frozen_text, with_tuned_text
from attending.training.learner import BaselineLearner, DiagnoserLearner, Learner
from attending.training.recipe import Recipe, default_recipe, default_repeats
from attending.training.settling import Declared
from attending.training.trial import BEST_BASELINE, FUSED, Told, Trial, hold_trial
from attending.training.units import JOURNAL, Workplace, discard_damaged, fingerprint

PREDICTIONS, SPLIT, REPORT_JSON, REPORT_HTML, WORK = (
    "predictions.csv",
    "split.csv",
    "report.json",
    "report.html",
    ".work",
)
OPENINGS = "openings.jsonl"
"""Beside the studies of a project: every opening of outer results, so that a report can say how many came before it."""
TRIED = ("repetition", "company", "idleness", "predictions")
MOST_TRIED = 150
"""Cases on which the delivered model is tried for faults of procedure."""
LOCAL, WORST_ERRORS = "local", "worst_errors.csv"
"""What names single cases: beside the data, never with a report that is passed on."""
ProtocolKind = Literal["auto", "split", "cv", "site", "quick"]


class StudyError(ValueError):
    """A study cannot be held as asked; the message says what to do."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How a study is held. `repeats` None takes as many as `default_repeats` says, `members` None the recipe's; `recipe` None
    takes the one for the evidence there is.

    `text_encoder` is a pretrained encoder for the notes: `minilm`, or a local folder. It stays as it is unless
    `tunes_encoder`. `image_encoder` is a local folder with one for the films.
    """

    protocol: ProtocolKind = "auto"
    folds: int = 5
    repeats: int | None = None
    members: int | None = None
    seed: int = 0
    device: str = "cpu"
    threads: int = 2
    recipe: Recipe | None = None
    text_encoder: str | None = None
    tunes_encoder: bool = False
    image_encoder: str | None = None


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


def hold_study(
    intake: Intake,
    *,
    plan: Plan,
    out: Path,
    audit: Verdict | None = None,
    told: Told = lambda stage, progress: None,
    said: Callable[[str], None] = lambda _: None,
) -> Study:
    """Hold the study and write its folder. Raises `StudyError` when `out` holds another one.

    `audit` is what was found in the table beforehand; where it is None the audit is held here, for the report only: what blocks
    stops the command `attending run`, and heads the report of a study that is held from Python.
    """
    begun = datetime.now(UTC)
    schema = intake.schema
    cases = _taking_part(intake)
    protocol = _protocol(plan, cases, schema=schema)
    said(protocol.reason)
    verdict = (audit or audit_intake(intake)).with_findings(audit_parts(intake, protocol), checks=("parts of the protocol",))
    recipe = _recipe(plan, cases, schema=schema)
    work = _open(out, intake=intake, plan=plan, recipe=recipe, protocol=protocol, schema=schema)
    for name in discard_damaged(work):
        said(f"{work / name}: the result of a fit is damaged and is not used; this fit is done again")
    trial = _trial(intake, cases, plan=plan, recipe=recipe, protocol=protocol, work=work, told=told)
    said("judging")
    results = judge(_compared(trial.outcomes), primary=FUSED, terms=terms_of(schema, protocol, seed=plan.seed))
    model = _delivered(trial, cases, recipe=recipe, task=intake.task, intake=intake, plan=plan)
    verdict = verdict.with_findings(_tried(model, cases, trial, split=_split_name(protocol)), checks=TRIED)
    study = Study(
        intake=intake,
        protocol=protocol,
        recipe=recipe,
        trial=trial,
        model=model,
        results=results,
        unknown=len(intake.cases) - len(cases),
        seconds=(datetime.now(UTC) - begun).total_seconds(),
    )
    if (work / JOURNAL).exists():
        (work / JOURNAL).replace(out / JOURNAL)
    _write(study, plan=plan, out=out, audit=verdict)
    shutil.rmtree(work)
    return study


def _taking_part(intake: Intake) -> list[Case]:
    """The cases with any recorded truth, in an order that neither the table's rows nor the project's key decide."""
    own = intake.own_ids()
    cases = sorted((case for case in intake.cases if case.truth), key=lambda case: own[case.id])
    if not cases:
        raise StudyError(f"{intake.table.name}: the target is unknown in every row; nothing can be learned or judged")
    return cases


def _protocol(plan: Plan, cases: Sequence[Case], *, schema: Schema) -> Protocol:
    return plan_protocol(
        members_of(cases),
        kind=plan.protocol,
        folds=plan.folds,
        repeats=default_repeats(cases) if plan.repeats is None else plan.repeats,
        seed=plan.seed,
        primary=primary_findings(schema),
    )


def _split_name(protocol: Protocol) -> str:
    """What rows of results call the part that was judged."""
    return "test" if protocol.kind in ("split", "quick") else "cv"


def _trial(
    intake: Intake,
    cases: Sequence[Case],
    *,
    plan: Plan,
    recipe: Recipe,
    protocol: Protocol,
    work: Path,
    told: Told,
) -> Trial:
    """The fused model and the forced baselines on the same folds; outcomes with age band and sex as strata."""
    schema = intake.schema
    reading = with_cache(recipe.diagnoser, work)
    fused = DiagnoserLearner(name=FUSED, diagnoser=reading, training=recipe.training, device=plan.device)
    baselines = [BaselineLearner(config=config, visible=schema.visible) for config in forced_baselines(cases)]
    learners: list[Learner] = [fused, *baselines]
    trial = hold_trial(
        cases,
        learners,
        protocol=protocol,
        task=intake.task,
        declared=Declared(rules=_rules(schema), seed=plan.seed),
        workplace=Workplace(cases={case.id: case for case in cases}, folder=work),
        threads=plan.threads,
        told=told,
    )
    return replace(trial, outcomes=with_subgroups(trial.outcomes, cases))


def _recipe(plan: Plan, cases: Sequence[Case], *, schema: Schema) -> Recipe:
    recipe = plan.recipe or default_recipe(cases, visible=schema.visible, members=plan.members)
    if plan.text_encoder is not None:
        if not any(case.of(Note) for case in cases):
            raise StudyError("--text-encoder: no case has a note, so there is nothing for a text encoder to read; leave it out")
        recipe = (with_tuned_text if plan.tunes_encoder else with_frozen_text)(recipe, plan.text_encoder)
    if plan.image_encoder is not None:
        if not any(case.of(Scan) for case in cases):
            raise StudyError("--image-encoder: no case has a film, so there is nothing to look at; leave it out")
        recipe = with_frozen_images(recipe, plan.image_encoder)
    return recipe


def terms_of(schema: Schema, protocol: Protocol, *, seed: int) -> Terms:
    """What the schema and the protocol fixed before results were opened."""
    primary = schema.primary
    return Terms(
        target=", ".join(target.column for target in schema.targets),
        protocol=protocol.kind,
        split=_split_name(protocol),
        rules=_rules(schema),
        primary_metric=primary.metric if primary else "auroc",
        primary_finding=primary.finding if primary else None,
        primary_comparator=BEST_BASELINE if primary is None or primary.against == "best baseline" else primary.against,
        sampling=schema.sampling.value,
        target_prevalence=schema.target_prevalence,
        seed=seed,
    )


def primary_findings(schema: Schema) -> Sequence[str] | None:
    """The findings that must be estimable: the one that was declared primary, or None where that is their mean or none was."""
    return None if schema.primary is None or schema.primary.finding == "macro" else (schema.primary.finding,)


def _rules(schema: Schema) -> Mapping[str, Rule]:
    names = {"harm_benefit": "harm_to_benefit"}
    return {
        finding: Rule.from_dict({names.get(threshold.rule, threshold.rule): threshold.value})
        for finding, threshold in schema.thresholds.items()
    }


def _compared(outcomes: Mapping[str, Outcomes]) -> dict[str, Outcomes]:
    """All models, the fused one first."""
    return {FUSED: outcomes[FUSED]} | dict(outcomes)


def _open(out: Path, *, intake: Intake, plan: Plan, recipe: Recipe, protocol: Protocol, schema: Schema) -> Path:
    """The work folder of this very study, new or as it was left."""
    if (out / REPORT_JSON).exists():
        raise StudyError(f"{out}: holds a finished study; name another --out, or remove it to hold this one again")
    work = out / WORK
    print_ = fingerprint(
        data=intake.table.sha256,
        schema=to_toml(schema),
        protocol=protocol.hash,
        recipe=recipe,
        plan=[plan.seed, plan.device, plan.threads],
        code=version("attending"),
    )
    mark = work / "study"
    if mark.exists():
        if mark.read_text(encoding="utf-8") != print_:
            raise StudyError(f"{out}: holds an unfinished study with other settings; name another --out, or remove it")
    elif out.exists() and any(out.iterdir()):
        raise StudyError(f"{out}: is not empty; a study is written into a folder of its own, name another --out")
    else:
        write_text(mark, print_)
    return work


def _delivered(trial: Trial, cases: Sequence[Case], *, recipe: Recipe, task: Task, intake: Intake, plan: Plan) -> TrainedModel:
    by_id = {case.id: case for case in cases}
    tokenizers = Tokenizers.fit(recipe.diagnoser, [by_id[id] for id in trial.delivered.trained_on])
    networks = tuple(
        network_from({name: torch.from_numpy(value) for name, value in weights.items()}, recipe.diagnoser, tokenizers, task)
        for weights in trial.delivered.weights
    )
    return TrainedModel(
        task=task,
        config=recipe.diagnoser,
        tokenizers=tokenizers,
        networks=networks,
        settling=trial.delivered.settling,
        schema=to_toml(intake.schema),
        provenance=_provenance(intake, plan) | {"lengths": list(trial.delivered.lengths)},
    )


def _provenance(intake: Intake, plan: Plan) -> dict[str, Any]:
    return {
        "data_sha256": intake.table.sha256,
        "attending": version("attending"),
        "torch": version("torch"),
        "python": platform.python_version(),
        "device": plan.device,
        "seed": plan.seed,
        "threads": plan.threads,
    }


def _write(study: Study, *, plan: Plan, out: Path, audit: Verdict | None) -> None:
    study.model.save(out / MODEL)
    own = study.intake.own_ids()
    named = {model: _with_own_ids(rows, own) for model, rows in study.trial.outcomes.items()}
    write_text(out / PREDICTIONS, predictions_text({_split_name(study.protocol): named}))
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
            chosen=chosen_words(chosen, {}) if chosen and comparator == BEST_BASELINE else "",
        ),
        provenance=_provenance(study.intake, plan)
        | {
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
        },
    )


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


def _tried(model: TrainedModel, cases: Sequence[Case], trial: Trial, *, split: str) -> tuple[Finding, ...]:
    """T13 and T16 to T20, asked of the delivered model on some of the cases and of what the trial predicted."""
    some = list(cases[:: max(1, len(cases) // MOST_TRIED)])
    return (
        *check_answers(model.probability, some),
        *check_company(model.probability, some),
        *check_kinds(model.probability, some),
        *check_predictions({split: trial.outcomes}),
    )


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
