"""Facts that change how other evidence is read: found where planted, not found where not, and the score test by hand."""

import json
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import chi2, kstest

from attending.attention import GroupedConfig
from attending.case import Case, CaseId, GroupId, Lab, Note, PatientId, Sign, Unit
from attending.diagnosis import Task
from attending.model.diagnoser import Diagnoser, DiagnoserConfig, Tokenizers
from attending.model.numbers import NumbersConfig
from attending.model.signs import SignsConfig
from attending.model.switches import Switch, _chances, _Finding, find_switches
from attending.model.text import TextConfig
from attending.model.tokens import Kind

TASK = Task(findings=("first", "second"))
ATTENTION = GroupedConfig(dim=16, n_heads=2)
FILLERS = ("seen", "today", "walks", "sleeps", "eats", "works", "rests")


def config(**changes: object) -> DiagnoserConfig:
    made = DiagnoserConfig(
        modalities=(NumbersConfig(n_bins=4), SignsConfig(), TextConfig(min_patients=2)),
        fusion=(),
        readout=ATTENTION,
        switches=3,
    )
    return replace(made, **changes)


def cases(n: int, *, strength: float, seed: int = 0, visits: int = 1) -> list[Case]:
    """CRP speaks for the first finding, and where the note says "prednisolone" for the second, as far as `strength` goes."""
    rng = np.random.default_rng(seed)
    found = []
    for number in range(n):
        crp = float(rng.normal())
        is_switched = bool(rng.random() < 0.4)
        turned = is_switched and rng.random() < strength
        first = rng.random() < 1 / (1 + np.exp(-2.5 * (crp if not turned else 0.0)))
        second = rng.random() < 1 / (1 + np.exp(-2.5 * (crp if turned else 0.0)))
        words = list(rng.choice(FILLERS, 4)) + (["prednisolone"] if is_switched else [])
        evidence = (
            Lab(code="crp", value=crp, unit=Unit("mg/L")),
            Note(text=" ".join(words), field_name="history"),
            Sign(name="pain", value=str(rng.choice(("no", "yes"))), levels=("no", "yes")),
        )
        for visit in range(visits):
            found.append(
                Case(
                    id=CaseId(f"case-{number}-{visit}"),
                    patient=PatientId(f"patient-{number}"),
                    group=GroupId(f"patient-{number}"),
                    evidence=evidence if rng.random() < 0.9 else evidence[:2],
                    truth={"first": bool(first), "second": bool(second)},
                    site=None,
                )
            )
    return found


def found_in(some: list[Case]) -> tuple[Switch, ...]:
    return Tokenizers.fit(config(), some).switches


def test_a_planted_switch_is_found_and_nothing_else() -> None:
    found = found_in(cases(600, strength=1.0))
    assert [(s.states, s.fact, s.reads) for s in found] == [(Note, "prednisolone", Lab)]
    assert found[0].log10_chance < -6


@pytest.mark.parametrize("seed", range(6))
def test_nothing_is_found_where_there_is_none(seed: int) -> None:
    assert found_in(cases(400, strength=0.0, seed=seed)) == ()


def test_a_patient_seen_five_times_shows_no_more_than_one_seen_once() -> None:
    once = found_in(cases(400, strength=1.0))[0].log10_chance
    often = found_in(cases(400, strength=1.0, visits=5))[0].log10_chance
    assert once < -3
    assert abs(often - once) < 0.25 * abs(once)


def test_few_patients_are_asked_nothing() -> None:
    assert found_in(cases(30, strength=1.0)) == ()


def test_no_fact_is_asked_of_cases_without_truth() -> None:
    assert found_in([replace(case, truth={}) for case in cases(200, strength=1.0)]) == ()


def test_none_is_looked_for_unless_the_configuration_says_so() -> None:
    assert Tokenizers.fit(config(switches=0), cases(300, strength=1.0)).switches == ()


def test_the_statistic_is_the_drop_in_information_worked_out_one_fact_at_a_time() -> None:
    rng = np.random.default_rng(0)
    n, q = 300, 3
    sketch, stated = rng.normal(size=(n, q)), (rng.random((n, 2)) < 0.4).astype(float)
    probability = 1 / (1 + np.exp(-sketch[:, 0]))
    truth = (rng.random(n) < probability).astype(float)
    weight = rng.uniform(0.5, 1.0, n)
    finding = _Finding(rows=np.arange(n), truth=truth, weight=weight)
    found = _chances(stated, sketch, [finding], [probability])
    for fact in range(2):
        design = np.column_stack([np.ones(n), sketch, stated[:, fact], sketch * stated[:, [fact]]])
        score = design.T @ (weight * (truth - probability))
        information = design.T @ (design * (weight * probability * (1 - probability))[:, None])
        kept = slice(0, q + 2)
        statistic = score @ np.linalg.solve(information, score) - score[kept] @ np.linalg.solve(
            information[kept, kept], score[kept]
        )
        assert found[fact] == pytest.approx(chi2.logsf(statistic, q) / np.log(10), rel=1e-3)


def test_without_an_effect_chances_are_uniform() -> None:
    rng = np.random.default_rng(1)
    n, q = 400, 3
    sketch = rng.normal(size=(n, q))
    probability = 1 / (1 + np.exp(-0.5 * sketch[:, 0]))
    found = []
    for _ in range(300):
        stated = (rng.random((n, 1)) < 0.3).astype(float)
        truth = (rng.random(n) < probability).astype(float)
        finding = _Finding(rows=np.arange(n), truth=truth, weight=np.ones(n))
        found.append(10.0 ** _chances(stated, sketch, [finding], [probability])[0])
    assert kstest(found, "uniform").pvalue > 0.01


def test_a_fact_stated_only_without_the_evidence_it_would_switch_says_nothing() -> None:
    """Where the evidence is absent the sketch is 0, so fact × sketch never varies."""
    rng = np.random.default_rng(0)
    n = 60
    sketch, stated = rng.normal(size=(n, 2)), np.zeros((n, 2))
    sketch[:25] = 0.0
    stated[:25, 0] = 1.0
    stated[::2, 1] = 1.0
    probability = np.full(n, 0.4)
    truth = (rng.random(n) < probability).astype(float)
    finding = _Finding(rows=np.arange(n), truth=truth, weight=np.ones(n))
    only_without, everywhere = _chances(stated, sketch, [finding], [probability])
    assert only_without == 0.0
    assert everywhere == pytest.approx(_chances(stated[:, 1:], sketch, [finding], [probability])[0])
    assert everywhere < 0.0


@pytest.fixture(scope="module")
def switched() -> tuple[Diagnoser, Tokenizers]:
    tokenizers = Tokenizers.fit(config(), cases(600, strength=1.0))
    torch.manual_seed(0)
    network = Diagnoser(config(), tokenizers=tokenizers, n_findings=2).eval()
    for module in network.switched:
        torch.nn.init.normal_(module.weight)
    return network, tokenizers


def answers(network: Diagnoser, tokenizers: Tokenizers, some: list[Case]) -> torch.Tensor:
    with torch.inference_mode():
        return network(tokenizers.batch(some, TASK).inputs)


def test_only_cases_that_state_the_fact_are_read_anew(switched: tuple[Diagnoser, Tokenizers]) -> None:
    network, tokenizers = switched
    some = cases(60, strength=1.0, seed=9)
    bare = Diagnoser(config(), tokenizers=replace(tokenizers, switches=()), n_findings=2).eval()
    bare.load_state_dict({k: v for k, v in network.state_dict().items() if not k.startswith("switched")})
    differs = (answers(network, tokenizers, some) != answers(bare, tokenizers, some)).any(dim=1)
    states = torch.tensor(["prednisolone" in case.of(Note)[0].text for case in some])
    assert torch.equal(differs, states)


@pytest.mark.parametrize("absent", [Note, Lab])
def test_where_either_kind_is_absent_the_switch_adds_exactly_nothing(
    switched: tuple[Diagnoser, Tokenizers], absent: Kind
) -> None:
    network, tokenizers = switched
    some = [case.without(absent) for case in cases(40, strength=1.0, seed=9)]
    bare = Diagnoser(config(), tokenizers=replace(tokenizers, switches=()), n_findings=2).eval()
    bare.load_state_dict({k: v for k, v in network.state_dict().items() if not k.startswith("switched")})
    assert torch.equal(answers(network, tokenizers, some), answers(bare, tokenizers, some))


def test_alone_views_hear_no_switch_of_another_modality(switched: tuple[Diagnoser, Tokenizers]) -> None:
    network, tokenizers = switched
    some = cases(20, strength=1.0, seed=9)
    with torch.inference_mode():
        _, alone = network.together_and_alone(tokenizers.batch(some, TASK).inputs)
    by_kind: Mapping[Kind, torch.Tensor] = dict(zip(network.kinds, (said for said, _ in alone), strict=True))
    lonely = [replace(case, evidence=case.of(Lab)) for case in some]
    torch.testing.assert_close(by_kind[Lab], answers(network, tokenizers, lonely))


def test_a_switch_comes_back_from_plain_values() -> None:
    switch = Switch(states=Note, fact="prednisolone", reads=Lab, log10_chance=-27.4)
    assert Switch.from_plain(json.loads(json.dumps(switch.to_plain())), (Sign, Note, Lab)) == switch


def test_asking_twice_finds_the_same() -> None:
    some = cases(400, strength=0.7)
    tokenizers = Tokenizers.fit(config(switches=0), some)
    assert find_switches(tokenizers.by_kind, some, most=2) == find_switches(tokenizers.by_kind, some, most=2)
