"""Linear maps of very few tokens, read at the speed of memory.

A step of decoding reads every weight once for one token, so reading is all it costs. BLAS reads a matrix for one row at half
the machine's bandwidth, or in one thread only; two kernels of PyTorch's EmbeddingBag do the same sums as fast as memory gives
them (`docs/journal.md` has the figures): the weighted sum of a table's rows, and the product of every row with a vector, which
is what its weights' gradient is. Not a place for products of many tokens: `nn.Linear` computes those, and all that gradients,
compilers, automatic types and counters of operations look at.
"""

import platform
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._python_dispatch import is_in_torch_dispatch_mode

FEW_TOKENS = {torch.float32: 3, torch.bfloat16: 1}
"""Most tokens for which this is faster than BLAS (`python benchmarks/attention.py --only one-token`)."""
LEAST_BYTES = 2**20
"""Smaller weights stay in a core's own cache, where BLAS is faster."""
_DOTS: Any = getattr(getattr(torch.ops.aten, "_embedding_bag_per_sample_weights_backward", None), "default", None)
_SERVES = _DOTS is not None and platform.machine() in ("x86_64", "AMD64")  # measured there alone


class Projection(nn.Linear):
    """`nn.Linear` in every respect; one token, or a few, pass it at the speed of memory where no gradient is asked for."""

    def forward(self, x: Float[Tensor, "*token source"]) -> Float[Tensor, "*token made"]:
        n_tokens = x.numel() // self.in_features
        if not streams(self.weight, x, n_tokens=n_tokens):
            return functional.linear(x, self.weight, self.bias)
        made = dots(self.weight, x.reshape(n_tokens, self.in_features)).view(*x.shape[:-1], self.out_features)
        return made if self.bias is None else made + self.bias

    def of_heads(
        self, x: Float[Tensor, "batch token source"], heads: Sequence[int], width: int
    ) -> Float[Tensor, "batch head token width"]:
        """Only these heads of what is made; the weights of the others are not read, and none are copied."""
        weight = self.weight.unflatten(0, (-1, width))
        bias = None if self.bias is None else self.bias.unflatten(0, (-1, width))
        if x.shape[0] == x.shape[1] == 1 and streams(self.weight, x, n_tokens=1):
            made = dots_of(self.weight, x[0], _rows_of_heads(tuple(heads), width)).view(1, len(heads), 1, width)
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


def streams(weight: Tensor, x: Tensor, *, n_tokens: int) -> bool:
    """Whether these kernels serve: few tokens on a CPU, a weight too large for a core's cache, and nobody else looking on."""
    return (
        _SERVES
        and 0 < n_tokens <= FEW_TOKENS.get(weight.dtype, 0)
        and not torch.is_grad_enabled()
        and x.dtype == weight.dtype
        and weight.device.type == "cpu"
        and x.device.type == "cpu"
        and weight.nbytes >= LEAST_BYTES
        and type(weight) in (Tensor, nn.Parameter)
        and type(x) is Tensor
        and not torch.compiler.is_compiling()
        and not torch.is_autocast_enabled("cpu")
        and not torch._C._are_functorch_transforms_active()
        and not is_in_torch_dispatch_mode()
    )


def dots(table: Float[Tensor, "row dim"], tokens: Float[Tensor, "token dim"]) -> Float[Tensor, "token row"]:
    """Every row of the table times every token; a row is read once for all of them."""
    rows, of_token = _every_row(table.shape[0], tokens.shape[0])
    made = _dots(table, tokens, rows, of_token).view(table.shape[0], tokens.shape[0])
    return made.T.contiguous() if tokens.shape[0] > 1 else made.view(1, -1)


def dots_of(
    table: Float[Tensor, "row dim"], token: Float[Tensor, "1 dim"], chosen: Int[Tensor, " chosen"]
) -> Float[Tensor, "1 chosen"]:
    """Only the chosen rows of the table times the token; the others are not read."""
    return _dots(table, token, chosen, _every_row(chosen.shape[0], 1)[1]).view(1, -1)


def each_by_its_own(vectors: Float[Tensor, "head one"], matrices: Float[Tensor, "head one two"]) -> Float[Tensor, "head two"]:
    """Each vector times its matrix, whichever of the two last dimensions lies together in memory (`lies_in_rows`)."""
    n_heads, one, two = matrices.shape
    if matrices.stride(2) == 1:
        table, rows, _ = _rows_of(matrices)
        return functional.embedding_bag(rows, table, _starts(n_heads, one), mode="sum", per_sample_weights=vectors.reshape(-1))
    table, rows, of_head = _rows_of(matrices.mT)
    return _dots(table, vectors, rows, of_head).view(n_heads, two)


def lies_in_rows(matrices: Float[Tensor, "head one two"]) -> bool:
    """Whether the matrices, or their transposes, are whole rows of one table."""
    laid = matrices if matrices.stride(2) == 1 else matrices.mT
    apart, down, along = laid.stride()
    return along == 1 and down == laid.shape[2] and apart % down == 0 and apart >= down * laid.shape[1]


def _dots(table: Tensor, vectors: Tensor, rows: Tensor, of_vector: Tensor) -> Tensor:
    made: Tensor = _DOTS(vectors, table, rows, of_vector[:1], of_vector, 0, -1)
    return made


def _rows_of(laid: Float[Tensor, "head row dim"]) -> tuple[Tensor, Tensor, Tensor]:
    """A table that holds the rows of these matrices, which rows they are, and whose."""
    n_heads, n_rows, dim = laid.shape
    apart = laid.stride(0) // dim
    table = laid.as_strided(((n_heads - 1) * apart + n_rows, dim), (dim, 1))
    return table, *_rows_by_head(n_heads, n_rows, apart)


@lru_cache(maxsize=256)
def _every_row(n_rows: int, n_tokens: int) -> tuple[Tensor, Tensor]:
    """Each row once for each token, and the token."""
    rows = torch.arange(n_rows, dtype=torch.int32).repeat_interleave(n_tokens)
    return rows, torch.arange(n_tokens, dtype=torch.int32).repeat(n_rows)


@lru_cache(maxsize=256)
def _rows_by_head(n_heads: int, n_rows: int, apart: int) -> tuple[Tensor, Tensor]:
    heads = torch.arange(n_heads, dtype=torch.int32)
    rows = heads[:, None] * apart + torch.arange(n_rows, dtype=torch.int32)
    return rows.flatten(), heads.repeat_interleave(n_rows)


@lru_cache(maxsize=256)
def _rows_of_heads(heads: tuple[int, ...], width: int) -> Tensor:
    return (torch.tensor(heads, dtype=torch.int32)[:, None] * width + torch.arange(width, dtype=torch.int32)).flatten()


@lru_cache(maxsize=256)
def _starts(n_heads: int, n_rows: int) -> Tensor:
    return torch.arange(0, n_heads * n_rows, n_rows, dtype=torch.int32)
