"""Cases become rows with their strata: what kinds of evidence they hold, age bands, sex."""

from dataclasses import replace

import numpy as np
import pytest

from attending.case import KINDS, Case, Demographics, Lab, Note, Scan
from attending.diagnosis import Task
from attending.evaluation.outcomes import Outcomes
from attending.training.bridge import outcomes_of, pattern_of, with_subgroups
from attending.training.fits import ablations
from tests.model.cases_at_hand import patient

TASK = Task(findings=("sick",))


def test_patterns_and_ablations_call_a_film_image_as_the_command_line_does() -> None:
    case = patient(1, kinds=(Note, Scan, Lab))
    assert pattern_of(case) == "note+image+lab"
    assert [question.name for question in ablations({case.id: case}, (case.id,))] == [
        "without-note",
        "without-image",
        "without-lab",
    ]
    assert pattern_of(patient(1, kinds=())) == "nothing"
    assert pattern_of(patient(1, kinds=KINDS)) == "note+image+lab+sign+demographics+embedding"


@pytest.mark.parametrize(
    ("age", "band"),
    [(0.0, "0 to 17 years"), (18.0, "18 to 44 years"), (79.9, "65 to 79 years"), (80.0, "80 years or more")],
)
def test_age_bands_hold_their_lower_end(age: float, band: str) -> None:
    (told,) = _rows([Demographics(age_years=age)])["fused"].strata["age band"]
    assert told == band


def test_age_and_sex_become_strata_where_any_case_states_them_and_the_table_has_none() -> None:
    rows = _rows([Demographics(age_years=50.0, sex="f"), Demographics(sex="m"), None])["fused"]
    assert rows.strata["age band"].tolist() == ["45 to 64 years", "not stated", "not stated"]
    assert rows.strata["sex"].tolist() == ["f", "m", "not stated"]
    assert not {"age band", "sex"} & set(_rows([None, None])["fused"].strata)
    own = _rows([Demographics(age_years=50.0, sex="f")], strata={"sex": "as recorded"})["fused"]
    assert own.strata["sex"].tolist() == ["as recorded"]


def _rows(people: list[Demographics | None], strata: dict[str, str] | None = None) -> dict[str, Outcomes]:
    cases: list[Case] = []
    for number, person in enumerate(people):
        bare = patient(number, kinds=(Note,))
        evidence = bare.evidence if person is None else (*bare.evidence, person)
        cases.append(replace(bare, evidence=evidence, strata=strata or {}))
    return with_subgroups({"fused": outcomes_of(cases, np.full((len(cases), 1), 0.5), task=TASK)}, cases)
