"""Rotary pairs as complex numbers: what commutes with a rotation is a multiplication, and nothing else.

RoPE turns a pair (a, b) as e^{iθ} turns a + ib. Key and query of a pair score Re(conj(q) k). So a key may become u·k with any
complex u (a rotation and a scale) when its query becomes q / conj(u), at every place at once; to mix pairs of different
frequency would not commute. Numbers of a head that are not turned form no pair, and any map commutes with their place.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from attending.attention.grouped import GroupedConfig
from attending.attention.positions import RotaryConfig


@dataclass(frozen=True, kw_only=True, eq=False)
class Pairs:
    """Where a head's pairs lie: their `first` and `second` numbers, the `rest` that is not turned, and each pair's frequency.

    `amplitude` is what each score of a pair is multiplied by (cosine and sine of query and key carry its root).
    """

    first: tuple[int, ...]
    second: tuple[int, ...]
    rest: tuple[int, ...]
    frequencies: Float[Tensor, " pair"]
    amplitude: float

    def complex_of(self, heads: Float[Tensor, "head width source"]) -> Complex[Tensor, "head pair source"]:
        """The pairs of each head."""
        return torch.complex(heads[:, list(self.first)], heads[:, list(self.second)])

    def put(self, heads: Float[Tensor, "head width source"], pairs: Complex[Tensor, "head pair source"]) -> None:
        """Write the pairs where they belong."""
        heads[:, list(self.first)], heads[:, list(self.second)] = pairs.real, pairs.imag


def pairs_of(config: GroupedConfig) -> Pairs:
    """The pairs of a layer; none where it does not turn its heads."""
    rotary, width = config.position, config.width
    if not isinstance(rotary, RotaryConfig):
        none = torch.zeros(0, dtype=torch.float64)
        return Pairs(first=(), second=(), rest=tuple(range(width)), frequencies=none, amplitude=1.0)
    turned = width if rotary.rotary_dim is None else rotary.rotary_dim
    halves = range(turned // 2), range(turned // 2, turned)
    neighbours = range(0, turned, 2), range(1, turned, 2)
    first, second = halves if rotary.layout == "half" else neighbours
    return Pairs(
        first=tuple(first),
        second=tuple(second),
        rest=tuple(range(turned, width)),
        frequencies=rotary.frequencies_of(turned),
        amplitude=1.0 if rotary.scaling is None else rotary.scaling.amplitude**2,
    )
