"""Runs and blocks, counted token by token: how many there are, what overlaps what, and which are picked."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from attending.attention.block_choice import Runs, importance, pick
from tests.attention.examples import tokens


@given(size=st.integers(1, 9), stride=st.integers(1, 9), n_key=st.integers(0, 60))
@settings(max_examples=40, deadline=None)
def test_runs_are_counted(size: int, stride: int, n_key: int) -> None:
    runs, starts = Runs(size=size, stride=min(stride, size)), range(0, 100, min(stride, size))
    assert runs.whole(n_key) == sum(start + size <= n_key for start in starts)
    assert runs.begun(n_key) == sum(start < n_key for start in starts)
    assert runs.whole_up_to(n_key) == sum(runs.whole(n) for n in range(1, n_key + 1))
    given_to = torch.rand(1, 2, 3, runs.whole(n_key))
    spread = runs.spread(given_to, n_key)
    torch.testing.assert_close(spread.sum(-1), given_to.sum(-1))
    for key in range(n_key):
        holding = [run for run in range(runs.whole(n_key)) if key in range(starts[run], starts[run] + size)]
        torch.testing.assert_close(spread[..., key], given_to[..., holding].sum(-1) / size)


def test_overlap_is_that_of_the_paper_by_hand() -> None:
    """Runs of 32 every 16 overlap a block of 64 by 16, 32, 32, 32, 16 tokens; the first block has no run before it."""
    one_run_each = torch.eye(15)[None, None]  # query i gives all to run i
    found = importance(one_run_each, Runs(size=32, stride=16), Runs(size=64, stride=64), n_groups=1, n_blocks=4)[0, 0].T
    assert found[0].tolist() == [2, 2, 2, 1] + [0] * 11
    assert found[1].tolist() == [0, 0, 0, 1, 2, 2, 2, 1] + [0] * 7
    assert found[3].tolist() == [0] * 11 + [1, 2, 2, 2]


@given(
    run=st.integers(1, 9),
    stride=st.integers(1, 9),
    block=st.integers(1, 9),
    n_key=st.integers(1, 40),
    groups=st.sampled_from([1, 2]),
)
@settings(max_examples=40, deadline=None)
def test_importance_is_overlap_counted_token_by_token(run: int, stride: int, block: int, n_key: int, groups: int) -> None:
    runs, over = Runs(size=run, stride=min(stride, run)), Runs(size=block, stride=block)
    weights = tokens(2, 4, 3, runs.whole(n_key)).abs()
    found = importance(weights, runs, over, n_groups=groups, n_blocks=over.begun(n_key))
    expected = torch.zeros_like(found)
    for one in range(runs.whole(n_key)):
        for token in range(one * runs.stride, one * runs.stride + run):
            expected[..., token // block] += weights[..., one].unflatten(1, (groups, -1)).sum(2) / runs.stride
    torch.testing.assert_close(found, expected)


def test_the_first_the_own_and_the_best_are_picked_and_of_equals_the_earlier() -> None:
    important = torch.tensor([0.0, 0.2, 0.9, 0.2, 0.2, 0.0, 9.0]).view(1, 1, 1, 7)
    seen = torch.tensor([True] * 6 + [False]).view(1, 1, 1, 7)
    own = torch.tensor([[5]])
    found = pick(important, seen, own, n=4, n_first=1, n_local=1)
    assert found.blocks.tolist() == [[[[0, 5, 2, 1]]]]
    assert found.among(7)[0, 0, 0].tolist() == [True, True, True, False, False, True, False]
    more = pick(important, seen, own, n=7, n_first=1, n_local=2)
    assert more.blocks[0, 0, 0].tolist() == [0, 4, 5, 2, 1, 3, 6]
    assert more.valid[0, 0, 0].tolist() == [True] * 6 + [False]
