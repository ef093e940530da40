"""Windows through the fused kernel: the same numbers as the plain core in float64, at every edge that runs can have."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from attending.attention import attend, causal, explain, keep, merge, padding, window
from attending.attention.banded import ROWS, banded_attend, reach_of
from attending.attention.core import mixed_by, recorded
from attending.attention.grid import aligned
from attending.attention.scoring import Scoring


def heads(batch: int, n_heads: int, length: int, width: int, seed: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(batch, n_heads, length, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(
        dtype
    )


def by_hand(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, before: int, after: int, scale: float
) -> tuple[torch.Tensor, ...]:
    """Softmax over the band, from its definition."""
    folds, n = q.shape[1] // k.shape[1], q.shape[2]
    k, v = k.repeat_interleave(folds, dim=1), v.repeat_interleave(folds, dim=1)
    distance = torch.arange(n)[:, None] - torch.arange(n)
    scores = (q @ k.mT * scale).masked_fill((distance > before) | (distance < -after), -torch.inf)
    return scores.softmax(dim=-1) @ v, scores.logsumexp(dim=-1)


@settings(max_examples=60, deadline=None)
@given(
    length=st.integers(1, 5 * ROWS + 3),
    before=st.integers(0, 4 * ROWS),
    after=st.integers(0, 2 * ROWS),
    batch=st.integers(1, 3),
    folds=st.sampled_from([1, 2, 4]),
    widths=st.sampled_from([(8, 8), (8, 4), (4, 8)]),
)
def test_a_band_is_the_softmax_over_the_band(
    length: int, before: int, after: int, batch: int, folds: int, widths: tuple[int, int]
) -> None:
    q, k, v = (
        heads(batch, 4, length, widths[0], 0),
        heads(batch, 4 // folds, length, widths[0], 1),
        heads(batch, 4 // folds, length, widths[1], 2),
    )
    output, lse = banded_attend(q, k, v, reach=(before, after), scale=0.4)
    wanted, sums = by_hand(q, k, v, before, after, 0.4)
    torch.testing.assert_close(output, wanted, rtol=0.0, atol=1e-12)
    torch.testing.assert_close(lse, sums, rtol=0.0, atol=1e-12)


@settings(max_examples=20, deadline=None)
@given(length=st.integers(1, 6 * ROWS), before=st.integers(0, 4 * ROWS), after=st.integers(0, 2 * ROWS))
def test_rows_at_the_ends_meet_the_keys_that_there_are(length: int, before: int, after: int) -> None:
    """No key stands for one beyond the end, and no run meets more than its rows beyond the window."""
    q, met = heads(1, 2, length, 8, 0), []

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            if func is torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default:
                met.append(args[0].shape[0] * args[0].shape[2] * args[1].shape[2])
            return func(*args, **(kwargs or {}))

    with Watch():
        banded_attend(q, q, q, reach=(before, after), scale=0.4)
    row = torch.arange(length)
    seen = (row + after).clamp(max=length - 1) - (row - before).clamp(min=0) + 1
    assert int(seen.sum()) <= sum(met) <= int((seen + 2 * ROWS - 1).clamp(max=length).sum())


def test_numbers_that_do_not_lie_side_by_side_are_read_as_they_are() -> None:
    q, k, v = (heads(2, 2, 8, 150, seed).mT for seed in range(3))
    whole = torch.stack([q, k, v], dim=2).flatten(1, 2)[:, ::3]  # heads with others between them
    for given_q, given_k, given_v in ((q, k, v), (whole, whole, whole)):
        output, lse = banded_attend(given_q, given_k, given_v, reach=(20, 3), scale=0.4)
        wanted, sums = by_hand(given_q, given_k, given_v, 20, 3, 0.4)
        torch.testing.assert_close(output, wanted, rtol=0.0, atol=1e-12)
        torch.testing.assert_close(lse, sums, rtol=0.0, atol=1e-12)


def test_a_window_wider_than_a_block_of_the_kernel_leaves_no_row_without_a_number() -> None:
    q, k, v = (heads(1, 2, 2600, 8, seed, torch.float32) for seed in range(3))
    output, lse = banded_attend(q, k, v, reach=(1100, 0), scale=0.4)
    wanted, sums = by_hand(q.double(), k.double(), v.double(), 1100, 0, 0.4)
    torch.testing.assert_close(output.double(), wanted, rtol=0.0, atol=5e-6)
    torch.testing.assert_close(lse.double(), sums, rtol=0.0, atol=5e-6)


def test_it_is_taken_for_windows_in_32_bits_and_says_why_not_elsewhere() -> None:
    q, k, v = (heads(1, 2, 600, 8, seed, torch.float32) for seed in range(3))
    rule = causal() & window(40, 7)
    with torch.no_grad():
        assert explain(q, k, v, mask=rule).core == "banded"
        assert explain(q.bfloat16(), k.bfloat16(), v.bfloat16(), mask=rule).refused["banded"].startswith("in 16 bits")
        assert "soft-cap" in explain(q, k, v, mask=rule, softcap=3.0).refused["banded"]
        assert "much narrower" in explain(q, k, v, mask=window(400, 0)).refused["banded"]
        assert "not one window" in explain(q, k, v, mask=rule & padding(torch.tensor([500]))).refused["banded"]
        assert "not one window" in explain(q[:, :, :300], k, v, mask=rule).refused["banded"]
    assert "not differentiated" in explain(q, k, v, mask=rule).refused["banded"]


def test_both_ways_in_give_what_the_blocked_core_gives() -> None:
    q, k, v = (heads(2, 4, 700, 16, seed, torch.float32) for seed in range(3))
    rule = window(60, 5)
    with torch.no_grad(), recorded() as cores:
        banded = attend(q, k, v, mask=rule)
        alone = mixed_by(q, k, v, Scoring(mask=rule, grid=aligned(700, 700, q.device), scale=0.25))
    with recorded() as others:
        blocked = attend(q, k, v, mask=rule)
    assert [choice.core for choice in cores] == ["banded", "banded"]
    assert [choice.core for choice in others] == ["blocked"]
    torch.testing.assert_close(banded.output, blocked.output, rtol=0.0, atol=2e-6)
    torch.testing.assert_close(alone, blocked.output, rtol=0.0, atol=2e-6)
    torch.testing.assert_close(banded.lse, blocked.lse, rtol=0.0, atol=5e-6)


def test_its_log_sum_exp_merges_with_what_lies_outside_the_window() -> None:
    q, k, v = (heads(1, 2, 400, 8, seed) for seed in range(3))
    near = causal() & window(30, 0)
    with torch.no_grad():
        distance = torch.arange(400)[:, None] - torch.arange(400)
        before = attend(q, k, v, mask=keep(distance > 30))
        whole = merge(attend(q, k, v, mask=near), before)
    torch.testing.assert_close(whole.output, attend(q, k, v, mask=causal()).output, rtol=0.0, atol=1e-12)


@pytest.mark.parametrize(
    ("rule", "reach"),
    [
        (causal() & window(5, 3), (5, 0)),
        (window(5, 3) & window(9, 1), (5, 1)),
        (window(5, None), None),
        (causal(), None),
        (window(2, 2) & padding(torch.tensor([4])), None),
    ],
)
def test_the_reach_is_that_of_all_rules_together(rule: object, reach: tuple[int, int] | None) -> None:
    assert reach_of(rule) == reach
