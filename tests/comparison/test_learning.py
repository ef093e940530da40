"""The small tasks ask what they say, and tell apart what sees far from what does not."""

import pytest
import torch

from attending.attention import IndexedConfig
from attending.comparison import AssociativeRecall, ComparisonError, LearningPlan, LongCopy, Shape, contender, parsed_tasks
from attending.comparison.learning import accuracy, learn, sinusoids, trained, training_stages
from attending.comparison.tasks import NOT_ASKED, TASKS

EASY = AssociativeRecall(n_pairs=8, n_keys=12, n_values=8)
PLAN = LearningPlan(steps=160, n_asked=128)
SMALL = Shape(dim=32, n_heads=2, budget=2)


def drawn(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_recall_problem_can_be_answered_by_looking_back() -> None:
    symbols, answers = EASY.draw(20, drawn())
    assert symbols.shape == answers.shape == (20, EASY.length)
    for told, asked in zip(symbols.tolist(), answers.tolist(), strict=True):
        pairs = dict(zip(told[0:16:2], told[1:16:2], strict=True))
        assert len(pairs) == 8, "no key comes twice"
        assert set(asked[:16]) == {NOT_ASKED}
        assert [pairs[key] for key in told[16:]] == asked[16:]
        assert max(told[0:16:2]) < 12 <= min(told[1:16:2]) <= max(told[1:16:2]) < EASY.n_symbols


def test_no_answer_stands_among_what_is_asked() -> None:
    for task in TASKS.values():
        symbols, answers = task.draw(20, drawn())
        assert not bool((symbols == answers)[answers != NOT_ASKED].any())


def test_a_copy_is_what_stood_so_many_places_back() -> None:
    task = LongCopy(n=6, n_letters=5)
    symbols, answers = task.draw(10, drawn())
    assert torch.equal(symbols[:, :6], answers[:, 6:])
    assert set(symbols[:, 6:].flatten().tolist()) == {5}
    assert set(answers[:, :6].flatten().tolist()) == {NOT_ASKED}


def test_problems_follow_from_the_seed() -> None:
    assert torch.equal(EASY.draw(5, drawn(3)).symbols, EASY.draw(5, drawn(3)).symbols)
    assert not torch.equal(EASY.draw(5, drawn(3)).symbols, EASY.draw(5, drawn(4)).symbols)


def test_what_sees_everything_recalls_and_a_short_window_cannot() -> None:
    """A window of 2 tokens never reaches from a question to a pair, save from the first question to the last pair's value."""
    assert learn(contender("mha", SMALL), EASY, plan=PLAN, seed=0) > 0.95
    short = learn(contender("windowed", SMALL), EASY, plan=PLAN, seed=0)
    assert short < 0.25, f"guessing reaches {EASY.chance}"


def test_learning_is_the_same_twice() -> None:
    plan = LearningPlan(steps=5, n_asked=64)
    one, two = (learn(contender("latent", SMALL), EASY, plan=plan, seed=1) for _ in range(2))
    assert one == two


def test_every_step_is_told_of() -> None:
    heard: list[int] = []
    learn(contender("mqa", SMALL), EASY, plan=LearningPlan(steps=4, n_asked=8), seed=0, heard=lambda: heard.append(1))
    assert len(heard) == 4


def test_an_indexer_sees_everything_first() -> None:
    config = contender("indexed", Shape(budget=4)).over(20)
    assert isinstance(config, IndexedConfig)
    dense, sparse = training_stages(config, 20)
    assert dense.top_k == 20  # type: ignore[attr-defined]
    assert sparse is config
    assert training_stages(config, 4) == (config,)
    assert len(training_stages(contender("mha", Shape()).config, 20)) == 1


def test_what_saw_everything_first_ends_as_it_was_asked_for() -> None:
    one, task = contender("indexed", SMALL), AssociativeRecall(n_pairs=4, n_keys=6, n_values=4)
    network = trained(one, task, plan=LearningPlan(steps=4, batch=2), seed=0)
    assert network.config == one.over(task.length)
    assert network.config.top_k == 2  # type: ignore[attr-defined]
    assert 0.0 <= accuracy(network, task, n_asked=16) <= 1.0


def test_places_are_told_apart_at_any_even_width() -> None:
    places = sinusoids(50, 8)
    assert places.shape == (50, 8)
    assert len({tuple(row) for row in places.tolist()}) == 50


@pytest.mark.parametrize("text", ["recal", "recall,clinic"])
def test_an_unknown_task_is_refused(text: str) -> None:
    with pytest.raises(ComparisonError, match="known are associative recall, long copy"):
        parsed_tasks(text)


def test_tasks_are_named_by_a_word() -> None:
    assert parsed_tasks("") == ()
    assert [task.name for task in parsed_tasks("copy, recall,long copy")] == ["long copy", "associative recall"]


@pytest.mark.parametrize("make", [lambda: AssociativeRecall(n_pairs=5, n_keys=4), lambda: LongCopy(n=0)])
def test_a_task_that_asks_nothing_is_refused(make) -> None:
    with pytest.raises(ComparisonError, match="found"):
        make()
