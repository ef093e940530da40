"""Rules that look things up in a tensor: which keys are there, whose document a token is of, which pairs or blocks are seen.

A slot of a ring that holds nothing stands at a negative place. It has no entry; it is given the first one, and the window,
without which there is no ring, hides it whatever that says.
"""

from abc import abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from attending.attention.errors import AttentionError, describe
from attending.attention.grid import Grid, Places, places_tensor
from attending.attention.rules import Mask, Seen


class KeyRule(Mask):
    """A rule about keys alone: what it hides is hidden from every query."""

    @abstractmethod
    def keys(self, grid: Grid) -> Bool[Tensor, "batch_or_one key"]:
        """Which keys of the grid are there."""

    def seen(self, grid: Grid) -> Seen:
        return self.keys(grid)[:, None, None, :]


@dataclass(frozen=True, eq=False)
class Padding(KeyRule):
    """The first `lengths[b]` keys of sample b are there."""

    lengths: Int[Tensor, " batch"]

    def keys(self, grid: Grid) -> Bool[Tensor, "batch key"]:
        return places_tensor(grid.key, grid.device) < self.lengths.to(grid.device)[:, None]

    def samples(self, chosen: slice | Tensor) -> Mask:
        return Padding(_samples(self.lengths, chosen))

    def check(self, *, batch: int, n_query: int, n_key: int) -> None:
        _fits("padding", self.lengths, (batch,))


@dataclass(frozen=True, eq=False)
class KeepKeys(KeyRule):
    """The keys marked true are there; the others count as if they did not exist."""

    kept: Bool[Tensor, "batch key"]

    def keys(self, grid: Grid) -> Bool[Tensor, "batch key"]:
        return _pick(self.kept, grid.key, "keep_keys", "keys")

    def samples(self, chosen: slice | Tensor) -> Mask:
        return KeepKeys(_samples(self.kept, chosen))

    def check(self, *, batch: int, n_query: int, n_key: int) -> None:
        _fits("keep_keys", self.kept, (batch, n_key))


@dataclass(frozen=True, eq=False)
class Documents(Mask):
    """A query sees the keys of its own document."""

    query_ids: Int[Tensor, "batch query"]
    key_ids: Int[Tensor, "batch key"]

    def seen(self, grid: Grid) -> Seen:
        own = grid.query_place if self.sees_itself else grid.query
        query = _pick(self.query_ids, own, "documents", "queries")
        key = _pick(self.key_ids, grid.key, "documents", "keys")
        return (query[:, :, None] == key[:, None, :])[:, None]

    @property
    def sees_itself(self) -> bool:
        return self.query_ids is self.key_ids

    def samples(self, chosen: slice | Tensor) -> Mask:
        query = _samples(self.query_ids, chosen)
        return Documents(query, query if self.sees_itself else _samples(self.key_ids, chosen))

    def check(self, *, batch: int, n_query: int, n_key: int) -> None:
        if not self.sees_itself:
            _fits("documents", self.query_ids, (batch, n_query))
        _fits("documents", self.key_ids, (batch, n_key))


@dataclass(frozen=True, eq=False)
class Blocks(Mask):
    """Block (i, j) of `size` × `size` places is seen where `layout[..., i, j]` is true; the layout may differ by head."""

    layout: Bool[Tensor, "head_or_one query_block key_block"]
    size: int

    def seen(self, grid: Grid) -> Seen:
        n_rows, n_columns = self.layout.shape[-2:]
        query = places_tensor(_entries(grid.query_place, n_rows * self.size, "blocks", "queries"), grid.device) // self.size
        key = places_tensor(_entries(grid.key, n_columns * self.size, "blocks", "keys"), grid.device) // self.size
        # [head, batch, query, key] → [batch, head, query, key]
        return self.layout.to(grid.device)[:, query[:, :, None], key[:, None, :]].transpose(0, 1)


@dataclass(frozen=True, eq=False)
class Keep(Mask):
    """Pair (query, key) is seen where the tensor is true."""

    pairs: Bool[Tensor, "batch_or_one head_or_one query key"]

    def seen(self, grid: Grid) -> Seen:
        pairs = self.pairs
        for axis, places, what in ((2, grid.query, "queries"), (3, grid.key, "keys")):
            if pairs.shape[axis] > 1:
                pairs = _pick_axis(pairs, axis, _entries(places, pairs.shape[axis], "keep", what))
        return pairs

    def samples(self, chosen: slice | Tensor) -> Mask:
        return Keep(_samples(self.pairs, chosen))

    def check(self, *, batch: int, n_query: int, n_key: int) -> None:
        _fits("keep", self.pairs, (batch, self.pairs.shape[1], n_query, n_key))


def _fits(name: str, tensor: Tensor, expected: tuple[int, ...]) -> None:
    if any(found not in (1, wanted) for found, wanted in zip(tensor.shape, expected, strict=True)):
        raise AttentionError(f"{name}: found {describe(tensor)}, expected shape {expected} for these queries and keys")


def _samples(tensor: Tensor, chosen: slice | Tensor) -> Tensor:
    return tensor if tensor.shape[0] == 1 else tensor[chosen]


def _entries(places: Places, available: int, name: str, what: str) -> Places:
    """The places as indices into a table of so many; refused where a place lies behind its end."""
    if isinstance(places, range):
        first, last = places.start, places.stop - 1
    elif torch.compiler.is_compiling() or places.numel() == 0:
        return places.clamp(min=0)
    else:
        first, last = 0, int(places.max())
    if first < 0 or last >= available:
        raise AttentionError(
            f"{name}: the mask covers {available} {what}, and was asked about places {first} to {last}; "
            "make it as long as the sequence"
        )
    return places if isinstance(places, range) else places.clamp(min=0)


def _pick(table: Tensor, places: Places, name: str, what: str) -> Tensor:
    """Entries of a [batch, seq] table at the places."""
    places = _entries(places, table.shape[1], name, what)
    if isinstance(places, range):
        return table if len(places) == table.shape[1] else table[:, places.start : places.stop]
    rows = max(table.shape[0], places.shape[0])
    return table.expand(rows, -1).gather(1, places.expand(rows, -1))


def _pick_axis(pairs: Tensor, axis: int, places: Places) -> Tensor:
    if isinstance(places, range):
        return pairs.narrow(axis, places.start, len(places))
    rows = max(pairs.shape[0], places.shape[0])
    index = places.expand(rows, -1)
    index = index[:, None, :, None] if axis == 2 else index[:, None, None, :]
    shape = [rows, *pairs.shape[1:]]
    shape[axis] = places.shape[1]
    return pairs.expand(rows, -1, -1, -1).gather(axis, index.expand(shape))
