"""What the gate of a model says of cases: usual ones pass, a strange film, note or value is named, absence is no reason."""

from dataclasses import replace

import numpy as np
import pytest

from attending.case import Demographics, Embedding, Evidence, Lab, Note, Scan, Sign
from attending.model.diagnoser import NO_EVIDENCE, Tokenizers
from attending.training.recipe import default_recipe
from tests.model.cases_at_hand import patient, patients

N = 240
KINDS = (Note, Scan, Lab, Demographics, Embedding)


@pytest.fixture(scope="module")
def tokenizers():
    cases = patients(N)
    return Tokenizers.fit(default_recipe(cases).diagnoser, cases).with_gate(cases)


def altered(case, kind: type[Evidence], **change: object):
    """The case with every evidence of one kind changed."""
    return replace(case, evidence=tuple(replace(e, **change) if isinstance(e, kind) else e for e in case.evidence))


FRESH = [patient(number) for number in range(N, N + 30)]
CHECKS = np.indices((40, 32)).sum(axis=0) % 2 * 1.0


@pytest.mark.parametrize(
    ("kind", "change", "named"),
    [
        (Scan, {"pixels": CHECKS.astype(np.float32)}, "image"),
        (Note, {"text": "zwei Wochen lang starker Husten mit gelbem Auswurf und hohem Fieber seit Montag"}, "note"),
        (Note, {"text": "cough . " * 3000}, "note"),
        (Lab, {"value": 1e5}, ("crp", "wbc")),
        (Demographics, {"age_years": 900.0}, "age"),
        (Embedding, {"vector": np.full(5, 40.0)}, "ecg"),
    ],
)
def test_what_is_unlike_training_is_named(tokenizers, kind, change, named):
    reasons = tokenizers.unusable([altered(case, kind, **change) for case in FRESH])
    names = {reason.removesuffix(" is unlike what the model was trained on") for reason in reasons if reason}
    assert names <= set(np.atleast_1d(named))
    assert all(reasons)


def test_usual_cases_pass_and_absence_is_no_reason(tokenizers):
    assert sum(reason is not None for reason in tokenizers.unusable(FRESH)) <= 2
    alone = [patient(number, kinds=(kind,)) for number in range(N, N + 10) for kind in KINDS]
    assert sum(reason is not None for reason in tokenizers.unusable(alone)) <= 2
    assert tokenizers.unusable([patient(N, kinds=())]) == (NO_EVIDENCE,)


def test_words_that_training_hides_are_no_reason(tokenizers):
    """A fifth of the words unknown, as in notes from elsewhere: training hides more than that."""
    text = " ".join(["cough dry chest pain"] * 4 + ["hacking whooping barking wheezy ."])
    strangers = [altered(case, Note, text=text) for case in FRESH]
    assert sum(reason is not None for reason in tokenizers.unusable(strangers)) <= 2


def test_a_case_is_judged_whatever_its_company(tokenizers):
    cases = [altered(FRESH[0], Lab, value=1e5), *FRESH[1:]]
    assert tokenizers.unusable(cases) == tuple(tokenizers.unusable([case])[0] for case in cases)


def test_kinds_of_evidence_without_traits_are_never_unlike(tokenizers):
    """Signs have none: a model of nothing else has an open gate, for any number of cases."""
    cases = [patient(number, kinds=(Sign,)) for number in range(120)]
    signs_alone = Tokenizers.fit(default_recipe(cases).diagnoser, cases).with_gate(cases)
    assert signs_alone.unusable([*cases[:3], patient(0, kinds=())]) == (None, None, None, NO_EVIDENCE)


def test_the_largest_number_there_is_is_unlike_and_nothing_worse(tokenizers):
    largest = altered(FRESH[0], Lab, value=1.7e308)
    (reason,) = tokenizers.unusable([largest])
    assert reason is not None
    inputs = tokenizers.by_kind[Lab].read([largest])
    assert inputs.features.isfinite().all()


def test_without_a_gate_only_the_empty_case_is_turned_away(tokenizers):
    without = replace(tokenizers, gate=None)
    assert without.unusable([altered(FRESH[0], Lab, value=1e5), patient(N, kinds=())]) == (None, NO_EVIDENCE)
