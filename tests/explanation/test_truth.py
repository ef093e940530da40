"""What explanations are worth: true ones pass, planted false ones are found, and nothing is assessed that cannot be."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from attending.case import Box, Case, Characters, Lab, Note, Place, Scan, Sign
from attending.diagnosis import Explanation
from attending.explanation import ExplanationError, GradientsConfig, OcclusionConfig, PlaceShapleyConfig
from attending.explanation.agreement import (
    SURVIVES,
    agreement_of_siblings,
    likeness,
    siblings,
    survival,
    with_random_weights,
)
from attending.explanation.curves import CurveTest, mean_gain
from attending.explanation.explainer import Explainer, ExplainerConfig
from attending.explanation.neighbours import Neighbours
from attending.explanation.pointing import KnownReasons, Target, point, questions, targets_of
from attending.explanation.truth import OWN, SYNTHETIC, Examined, examine
from attending.model.trained import TrainedModel
from attending.privacy import deidentify
from attending.records.clinic import ClinicConfig, draw_clinic, write_clinic
from tests.explanation.models_at_hand import CASES, WHOLE, model_of, plant_value

MODEL = model_of()


@dataclass(frozen=True, kw_only=True)
class ByPositionConfig(ExplainerConfig):
    """A planted fraud: weights that depend on the place and on nothing that the model learned."""

    name: ClassVar[str] = "by-position"
    told: ClassVar[str] = "nothing"

    def build(self, model: TrainedModel, reference: Sequence[Case]) -> Explainer:
        return ByPosition(model)


class ByPosition(Explainer):
    def __init__(self, model: TrainedModel) -> None:
        self.model = model

    def explain(self, case: Case, finding: str) -> Explanation:
        told = OcclusionConfig().build(self.model, ()).explain(case, finding)
        return replace(told, weights=tuple((place, np.sin(7.0 * n)) for n, (place, _) in enumerate(told.weights)))


def examined(config: ExplainerConfig, model: TrainedModel = MODEL) -> Examined:
    explanation = config.build(model, CASES).explain(WHOLE, "sick")
    return examine(config, model, WHOLE, explanation, curves=CurveTest(model, WHOLE), reference=CASES)


def test_an_explanation_that_ignores_the_model_is_refused() -> None:
    found = examined(ByPositionConfig())
    assert found.refused is not None
    assert found.refused.startswith("Refused: networks with random weights give the same picture (rank correlation 1.00)")


@pytest.mark.parametrize("config", [OcclusionConfig(), PlaceShapleyConfig(n_pairs=2)], ids=lambda config: config.name)
def test_explanations_that_ask_the_model_are_faithful_and_shown(config: ExplainerConfig) -> None:
    found = examined(config)
    assert found.refused is None
    assert found.gain > 0
    assert [score.is_good for score in found.scores[:2]] == [True, True]
    assert {score.measured_on for score in found.scores} == {OWN}


def test_gradients_are_faithful_as_places_go() -> None:
    """They compare with the usual token and not with absence, so nothing is promised of places that come in."""
    found = examined(GradientsConfig(n_points=8))
    assert found.refused is None
    assert found.gain > 0
    assert found.scores[0].is_good


def test_the_wrong_way_round_is_worse_than_chance() -> None:
    curves = CurveTest(MODEL, WHOLE)
    told = PlaceShapleyConfig(n_pairs=2).build(MODEL, ()).explain(WHOLE, "sick")
    turned = replace(told, weights=tuple((place, -weight) for place, weight in told.weights))
    right, wrong = (curves.of(one, has_sign=True) for one in (told, turned))
    assert right.deletion.area > right.deletion.range[1]
    assert wrong.deletion.area < wrong.deletion.range[0]
    assert wrong.gain < 0 < right.gain


def test_curves_of_one_driving_value_by_hand() -> None:
    """With one value that is all, deletion loses everything in its first step: area (steps − 1) / steps of the whole way."""
    model = plant_value(model_of(), "wbc")
    test = CurveTest(model, WHOLE, n_steps=1000)
    found = test.of(OcclusionConfig().build(model, ()).explain(WHOLE, "sick"), has_sign=True)
    n = len(test.opened)
    way = found.deletion.answers[0] - found.deletion.answers[-1]
    assert way > 0.5
    assert found.deletion.area == pytest.approx(way * n / (n + 1), rel=1e-4)
    assert found.insertion.area == pytest.approx(way * n / (n + 1), rel=1e-4)
    assert found.deletion.random.mean() == pytest.approx(way / 2, rel=0.35)


def test_one_network_has_no_siblings() -> None:
    alone = model_of(members=1)
    found = agreement_of_siblings(OcclusionConfig(), alone, WHOLE, "sick", reference=CASES)
    assert (found.value, found.note) == (None, "not assessed: the model has one network")
    three = model_of(members=3)
    assert [one.networks for one in siblings(three)] == [(network,) for network in three.networks]
    assert agreement_of_siblings(OcclusionConfig(), three, WHOLE, "sick", reference=CASES).n_pairs == 3


def test_twins_agree_in_everything() -> None:
    model = replace(MODEL, networks=(MODEL.networks[0], MODEL.networks[0]))
    assert agreement_of_siblings(OcclusionConfig(), model, WHOLE, "sick", reference=CASES).value == pytest.approx(1.0)


def test_likeness_counts_within_each_kind_of_evidence() -> None:
    """Values in the same order, words in the opposite one; that values weigh more than words counts for nothing."""
    labs = [i for i, e in enumerate(WHOLE.evidence) if isinstance(e, Lab)]
    note = next(i for i, e in enumerate(WHOLE.evidence) if isinstance(e, Note))
    places = [*(Place(i) for i in labs), *(Place(note, Characters(n, n + 1)) for n in range(3))]
    one, other = (
        Explanation(finding="sick", method="by hand", weights=tuple(zip(places, weights, strict=True)))
        for weights in ((9.0, 8.0, 7.0, 1.0, 2.0, 3.0), (90.0, 80.0, 70.0, 3.0, 2.0, 1.0))
    )
    assert likeness(one, other, WHOLE) == pytest.approx(0.0)
    assert likeness(one, one, WHOLE) == pytest.approx(1.0)
    assert np.isnan(likeness(one, replace(other, weights=other.weights[:2]), WHOLE))


def test_random_weights_are_other_weights_and_leave_the_model_alone() -> None:
    before = MODEL.id
    untrained = with_random_weights(MODEL, seed=0)
    assert MODEL.id == before != untrained.id
    assert untrained.id == with_random_weights(MODEL, seed=0).id != with_random_weights(MODEL, seed=1).id
    told = OcclusionConfig().build(MODEL, ()).explain(WHOLE, "sick")
    found = survival(OcclusionConfig(), MODEL, WHOLE, told, reference=CASES)
    assert found.value is not None
    assert found.value < SURVIVES


def test_the_mean_gain_has_an_interval_where_patients_carry_it() -> None:
    dice = np.random.default_rng(0)
    gains = dice.normal(0.5, 1.0, 400)
    found = mean_gain(gains, [f"p{n}" for n in range(400)])
    assert found.value == pytest.approx(gains.mean())
    assert found.low is not None
    assert found.high is not None
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * gains.std() / 20, rel=0.1)
    assert mean_gain([1.0] * 9, [f"p{n}" for n in range(9)]).low is None
    assert mean_gain([], []).value is None


def test_targets_are_hit_in_their_centre_and_chance_is_counted() -> None:
    film = next(i for i, e in enumerate(WHOLE.evidence) if isinstance(e, Scan))
    mask = np.zeros((40, 32), dtype=bool)
    mask[4:12, 4:12] = True
    target = Target(
        finding="patch", disease="sick", modality="film", level="present", log_odds=1.0, evidence=frozenset({film}), mask=mask
    )
    boxes = [Box(0, 0, 16, 16), Box(0, 16, 16, 32), Box(16, 0, 32, 16), Box(16, 16, 32, 32)]
    for heaviest, is_hit in ((0, True), (3, False)):
        weights = tuple((Place(film, box), -2.0 if n == heaviest else 0.5) for n, box in enumerate(boxes))
        found = point(WHOLE, Explanation(finding="sick", method="by hand", weights=weights), target)
        assert found is not None
        assert (found.is_hit, found.chance) == (is_hit, 0.25)
    nothing = Explanation(finding="sick", method="by hand", weights=tuple((Place(film, box), 0.0) for box in boxes))
    assert point(WHOLE, nothing, target) is None


def test_reasons_read_from_files_are_those_of_the_clinic(tmp_path: Path) -> None:
    clinic = draw_clinic(ClinicConfig(n_patients=12, seed=5))
    write_clinic(clinic, tmp_path / "clinic")
    safe = deidentify(clinic.charts, key=bytes(range(32)))
    n_masks, written = 0, KnownReasons(tmp_path / "clinic")
    for index, (chart, case) in enumerate(zip(clinic.charts, safe.cases, strict=True)):
        carry = lambda place, index=index: safe.carry(index, place)  # noqa: E731
        own = targets_of(case, clinic.reasons[index], carry=carry)
        read = targets_of(case, written.of(str(chart.id)), carry=carry)
        assert [(t.finding, t.disease, t.modality, t.evidence, t.span) for t in own] == [
            (t.finding, t.disease, t.modality, t.evidence, t.span) for t in read
        ]
        for one, other in zip(own, read, strict=True):
            assert one.log_odds == pytest.approx(other.log_odds, abs=1e-4)
            assert (one.mask is None) == (other.mask is None)
            if one.mask is not None and other.mask is not None:
                n_masks += 1
                assert np.array_equal(one.mask, other.mask)
        for target in own:
            assert all(isinstance(case.evidence[i], {"film": Scan, "note": Note, "value": Lab, "sign": Sign}[target.modality])
                       for i in target.evidence)  # fmt: skip
        for modality, chosen in questions(own).items():
            assert abs(chosen.log_odds) == max(abs(t.log_odds) for t in own if t.modality == modality)
    assert n_masks > 10
    assert written.are_there
    assert written.of("nobody") == KnownReasons(tmp_path).of("P000001-1") == {}
    assert not KnownReasons(tmp_path).are_there


def test_the_known_reasons_stand_beside_the_explanation() -> None:
    labs = frozenset(i for i, e in enumerate(WHOLE.evidence) if isinstance(e, Lab) and e.code == "wbc")
    target = Target(finding="wbc", disease="sick", modality="value", level="high", log_odds=2.0, evidence=labs)
    model = plant_value(model_of(), "wbc")
    config = OcclusionConfig()
    explanation = config.build(model, ()).explain(WHOLE, "sick")
    curves = CurveTest(model, WHOLE)
    held = examine(config, model, WHOLE, explanation, curves=curves, reference=CASES, targets=(target,), is_synthetic=True)
    assert held.scores[-1].answer.startswith("yes; a random place would in")
    assert {score.measured_on for score in held.scores} == {SYNTHETIC}


def test_the_nearest_case_is_the_same_evidence_again() -> None:
    again = replace(WHOLE, id="again", patient="somebody else")  # type: ignore[arg-type]
    found = Neighbours(MODEL, (*CASES, again)).nearest(WHOLE, "sick", n=4)
    assert found[0].case == "again"
    assert found[0].distance == pytest.approx(0.0, abs=1e-6)
    assert [one.distance for one in found] == sorted(one.distance for one in found)
    assert WHOLE.id not in [one.case for one in found]
    assert found[0].recorded == WHOLE.truth["sick"]
    with pytest.raises(ExplanationError, match="no cases of other patients"):
        Neighbours(MODEL, ())


def test_words_that_deny_are_not_held_against_the_marks() -> None:
    """A model may go by the word that is missing, and no place can show that."""
    note = next(i for i, e in enumerate(WHOLE.evidence) if isinstance(e, Note))
    config, curves = OcclusionConfig(), CurveTest(MODEL, WHOLE)
    explanation = config.build(MODEL, ()).explain(WHOLE, "sick")
    target = Target(
        finding="cough", disease="sick", modality="note", level="present", log_odds=1.0,
        evidence=frozenset({note}), span=Characters(0, 9),
    )  # fmt: skip
    denied = replace(target, finding="fever", level="absent", log_odds=-9.0)
    found = [
        examine(config, MODEL, WHOLE, explanation, curves=curves, reference=(), targets=held, is_synthetic=True).scores[4:]
        for held in ((target, denied), (denied,))
    ]
    assert [[score.asked for score in scores] for scores in found] == [
        ["Its heaviest place of the note lies in the known reason (cough, +1.00)"],
        [],
    ]
