"""Holding a study: who takes part, the trial, the judgement, the model that is delivered and how it was tried."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from attending.artefacts import write_text
from attending.audit import Finding, Verdict, audit_intake, audit_parts
from attending.audit.procedure import check_answers, check_company, check_kinds, check_predictions, check_weights
from attending.baselines.catalog import forced_baselines
from attending.case import Case, Note, Scan
from attending.cohort import Protocol, plan_protocol
from attending.diagnosis import Task
from attending.evaluation.judgement import judge
from attending.evaluation.outcomes import Outcomes
from attending.intake import Intake
from attending.model.diagnoser import Tokenizers
from attending.model.trained import TrainedModel, network_from
from attending.records import Schema, to_toml
from attending.study.folder import DECLARED, REPORT_JSON, WORK, Study, declared_text, provenance_of, write_study
from attending.study.plan import Plan, StudyError, primary_findings, rules_of, split_name, terms_of
from attending.training.bridge import members_of, with_subgroups
from attending.training.checkpoint import discard_damaged_checkpoints
from attending.training.encoders import with_cache, with_frozen_images, with_frozen_text, with_tuned_text
from attending.training.learner import BaselineLearner, DiagnoserLearner, Learner
from attending.training.recipe import Recipe, default_recipe, default_repeats
from attending.training.settling import Declared
from attending.training.trial import FUSED, Told, Trial, hold_trial
from attending.training.units import JOURNAL, Workplace, discard_damaged, fingerprint

TRIED = ("repetition", "attention", "company", "idleness", "predictions")
MOST_TRIED = 150
"""Cases on which the delivered model is tried for faults of procedure."""


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
    terms = terms_of(schema, protocol, seed=plan.seed)
    write_text(out / DECLARED, declared_text(terms, protocol))
    for name in (*discard_damaged(work), *discard_damaged_checkpoints(work)):
        said(f"{work / name}: what was kept of a fit is damaged and is not used; this fit is done again")
    trial = _trial(intake, cases, plan=plan, recipe=recipe, protocol=protocol, work=work, told=told)
    said("judging")
    results = judge(_compared(trial.outcomes), primary=FUSED, terms=terms)
    model = _delivered(trial, cases, recipe=recipe, task=intake.task, intake=intake, plan=plan)
    verdict = verdict.with_findings(_tried(model, cases, trial, split=split_name(protocol)), checks=TRIED)
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
    write_study(study, plan=plan, out=out, audit=verdict)
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
        declared=Declared(rules=rules_of(schema), seed=plan.seed),
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
    trained_on = [by_id[id] for id in trial.delivered.trained_on]
    tokenizers = Tokenizers.fit(recipe.diagnoser, trained_on).with_gate(trained_on)
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
        provenance=provenance_of(intake, plan) | {"lengths": list(trial.delivered.lengths)},
    )


def _tried(model: TrainedModel, cases: Sequence[Case], trial: Trial, *, split: str) -> tuple[Finding, ...]:
    """T13, T14 and T16 to T20, asked of the delivered model on some of the cases and of what the trial predicted.

    T15 is asked where explanations are shown: a study shows none.
    """
    some = list(cases[:: max(1, len(cases) // MOST_TRIED)])
    return (
        *check_answers(model.probability, some),
        *check_weights(_readouts(model, some)),
        *check_company(model.probability, some),
        *check_kinds(model.probability, some),
        *check_predictions({split: trial.outcomes}),
    )


def _readouts(model: TrainedModel, cases: Sequence[Case]) -> dict[str, np.ndarray]:
    """The weights with which each network's findings look over the tokens of these cases."""
    found = {}
    for number, network in enumerate(model.networks, start=1):
        batch = model.tokenizers.batch(cases, model.task).to(network.register.device)
        with torch.inference_mode():
            found[f"readout of network {number}"] = network.weights(batch.inputs).double().cpu().numpy()
    return found
