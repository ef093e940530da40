"""Training one network: what counts in the loss and what does not, and that it continues with the same bits."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from attending.attention import IndexedConfig
from attending.case import Case, CaseId, Demographics, Lab, Sign
from attending.diagnosis import Task
from attending.model.absence import EvidenceDropout
from attending.model.diagnoser import Diagnoser, Tokenizers
from attending.training.learner import DiagnoserLearner, Diary
from attending.training.network import EpochRecord, Training, loss_per_finding, mean_loss, probabilities
from attending.training.recipe import Recipe
from tests.tables import sick_cases, tiny_recipe

TASK = Task(findings=("sick", "old"))
ONE = Task(findings=("sick",))


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[Case]:
    found = sick_cases(tmp_path_factory.mktemp("sick"))
    return [replace(case, truth={**case.truth, "old": n % 3 == 0}) for n, case in enumerate(found)]


def learner(recipe: Recipe | None = None) -> DiagnoserLearner:
    recipe = recipe or tiny_recipe()
    return DiagnoserLearner(name="fused", diagnoser=recipe.diagnoser, training=recipe.training)


def training(
    cases: list[Case], *, task: Task = TASK, seed: int = 3, recipe: Recipe | None = None, tokenizers: Tokenizers | None = None
) -> Training:
    made = learner(recipe)
    return made.begin(cases, tokenizers=tokenizers or Tokenizers.fit(made.diagnoser, cases), task=task, seed=seed)


def bits(network: Diagnoser) -> dict[str, bytes]:
    return {name: value.numpy().tobytes() for name, value in network.state_dict().items()}


def test_an_unknown_truth_has_exactly_zero_gradient() -> None:
    logits = torch.randn(4, 2, requires_grad=True)
    truth = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [0.0, 0.0]])
    known = torch.tensor([[True, True], [True, False], [False, True], [False, False]])
    loss_per_finding(logits, truth, known, task=TASK).sum().backward()
    assert logits.grad is not None
    assert torch.equal(logits.grad == 0, ~known)
    logits.grad = None
    exclusive = Task(findings=("u", "v"), exclusive=True)
    one_hot = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 0.0]])
    all_or_none = torch.tensor([[True, True], [True, True], [False, False], [False, False]])
    loss_per_finding(logits, one_hot, all_or_none, task=exclusive).sum().backward()
    assert torch.equal((logits.grad == 0).all(dim=1), torch.tensor([False, False, True, True]))


def test_what_is_written_in_an_unknown_truth_does_not_matter(cases: list[Case]) -> None:
    some_unknown = [replace(case, truth={"sick": case.truth["sick"]}) if n % 4 == 0 else case for n, case in enumerate(cases)]
    first, second = training(some_unknown), training(some_unknown)
    second.cases = replace(second.cases, truth=torch.where(second.cases.known, second.cases.truth, 1.0))
    assert not torch.equal(first.cases.truth, second.cases.truth)
    for one in (first, second):
        list(one.epochs())
    assert bits(first.network) == bits(second.network)


def test_losses_by_hand() -> None:
    logits = torch.tensor([[math.log(3.0), 0.0, 0.0]])  # softmax: 3/5, 1/5, 1/5
    truth = torch.tensor([[0.0, 1.0, 0.0]])
    known = torch.ones(1, 3, dtype=torch.bool)
    exclusive = loss_per_finding(logits, truth, known, task=Task(findings=("u", "v", "w"), exclusive=True))
    assert exclusive.tolist() == [[0.0, pytest.approx(math.log(5.0)), 0.0]]
    each = loss_per_finding(logits, truth, known, task=Task(findings=("u", "v", "w")))  # sigmoid: 3/4, 1/2, 1/2
    assert each.tolist() == [[pytest.approx(math.log(4.0)), pytest.approx(math.log(2.0)), pytest.approx(math.log(2.0))]]


def test_mean_loss_by_hand_counts_every_patient_once(cases: list[Case]) -> None:
    first = replace(cases[0], truth={"sick": True})
    again = replace(first, id=CaseId("again"), truth={"sick": False})
    other = replace(cases[1], truth={"sick": True})
    nobody_knows = replace(cases[2], truth={})
    along = np.array([[[0.8], [0.4], [0.5], [0.1]]])
    expected = (0.5 * -math.log(0.8) + 0.5 * -math.log(0.6) + -math.log(0.5)) / 2.0
    assert mean_loss(along, [first, again, other, nobody_knows], task=ONE) == pytest.approx([expected])
    exclusive = Task(findings=("u", "v"), exclusive=True)
    one = replace(cases[0], truth={"u": True, "v": False})
    assert mean_loss(np.array([[[0.7, 0.3]]]), [one], task=exclusive) == pytest.approx([-math.log(0.7)])


def test_two_visits_weigh_as_much_as_one(cases: list[Case]) -> None:
    tokenizers = Tokenizers.fit(tiny_recipe().diagnoser, cases)
    twice = [*cases[:5], replace(cases[0], id=CaseId("again"))]
    weight = tokenizers.batch(twice, TASK).weight
    assert weight.tolist() == [0.5, 1.0, 1.0, 1.0, 1.0, 0.5]
    once, doubled = (training(some, task=ONE, tokenizers=tokenizers) for some in (cases[:5], twice))
    for one in (once, doubled):  # prevalence counts patients
        expected = (sum(case.truth["sick"] for case in cases[:5]) + 0.5) / 6.0
        assert one.network.readout.bias.sigmoid().item() == pytest.approx(expected, abs=1e-6)

    def gradient(one: Training) -> torch.Tensor:
        network = one.network.eval()
        network.zero_grad()
        batch = one.cases
        losses = loss_per_finding(network(batch.inputs), batch.truth, batch.known, task=ONE)
        (losses * batch.weight[:, None]).sum().div((batch.weight[:, None] * batch.known).sum()).backward()
        assert network.readout.query.grad is not None
        return network.readout.query.grad.clone()

    doubled.network.load_state_dict(once.network.state_dict())
    assert torch.allclose(gradient(once), gradient(doubled), atol=1e-7)


def test_each_modality_is_also_taught_by_its_own_answer(cases: list[Case]) -> None:
    """The gradient is that of the losses of the cases as they are and of the cases as they were with one kind only."""
    recipe = tiny_recipe()
    taught = replace(recipe.training, alone_weight=0.5, batch_size=len(cases), clip_norm=1e9)
    quiet = replace(recipe.diagnoser, dropout=0.0, pair_rank=2, evidence_dropout=EvidenceDropout(most_tokens=0.0, modality=0.0))
    one = training(cases, recipe=Recipe(diagnoser=quiet, training=taught))
    network, batch = one.network, one.cases
    network.train()
    tokenizers = Tokenizers.fit(quiet, cases)

    def loss(shown: list[Case], counted: list[bool]) -> torch.Tensor:
        logits = network(tokenizers.batch(shown, TASK).inputs)
        losses = torch.nn.functional.binary_cross_entropy_with_logits(logits, batch.truth, reduction="none")
        return (losses * torch.tensor(counted)[:, None]).sum() / batch.truth.numel()

    expected = loss(cases, [True] * len(cases))
    for kind in (Lab, Sign):
        lonely = [replace(c, evidence=tuple(e for e in c.evidence if isinstance(e, (kind, Demographics)))) for c in cases]
        expected = expected + 0.5 * loss(lonely, [bool(case.of(kind)) for case in cases])
    expected.backward()
    wanted = {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}
    network.zero_grad()
    one._step(batch, step=0)
    assert len(wanted) > 20
    for name, p in network.named_parameters():
        torch.testing.assert_close(p.grad, wanted[name], msg=name)


def test_an_indexer_in_the_fusion_is_taught(cases: list[Case]) -> None:
    """The task's loss gives an indexer no gradient: picking has none. Without a loss of its own it stays as it began."""
    recipe = tiny_recipe()
    dim, n_heads = recipe.diagnoser.readout.dim, recipe.diagnoser.readout.n_heads
    indexed = IndexedConfig(
        dim=dim, n_heads=n_heads, latent_dim=8, rope_dim=4, nope_dim=4, value_dim=8, top_k=2, index_heads=2, index_dim=8
    )
    one = training(cases, recipe=replace(recipe, diagnoser=replace(recipe.diagnoser, fusion=(indexed,))))
    one._step(one.cases, step=0)
    gradients = [value.grad for name, value in one.network.named_parameters() if "indexer" in name]
    assert gradients
    assert all(grad is not None and grad.abs().sum() > 0 for grad in gradients)


def test_the_order_of_an_epoch_follows_from_seed_and_epoch_alone(cases: list[Case]) -> None:
    seen: list[list[int]] = []

    def epoch(number: int, *, seed: int = 3) -> list[int]:
        seen.clear()
        one = training(cases, seed=seed)
        rows = one.cases.rows
        object.__setattr__(one.cases, "rows", lambda index: (seen.append(index.tolist()), rows(index))[1])
        torch.manual_seed(number + 100)  # what the rest of the program drew does not matter
        one._epoch(number)
        return [index for batch in seen for index in batch]

    assert epoch(2) == epoch(2)
    assert sorted(epoch(2)) == list(range(len(cases)))
    assert epoch(2) != epoch(1)
    assert epoch(2) != epoch(2, seed=4)


def test_training_leaves_the_programs_random_numbers_alone(cases: list[Case]) -> None:
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    list(training(cases).epochs())
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("stopped_after", [0, 1, 3])
def test_a_training_continued_from_its_state_has_the_bits_of_one_never_stopped(cases: list[Case], stopped_after: int) -> None:
    recipe = tiny_recipe(epochs=5)
    whole = training(cases, recipe=recipe)
    records = list(whole.epochs())
    first = training(cases, recipe=recipe)
    for _ in range(stopped_after):
        next(first.epochs())
    second = training(cases, recipe=recipe, seed=3)
    second.restore(first.state())
    assert second.epochs_done == stopped_after
    assert list(second.epochs()) == records[stopped_after:]
    assert bits(second.network) == bits(whole.network)
    assert whole.state().keys() == second.state().keys()


def test_another_seed_gives_other_weights(cases: list[Case]) -> None:
    one, other = training(cases, seed=1), training(cases, seed=2)
    assert bits(one.network) != bits(other.network)


def test_early_stopping_restores_the_weights_of_the_lowest_watched_loss(cases: list[Case]) -> None:
    recipe = tiny_recipe(epochs=12, patience=2)
    made, train, watched = learner(recipe), cases[:20], cases[20:]
    upside_down = [replace(case, truth={name: not held for name, held in case.truth.items()}) for case in watched]
    records: list[EpochRecord] = []
    fitted, length = made.fit_watched(train, upside_down, task=TASK, seed=3, diary=Diary(heard=records.append))
    # Learning makes an upside-down part worse: training must stop `patience` epochs after the best and go back to it.
    assert len(records) == length + 2 < 12
    along = made.trajectory(train, upside_down, task=TASK, seed=3, diary=Diary())
    losses = mean_loss(along[: len(records)], upside_down, task=TASK)
    assert length == int(np.argmin(losses)) + 1
    assert np.array_equal(fitted.probability(upside_down), along[length - 1])
    same = made.fit(train, length=length, task=TASK, seed=3, diary=Diary())
    assert bits(same.network) == bits(fitted.network)


def test_probabilities_of_exclusive_findings_sum_to_one(cases: list[Case]) -> None:
    classes = [replace(case, truth={name: n % 3 == k for k, name in enumerate("uvw")}) for n, case in enumerate(cases)]
    task = Task(findings=("u", "v", "w"), exclusive=True)
    one = training(classes, task=task)
    list(one.epochs())
    assert np.allclose(probabilities(one.network, one.cases, task=task).sum(axis=1), 1.0)
