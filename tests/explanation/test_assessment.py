"""Truth over many patients: figures agree with single cases, frauds are found, and what is kept survives being killed."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from attending.artefacts import MANIFEST, ArtefactError, seal
from attending.case import Case, Lab
from attending.evaluation.estimate import Estimate
from attending.explanation import OcclusionConfig
from attending.explanation.agreement import agreement_of_siblings, survival
from attending.explanation.assessment import Assessed, Figures, Ground, assess, choose
from attending.explanation.assessment_file import folder_of, read_assessed, write_assessed
from attending.explanation.assessment_words import interval, lines_of, measured_on, sentence_of
from attending.explanation.curves import CurveTest
from attending.explanation.explainer import ExplainerConfig
from attending.explanation.pointing import Target, says_absent
from tests.explanation.models_at_hand import CASES, WHOLE, model_of, plant_value
from tests.explanation.test_truth import ByPositionConfig

MODEL = model_of()
ASKED = CASES[3:15]
GROUND = Ground(
    table="patients.csv",
    table_sha256="0" * 64,
    at="2026-11-21T12:00:00Z",
    software="0",
    seed=0,
    is_synthetic=False,
    is_training=False,
)


def figures(config: ExplainerConfig, cases: Sequence[Case] = ASKED, **more: object) -> Figures:
    (found,) = assess(MODEL, cases, [config], reference=CASES[:3], **more)  # type: ignore[arg-type]
    return found


@pytest.fixture(scope="module")
def occluded() -> Assessed:
    return Assessed(figures=figures(OcclusionConfig()), ground=GROUND)


def test_figures_are_the_means_of_single_cases(occluded: Assessed) -> None:
    config, found = OcclusionConfig(), occluded.figures
    gains, above, alike, survived = [], [], [], []
    for case in ASKED:
        finding = MODEL.task.findings[int(MODEL.probability([case])[0].argmax())]
        explanation = config.build(MODEL, ()).explain(case, finding)
        curve = CurveTest(MODEL, case).of(explanation, has_sign=True)
        gains.append(curve.gain)
        above.append(curve.deletion.is_above and curve.insertion.is_above)
        alike.append(agreement_of_siblings(config, MODEL, case, finding, reference=()).value)
        survived.append(survival(config, MODEL, case, explanation, reference=()).value)
    assert found.gain.value == pytest.approx(np.mean(gains))
    assert found.gain.low is not None
    assert found.gain.low > 0
    assert (found.above_chance.events, found.above_chance.n) == (sum(above), len(ASKED))
    assert found.siblings.value == pytest.approx(np.mean([value for value in alike if value is not None]))
    assert found.random_weights.value == pytest.approx(np.mean([value for value in survived if value is not None]))
    assert (found.method, found.n, found.unit, found.pointing) == ("occlusion", len(ASKED), "log-odds", ())


def test_a_fraud_is_found_over_many_patients_too() -> None:
    found = figures(ByPositionConfig())
    assert found.random_weights.value == pytest.approx(1.0)
    assert found.refused.value == 1.0
    assert found.gain.low is not None
    assert found.gain.low < 0.3
    lines = lines_of(Assessed(figures=found, ground=GROUND))
    assert lines[3].is_good is False
    assert lines[0].is_good is not True


def test_known_reasons_are_pointed_at_and_denials_not_asked_about() -> None:
    model = plant_value(model_of(), "wbc")
    cases = [case for case in ASKED if any(lab.code == "wbc" for lab in case.of(Lab))]

    def target(case: Case, **more: object) -> Target:
        labs = frozenset(i for i, e in enumerate(case.evidence) if isinstance(e, Lab) and e.code == "wbc")
        held = {"finding": "wbc", "disease": "sick", "modality": "value", "level": "high", "log_odds": 2.0, "evidence": labs}
        return Target(**{**held, **more})  # type: ignore[arg-type]

    denied = [target(case, modality="note", level="absent", finding="weight_loss") for case in cases]
    assert all(map(says_absent, denied))
    assert not says_absent(target(cases[0]))
    unasked = [target(case, disease="gout", log_odds=9.0) for case in cases]
    targets = [[target(case), no, other] for case, no, other in zip(cases, denied, unasked, strict=True)]
    (found,) = assess(model, cases, [OcclusionConfig()], reference=(), targets=targets)
    (pointed,) = found.pointing
    assert (pointed.modality, pointed.hits.value, pointed.hits.n) == ("value", 1.0, len(cases))
    assert 0 < pointed.chance < 1
    assert pointed.hits.low == pytest.approx(0.025 ** (1 / len(cases)))  # Clopper–Pearson by hand where all are hits


def test_a_patient_is_asked_about_once_and_shows_what_is_usual_to_nobody_of_their_own() -> None:
    twice = [*CASES, *(replace(case, id=f"{case.id}-again") for case in CASES)]  # type: ignore[type-var]
    chosen = choose(MODEL, twice, n=10, n_reference=6, seed=1)
    assert (len(chosen.asked), len(chosen.reference)) == (10, 6)
    people = [twice[index].patient for index in (*chosen.asked, *chosen.reference)]
    assert len(set(people)) == 16
    assert chosen == choose(MODEL, twice, n=10, n_reference=6, seed=1) != choose(MODEL, twice, n=10, n_reference=6, seed=2)
    all_of_them = choose(MODEL, twice, n=999, n_reference=64, seed=1)
    assert (len(all_of_them.asked), len(all_of_them.reference)) == (16, 8)


def test_who_the_model_abstains_for_is_left_out_and_counted() -> None:
    nothing = [replace(case, evidence=()) for case in CASES[:5]]
    chosen = choose(MODEL, [*nothing, *CASES[5:]], n=999, n_reference=0, seed=0)
    assert chosen.n_unfit == 5
    assert sorted(chosen.asked) == list(range(5, len(CASES)))


def test_few_patients_have_no_interval_and_no_verdict() -> None:
    found = figures(OcclusionConfig(), CASES[3:6])
    assert found.gain.low is None
    line = lines_of(Assessed(figures=found, ground=GROUND))[0]
    assert line.is_good is None
    assert "under 10 patients: no interval is given" in line.answer


def test_lines_say_on_what_and_when(occluded: Assessed) -> None:
    lines = lines_of(occluded)
    assert {line.measured_on for line in lines} == {"12 patients of patients.csv, 2026-11-21"}
    assert lines[0].is_good
    told = replace(occluded, ground=replace(GROUND, is_synthetic=True, is_training=True))
    assert measured_on(told) == "12 patients of patients.csv, synthetic clinic, the file it was trained on, 2026-11-21"
    assert sentence_of(occluded).endswith("measured on 12 patients of patients.csv, 2026-11-21")
    assert not [word for word in ("valid", "proven", "correct") if word in sentence_of(occluded)]
    assert interval(Estimate(value=2.066, low=1.87, high=2.26, n=60, events=60, method="")) == "+2.07 (+1.87 to +2.26), n = 60"


def test_what_is_kept_is_read_again_for_these_weights_alone(occluded: Assessed, tmp_path: Path) -> None:
    assert read_assessed(tmp_path, model=MODEL.id) == {}
    kept = write_assessed(tmp_path, model=MODEL.id, found=[occluded])
    assert read_assessed(tmp_path, model=MODEL.id) == {"occlusion": occluded}
    assert read_assessed(tmp_path, model="another") == {}
    assert kept.parent == folder_of(tmp_path) == tmp_path / "explanations"
    MODEL.save(tmp_path / "run" / "model")
    before = (tmp_path / "run" / "model" / MANIFEST).read_bytes()
    write_assessed(tmp_path / "run", model=MODEL.id, found=[occluded])
    assert read_assessed(tmp_path / "run" / "model", model=MODEL.id) == {"occlusion": occluded}
    assert (tmp_path / "run" / "model" / MANIFEST).read_bytes() == before


def test_pointing_is_kept_too(occluded: Assessed, tmp_path: Path) -> None:
    labs = frozenset(i for i, e in enumerate(WHOLE.evidence) if isinstance(e, Lab))
    target = Target(finding="wbc", disease="sick", modality="value", level="high", log_odds=2.0, evidence=labs)
    found = Assessed(figures=figures(OcclusionConfig(), [WHOLE], targets=[[target]]), ground=GROUND)
    write_assessed(tmp_path, model=MODEL.id, found=[found])
    assert read_assessed(tmp_path, model=MODEL.id)["occlusion"].figures.pointing == found.figures.pointing != ()


def test_killed_between_the_files_the_old_one_stands(occluded: Assessed, tmp_path: Path) -> None:
    """The new file is there and the manifest still that of the old one: as a process killed before the end leaves it."""
    write_assessed(tmp_path, model=MODEL.id, found=[occluded])
    manifest = (folder_of(tmp_path) / MANIFEST).read_bytes()
    (old,) = folder_of(tmp_path).glob("assessment-*.json")
    content = old.read_bytes()
    other = replace(occluded, ground=replace(GROUND, seed=7))
    write_assessed(tmp_path, model=MODEL.id, found=[other])
    assert not old.exists()
    (folder_of(tmp_path) / MANIFEST).write_bytes(manifest)
    old.write_bytes(content)
    assert read_assessed(tmp_path, model=MODEL.id) == {"occlusion": occluded}
    (folder_of(tmp_path) / MANIFEST).unlink()
    assert read_assessed(tmp_path, model=MODEL.id) == {}


def test_damage_is_told(occluded: Assessed, tmp_path: Path) -> None:
    kept = write_assessed(tmp_path, model=MODEL.id, found=[occluded])
    whole = kept.read_text(encoding="utf-8")
    kept.write_text(whole.replace("patients.csv", "patientz.csv"), encoding="utf-8")
    with pytest.raises(ArtefactError, match=r"does not match its SHA-256.*attending assess measures and writes it anew"):
        read_assessed(tmp_path, model=MODEL.id)
    plain = json.loads(whole)
    plain["methods"][0]["figures"]["surprise"] = 1
    kept.unlink()
    written = write_assessed(tmp_path, model=MODEL.id, found=[])
    written.write_text(json.dumps(plain), encoding="utf-8")
    seal(folder_of(tmp_path), [written.name])
    with pytest.raises(ArtefactError, match="is not what attending assess writes"):
        read_assessed(tmp_path, model=MODEL.id)


def test_how_far_it_is_is_told_after_every_patient() -> None:
    heard: list[int] = []
    figures(OcclusionConfig(), CASES[3:6], told=heard.append)
    assert heard == [1, 2, 3]
