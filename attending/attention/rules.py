"""The rules that masks are made of, each a question put to a grid: which of these keys do these queries see?

Here are those that compare places, and how rules combine; those that look things up in a tensor are in `tables.py`. Rules know
nothing of batching, cores or caches. People write them with the verbs of `masks.py`.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor

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

    def surely_seen(self, grid: Grid) -> tuple[int, int]:
        """Columns `start` to `stop` of the grid that every row sees (never too wide; start = stop: none is sure)."""
        return 0, 0

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

    def surely_seen(self, grid: Grid) -> tuple[int, int]:
        return 0, grid.n_key

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

    def surely_seen(self, grid: Grid) -> tuple[int, int]:
        return _reached_by_all(grid, None, 0)

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

    def surely_seen(self, grid: Grid) -> tuple[int, int]:
        return _reached_by_all(grid, self.before, self.after)

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


@dataclass(frozen=True)
class Combined(Mask):
    """Several rules together; how, is what `AllOf` and `AnyOf` say."""

    parts: tuple[Mask, ...]

    @property
    def leaves(self) -> tuple[Mask, ...]:
        return tuple(leaf for part in self.parts for leaf in part.leaves)

    @property
    def measures_distance(self) -> bool:
        return any(part.measures_distance for part in self.parts)

    def samples(self, chosen: slice | Tensor) -> Mask:
        return type(self)(tuple(part.samples(chosen) for part in self.parts))

    def check(self, *, batch: int, n_query: int, n_key: int) -> None:
        for part in self.parts:
            part.check(batch=batch, n_query=n_query, n_key=n_key)


@dataclass(frozen=True)
class AllOf(Combined):
    """Seen where every rule allows."""

    def seen(self, grid: Grid) -> Seen | None:
        seen = None
        for part in self.parts:
            one = part.seen(grid)
            seen = one if seen is None else seen if one is None else seen & one
        return seen

    def span(self, grid: Grid) -> tuple[int, int]:
        spans = [part.span(grid) for part in self.parts]
        start = max(start for start, _ in spans)
        return start, max(start, min(stop for _, stop in spans))

    def surely_seen(self, grid: Grid) -> tuple[int, int]:
        spans = [part.surely_seen(grid) for part in self.parts]
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
    def lookback(self) -> int | None:
        limits = [part.lookback for part in self.parts if part.lookback is not None]
        return min(limits) if limits else None


@dataclass(frozen=True)
class AnyOf(Combined):
    """Seen where either rule allows."""

    def seen(self, grid: Grid) -> Seen | None:
        seen = None
        for part in self.parts:
            one = part.seen(grid)
            if one is None:
                return None
            seen = one if seen is None else seen | one
        return seen

    def span(self, grid: Grid) -> tuple[int, int]:
        spans = [part.span(grid) for part in self.parts]
        return min(start for start, _ in spans), max(stop for _, stop in spans)

    def surely_seen(self, grid: Grid) -> tuple[int, int]:
        return max((part.surely_seen(grid) for part in self.parts), key=lambda span: span[1] - span[0])

    @property
    def sees_itself(self) -> bool:
        return any(part.sees_itself for part in self.parts)

    @property
    def sees_future(self) -> bool:
        return any(part.sees_future for part in self.parts)

    @property
    def lookback(self) -> int | None:
        limits = [part.lookback for part in self.parts]
        known = [limit for limit in limits if limit is not None]
        return max(known) if len(known) == len(limits) else None


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


def _reached_by_all(grid: Grid, before: int | None, after: int | None) -> tuple[int, int]:
    """What the first row and the last both reach."""
    query, first, n_key = grid.query_place, grid.key, grid.n_key
    if grid.query_count is not None or not isinstance(query, range) or not isinstance(first, range) or not query:
        return 0, 0
    start = 0 if before is None else query.stop - 1 - before - first.start
    stop = n_key if after is None else query.start + 1 + after - first.start
    start = min(max(start, 0), n_key)
    return start, min(max(stop, start), n_key)


def both(left: Mask, right: Mask) -> Mask:
    """The rule that both must allow, flat, without rules that say nothing."""
    parts = left.rules + right.rules
    if len(parts) == 1:
        return parts[0]
    return AllOf(parts) if parts else Everything()
