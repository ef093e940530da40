"""Products with rows of tables are those of plain matrices, in every layout that is taken, and no less exact."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from attending.attention import attend, eager
from attending.attention.latents import each_head_by_its_own
from attending.attention.rows import PART, each_by_its_own, lies_in_rows, serves, weighted_sums

DTYPES = (torch.float32, torch.bfloat16)


def drawn(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def error(found: Tensor, exact: Tensor) -> float:
    return float((found.double() - exact).abs().max())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", ["whole", "transposed", "part of wider rows", "transposed part"])
def test_each_head_meets_its_own_matrix_in_every_layout(dtype: torch.dtype, layout: str) -> None:
    n_heads, one, two = 4, 96, 384
    if layout == "whole":
        matrices = drawn(n_heads, one, two, dtype=dtype)
    elif layout == "transposed":
        matrices = drawn(n_heads, two, one, dtype=dtype).mT
    elif layout == "part of wider rows":
        matrices = drawn(n_heads, one + 32, two, dtype=dtype)[:, 32:]
    else:
        matrices = drawn(n_heads, two + 32, one, dtype=dtype)[:, :two].mT
    vectors = drawn(n_heads, one, dtype=dtype, seed=1)
    exact = torch.einsum("hi,hij->hj", vectors.double(), matrices.double())
    with torch.no_grad():
        assert lies_in_rows(matrices)
        found = each_by_its_own(vectors, matrices)
        plain = torch.bmm(vectors[:, None], matrices)[:, 0]
    assert found.shape == (n_heads, two)
    assert error(found, exact) <= 2.0 * error(plain, exact)


def test_a_layout_that_is_no_table_is_left_to_plain_products() -> None:
    assert not lies_in_rows(drawn(4, 96, 384)[:, :, ::2])
    assert not lies_in_rows(drawn(4, 96, 384)[:, :, :200])
    assert not lies_in_rows(drawn(1, 96, 384).expand(4, -1, -1))
    matrices, heads = drawn(4, 1024, 384)[:, :, :200], drawn(1, 4, 1, 1024, seed=1)
    with torch.no_grad():
        torch.testing.assert_close(each_head_by_its_own(heads, matrices), heads @ matrices, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_key", [1, PART, PART + 1, 5 * PART + 7])
def test_weighted_sums_are_no_less_exact_than_a_product(dtype: torch.dtype, n_key: int) -> None:
    room = drawn(6, n_key + 40, 32, dtype=dtype)  # as a cache has it: more slots than are read
    values, weights = room[:, :n_key], drawn(6, n_key, seed=1).softmax(dim=-1).to(dtype)
    exact = (weights.double()[:, None] @ values.double())[:, 0]
    with torch.no_grad():
        assert lies_in_rows(values)
        found = weighted_sums(weights, values)
    assert found.shape == exact.shape
    assert found.dtype == dtype
    assert error(found, exact) <= 1.5 * error((weights[:, None] @ values)[:, 0], exact) + 1e-7 * float(exact.abs().max())


def test_long_sums_in_float32_keep_their_digits() -> None:
    """Equal parts of one: a running sum over all of them would round each in the same direction."""
    n_key = 50_000
    values, weights = torch.full((1, n_key, 16), 1.1), torch.full((1, n_key), 1 / n_key)
    exact = weights.double() @ values[0].double()
    assert error(weighted_sums(weights, values), exact) <= 4e-6


@given(
    n_groups=st.integers(1, 4),
    n_key=st.integers(1, 40),
    spare=st.integers(0, 5),
    dim=st.integers(1, 9),
)
def test_sums_are_of_the_own_rows_in_any_shape(n_groups: int, n_key: int, spare: int, dim: int) -> None:
    values, weights = drawn(n_groups, n_key + spare, dim)[:, :n_key], drawn(n_groups, n_key, seed=1)
    torch.testing.assert_close(weighted_sums(weights, values), (weights[:, None] @ values)[:, 0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kv_heads", [8, 2, 1])
def test_a_query_over_many_keys_is_no_less_exact_than_plain_products(
    dtype: torch.dtype, kv_heads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eight heads over a cache with room, in two samples; heads that share keys are left to a product."""
    q = drawn(2, 8, 1, 64, dtype=dtype)
    room = [drawn(2, kv_heads, 4200, 64, dtype=dtype, seed=seed) for seed in (1, 2)]
    k, v = (one[:, :, :4100] for one in room)
    exact = attend(q.double(), k.double(), v.double()).output
    taken: list[bool] = []

    def noted(table: Tensor, x: Tensor) -> bool:
        taken.append(serves(table, x))
        return taken[-1]

    monkeypatch.setattr(eager, "serves", noted)
    with torch.no_grad():
        found = attend(q, k, v).output
    assert taken == [True] * {(torch.float32, 8): 2, (torch.bfloat16, 8): 1}.get((dtype, kv_heads), 0)
    monkeypatch.setattr(eager, "serves", lambda table, x: False)
    with torch.no_grad():
        plain = attend(q, k, v).output
    assert error(found, exact) <= 1.5 * error(plain, exact)
