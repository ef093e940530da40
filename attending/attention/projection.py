"""Linear layers whose single tokens are read at the speed of memory, and how to lend that to any model.

What it takes and why: `rows.py`. Weights, gradients, what is saved and what is compiled are those of `nn.Linear`.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from attending.attention.rows import dots, dots_of, rows_of_heads, serves

FEW_TOKENS = {torch.float32: 3, torch.bfloat16: 1}
"""Most tokens for which this is faster than BLAS (`python benchmarks/attention.py --only one-token`)."""


class Projection(nn.Linear):
    """`nn.Linear` in every respect; one token, or a few, pass it at the speed of memory where no gradient is asked for."""

    def forward(self, x: Float[Tensor, "*token source"]) -> Float[Tensor, "*token made"]:
        n_tokens = x.numel() // self.in_features
        if not _streams(self.weight, x, n_tokens):
            return functional.linear(x, self.weight, self.bias)
        made = dots(self.weight, x.reshape(n_tokens, -1)).view(*x.shape[:-1], -1)
        return made if self.bias is None else made + self.bias

    def of_heads(
        self, x: Float[Tensor, "batch token source"], heads: Sequence[int], width: int
    ) -> Float[Tensor, "batch head token width"]:
        """Only these heads of what is made; the weights of the others are not read, and none are copied."""
        weight = self.weight.unflatten(0, (-1, width))
        bias = None if self.bias is None else self.bias.unflatten(0, (-1, width))
        if x.shape[0] == x.shape[1] == 1 and _streams(self.weight, x, 1):
            made = dots_of(self.weight, x[0], rows_of_heads(tuple(heads), width)).view(1, len(heads), 1, width)
            return made if bias is None else made + bias[list(heads), None]
        parts = [functional.linear(x, weight[head], None if bias is None else bias[head]) for head in heads]
        return torch.stack(parts, dim=1)


@contextmanager
def streamed(model: nn.Module) -> Iterator[None]:
    """Inside, every `nn.Linear` of any model passes single tokens at the speed of memory, as this library's projections do.

    For decoding on a CPU, where such products take most of a step, also of models of transformers. Only layers whose class
    is `nn.Linear` itself change; weights, results (up to rounding) and what is saved stay the same. On leaving, the model is
    as before.
    """
    changed = [module for module in model.modules() if type(module) is nn.Linear]
    for module in changed:
        module.__class__ = Projection
    try:
        yield
    finally:
        for module in changed:
            module.__class__ = nn.Linear


def _streams(weight: Tensor, x: Tensor, n_tokens: int) -> bool:
    return 0 < n_tokens <= FEW_TOKENS.get(weight.dtype, 0) and serves(weight, x)
