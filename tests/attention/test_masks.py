"""The mask algebra: one meaning, lazily kept, and inputs that could mean two things refused."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from attending.attention import (
    AttentionError,
    GroupedConfig,
    Mask,
    attend,
    blocks,
    causal,
    documents,
    drop,
    everything,
    keep,
    keep_keys,
    padding,
    window,
)
from attending.attention.grid import aligned
from attending.attention.masks import there
from tests.attention.examples import BATCH, LENGTH, MASKS

CPU = torch.device("cpu")


def dense(mask: Mask, n_query: int = LENGTH, n_key: int = LENGTH) -> torch.Tensor:
    seen = mask.seen(aligned(n_query, n_key, CPU))
    return torch.ones(BATCH, 1, n_query, n_key, dtype=torch.bool) if seen is None else seen.expand(BATCH, -1, n_query, n_key)


@pytest.mark.parametrize("name", MASKS)
def test_a_rule_says_what_its_plain_meaning_says(name: str) -> None:
    assert torch.equal(dense(MASKS[name].mask), MASKS[name].dense(BATCH, LENGTH, LENGTH, 1))


@settings(max_examples=60, deadline=None)
@given(one=st.sampled_from(sorted(MASKS)), two=st.sampled_from(sorted(MASKS)))
def test_and_is_both_and_or_is_either(one: str, two: str) -> None:
    a, b = MASKS[one].mask, MASKS[two].mask
    assert torch.equal(dense(a & b), dense(a) & dense(b))
    assert torch.equal(dense(a | b), dense(a) | dense(b))


@settings(max_examples=80, deadline=None)
@given(
    one=st.sampled_from(sorted(MASKS)),
    two=st.sampled_from(sorted(MASKS)),
    rows=st.tuples(st.integers(0, LENGTH - 1), st.integers(1, 5)),
    either=st.booleans(),
)
def test_nothing_outside_the_span_is_seen_and_blocks_agree(one: str, two: str, rows: tuple[int, int], either: bool) -> None:
    mask = MASKS[one].mask | MASKS[two].mask if either else MASKS[one].mask & MASKS[two].mask
    first, last = rows[0], min(sum(rows), LENGTH)
    grid = aligned(LENGTH, LENGTH, CPU).rows(first, last)
    start, stop = mask.span(grid)
    whole = dense(mask)[:, :, first:last]
    assert not whole[..., :start].any()
    assert not whole[..., stop:].any()
    seen = mask.seen(grid.columns(start, stop))
    inside = whole[..., start:stop]
    assert torch.equal(torch.ones_like(inside) if seen is None else seen.expand(inside.shape), inside)


@settings(max_examples=60, deadline=None)
@given(one=st.sampled_from(sorted(MASKS)), two=st.sampled_from(sorted(MASKS)))
def test_keys_hidden_from_all_are_found(one: str, two: str) -> None:
    mask = MASKS[one].mask & MASKS[two].mask
    found = there(mask, aligned(LENGTH, LENGTH, CPU))
    some = dense(mask).any(2).any(1)
    # A token that padding hides still has a row, and that row sees others; so hidden means hidden as a key.
    expected = torch.ones_like(some) if found is None else found.expand_as(some)
    assert torch.equal(expected, some) or (expected | ~some).all()
    assert not (some & ~expected).any()


@given(before=st.integers(0, 4), after=st.integers(0, 4))
@settings(max_examples=20, deadline=None)
def test_a_rule_knows_how_far_it_looks(before: int, after: int) -> None:
    mask = window(before, after) & causal()
    seen = dense(mask)[0, 0]
    rows, columns = seen.nonzero(as_tuple=True)
    assert int((rows - columns).max()) == mask.lookback
    assert bool((columns > rows).any()) == mask.sees_future


def test_rules_about_the_future() -> None:
    assert everything().sees_future
    assert not (causal() & keep(torch.ones(3, 3, dtype=torch.bool))).sees_future
    assert (causal() | window(1, 1)).sees_future
    assert not window(2, 0).sees_future
    assert (causal() | window(2, 0)).lookback is None
    assert (window(1, 0) | window(2, 0)).lookback == 2


def test_window_as_wide_as_the_sequence_is_causal() -> None:
    assert torch.equal(dense(window(LENGTH, 0)), dense(causal()))


def test_causal_with_fewer_queries_stands_at_the_end() -> None:
    assert dense(causal(), 2, 5)[0, 0].tolist() == [[True, True, True, True, False], [True] * 5]


def test_everything_is_neutral() -> None:
    assert (everything() & causal()) == causal()
    assert everything().rules == ()
    assert (everything() & everything()).rules == ()
    assert torch.equal(dense(everything() | causal()), dense(everything()))


def test_hidden_tokens_do_not_count_in_a_window() -> None:
    from attending.attention.mechanism import prepare

    kept = torch.tensor([[True, False, False, True, True]])
    mask = window(1, 0) & keep_keys(kept)
    inputs = prepare(torch.zeros(1, 5, 2), mask=mask, context=None, positions=None, dims=(2, 2), counts=False)
    seen = mask.seen(inputs.grid)
    assert seen is not None
    assert seen[0, 0, 3].tolist() == [True, False, False, True, False]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: keep(torch.zeros(3, 3)), "A number may mean seen, hidden or a bias"),
        (lambda: drop(torch.zeros(3, 3)), "keep\\(tensor != 0\\)"),
        (lambda: keep_keys(torch.zeros(2, 3)), "keep_keys: found float32"),
        (lambda: keep_keys(torch.zeros(3, dtype=torch.bool)), "for pairs write keep"),
        (lambda: keep(torch.zeros(3, dtype=torch.bool)), "expected \\[query, key\\]"),
        (lambda: padding(torch.ones(2, 3, dtype=torch.bool)), "write keep_keys"),
        (lambda: padding(torch.tensor([1.0])), "whole numbers"),
        (lambda: window(-1, 0), "0 or more"),
        (lambda: documents(torch.zeros(3)), "one id a token"),
        (lambda: blocks(torch.ones(2, 2, dtype=torch.bool), size=0), "size ≥ 1"),
    ],
)
def test_what_can_be_read_in_two_ways_is_refused(make, message: str) -> None:
    with pytest.raises(AttentionError, match=message):
        make()


def test_a_bare_tensor_is_no_mask() -> None:
    q, module = torch.zeros(1, 1, 3, 4), GroupedConfig(dim=4, n_heads=1).build()
    kept = torch.ones(1, 3, dtype=torch.bool)
    for use in (
        lambda: attend(q, q, q, mask=kept),  # type: ignore[arg-type]
        lambda: module(q[0], mask=kept),
        lambda: module.new_cache(1, mask=kept),
        lambda: module.new_cache(1, mask=None, context=q[0]),
    ):
        with pytest.raises(AttentionError, match=r"mask: found .*expected a mask\. Where true is seen write keep"):
            use()


def test_a_mask_shorter_than_the_sequence_is_refused() -> None:
    with pytest.raises(AttentionError, match="covers 8 queries"):
        dense(blocks(torch.ones(2, 2, dtype=torch.bool), size=4))
