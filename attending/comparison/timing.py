"""Seconds of reading and of one more token, every mechanism in turns, round by round, in one process.

A machine that slows down slows all of a round, so that shares and ratios within a run mean something where times of two runs
do not. A round's turn is as many calls as can be told from the clock's grain. Not a profiler.
"""

import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from attending.attention import Limits, Mechanism, MechanismConfig
from attending.attention.costs import Phase
from attending.attention.limits import DTYPES
from attending.comparison.contenders import ComparisonError, Contender, mask_of
from attending.comparison.memory import peak_bytes
from attending.comparison.row import LAYER, Row

_LEAST_S = 0.01
_MOST_CALLS = 8
ROUNDS = 5
STEPS = 64
"""Tokens of a cache that are left for the steps which are timed."""


BUSY = 0.5
"""Load, in cores, above which times are not to be trusted."""


def load_now() -> float:
    """How many cores were at work in the last minute, as the system tells it; 0 where it does not."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0


@dataclass(frozen=True, kw_only=True)
class TimingPlan:
    """At which lengths, in which number type, how often. Every length leaves room for the steps that are timed."""

    lengths: tuple[int, ...] = (256, 512, 1024, 2048, 4096)
    dtype: str = "float32"
    rounds: int = ROUNDS

    def __post_init__(self) -> None:
        if not self.lengths or min(self.lengths) < 2 * STEPS or list(self.lengths) != sorted(set(self.lengths)):
            raise ComparisonError(f"lengths: found {self.lengths}, expected rising numbers of tokens from {2 * STEPS} on")
        if self.dtype not in DTYPES:
            raise ComparisonError(f"dtype: found {self.dtype!r}, expected one of {', '.join(DTYPES)}")
        if self.rounds < 1:
            raise ComparisonError(f"rounds: found {self.rounds}, expected 1 or more")


def parsed_lengths(text: str) -> tuple[int, ...]:
    """`256,1024` as numbers, in rising order."""
    try:
        return tuple(sorted({int(part) for part in text.split(",") if part.strip()}))
    except ValueError as error:
        raise ComparisonError(f"lengths: found {text!r}, expected numbers of tokens, as 256,1024,4096") from error


class _Job:
    """A mechanism with inputs, ready to be asked again and again."""

    def __init__(self, config: MechanismConfig, length: int, dtype: str) -> None:
        self.config = config
        kind = getattr(torch, dtype)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self._module: Mechanism = config.build().to(kind).eval()
            self._x = torch.randn(1, length, config.dim).to(kind)
            self._token = torch.randn(1, 1, config.dim).to(kind)
        self._mask = mask_of(config)
        self._n_held = max(length - STEPS, 1)

    def read(self) -> Tensor:
        """All tokens at once."""
        return self._module(self._x, mask=self._mask)

    def served(self) -> Callable[[], Tensor]:
        """A step behind a prompt, which is read now; over a context where tokens cannot be added one by one."""
        if self._mask.sees_future:
            cache = self._module.new_cache(1, mask=self._mask, context=self._x)
        else:
            cache = self._module.new_cache(1, mask=self._mask)
            cache.extend(self._x[:, : self._n_held])
        return lambda: cache.extend(self._token)


def time_layers(
    contenders: Sequence[Contender], plan: TimingPlan, *, limits: Limits, heard: Callable[[str], None]
) -> Iterator[Row]:
    """Rows of time and of memory held, for every mechanism, length and phase; `heard` is told each as it begins."""
    for length in plan.lengths:
        for phase in ("prefill", "decode"):
            heard(f"{phase}, {length} tokens")
            yield from _rows(contenders, length, phase, plan, limits)


def _rows(contenders: Sequence[Contender], length: int, phase: Phase, plan: TimingPlan, limits: Limits) -> Iterator[Row]:
    with torch.no_grad():
        jobs = {one.name: _Job(one.over(length), length, plan.dtype) for one in contenders}
        calls = {name: job.read if phase == "prefill" else job.served() for name, job in jobs.items()}
        seconds = in_turns(calls, rounds=plan.rounds)
        held = {name: peak_bytes(call) for name, call in calls.items()}
    for name, job in jobs.items():
        same: dict[str, Any] = {"mechanism": name, "task": LAYER, "length": length, "phase": phase, "dtype": plan.dtype}
        cost = job.config.cost(length, dtype=plan.dtype, phase=phase)
        yield Row(
            **same, quantity="seconds", value=statistics.median(seconds[name]), low=min(seconds[name]), high=max(seconds[name]),
            limit=cost.floor(limits),
        )  # fmt: skip
        yield Row(**same, quantity="peak_bytes", value=held[name], limit=None)


def in_turns(calls: Mapping[str, Callable[[], object]], *, rounds: int) -> dict[str, list[float]]:
    """Seconds of one call of each, round by round; every second round in the opposite order."""
    often = {}
    for name, call in calls.items():
        _turn(call, 1)  # warms up
        often[name] = max(1, min(_MOST_CALLS, round(_LEAST_S / max(_turn(call, 1), 1e-9))))
    names = list(calls)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds):
        for name in names if number % 2 == 0 else reversed(names):
            seconds[name].append(_turn(calls[name], often[name]))
    return seconds


def _turn(call: Callable[[], object], times: int) -> float:
    began = time.perf_counter()
    for _ in range(times):
        call()
    return (time.perf_counter() - began) / times
