"""One contest: outputs compared first, then every contender timed in turns, round by round, in one process.

A ratio is taken within a round, so that a machine that slows down slows both sides; the row keeps the median of the rounds and
their spread. On a shared machine a turn that lost its core is taken again. Not a profiler, and no judge of what a number means
on a busy machine.
"""

import resource
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

REPEATS = 7
_LEAST_S = 0.004
"""A turn of something short is so many calls that it takes this long: less than a slice of the scheduler."""
STEPS = 8
"""Most calls in a turn; of decoding steps, with one to warm up, far fewer than the 64 tokens of room."""
_MOST_TRIES, _PATIENCE_S = 40, 1.0
BOUNDS = {torch.float32: 1e-5, torch.bfloat16: 3e-2}
"""Largest difference from the peer that is put down to rounding, relative to the largest output."""
NO_HUB = "not measured: install the extra hub"
TOO_DIFFERENT = "not measured: the outputs differ"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the result. `ratio` is peer over ours, above 1 where ours is faster; `spread` its least and largest round.

    `must` is the least ratio the project asks for; None: reported only. `error`: largest difference relative to the largest
    output, or why there is no number. `floor_us` (not in JSON): time in which this machine could move the bytes and do the
    products.
    """

    job: str
    peer: str
    shape: str
    dtype: str
    ours_us: float | None = None
    peer_us: float | None = None
    ratio: float | None = None
    spread: tuple[float, float] | None = None
    must: float | None = None
    error: float | str | None = None
    floor_us: float | None = None

    @property
    def verdict(self) -> str:
        """met, missed, or nothing where nothing was asked or measured."""
        if self.ratio is None:
            return self.error if isinstance(self.error, str) else ""
        return "" if self.must is None else "met" if self.ratio >= self.must else "MISSED"

    def as_json(self) -> dict[str, object]:
        """The ten fields that a file of rows has."""
        names = ("job", "peer", "shape", "dtype", "ours_us", "peer_us", "ratio", "spread", "must", "error")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What this machine did in this run: bytes/s read, FLOP/s of matrix products by number type."""

    bytes_per_s: float
    flops_per_s: Mapping[torch.dtype, float]

    def floor_us(self, work: "Work", dtype: torch.dtype) -> float:
        """Microseconds below which nothing on this machine can come."""
        return 1e6 * max(work.bytes / self.bytes_per_s, work.flops / self.flops_per_s[dtype])


@dataclass(frozen=True, kw_only=True)
class Work:
    """The least that must be read and multiplied."""

    bytes: float = 0.0
    flops: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Run:
    """How long and how large. `is_quick` shrinks lengths, so that it only shows that everything runs."""

    repeats: int = REPEATS
    is_quick: bool = False
    limits: Limits | None = None

    def length(self, tokens: int) -> int:
        """The length asked for, or a small one in its place."""
        return max(tokens // 32, 8) if self.is_quick else tokens


class Steps:
    """Decoding, one token further at each call: `step` is given the place of the token, `back` forgets all but the prompt."""

    def __init__(self, first: int, step: Callable[[int], Tensor], back: Callable[[], None]) -> None:
        self._first, self._at, self._step, self._back = first, first, step, back

    def __call__(self) -> Tensor:
        output = self._step(self._at)
        self._at += 1
        return output

    def rewind(self) -> None:
        """Start again behind the prompt."""
        self._back()
        self._at = self._first


@dataclass(frozen=True, kw_only=True)
class Peer:
    """Whom ours is held against, and how much faster ours must be."""

    name: str
    call: Callable[[], Tensor]
    must: float | None = None


@dataclass(frozen=True, kw_only=True)
class Contest:
    """Ours and its peers on one job. `wanted` None: peers' outputs are the truth; otherwise an error is measured against it.

    What uses something up when it is called (room in a cache) is given as `Steps`.
    """

    job: str
    shape: str
    dtype: torch.dtype
    ours: Callable[[], Tensor]
    peers: tuple[Peer, ...]
    bound: float | None = None
    wanted: Callable[[Tensor], float] | None = None
    work: Work = field(default_factory=Work)

    def rows(self, run: Run) -> Iterator[Row]:
        """A row for each peer."""
        bound = BOUNDS[self.dtype] if self.bound is None else self.bound
        mine = self.ours()
        errors = {}
        for peer in self.peers:
            theirs = peer.call()
            errors[peer.name] = difference(mine, theirs) if self.wanted is None else self.wanted(mine)
            del theirs
        del mine
        contenders = {"": self.ours, **{peer.name: peer.call for peer in self.peers}}
        seconds = timed(contenders, repeats=run.repeats)
        floor = None if run.limits is None or not (self.work.bytes or self.work.flops) else self.floor(run.limits)
        for peer in self.peers:
            same = {"job": self.job, "peer": peer.name, "shape": self.shape, "dtype": name_of(self.dtype), "must": peer.must}
            if errors[peer.name] > bound:
                yield Row(**same, error=f"{TOO_DIFFERENT} by {errors[peer.name]:.1e}")
                continue
            yield Row(**same, **figures(seconds[""], seconds[peer.name]), error=errors[peer.name], floor_us=floor)

    def floor(self, limits: Limits) -> float:
        return limits.floor_us(self.work, self.dtype)


def figures(ours: list[float], theirs: list[float]) -> dict[str, float | tuple[float, float]]:
    """Medians in microseconds, and the ratio with its spread, from seconds round by round."""
    ratios = [their / our for our, their in zip(ours, theirs, strict=True)]
    return {
        "ours_us": 1e6 * statistics.median(ours),
        "peer_us": 1e6 * statistics.median(theirs),
        "ratio": statistics.median(ratios),
        "spread": (min(ratios), max(ratios)),
    }


def timed(contenders: Mapping[str, Callable[[], object]], *, repeats: int, calls: int | None = None) -> dict[str, list[float]]:
    """Seconds of one call of each, round by round, in turns; every second round in the opposite order.

    `calls` None: as many a turn as make it long enough to be timed. A turn in which the scheduler took a core away is taken
    again while that may help.
    """
    once = {name: _seconds(call, 1) for name, call in contenders.items()}  # also warms up
    number = {
        name: calls if calls is not None else max(1, min(STEPS, round(_LEAST_S / max(took, 1e-9))))
        for name, took in once.items()
    }
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for round_ in range(repeats):
        for name in contenders if round_ % 2 == 0 else reversed(contenders):
            seconds[name].append(_turn(contenders[name], number[name]))
    return seconds


def _turn(call: Callable[[], object], times: int) -> float:
    """Seconds of one call, of an undisturbed turn where one is to be had; the least of several disturbed ones."""
    began, taken = time.perf_counter(), []
    while True:
        if isinstance(call, Steps):
            call.rewind()
            call()  # what rewinding wrote is read again outside the clock
        before = resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
        taken.append(_seconds(call, times))
        if resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw == before:
            return taken[-1]
        # A turn longer than a slice of the scheduler is never undisturbed, and hardly changed by it.
        if len(taken) >= _MOST_TRIES or time.perf_counter() - began > _PATIENCE_S:
            return min(taken)


def _seconds(call: Callable[[], object], times: int) -> float:
    began = time.perf_counter()
    for _ in range(times):
        call()
    return (time.perf_counter() - began) / times


def difference(ours: Tensor, theirs: Tensor) -> float:
    """Largest difference, relative to the largest output of theirs."""
    size = theirs.float().abs().max()
    return float((ours.float() - theirs.float()).abs().max() / torch.where(size > 0.0, size, 1.0))


def token_of(x: Tensor, at: int) -> Tensor:
    """Token `at` of each sample with strides of its own, as a layer hands it to the next; a cut keeps those of the sequence."""
    return x[:, at].clone(memory_format=torch.contiguous_format)[:, None]


def name_of(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def drawn(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    """Numbers from a normal distribution, the same on every run."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)
