"""The rules that masks are made of, each a question put to a grid: which of these keys do these queries see?

Rules know nothing of batching, cores or caches. People write them with the verbs of `masks.py`.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from jaxtyping import Bool, Int
from torch import Tensor

from attending.attention.errors import AttentionError
from attending.attention.grid import Grid, Places, places_tensor

Seen = Tensor
"""`Bool[Tensor, "batch head query key"]`, each axis of full length or one; true is seen."""


class Mask(ABC):
    """A rule over places. Combine with `&` (both allow) and `|` (either allows)."""

    def __and__(self, other: "Mask") -> "Mask":
        return both(self, other)

    def __or__(self, other: "Mask") -> "Mask":
        return AnyOf((self, other))

    @abstractmethod
    def seen(self, grid: Grid) -> Seen | None:
        """Which keys of the grid its queries see, broadcastable to [batch, head, query, key]; None: all of them."""

    def span(self, grid: Grid) -> tuple[int, int]:
        """Columns `start` to `stop` of the grid outside which no row sees anything (never too narrow)."""
        return 0, grid.n_key

    @property
    def rules(self) -> tuple["Mask", ...]:
        """The rules that must all allow."""
        return (self,)

    @property
    def leaves(self) -> tuple["Mask", ...]:
        """Every rule written down, however combined."""
        return (self,)

    @property
    def sees_itself(self) -> bool:
        """Whether in self-attention every token may be sure to see itself under this rule."""
        return False

    @property
    def sees_future(self) -> bool:
        """Whether a query may see keys that come after it."""
        return True

    @property
    def measures_distance(self) -> bool:
        """Whether the rule counts the tokens between query and key."""
        return False

    @property
    def lookback(self) -> int | None:
        """How many keys before itself a query can see at most; None: no limit."""
        return None

    def samples(self, chosen: slice | Tensor) -> "Mask":
        """The rule for the chosen samples of the batch, in that order."""
        return self

    def check(self, *, batch: int, n_query: int, n_key: int) -> None:
        """Raise `AttentionError` when a tensor in the rule does not fit the scores it is used for."""
        return


@dataclass(frozen=True)
class Everything(Mask):
    """No rule: every query sees every key."""

    def seen(self, grid: Grid) -> None:
        return None

    @property
    def rules(self) -> tuple[Mask, ...]:
        return ()

    @property
    def sees_itself(self) -> bool:
        return True


@dataclass(frozen=True)
class Causal(Mask):
    """A query sees itself and what came before."""

    def seen(self, grid: Grid) -> Seen | None:
        if _ends_before(grid.key, grid.query_place):
            return None
        query = places_tensor(grid.query_place, grid.device)
        return (query[:, :, None] >= places_tensor(grid.key, grid.device)[:, None, :])[:, None]

    def span(self, grid: Grid) -> tuple[int, int]:
        return _clip(grid, None, 0) if grid.query_count is None else (0, grid.n_key)

    @property
    def sees_itself(self) -> bool:
        return True

    @property
    def sees_future(self) -> bool:
        return False


@dataclass(frozen=True)
class Window(Mask):
    """A query sees itself, `before` tokens before it and `after` tokens after it (None: no limit)."""

    before: int | None
    after: int | None

    def seen(self, grid: Grid) -> Seen | None:
        distance = grid.distance()[:, None]
        if self.before is None:
            return None if self.after is None else distance >= -self.after
        near = distance <= self.before
        return near if self.after is None else near & (distance >= -self.after)

    def span(self, grid: Grid) -> tuple[int, int]:
        return _clip(grid, self.before, self.after) if grid.query_count is None else (0, grid.n_key)

    @property
    def sees_itself(self) -> bool:
        return True

    @property
    def sees_future(self) -> bool:
        return self.after != 0

    @property
    def measures_distance(self) -> bool:
        return True

    @property
    def lookback(self) -> int | None:
        return self.before


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
        query = places_tensor(grid.query_place, grid.device) // self.size
        key = places_tensor(grid.key, grid.device) // self.size
        n_rows, n_columns = self.layout.shape[-2:]
        _check_reach(grid.query_place, n_rows * self.size, "blocks", "queries")
        _check_reach(grid.key, n_columns * self.size, "blocks", "keys")
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
                _check_reach(places, pairs.shape[axis], "keep", what)
                pairs = _pick_axis(pairs, axis, places)
        return pairs

    def samples(self, chosen: slice | Tensor) -> Mask:
        return Keep(_samples(self.pairs, chosen))

    def check(self, *, batch: int, n_query: int, n_key: int) -> None:
        _fits("keep", self.pairs, (batch, self.pairs.shape[1], n_query, n_key))


@dataclass(frozen=True)
class AllOf(Mask):
    """Seen where every rule allows."""

    parts: tuple[Mask, ...]

    def seen(self, grid: Grid) -> Seen | None:
        seen = None
        for part in self.parts:
            one = part.seen(grid)
            seen = one if seen is None else seen if one is None else seen & one
        return seen

    @property
    def leaves(self) -> tuple[Mask, ...]:
        return tuple(leaf for part in self.parts for leaf in part.leaves)

    def span(self, grid: Grid) -> tuple[int, int]:
        spans = [part.span(grid) for part in self.parts]
        start = max(start for start, _ in spans)
        return start, max(start, min(stop for _, stop in spans))

    @property
    def rules(self) -> tuple[Mask, ...]:
        return self.parts

    @property
    def sees_itself(self) -> bool:
        return all(part.sees_itself for part in self.parts)

    @property
    def sees_future(self) -> bool:
        return all(part.sees_future for part in self.parts)

    @property
    def measures_distance(self) -> bool:
        return any(part.measures_distance for part in self.parts)

    @property
    def lookback(self) -> int | None:
        limits = [part.lookback for part in self.parts if part.lookback is not None]
        return min(limits) if limits else None

    def samples(self, chosen: slice | Tensor) -> Mask:
        return AllOf(tuple(part.samples(chosen) for part in self.parts))

    def check(self, *, batch: int, n_query: int, n_key: int) -> None:
        for part in self.parts:
            part.check(batch=batch, n_query=n_query, n_key=n_key)


@dataclass(frozen=True)
class AnyOf(Mask):
    """Seen where either rule allows."""

    parts: tuple[Mask, ...]

    def seen(self, grid: Grid) -> Seen | None:
        seen = None
        for part in self.parts:
            one = part.seen(grid)
            if one is None:
                return None
            seen = one if seen is None else seen | one
        return seen

    @property
    def leaves(self) -> tuple[Mask, ...]:
        return tuple(leaf for part in self.parts for leaf in part.leaves)

    def span(self, grid: Grid) -> tuple[int, int]:
        spans = [part.span(grid) for part in self.parts]
        return min(start for start, _ in spans), max(stop for _, stop in spans)

    @property
    def sees_itself(self) -> bool:
        return any(part.sees_itself for part in self.parts)

    @property
    def sees_future(self) -> bool:
        return any(part.sees_future for part in self.parts)

    @property
    def measures_distance(self) -> bool:
        return any(part.measures_distance for part in self.parts)

    @property
    def lookback(self) -> int | None:
        limits = [part.lookback for part in self.parts]
        known = [limit for limit in limits if limit is not None]
        return max(known) if len(known) == len(limits) else None

    def samples(self, chosen: slice | Tensor) -> Mask:
        return AnyOf(tuple(part.samples(chosen) for part in self.parts))

    def check(self, *, batch: int, n_query: int, n_key: int) -> None:
        for part in self.parts:
            part.check(batch=batch, n_query=n_query, n_key=n_key)


def _fits(name: str, tensor: Tensor, expected: tuple[int, ...]) -> None:
    if any(found not in (1, wanted) for found, wanted in zip(tensor.shape, expected, strict=True)):
        raise AttentionError(f"{name}: found {describe(tensor)}, expected shape {expected} for these queries and keys")


def _ends_before(key: Places, query: Places) -> bool:
    return isinstance(key, range) and isinstance(query, range) and key.stop - 1 <= query.start


def _clip(grid: Grid, before: int | None, after: int | None) -> tuple[int, int]:
    query, first, n_key = grid.query_place, grid.key, grid.n_key
    if not isinstance(query, range) or not isinstance(first, range):
        return 0, n_key
    start = 0 if before is None else query.start - before - first.start
    stop = n_key if after is None else query.stop + after - first.start
    start = min(max(start, 0), n_key)
    return start, min(max(stop, start), n_key)


def _samples(tensor: Tensor, chosen: slice | Tensor) -> Tensor:
    return tensor if tensor.shape[0] == 1 else tensor[chosen]


def _check_reach(places: Places, available: int, name: str, what: str) -> None:
    if isinstance(places, range) and (places.stop > available or places.start < 0):
        raise AttentionError(
            f"{name}: the mask covers {available} {what}, and was asked about places {places.start} to {places.stop - 1}; "
            "make it as long as the sequence"
        )


def _pick(table: Tensor, places: Places, name: str, what: str) -> Tensor:
    """Entries of a [batch, seq] table at the places."""
    _check_reach(places, table.shape[1], name, what)
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


def both(left: Mask, right: Mask) -> Mask:
    """The rule that both must allow, flat, without rules that say nothing."""
    parts = left.rules + right.rules
    if len(parts) == 1:
        return parts[0]
    return AllOf(parts) if parts else Everything()


def describe(tensor: Tensor) -> str:
    """Type and shape of a tensor, for errors."""
    return f"{str(tensor.dtype).removeprefix('torch.')} of shape {tuple(tensor.shape)}"
