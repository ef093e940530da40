"""Where the rows and columns of a score matrix lie in their sequences.

A mask or a distance bias is a rule over places; the grid names the places of the rows (queries) and columns (keys) it is asked
about. A core cuts the grid into blocks, a cache hands in the places of its slots, and no rule has to know which of them asked.
"""

from dataclasses import dataclass, replace
from typing import TypeAlias

import torch
from jaxtyping import Int
from torch import Tensor

Places: TypeAlias = range | Tensor
"""Consecutive places shared by the batch, or `Int[Tensor, "batch seq"]` where each sample has its own."""


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Rows and columns of (a block of) the scores.

    `query` and `key` are indices into the two sequences; query i stands at key i + `offset`. `query_count` and `key_count` are
    given where hidden tokens lie among real ones: distances then count real tokens, as if the hidden ones were not there.
    """

    query: Places
    key: Places
    device: torch.device
    offset: int = 0
    query_count: Tensor | None = None
    key_count: Tensor | None = None

    @property
    def n_query(self) -> int:
        return _length(self.query)

    @property
    def n_key(self) -> int:
        return _length(self.key)

    def rows(self, start: int, stop: int) -> "Grid":
        """The same columns, rows `start` to `stop`."""
        if start == 0 and stop == self.n_query:
            return self
        return replace(self, query=_cut(self.query, start, stop), query_count=_cut_tensor(self.query_count, start, stop))

    def columns(self, start: int, stop: int) -> "Grid":
        """The same rows, columns `start` to `stop`."""
        if start == 0 and stop == self.n_key:
            return self
        return replace(self, key=_cut(self.key, start, stop), key_count=_cut_tensor(self.key_count, start, stop))

    def pick_rows(self, rows: Int[Tensor, " row"]) -> "Grid":
        """The same columns, the chosen rows in the order given."""
        query = places_tensor(self.query, self.device)[:, rows]
        count = None if self.query_count is None else self.query_count[:, rows]
        return replace(self, query=query, query_count=count)

    def samples(self, chosen: slice) -> "Grid":
        """The grid of the chosen samples of the batch."""

        def of(places: Places) -> Places:
            return places if isinstance(places, range) or places.shape[0] == 1 else places[chosen]

        counts = [
            count if count is None or count.shape[0] == 1 else count[chosen] for count in (self.query_count, self.key_count)
        ]
        return replace(self, query=of(self.query), key=of(self.key), query_count=counts[0], key_count=counts[1])

    @property
    def query_place(self) -> Places:
        """The queries as places among the keys."""
        if self.offset == 0:
            return self.query
        if isinstance(self.query, range):
            return range(self.query.start + self.offset, self.query.stop + self.offset)
        return self.query + self.offset

    def distance(self) -> Int[Tensor, "batch_or_one query key"]:
        """How many tokens the key lies before the query (negative: after it)."""
        query = places_tensor(self.query_place, self.device) if self.query_count is None else self.query_count
        key = places_tensor(self.key, self.device) if self.key_count is None else self.key_count
        return query[:, :, None] - key[:, None, :]

    @property
    def is_square(self) -> bool:
        """Every query is also a key, at the same place."""
        return isinstance(self.query, range) and self.query == self.key and self.offset == 0


def aligned(n_query: int, n_key: int, device: torch.device) -> Grid:
    """The whole score matrix, its last row standing at the last key (as in decoding)."""
    return Grid(query=range(n_query), key=range(n_key), device=device, offset=n_key - n_query)


def places_tensor(places: Places, device: torch.device) -> Int[Tensor, "batch_or_one seq"]:
    """Places as a tensor, with a batch of one where they are shared."""
    if isinstance(places, range):
        return torch.arange(places.start, places.stop, device=device)[None]
    return places


def _length(places: Places) -> int:
    return len(places) if isinstance(places, range) else places.shape[-1]


def _cut(places: Places, start: int, stop: int) -> Places:
    return places[start:stop] if isinstance(places, range) else places[:, start:stop]


def _cut_tensor(places: Tensor | None, start: int, stop: int) -> Tensor | None:
    return None if places is None else places[:, start:stop]
