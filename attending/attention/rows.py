"""Products with the rows of a table, read at the speed of memory.

A step of decoding reads every weight and every key for one token, so reading is all it costs. BLAS reads a matrix for one row
at half the machine's bandwidth, or in one thread only; two kernels of PyTorch's EmbeddingBag do the same sums as fast as
memory gives them (`docs/journal.md` has the figures): the weighted sum of a table's rows, and the product of every row with a
vector, which is what its weights' gradient is. Not a place for products of many tokens, nor for anything that gradients,
compilers, automatic types or counters of operations look at: `serves` leaves those to the plain products.
"""

import platform
from functools import lru_cache
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._python_dispatch import is_in_torch_dispatch_mode

LEAST_BYTES = 2**20
"""Smaller tables stay in a core's own cache, where BLAS is faster."""
PART = 512
"""Rows of one running sum in float32, where a longer one loses digits; in 16 bits each part would be rounded once more."""
_DTYPES = (torch.float32, torch.bfloat16)
_DOTS: Any = getattr(getattr(torch.ops.aten, "_embedding_bag_per_sample_weights_backward", None), "default", None)
_SERVES = _DOTS is not None and platform.machine() in ("x86_64", "AMD64")  # measured there alone


def serves(table: Tensor, x: Tensor) -> bool:
    """Whether these kernels may be taken: a table too large for a core's cache, on a CPU, and nobody else looking on."""
    return (
        _SERVES
        and not torch.is_grad_enabled()
        and table.dtype in _DTYPES
        and x.dtype == table.dtype
        and table.is_cpu
        and x.is_cpu
        and table.nbytes >= LEAST_BYTES
        and type(table) in (Tensor, nn.Parameter)
        and type(x) is Tensor
        and not torch.compiler.is_compiling()
        and not torch.is_autocast_enabled("cpu")
        and not torch._C._are_functorch_transforms_active()
        and not is_in_torch_dispatch_mode()
    )


def dots(table: Float[Tensor, "row dim"], tokens: Float[Tensor, "token dim"]) -> Float[Tensor, "token row"]:
    """Every row of the table times every token; a row is read once for all of them."""
    made: Tensor = _DOTS(tokens, table, *_every_row(table.shape[0], tokens.shape[0]), 0, -1)
    return made[None] if tokens.shape[0] == 1 else made.view(table.shape[0], -1).T.contiguous()


def dots_of(
    table: Float[Tensor, "row dim"], token: Float[Tensor, "1 dim"], chosen: Int[Tensor, " chosen"]
) -> Float[Tensor, "1 chosen"]:
    """Only the chosen rows of the table times the token; the others are not read."""
    made: Tensor = _DOTS(token, table, chosen, *_every_row(chosen.shape[0], 1)[1:], 0, -1)
    return made[None]


def each_by_its_own(vectors: Float[Tensor, "head one"], matrices: Float[Tensor, "head one two"]) -> Float[Tensor, "head two"]:
    """Each vector times its matrix, whichever of the two last dimensions lies together in memory (`lies_in_rows`)."""
    if matrices.stride(2) == 1:
        table, (rows, starts, _) = _rows_of(matrices)
        return functional.embedding_bag(rows, table, starts, mode="sum", per_sample_weights=vectors.reshape(-1))
    table, whose = _rows_of(matrices.mT)
    made: Tensor = _DOTS(vectors, table, *whose, 0, -1)
    return made.view(matrices.shape[0], matrices.shape[2])


def weighted_sums(weights: Float[Tensor, "group key"], values: Float[Tensor, "group key dim"]) -> Float[Tensor, "group dim"]:
    """The sum of each group's values by their weights; the values must lie in rows (`lies_in_rows`)."""
    part = PART if values.dtype == torch.float32 else weights.shape[1]
    rows, starts = _rows_by_part(*weights.shape, values.stride(0) // values.shape[2], part)
    summed = functional.embedding_bag(rows, _table_of(values), starts, mode="sum", per_sample_weights=weights.reshape(-1))
    parts = summed.view(len(weights), -1, values.shape[2])
    return parts[:, 0] if parts.shape[1] == 1 else parts.sum(dim=1)


def lies_in_rows(matrices: Float[Tensor, "head one two"]) -> bool:
    """Whether the matrices, or their transposes, are whole rows of one table."""
    laid = matrices if matrices.stride(2) == 1 else matrices.mT
    apart, down, along = laid.stride()
    return along == 1 and down == laid.shape[2] and apart % down == 0 and apart >= down * laid.shape[1]


def _table_of(laid: Float[Tensor, "head row dim"]) -> Float[Tensor, "row dim"]:
    """A table that holds the rows of these matrices."""
    n_heads, n_rows, dim = laid.shape
    return laid.as_strided(((n_heads - 1) * (laid.stride(0) // dim) + n_rows, dim), (dim, 1))


def _rows_of(laid: Float[Tensor, "head row dim"]) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
    """A table that holds the rows of these matrices; which rows they are, where each matrix begins among them, and whose."""
    return _table_of(laid), _rows_by_head(laid.shape[0], laid.shape[1], laid.stride(0) // laid.shape[2])


@lru_cache(maxsize=256)
def _every_row(n_rows: int, n_tokens: int) -> tuple[Tensor, Tensor, Tensor]:
    """Each row once for each token, an offset that is asked for and not read, and the token."""
    return _places(0, n_rows).repeat_interleave(n_tokens), _places(0, 1), _places(0, n_tokens).repeat(n_rows)


@lru_cache(maxsize=256)
def _rows_by_head(n_heads: int, n_rows: int, apart: int) -> tuple[Tensor, Tensor, Tensor]:
    heads = _places(0, n_heads)
    rows = heads[:, None] * apart + _places(0, n_rows)
    return rows.flatten(), heads * n_rows, heads.repeat_interleave(n_rows)


@lru_cache(maxsize=256)
def rows_of_heads(heads: tuple[int, ...], width: int) -> Int[Tensor, " row"]:
    """Which rows of a weight make these heads."""
    return torch.cat([_places(head * width, (head + 1) * width) for head in heads])


@lru_cache(maxsize=4)  # the layers of a model ask for the same within a step, and never again
def _rows_by_part(n_groups: int, n_key: int, apart: int, part: int) -> tuple[Tensor, Tensor]:
    """The keys of each group, and where each part of them begins."""
    groups = _places(0, n_groups)[:, None]
    return (groups * apart + _places(0, n_key)).flatten(), (groups * n_key + _places(0, n_key, part)).flatten()


def _places(start: int, stop: int, step: int = 1) -> Int[Tensor, " place"]:
    # Kept for whoever comes next, so they are where the tables are, also under another default device.
    return torch.arange(start, stop, step, dtype=torch.int32, device="cpu")
