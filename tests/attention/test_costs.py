"""Cost by arithmetic, worked by hand, and swept over the catalog against what modules hold and counters count."""

import pytest

from attending.attention import AttentionError, GroupedConfig, Limits
from attending.attention.costs import ragged_cost

SMALL = GroupedConfig(dim=4, n_heads=2)
"""4 projections of 4 × 4."""


def test_a_small_layer_worked_by_hand() -> None:
    cost = SMALL.cost(3, batch=2)
    assert cost.parameters == 4 * 16
    # 2 FLOPs × 2 samples × (3 tokens × 64 weights + 9 pairs × 2 products × 4 numbers); causal: 6 of the 9 pairs
    assert cost.flops == 2 * 2 * (3 * 64 + 9 * 2 * 4)
    assert cost.causal_flops == 2 * 2 * (3 * 64 + 6 * 2 * 4)
    # in, queries, keys, values, answers, out: 6 times 4 numbers of 4 bytes for each of 6 tokens
    assert cost.activation_bytes == 6 * 6 * 4 * 4
    assert cost.bytes_moved == 64 * 4 + 6 * 6 * 4 * 4
    assert cost.cache.per_token == 2 * 4 * 4
    assert SMALL.cost(3, batch=2, phase="train").flops == 3 * cost.flops
    step = SMALL.cost(3, batch=2, phase="decode")
    assert step.flops == step.causal_flops == 2 * 2 * (64 + 3 * 2 * 4)
    assert step.bytes_moved == 64 * 4 + 2 * 6 * 4 * 4 + 2 * 3 * 8 * 4


def test_padding_is_told_apart() -> None:
    cost = ragged_cost(SMALL, (3, 1))
    assert cost.padded == SMALL.cost(3, batch=2)
    assert cost.flops == 2 * (3 * 64 + 9 * 8) + 2 * (64 + 8)
    assert cost.padding_flops == cost.padded.flops - cost.flops == 2 * (2 * 64 + 8 * 8)
    assert cost.causal_flops == 2 * (3 * 64 + 6 * 8) + 2 * (64 + 8)
    assert ragged_cost(SMALL, (5, 5, 5)).padding_flops == 0
    with pytest.raises(AttentionError, match="no lengths"):
        ragged_cost(SMALL, ())


def test_the_floor_is_the_slower_of_products_and_memory() -> None:
    cost = SMALL.cost(3, batch=2)
    assert cost.floor(Limits(flops_per_s={"float32": 1e3}, bytes_per_s=1e9)) == cost.causal_flops / 1e3
    assert cost.floor(Limits(flops_per_s={"float32": 1e12}, bytes_per_s=1e3)) == cost.bytes_moved / 1e3
    with pytest.raises(AttentionError, match="no rate for float64"):
        SMALL.cost(3, dtype="float64").floor(Limits(flops_per_s={"float32": 1.0}, bytes_per_s=1.0))


def test_what_fits_near_the_processor_may_move_faster() -> None:
    limits = Limits(flops_per_s={}, bytes_per_s=10.0, bytes_per_s_by_size={100: 50.0, 1000: 70.0, 10_000: 10.0})
    # a rate that was reached with a larger set can be reached with a smaller one
    assert [limits.bandwidth(size) for size in (1, 100, 101, 1000, 1001, 10_000, 10_001)] == [70, 70, 70, 70, 10, 10, 10]


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"length": 3, "phase": "serve"}, "phase 'serve'"),
        ({"length": 3, "dtype": "int8"}, "int8 is how caches store"),
        ({"length": 3, "dtype": "float8"}, "unknown number type 'float8'"),
        ({"length": -1}, "length of -1"),
        ({"length": 3, "batch": 0}, "batch of 0"),
    ],
)
def test_what_cannot_be_costed_is_refused(asked: dict[str, object], told: str) -> None:
    with pytest.raises(AttentionError, match=told):
        SMALL.cost(**asked)  # type: ignore[arg-type]
