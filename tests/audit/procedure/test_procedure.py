"""T13 to T18 and T20, planted in datasets, models, procedures, intervals and explanations: each broken thing is found, and the
sound thing beside it is not."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from attending.attention import GroupedConfig, everything
from attending.audit import Finding
from attending.audit.procedure import (
    check_answers,
    check_company,
    check_explanations,
    check_fitting,
    check_interval,
    check_items,
    check_keys,
    check_kinds,
    check_parameters,
    check_weights,
)
from attending.baselines.catalog import CATALOG
from attending.case import Case, Demographics, Lab, Note, Place
from attending.cohort import Fold
from attending.diagnosis import Explanation
from attending.evaluation.outcomes import Outcomes
from attending.model.diagnoser import Diagnoser, Tokenizers
from attending.model.trained import network_probabilities
from tests.baselines.drawn import TASK, draw
from tests.evaluation.cohorts import binormal
from tests.model.cases_at_hand import patients
from tests.model.test_diagnoser import TASK as TWO
from tests.model.test_diagnoser import config

TREES = CATALOG["boosted-trees"]


def traps(found: tuple[Finding, ...]) -> list[str]:
    return [one.trap for one in found]


# T13


class Films:
    """A dataset of small arrays; `draws` makes it pick unpaired items anew, as was seen in the field."""

    def __init__(self, *, draws: bool = False, doubles: bool = False) -> None:
        self.films = np.random.default_rng(0).random((40, 4, 4))
        self.random = np.random.default_rng(1) if draws else None
        self.doubles = doubles

    def __len__(self) -> int:
        return len(self.films)

    def __getitem__(self, index: int) -> dict[str, object]:
        at = index if self.random is None else int(self.random.integers(len(self.films)))
        return {"film": torch.from_numpy(self.films[at // 2 if self.doubles else at]), "label": [at % 2]}


def test_a_dataset_that_draws_its_items_anew_is_found() -> None:
    assert check_items(Films()) == ()
    (drawn,) = check_items(Films(draws=True))
    assert (drawn.trap, drawn.severity.value) == ("T13", "block")
    assert "change when they are read again" in drawn.told


def test_a_dataset_that_holds_an_item_twice_is_found() -> None:
    doubled = [{"film": np.full(3, at // 2)} for at in range(10)]
    (found,) = check_items(doubled)
    assert "5 of 10 items repeat another" in found.evidence


def test_a_model_with_dropout_left_on_is_found() -> None:
    network = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5), nn.Linear(4, 1))
    rows = torch.randn(20, 3)

    def answer(chosen: Sequence[int]) -> np.ndarray:
        return network(rows[list(chosen)]).sigmoid().detach().numpy()

    assert traps(check_answers(answer, range(20))) == ["T13"]
    network.eval()
    assert check_answers(answer, range(20)) == ()


# T14


@pytest.mark.parametrize("n_tokens", [1, 3])
def test_attention_over_one_token_is_found(n_tokens: int) -> None:
    peer = nn.MultiheadAttention(8, 2, batch_first=True)
    ours = GroupedConfig(dim=8, n_heads=2).build()
    x = torch.randn(4, n_tokens, 8)
    both = nn.ModuleDict({"peer": peer, "ours": ours})
    found = check_keys(both, lambda: (peer(x, x, x), ours(x, mask=everything())))
    if n_tokens > 1:
        assert found == ()
    else:
        assert traps(found) == ["T14"]
        assert "2 of 2 attentions" in found[0].evidence


def test_padding_does_not_count_as_a_key() -> None:
    peer = nn.MultiheadAttention(8, 2, batch_first=True)
    x = torch.randn(2, 3, 8)
    padded = torch.tensor([[False, True, True], [False, True, True]])
    assert traps(check_keys(peer, lambda: peer(x, x, x, key_padding_mask=padded))) == ["T14"]
    padded[1, 1] = False
    assert check_keys(peer, lambda: peer(x, x, x, key_padding_mask=padded)) == ()


def looks(*rows: Sequence[float]) -> np.ndarray:
    """One head and one query that look so at the keys of each case."""
    return np.array(rows)[:, None, None, :]


def test_weights_that_fall_on_one_key_are_found() -> None:
    (found,) = check_weights({"a": looks([1, 0, 0], [0, 0, 1]), "b": looks([0.5, 0.25, 0.25])})
    assert (found.trap, found.severity.value) == ("T14", "warn")
    assert "1 of 2 attentions that ran had at most one key for any query: a" in found.evidence


def test_weights_that_are_a_mean_are_told_as_a_note() -> None:
    plain = looks([1 / 3] * 3, [0.5, 0.5, 0.0])  # the second case has two keys only
    (found,) = check_weights({"mean": plain, "attends": looks([0.5, 0.25, 0.25], [0.9, 0.1, 0.0])})
    assert (found.trap, found.severity.value) == ("T14", "note")
    assert found.evidence.endswith("1 of 2 attentions that ran, entropy as a share of the greatest: mean 1.000")
    one_head_attends = np.concatenate([plain, looks([0.8, 0.1, 0.1], [0.9, 0.1, 0.0])], axis=1)
    assert check_weights({"two heads": one_head_attends}) == ()


def test_the_entropy_by_hand() -> None:
    """Weights of a half and two quarters: 1.0397 of log 3 = 1.0986; of 0.52 and 0.48: 0.9988, which is a mean."""
    assert check_weights({"a": looks([0.5, 0.25, 0.25])}) == ()
    (found,) = check_weights({"a": looks([0.52, 0.48, 0.0])})
    assert "a 0.999" in found.evidence


def test_a_network_that_is_asked_with_evidence_has_keys_and_without_has_one() -> None:
    cases = patients(12)
    tokenizers = Tokenizers.fit(config(), cases)
    network = Diagnoser(config(), tokenizers=tokenizers, n_findings=len(TWO.findings)).eval()

    def weights(asked: Sequence[Case]) -> np.ndarray:
        with torch.no_grad():
            return network.weights(tokenizers.batch(asked, TWO).inputs).numpy()

    assert not [one for one in check_weights({"readout": weights(cases)}) if one.severity.value == "warn"]
    bare = [replace(case, evidence=()) for case in cases]
    assert traps(check_weights({"readout": weights(bare)})) == ["T14"]
    assert check_weights({"readout": np.zeros((0, 2, 1, 4))}) == ()


# T15


def marks(*weights: float, faithfulness: float | None = 0.2) -> Explanation:
    return Explanation(
        finding="sick",
        method="attention",
        weights=tuple((Place(at), weight) for at, weight in enumerate(weights)),
        faithfulness=faithfulness,
    )


def test_an_explanation_that_nobody_measured_blocks() -> None:
    assert check_explanations([marks(0.1, 0.2, 0.7)]) == ()
    (unmeasured,) = check_explanations([marks(0.1, 0.2, 0.7, faithfulness=None)])
    assert (unmeasured.trap, unmeasured.severity.value) == ("T15", "block")
    (empty,) = check_explanations([marks(0.1, 0.2, 0.7, faithfulness=-0.01)])
    assert empty.severity.value == "warn"


def test_explanations_that_turn_round_with_the_seed_are_found() -> None:
    once = [marks(0.1, 0.2, 0.7), marks(0.6, 0.3, 0.1)]
    assert check_explanations(once, again=once) == ()
    (found,) = check_explanations(once, again=[marks(0.7, 0.2, 0.1), marks(0.1, 0.3, 0.6)])
    assert "-1.00" in found.evidence


# T16


def test_a_modality_that_nothing_listens_to_is_found() -> None:
    cases = draw(120)
    answers = TREES.fit(cases, task=TASK, visible=frozenset(), seed=0).probability
    listening = check_kinds(answers, cases)
    assert traps(listening) == ["T16"]  # trees read no note and no film
    assert "note" in listening[0].told
    assert "image" in listening[0].told
    assert "lab" not in listening[0].told
    assert check_kinds(answers, [case.without(Note).without(type(case)) for case in cases[:10]]) == ()  # too few to say


def test_a_model_with_one_answer_for_all_is_found() -> None:
    assert "the same answer" in check_kinds(lambda cases: np.full((len(cases), 1), 0.3), draw(40))[0].told


# T17


def test_the_network_answers_alone_as_in_company_and_uses_all_that_it_has() -> None:
    cases = patients(24)
    tokenizers = Tokenizers.fit(config(), cases)
    torch.manual_seed(0)
    network = Diagnoser(config(), tokenizers=tokenizers, n_findings=2).eval()

    def answer(held: Sequence[Case]) -> np.ndarray:
        return network_probabilities(network, tokenizers, held, task=TWO)

    assert check_company(answer, cases) == ()
    assert check_answers(answer, cases) == ()
    assert check_keys(network, lambda: answer(cases)) == ()


def test_padding_that_is_read_is_found() -> None:
    rows = [torch.ones(length) for length in (1, 3, 5)]

    def mean_over_padding(held: Sequence[torch.Tensor]) -> np.ndarray:
        return nn.utils.rnn.pad_sequence(list(held), batch_first=True).mean(dim=1, keepdim=True).numpy()

    assert traps(check_company(mean_over_padding, rows)) == ["T17"]
    assert check_company(lambda held: np.array([[float(row.mean())] for row in held]), rows) == ()


def test_a_layer_that_is_defined_and_never_called_is_found() -> None:
    class Slipped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.out_image, self.out_text = nn.Linear(2, 1), nn.Linear(2, 1)

        def forward(self, image: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
            return self.out_image(image) + self.out_image(text)

    slipped = Slipped()
    slipped.out_image.weight.grad = torch.ones(1, 2)
    (found,) = check_parameters(slipped, lambda: slipped(torch.ones(1, 2), torch.ones(1, 2)).sum())
    assert found.trap == "T17"
    assert "out_text.weight, out_text.bias" in found.evidence
    assert torch.equal(slipped.out_image.weight.grad, torch.ones(1, 2))
    slipped.out_text = slipped.out_image
    (shared,) = check_parameters(slipped, lambda: slipped(torch.ones(1, 2), torch.ones(1, 2)).sum())
    assert "out_image.weight = out_text.weight" in shared.evidence


# T18

CASES = draw(90, seed=3)
FOLD = Fold(repeat=0, fold=0, train=tuple(case.id for case in CASES[:60]), test=tuple(case.id for case in CASES[60:]))


def of(cases: Sequence[Case], ids: Sequence[str]) -> list[Case]:
    held = {case.id: case for case in cases}
    return [held[id] for id in ids]  # type: ignore[index]


def honest(cases: Sequence[Case], fold: Fold) -> np.ndarray:
    return TREES.fit(of(cases, fold.train), task=TASK, visible=frozenset(), seed=0).probability(of(cases, fold.test))


def shifted_to_test(cases: Sequence[Case], fold: Fold) -> np.ndarray:
    share = np.mean([case.truth["fever"] for case in of(cases, fold.test)])
    plain = honest(cases, fold)
    return np.clip(plain + share - plain.mean(), 0.0, 1.0)


def trained_on_all(cases: Sequence[Case], fold: Fold) -> np.ndarray:
    return TREES.fit(list(cases), task=TASK, visible=frozenset(), seed=0).probability(of(cases, fold.test))


def complete_cases(cases: Sequence[Case], fold: Fold) -> np.ndarray:
    whole = [case for case in of(cases, fold.test) if case.of(Lab)]
    return honest(cases, replace(fold, test=tuple(case.id for case in whole)))


def test_a_procedure_that_does_not_look_is_clean() -> None:
    assert check_fitting(honest, CASES, FOLD) == ()


@pytest.mark.parametrize("broken", [shifted_to_test, trained_on_all, complete_cases])
def test_a_procedure_that_looks_at_test_or_leaves_cases_out_is_found(broken: object) -> None:
    found = check_fitting(broken, CASES, FOLD)  # type: ignore[arg-type]
    assert [(one.trap, one.severity.value) for one in found] == [("T18", "block")]


def test_every_baseline_fits_without_the_truth_of_test() -> None:
    for name in ("prevalence", "logistic-regression", "notes"):

        def procedure(cases: Sequence[Case], fold: Fold, name: str = name) -> np.ndarray:
            fitted = CATALOG[name].fit(of(cases, fold.train), task=TASK, visible=frozenset(), seed=0)
            return fitted.probability(of(cases, fold.test))

        assert check_fitting(procedure, CASES, FOLD) == ()


# T20


def brier_interval(outcomes: Outcomes, *, by_group: bool) -> tuple[float, float]:
    rng = np.random.default_rng(0)
    unit = np.unique(outcomes.groups.astype(str) if by_group else outcomes.ids.astype(str), return_inverse=True)[1]
    loss = (outcomes.probability[:, 0] - outcomes.truth[:, 0]) ** 2
    draws = []
    for _ in range(300):
        counts = np.bincount(rng.integers(unit.max() + 1, size=unit.max() + 1), minlength=unit.max() + 1)[unit]
        draws.append(np.average(loss, weights=counts * outcomes.weights))
    low, high = np.quantile(draws, [0.025, 0.975])
    return float(low), float(high)


@pytest.mark.parametrize("visits", [1, 4])
def test_a_bootstrap_of_rows_is_found_and_one_of_patients_is_not(visits: int) -> None:
    cohort = binormal(200, events=80, auroc=0.8, seed=0, visits=visits)
    assert check_interval(lambda rows: brier_interval(rows, by_group=True), cohort) == ()
    found = check_interval(lambda rows: brier_interval(rows, by_group=False), cohort)
    assert traps(found) == ["T20"]


def test_our_own_intervals_count_patients() -> None:
    from attending.evaluation import Terms, judge

    def interval(outcomes: Outcomes) -> tuple[float, float]:
        rows = judge({"m": outcomes}, primary="m", terms=Terms(resamples=300), metrics=("brier",))
        row = next(row for row in rows if row.metric == "brier")
        assert row.low is not None
        assert row.high is not None
        return row.low, row.high

    assert check_interval(interval, binormal(200, events=80, auroc=0.8, seed=1)) == ()


def test_demographics_are_a_kind_like_any_other() -> None:
    def by_age(cases: Sequence[Case]) -> np.ndarray:
        return np.array([[(case.of(Demographics)[0].age_years or 0.0) / 100.0] for case in cases])

    found = check_kinds(by_age, draw(60))
    assert "demographics" not in found[0].told
