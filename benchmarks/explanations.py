"""Do explanations point at the reasons, and are they true of the model? Every method on the synthetic clinic, over a cohort.

    python -m benchmarks.explanations          # half an hour or more: 2,000 patients train, those of 700 others are asked about
    python -m benchmarks.explanations --patients 400 --members 1 --cases 40 --tested 10 --methods occlusion    # that it runs

Trains the default recipe on one clinic and explains fresh patients of another (style, templates and drawing never seen) with
the reasons known. Pointing game: each modality of each case is asked once, about the disease for which it holds its weightiest
reason; a hit is the centre of the place of largest absolute weight, among those of that modality, inside that reason's mask,
span or value. Asked for: films 0.85, note spans 0.85, driving value 0.9 for the default method over at least 300 cases each.
Beside them: the chance rate; hits where the model itself goes by the modality (its answer for that disease moves by at least
0.2 in the reason's direction when the modality goes), since no explanation of a model blind to a shadow can point at it; hits
where the reason says that a finding is there; over notes, by what the reason's words say (a finding that is there, a symptom
denied, another drug than steroids), how much the answer moves when just they go, beside how much it should; gain over random
orders by deletion and insertion with an interval over patients, and whether that excludes 0; rank correlation between networks
and with random weights; seconds for a case. Times mean something on a quiet machine only.
Generator 7405 (asked with 7455) was used in development, also to choose the default method.
Prints a line of JSON per result as it comes; --json FILE keeps them.
"""

import argparse
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from attending.case import Case
from attending.diagnosis import Task
from attending.explanation.agreement import agreement_of_siblings, survival
from attending.explanation.catalog import EXPLAINERS
from attending.explanation.curves import CurveTest, mean_gain
from attending.explanation.explainer import ExplainerConfig
from attending.explanation.opened import OpenCase
from attending.explanation.pointing import MODALITIES, Target, point, questions, targets_of
from attending.explanation.scale import score_of
from attending.explanation.shapley import ShapleyConfig
from attending.model.trained import TrainedModel, load_model
from attending.privacy import deidentify
from attending.records.clinic import Clinic, ClinicConfig, clinic_schema, draw_clinic
from attending.records.clinic.oracle import Enumeration
from attending.records.clinic.world import DISEASES, STEROIDS, build_world
from attending.records.schema_file import to_toml
from attending.training.bridge import outcomes_of
from attending.training.learner import DiagnoserLearner, Diary
from attending.training.recipe import default_recipe
from attending.training.settling import Declared, settle

TASK = Task(findings=DISEASES)
KEY = bytes(range(32))
ASKED = {"film": 0.85, "note": 0.85, "value": 0.9}
TOLD = ("present", "high")
"""Levels that say that a finding is there; the others that it is not (a symptom denied, another drug, a value in its range)."""
GOES_BY = 0.2
"""Log-odds by which an answer must move without the modality for the model to be said to go by it."""
CALIBRATE = 0.15
Row = dict[str, object]
Asked = tuple[Case, dict[str, Target]]
"""A case, and the question that each of its modalities is asked."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--generator", type=int, default=7506)
    parser.add_argument("--patients", type=int, default=2000)
    parser.add_argument("--members", type=int, default=None, help="networks averaged; the recipe's own number by default")
    parser.add_argument("--cases", type=int, default=700, help="patients explained")
    parser.add_argument("--tested", type=int, default=60, help="of these, cases that are also asked for faithfulness")
    parser.add_argument("--methods", nargs="+", default=[name for name in EXPLAINERS if name != ShapleyConfig.name])
    parser.add_argument("--model", type=Path, help="a finished model of the clinic's findings instead of training one")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    rows: list[Row] = []
    train = draw_clinic(ClinicConfig(n_patients=asked.patients, seed=asked.generator))
    test = draw_clinic(ClinicConfig(n_patients=asked.cases, seed=asked.generator + 50, style="fresh"))
    taught = deidentify(train.charts, key=KEY).cases
    model = load_model(asked.model) if asked.model is not None else trained(train, taught, members=asked.members)
    for row in results(model, test, reference=taught[:64], methods=asked.methods, n_tested=asked.tested):
        rows.append({"generator": asked.generator, "patients": asked.patients, "networks": len(model.networks), **row})
        print(json.dumps(rows[-1]), flush=True)
        if asked.json is not None:
            asked.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def trained(clinic: Clinic, cases: Sequence[Case], *, members: int | None) -> TrainedModel:
    """The default recipe on all but the last patients, which calibrate it."""
    cut = round(len(cases) * (1 - CALIBRATE))
    fit_on, settle_on = cases[:cut], cases[cut:]
    recipe = default_recipe(fit_on, members=members)
    learner = DiagnoserLearner(name="fused", diagnoser=recipe.diagnoser, training=recipe.training)
    fitted = [
        learner.fit(fit_on, length=recipe.training.epochs, task=TASK, seed=member, diary=Diary(heard=lambda _: None))
        for member in range(recipe.training.members)
    ]
    raw = np.mean([one.probability(settle_on) for one in fitted], axis=0)
    return TrainedModel(
        task=TASK,
        config=recipe.diagnoser,
        tokenizers=fitted[0].tokenizers,
        networks=tuple(one.network for one in fitted),
        settling=settle(outcomes_of(settle_on, raw, task=TASK), Declared()),
        schema=to_toml(clinic_schema(clinic)),
        provenance={},
    )


def results(
    model: TrainedModel, test: Clinic, *, reference: Sequence[Case], methods: Sequence[str], n_tested: int
) -> Iterator[Row]:
    """Rows as they are found."""
    safe = deidentify(test.charts, key=KEY)
    beyond = beyond_silence(test)
    asked: list[Asked] = []
    for index, case in enumerate(safe.cases):
        targets = targets_of(case, test.reasons[index], carry=lambda place, index=index: safe.carry(index, place))
        asked.append((case, questions(targets)))
    masks = [target.mask.mean() for _, held in asked for target in held.values() if target.mask is not None]
    yield {"what": "shadows", "median_share_of_film": round(float(np.median(masks)), 3), "n": len(masks)}
    for name in methods:
        yield from pointing(EXPLAINERS[name], model, asked, reference=reference)
        yield from notes_by_what_is_said(EXPLAINERS[name], model, asked, beyond=beyond, reference=reference)
        yield faithfulness(EXPLAINERS[name], model, asked[:n_tested], reference=reference)


def beyond_silence(clinic: Clinic) -> Mapping[str, Float[np.ndarray, "case disease"]]:
    """By finding of the note, what telling it adds to the log-odds of each disease beyond a note that passes over it.

    A reason's own log-odds count from not knowing the finding. Where words are taken away a note remains that is silent about
    it, which tells something too: notes pass over most symptoms that are not there, and over hardly any that are.
    """
    facts, world = clinic.facts, build_world(clinic.config)
    enumeration = Enumeration(clinic.config, world, facts)
    whole = score_of(enumeration.posterior(known=facts.expressed, silent=facts.silent), is_exclusive=False)
    found = {}
    for place, finding in enumerate(world.findings):
        if finding.modality != "note":
            continue
        known, silent = facts.expressed.copy(), facts.silent.copy()
        known[:, place] = False
        silent[:, place] |= facts.expressed[:, place]
        found[finding.name] = whole - score_of(enumeration.posterior(known=known, silent=silent), is_exclusive=False)
    return found


def notes_by_what_is_said(
    config: ExplainerConfig,
    model: TrainedModel,
    asked: Sequence[Asked],
    *,
    beyond: Mapping[str, Float[np.ndarray, "case disease"]],
    reference: Sequence[Case],
) -> Iterator[Row]:
    """The game over notes by what the reason's words say, with what they should move and what they move in the model."""
    explainer = config.build(model, reference)
    found: dict[str, list[tuple[float, ...]]] = {}
    for index, (case, held) in enumerate(asked):
        if "note" not in held:
            continue
        target, column = held["note"], TASK.findings.index(held["note"].disease)
        pointed = point(case, explainer.explain(case, target.disease), target)
        hit, chance = (False, 0.0) if pointed is None else (pointed.is_hit, pointed.chance)
        opened = OpenCase(model, case)
        kept = np.ones((2, len(opened)), dtype=bool)
        kept[1] = [not target.holds(place) for place in opened.places]
        scores = opened.scores(kept)[:, column]
        row = (hit, chance, target.log_odds, beyond[target.finding][index, column], scores[0] - scores[1])
        found.setdefault(said_by(target), []).append(tuple(map(float, row)))
    for said, rows in found.items():
        columns = np.array(rows)
        reason, words, moved = np.median(np.abs(columns[:, 2:]), axis=0)
        yield {
            "method": config.name,
            "what": f"notes whose weightiest reason is {said}",
            "n": len(rows),
            "hit": round(float(columns[:, 0].mean()), 3),
            "chance": round(float(columns[:, 1].mean()), 3),
            "median_log_odds_of_the_reason": round(float(reason), 2),
            "median_log_odds_beyond_a_note_silent_about_it": round(float(words), 2),
            "median_move_of_the_answer_without_its_words": round(float(moved), 2),
        }


def said_by(target: Target) -> str:
    """What a note says with the words of a reason."""
    if target.level in TOLD:
        return "a finding that is there"
    return "another drug than steroids" if target.finding == STEROIDS else "a symptom denied"


def pointing(
    config: ExplainerConfig, model: TrainedModel, asked: Sequence[Asked], *, reference: Sequence[Case]
) -> Iterator[Row]:
    """The pointing game of one method, a row for each modality."""
    explainer = config.build(model, reference)
    hits: dict[str, list[tuple[bool, float, bool, bool]]] = {modality: [] for modality in MODALITIES}
    silent = dict.fromkeys(MODALITIES, 0)
    seconds = []
    for case, held in asked:
        by_disease = {}
        for modality, target in held.items():
            if target.disease not in by_disease:
                began = time.monotonic()
                by_disease[target.disease] = explainer.explain(case, target.disease)
                seconds.append(time.monotonic() - began)
            found = point(case, by_disease[target.disease], target)
            if found is None:
                silent[modality] += 1
                continue
            goes, is_told = goes_by(model, case, target), target.level in TOLD
            hits[modality].append((found.is_hit, found.chance, goes, is_told))
    for modality, found in hits.items():
        if not found:
            continue
        is_hit, chance, goes, told = (np.array(column, dtype=float) for column in zip(*found, strict=True))
        share = float(is_hit.mean())
        yield {
            "method": config.name,
            "modality": modality,
            "n": len(found),
            "hit": round(share, 3),
            "se": round(float(np.sqrt(share * (1 - share) / len(found))), 3),
            "chance": round(float(chance.mean()), 3),
            "asked_for": ASKED.get(modality),
            "hit_where_the_model_goes_by_it": round(float(is_hit[goes == 1].mean()), 3) if goes.any() else None,
            "n_where_it_does": int(goes.sum()),
            "hit_where_the_finding_is_there": round(float(is_hit[told == 1].mean()), 3) if told.any() else None,
            "n_where_it_is": int(told.sum()),
            "weighs_nothing_there": silent[modality],
            "p50_seconds": round(float(np.median(seconds)), 3),
        }


def goes_by(model: TrainedModel, case: Case, target: Target) -> bool:
    """Whether the answer moves in the reason's direction by the modality in which it lies."""
    without = case
    for kind in MODALITIES[target.modality]:
        without = without.without(kind)
    column = TASK.findings.index(target.disease)
    scores = score_of(model.probability([case, without]), is_exclusive=False)[:, column]
    return bool((scores[0] - scores[1]) * np.sign(target.log_odds) >= GOES_BY)


def faithfulness(config: ExplainerConfig, model: TrainedModel, asked: Sequence[Asked], *, reference: Sequence[Case]) -> Row:
    """Deletion and insertion, siblings and random weights of one method, for each case's likeliest disease."""
    explainer = config.build(model, reference)
    gains, patients, alike, survived = [], [], [], []
    likeliest = model.probability([case for case, _ in asked]).argmax(axis=1)
    for (case, _), column in zip(asked, likeliest, strict=True):
        explanation = explainer.explain(case, TASK.findings[column])
        gains.append(CurveTest(model, case).of(explanation, has_sign=config.has_sign).gain)
        patients.append(case.patient)
        siblings = agreement_of_siblings(config, model, case, explanation.finding, reference=reference)
        untrained = survival(config, model, case, explanation, reference=reference, n_random=1)
        alike += [siblings.value] if siblings.value is not None else []
        survived += [untrained.value] if untrained.value is not None else []
    gain = mean_gain(gains, patients)
    return {
        "method": config.name,
        "what": "true of the model",
        "n": gain.n,
        "gain": gain.value and round(gain.value, 3),
        "low": gain.low and round(gain.low, 3),
        "high": gain.high and round(gain.high, 3),
        "is_above_random": gain.low is not None and gain.low > 0,
        "siblings": round(float(np.mean(alike)), 2) if alike else "not assessed",
        "random_weights": round(float(np.mean(survived)), 2) if survived else "not assessed",
    }


if __name__ == "__main__":
    main()
