"""What arithmetic says of every mechanism: parameters, products, bytes, and how they grow. Nothing is built or timed."""

import math
from collections.abc import Iterator, Sequence

from attending.attention import Cost
from attending.attention.costs import Phase
from attending.comparison.contenders import Contender
from attending.comparison.row import LAYER, Ledger, Row

PHASES: tuple[Phase, ...] = ("prefill", "decode", "train")
GROWTHS = {"flops": "flops_growth", "seconds": "seconds_growth", "peak_bytes": "peak_bytes_growth"}
"""What is said to grow, and the quantity that says how fast."""


def size_rows(contenders: Sequence[Contender], lengths: Sequence[int], dtype: str) -> Iterator[Row]:
    """Rows of one layer over one sample, for every mechanism, length and phase."""
    for one in contenders:
        for length in lengths:
            config = one.over(length)
            for phase in PHASES:
                cost = config.cost(length, dtype=dtype, phase=phase)
                for quantity, value in _quantities(cost).items():
                    yield Row(
                        mechanism=one.name, task=LAYER, length=length, phase=phase, dtype=dtype, quantity=quantity, value=value
                    )  # fmt: skip
            for quantity, value in _kept(config.cost(length, dtype=dtype)).items():
                yield Row(mechanism=one.name, task=LAYER, length=length, dtype=dtype, quantity=quantity, value=value)


def growth_rows(rows: Sequence[Row]) -> Iterator[Row]:
    """With which power of the length each quantity grows, between the two longest lengths: 1 a line, 2 a square."""
    ledger = Ledger(rows)
    for quantity, growth in GROWTHS.items():
        for name in ledger.distinct("mechanism", quantity=quantity):
            for phase in ledger.distinct("phase", quantity=quantity, mechanism=name):
                found = ledger.among(quantity=quantity, mechanism=name, phase=phase)
                by_length = {row.length: row for row in found if row.length is not None and row.value > 0.0}
                if len(by_length) < 2:
                    continue
                short, long = (by_length[length] for length in sorted(by_length)[-2:])
                yield Row(
                    mechanism=str(name), task=LAYER, length=long.length, phase=long.phase, dtype=long.dtype, quantity=growth,
                    value=_power(short, long, short.value, long.value),
                    low=None if long.low is None or short.high is None else _power(short, long, short.high, long.low),
                    high=None if long.high is None or short.low is None else _power(short, long, short.low, long.high),
                )  # fmt: skip


def _power(short: Row, long: Row, before: float, after: float) -> float:
    assert short.length is not None
    assert long.length is not None
    return math.log(after / before) / math.log(long.length / short.length)


def _quantities(cost: Cost) -> dict[str, float]:
    return {
        "flops": cost.flops,
        "causal_flops": cost.causal_flops,
        "activation_bytes": cost.activation_bytes,
        "intensity": cost.intensity,
    }


def _kept(cost: Cost) -> dict[str, float]:
    cache = cost.cache
    return {
        "parameters": cost.parameters,
        "parameter_bytes": cost.parameter_bytes,
        "cache_bytes_per_token": cache.per_token,
        "cache_bytes_used": cache.used + cache.tables,
        "cache_bytes_allocated": cache.allocated + cache.tables,
    }
