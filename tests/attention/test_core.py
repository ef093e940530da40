"""The functional core: every core against the formula, the log-sum-exp, and the choice between cores."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import attending.attention.blocked as blocked_module
from attending.attention import (
    Attended,
    AttentionError,
    Mask,
    attend,
    causal,
    documents,
    everything,
    explain,
    keep,
    keep_keys,
    merge,
    window,
)
from attending.attention.blocked import blocked_attend, blocked_output
from attending.attention.core import fused_output, recorded
from attending.attention.eager import eager_attend, eager_output
from attending.attention.grid import Grid, aligned
from attending.attention.rules import Everything
from attending.attention.scoring import Scoring
from attending.attention.tables import Documents, KeepKeys
from tests.attention.examples import BATCH, LENGTH, MASKS, tokens
from tests.attention.references import softmax_seen

CORES = {
    "eager": eager_output,
    "eager with lse": lambda *given: eager_attend(*given)[0],
    "blocked": blocked_output,
    "blocked with lse": lambda *given: blocked_attend(*given)[0],
    "sdpa": fused_output,
}


def heads(
    n_kv_heads: int = 2, n_query: int = LENGTH, n_key: int = LENGTH, dtype=torch.float64
) -> tuple[Tensor, Tensor, Tensor]:
    q = tokens(BATCH, 4, n_query, 6, seed=1, dtype=dtype)
    k = tokens(BATCH, n_kv_heads, n_key, 6, seed=2, dtype=dtype)
    return q, k, tokens(BATCH, n_kv_heads, n_key, 5, seed=3, dtype=dtype)


def formula(q: Tensor, k: Tensor, v: Tensor, seen: Tensor, scale: float, softcap: float | None = None) -> tuple[Tensor, Tensor]:
    k, v = (t.repeat_interleave(q.shape[1] // k.shape[1], 1) for t in (k, v))
    scores = q @ k.mT * scale
    scores = scores if softcap is None else softcap * torch.tanh(scores / softcap)
    return softmax_seen(scores, seen) @ v, scores.masked_fill(~seen, -torch.inf).logsumexp(-1)


@pytest.fixture(params=[4 << 20, 600], ids=["one block", "many blocks"])
def blocks_of(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The blocked core with its own buffer, and with one so small that every loop runs many times."""
    monkeypatch.setattr(blocked_module, "BUFFER_BYTES", request.param)
    monkeypatch.setattr(blocked_module, "_FEWEST_ROWS", 3)
    monkeypatch.setattr(blocked_module, "_ROWS_THAT_SKIP", 4)
    monkeypatch.setattr(blocked_module, "_ROWS_THAT_SKIP_IN_FULL", 2)
    monkeypatch.setattr(blocked_module, "_ROWS_THAT_SKIP_FAR", 5)


@pytest.mark.usefixtures("blocks_of")
@pytest.mark.parametrize("n_kv_heads", [1, 2, 4])
@pytest.mark.parametrize("kind", MASKS)
@pytest.mark.parametrize("core", CORES)
def test_every_core_is_the_formula_with_its_gradients(core: str, kind: str, n_kv_heads: int) -> None:
    mask = MASKS[kind].mask
    given = [t.requires_grad_() for t in heads(n_kv_heads)]
    seen = MASKS[kind].dense(BATCH, LENGTH, LENGTH, 4)
    scoring = Scoring(mask=mask, grid=aligned(LENGTH, LENGTH, given[0].device), scale=0.5)
    found, expected = CORES[core](*given, scoring), formula(*given, seen, 0.5)[0]
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
    probe = tokens(*found.shape, seed=8)
    for one, two in zip(*(torch.autograd.grad((out * probe).sum(), given) for out in (found, expected)), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-9, atol=1e-11)


@pytest.mark.usefixtures("blocks_of")
@pytest.mark.parametrize("kind", MASKS)
@pytest.mark.parametrize("core", [eager_attend, blocked_attend])
def test_gradcheck_through_output_and_lse(core, kind: str) -> None:
    n = LENGTH
    given = [t[:2].requires_grad_() for t in heads()]
    mask = MASKS[kind].mask.samples(slice(0, 2))
    seen = MASKS[kind].dense(2, n, n, 4).any(-1)
    scoring = Scoring(mask=mask, grid=aligned(n, n, given[0].device), scale=0.4, softcap=3.0)

    def run(*given: Tensor) -> tuple[Tensor, Tensor]:
        output, lse = core(*given, scoring)
        return output, torch.where(seen, lse, 0.0)

    assert torch.autograd.gradcheck(run, given, fast_mode=True)


@pytest.mark.usefixtures("blocks_of")
@pytest.mark.parametrize("core", [eager_attend, blocked_attend])
def test_softcap_bias_and_lse_are_the_formula(core) -> None:
    q, k, v = heads()
    bias = tokens(1, 4, LENGTH, LENGTH, seed=4)
    bias[0, :, 2, 3:] = -torch.inf
    scoring = Scoring(mask=causal(), grid=aligned(LENGTH, LENGTH, q.device), scale=0.4, softcap=1.5, biases=(bias,))
    scores = 1.5 * torch.tanh(q @ k.repeat_interleave(2, 1).mT * 0.4 / 1.5) + bias
    scores = scores.masked_fill(~torch.ones(LENGTH, LENGTH, dtype=torch.bool).tril(), -torch.inf)
    output, lse = core(q, k, v, scoring)
    torch.testing.assert_close(output, scores.softmax(-1) @ v.repeat_interleave(2, 1))
    torch.testing.assert_close(lse, scores.logsumexp(-1))


def test_causal_is_aligned_to_the_end_of_the_keys() -> None:
    q, k, v = heads(n_query=3)
    whole = heads()[0]
    expected = attend(torch.cat([whole[:, :, :8], q], 2), k, v, mask=causal()).output[:, :, 8:]
    torch.testing.assert_close(attend(q, k, v, mask=causal()).output, expected)


@given(cut=st.integers(1, LENGTH - 1), kind=st.sampled_from(["everything", "keep_keys", "padding"]))
@settings(max_examples=12, deadline=None)
def test_merging_parts_by_their_lse_is_the_whole(cut: int, kind: str) -> None:
    q, k, v = heads()
    seen = MASKS[kind].dense(BATCH, LENGTH, LENGTH, 4)[:, :1]
    whole = attend(q, k, v, mask=keep(seen))
    parts = [attend(q, k[:, :, part], v[:, :, part], mask=keep(seen[..., part])) for part in (slice(0, cut), slice(cut, None))]
    merged = merge(*parts)
    torch.testing.assert_close(merged.output, whole.output)
    torch.testing.assert_close(merged.lse, whole.lse)


@pytest.mark.usefixtures("blocks_of")
@pytest.mark.parametrize("core", [eager_attend, blocked_attend])
def test_merging_rows_that_see_nothing_keeps_gradients_finite(core) -> None:
    given = [t.requires_grad_() for t in heads()]
    seen = torch.ones(BATCH, 1, LENGTH, LENGTH, dtype=torch.bool)
    seen[:, :, 4], seen[:, :, 5, :6], seen[:, :, 6, 6:] = False, False, False

    def part(columns: slice) -> Attended:
        q, k, v = given[0], given[1][:, :, columns], given[2][:, :, columns]
        grid = aligned(LENGTH, k.shape[2], q.device)
        return Attended(*core(q, k, v, Scoring(mask=keep(seen[..., columns]), grid=grid, scale=0.5)))

    merged = merge(part(slice(0, 6)), part(slice(6, None)))
    whole = Attended(*core(*given, Scoring(mask=keep(seen), grid=aligned(LENGTH, LENGTH, given[0].device), scale=0.5)))
    torch.testing.assert_close(merged.output, whole.output)
    torch.testing.assert_close(merged.lse, whole.lse)
    for one, two in zip(*(torch.autograd.grad(m.output.square().sum(), given) for m in (merged, whole)), strict=True):
        torch.testing.assert_close(one, two)


def test_a_sink_takes_weight_and_gives_nothing() -> None:
    q, k, v = heads()
    sink = torch.tensor([0.0, 1.0, -30.0, 30.0], dtype=torch.float64)
    plain, sunk = attend(q, k, v), attend(q, k, v, sink=sink)
    share = plain.lse.exp() / (plain.lse.exp() + sink[:, None].exp())
    torch.testing.assert_close(sunk.output, plain.output * share[..., None])
    halves = attend(q, k[:, :, :4], v[:, :, :4], sink=sink), attend(q, k[:, :, 4:], v[:, :, 4:])
    torch.testing.assert_close(merge(*halves).output, sunk.output)


def test_worked_by_hand() -> None:
    q = torch.tensor([[[[math.log(2.0)], [0.0]]]])
    k, v = torch.tensor([[[[1.0], [2.0]]]]), torch.tensor([[[[3.0], [6.0]]]])
    found = attend(q, k, v, scale=1.0)
    torch.testing.assert_close(found.output, torch.tensor([[[[(2 * 3 + 4 * 6) / 6], [4.5]]]]))
    torch.testing.assert_close(found.lse, torch.tensor([[[math.log(6.0), math.log(2.0)]]]))


@pytest.mark.usefixtures("blocks_of")
@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_a_dead_row_is_zero_on_every_core(core: str, dtype: torch.dtype) -> None:
    given = [t.requires_grad_() for t in heads(dtype=dtype)]
    pairs = torch.ones(BATCH, LENGTH, LENGTH, dtype=torch.bool)
    pairs[:, 4] = False
    output = CORES[core](*given, Scoring(mask=keep(pairs), grid=aligned(LENGTH, LENGTH, given[0].device), scale=0.5))
    assert torch.equal(output[:, :, 4], torch.zeros_like(output[:, :, 4]))
    (gradient,) = torch.autograd.grad(output.square().sum() + output[:, :, 4].sum(), given[:1])
    assert torch.equal(gradient[:, :, 4], torch.zeros_like(gradient[:, :, 4]))
    assert bool(gradient.isfinite().all())


@pytest.mark.parametrize("filler", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("kind", ["padding", "keep_keys", "keep"])
def test_what_nobody_sees_never_shows(kind: str, filler: float) -> None:
    q, k, v = heads()
    seen = MASKS[kind].dense(BATCH, LENGTH, LENGTH, 4).clone()
    seen[:, :, :, 5] = False
    mask = keep(seen[:, :1])
    hidden = ~seen.any(2)[:, :2, :, None]
    given = [q.requires_grad_(), *(torch.where(hidden, filler, t).requires_grad_() for t in (k, v))]
    output = attend(*given, mask=mask).output
    assert torch.equal(output, attend(q, k, v, mask=mask).output)
    for gradient in torch.autograd.grad(output.square().sum(), given):
        assert bool(gradient.isfinite().all())


def small_and_large() -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    small = tuple(torch.zeros(1, 2, 8, 4) for _ in range(3))
    return small, tuple(torch.zeros(1, 2, 600, 4) for _ in range(3))


@pytest.mark.parametrize(
    ("mask", "options", "core"),
    [
        (everything(), {}, "sdpa"),
        (causal(), {}, "sdpa"),
        (keep_keys(torch.ones(1, 600, dtype=torch.bool)), {}, "sdpa"),
        (causal() & window(100, 0), {}, "blocked"),
        (documents(torch.zeros(1, 600, dtype=torch.long)), {}, "blocked"),
        (causal(), {"softcap": 5.0}, "blocked"),
        (causal(), {"dropout": 0.1}, "eager"),
    ],
)
def test_the_choice_of_core_is_explained(mask: Mask, options: dict, core: str) -> None:
    _, large = small_and_large()
    choice = explain(*large, mask=mask, **options)
    assert choice.core == core
    assert set(choice.refused) == {"eager", "sdpa", "blocked", "banded"} - {core}
    assert all(choice.refused.values())
    assert f"{core}: runs" in str(choice)


def test_short_sequences_take_the_plain_products() -> None:
    small, large = small_and_large()
    assert explain(*small).core == "eager"
    assert explain(*(t.bfloat16() for t in large)).core == "blocked"


def test_in_16_bits_short_sequences_leave_the_plain_products_where_their_scores_leave_the_cache() -> None:
    few, many = torch.zeros(1, 2, 100, 4).bfloat16(), torch.zeros(64, 8, 100, 4).bfloat16()
    with torch.no_grad():
        assert [explain(t, t, t).core for t in (few, many, many.float())] == ["eager", "blocked", "eager"]
        with recorded() as choices:
            attend(few, few, few)
        assert [choice.core for choice in choices] == ["blocked"]
    assert explain(many, many, many).core == "eager"


@pytest.mark.parametrize("lengths", [(1, 1), (9, 9), (3, 9), (9, 3)])
@pytest.mark.parametrize(
    "mask",
    [
        everything(),
        causal(),
        window(2, 1),
        window(None, 1),
        window(2, None),
        causal() & window(3, 0),
        causal() | window(0, 2),
        window(1, 0) & everything(),
        causal() & documents(torch.zeros(1, 9, dtype=torch.long)),
        keep_keys(torch.ones(1, 9, dtype=torch.bool)),
    ],
    ids=str,
)
def test_columns_called_sure_are_seen_by_every_row(mask: Mask, lengths: tuple[int, int]) -> None:
    n_query, n_key = lengths
    whole = aligned(n_query, n_key, torch.device("cpu"))
    sure = 0
    for first in range(n_query):
        for last in range(first + 1, n_query + 1):
            for left in range(n_key):
                grid = whole.rows(first, last).columns(left, n_key)
                start, stop = mask.surely_seen(grid)
                assert 0 <= start <= stop <= grid.n_key
                if start < stop:
                    seen = mask.seen(grid)
                    assert seen is None or bool(seen[..., start:stop].all())
                    sure += 1
    places_alone = not any(isinstance(leaf, (Documents, KeepKeys)) for leaf in mask.leaves)
    assert (sure > 0) == places_alone


def test_nothing_is_sure_where_hidden_tokens_lie_between() -> None:
    grid = replace(aligned(4, 4, torch.device("cpu")), query_count=torch.tensor([[0, 1, 1, 2]]))
    assert causal().surely_seen(grid) == window(1, 1).surely_seen(grid) == (0, 0)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("gap", [0.0, 50.0, 5000.0])
@pytest.mark.parametrize("mask", [everything(), causal(), causal() & window(200, 0)], ids=str)
def test_the_lse_holds_where_the_first_key_weighs_nothing(mask: Mask, gap: float, dtype: torch.dtype) -> None:
    """The log-sum-exp is told from one weight of each row, which may be too small to tell from."""
    q, k, v = (tokens(2, 2, 300, 8, seed=seed, dtype=dtype) for seed in range(3))
    q[..., 0], k[:, :, :150, 0] = 1.0, -gap
    found = blocked_attend(q, k, v, Scoring(mask=mask, grid=aligned(300, 300, q.device), scale=0.5))
    seen = mask.seen(aligned(300, 300, q.device))
    seen = torch.ones(1, 1, 300, 300, dtype=torch.bool) if seen is None else seen
    output, lse = formula(*(t.double() for t in (q, k, v)), seen.expand(2, 2, -1, -1), 0.5)
    # Rows that see later keys only; there scores are below 8, and in 16 bits they are rounded before anything is summed.
    told = slice(0, None) if gap == 0.0 or isinstance(mask, Everything) else slice(160, None)
    rounding = torch.finfo(dtype).eps * (8.0 if dtype is torch.bfloat16 else 64.0)
    assert (found[1] - lse)[:, :, told].abs().max() <= rounding
    assert (found[0] - output)[:, :, told].abs().max() <= rounding * v.abs().max()


@pytest.mark.parametrize("mask", [everything(), causal(), causal() & window(200, 0)], ids=str)
@pytest.mark.parametrize("n_key", [130, 700])
def test_attend_in_16_bits_errs_at_most_twice_as_much_as_plain_products(mask: Mask, n_key: int) -> None:
    q, k, v = (tokens(2, 4, n_key, 64, seed=seed, dtype=torch.bfloat16) for seed in range(3))
    seen = mask.seen(aligned(n_key, n_key, q.device))
    seen = torch.ones(1, 1, n_key, n_key, dtype=torch.bool) if seen is None else seen

    def plain(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        scores = (q @ k.mT * 0.125).masked_fill(~seen, -torch.inf)
        return scores.softmax(-1) @ v, scores.logsumexp(-1)

    truth, theirs = plain(*(t.double() for t in (q, k, v))), plain(q, k, v)
    with torch.no_grad():
        ours = attend(q, k, v, mask=mask)
        assert explain(q, k, v, mask=mask).core == ("blocked" if n_key > 256 else "eager")
    for one, two, right in zip(ours, theirs, truth, strict=True):
        assert (one - right).norm() <= 2.0 * (two - right).norm()


def test_a_window_does_work_that_grows_with_length_alone() -> None:
    """Pairs computed by the blocked core under a window, counted from its blocks."""

    def area(length: int, mask: Mask) -> int:
        q = torch.zeros(1, 1, length, 4)
        run = blocked_module._Run(q, q, q, Scoring(mask=mask, grid=aligned(length, length, q.device), scale=1.0))
        return sum((b.rows.stop - b.rows.start) * (b.columns.stop - b.columns.start) for b, _ in run.blocks())

    assert area(8192, causal() & window(255, 0)) < 2.05 * area(4096, causal() & window(255, 0))
    assert area(8192, window(128, 128)) < 0.06 * 8192**2
    assert area(4096, causal()) < 0.6 * 4096**2


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (((1, 3, 2, 4), (1, 2, 2, 4), (1, 2, 2, 4)), "3 query heads over 2 KV heads"),
        (((1, 2, 2, 4), (1, 2, 2, 5), (1, 2, 2, 4)), "share batch, heads and keys"),
        (((2, 2, 4), (1, 2, 2, 4), (1, 2, 2, 4)), "expected \\[batch, head"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(shapes: tuple, message: str) -> None:
    with pytest.raises(AttentionError, match=message):
        attend(*(torch.zeros(shape) for shape in shapes))


def test_a_bias_that_could_be_a_mask_is_refused() -> None:
    q = torch.zeros(1, 1, 3, 4)
    with pytest.raises(AttentionError, match="a mask goes to mask=keep"):
        attend(q, q, q, bias=torch.ones(1, 1, 3, 3, dtype=torch.bool))
    with pytest.raises(AttentionError, match=r"expected \(1, 1, 3, 3\)"):
        attend(q, q, q, bias=torch.ones(3, 3))


def test_grids_cut_like_the_scores() -> None:
    grid = aligned(4, 9, torch.device("cpu"))
    assert list(grid.query_place) == [5, 6, 7, 8]
    assert grid.rows(1, 3).columns(2, 7).distance().tolist() == [[[4, 3, 2, 1, 0], [5, 4, 3, 2, 1]]]
    picked = grid.pick_rows(torch.tensor([3, 0]))
    assert picked.distance()[0, :, 0].tolist() == [8, 5]
    ragged = Grid(query=torch.tensor([[2], [5]]), key=range(7), device=grid.device)
    assert causal().seen(ragged)[:, 0, 0].sum(-1).tolist() == [3, 6]  # type: ignore[index]
