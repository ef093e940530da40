"""What this machine can do, measured: matrix products by number type, and memory. Kept with the processor and its threads.

A floor under a time is only as good as the limits it is made of, so they are the best of several ways and sizes, never a
vendor's figure; and what was measured on another processor, or with other threads, is refused. Not a benchmark of mechanisms.
"""

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from attending.artefacts import write_text
from attending.attention.costs import Limits
from attending.attention.errors import AttentionError
from attending.attention.precision import fast_float32

DTYPES = ("float32", "bfloat16", "float64")
SIDES = (512, 1024, 2048)
"""Sides of the square products of which the fastest counts."""
SIZES = tuple(1 << power for power in (16, 18, 20, 22, 24, 26, 28))
"""Bytes that are read over and over; the last is far beyond what processors keep near, and is the memory."""
_FEWEST = 5
"""Calls of which the fastest counts, however long they take."""
_LAYOUT = 1
_PLACE = ("attending", "limits.json")


def measure_limits(
    *,
    seconds: float = 0.15,
    sides: Iterable[int] = SIDES,
    sizes: Iterable[int] = SIZES,
    heard: Callable[[str], None] = lambda _: None,
) -> Limits:
    """Limits of this machine with the threads that torch uses now; some seconds. Everything else should be quiet.

    Float32 runs as torch does it by default and through oneDNN, which on some processors is twice as fast; the fastest of all
    sizes and ways counts. `seconds` is how long each is repeated, `heard` is told what comes next.
    """
    flops_per_s = {}
    for name in DTYPES:
        heard(f"products of {name}")
        flops_per_s[name] = max(_product_rate(getattr(torch, name), side, seconds) for side in sides)
    by_size = {}
    for size in sizes:
        heard(f"reading {size} bytes")
        by_size[size] = _read_rate(size, seconds)
    return Limits(
        flops_per_s=flops_per_s,
        bytes_per_s=by_size[max(by_size)],
        bytes_per_s_by_size=by_size,
        machine=processor(),
        threads=torch.get_num_threads(),
    )


def processor() -> str:
    """The processor's name as the system tells it, and how many of its cores this process may use."""
    return f"{_processor_name()}, {_cores()} cores"


def default_place() -> Path:
    """Where limits are kept unless somebody says: the user's cache folder of this platform."""
    if sys.platform == "win32":
        folder = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        folder = Path.home() / "Library" / "Caches"
    else:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return folder.joinpath(*_PLACE)


def keep_limits(limits: Limits, path: Path) -> None:
    """Write limits as JSON, whole or not at all."""
    told = {
        "layout": _LAYOUT,
        "machine": limits.machine,
        "threads": limits.threads,
        "torch": torch.__version__,
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
        "flops_per_s": dict(limits.flops_per_s),
        "bytes_per_s": limits.bytes_per_s,
        "bytes_per_s_by_size": {str(size): rate for size, rate in limits.bytes_per_s_by_size.items()},
    }
    write_text(path, json.dumps(told, indent=2) + "\n")


def kept_limits(path: Path) -> Limits:
    """Limits that were kept, whatever machine they are of. Raises `AttentionError` where the file holds none."""
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        if told["layout"] != _LAYOUT:
            raise AttentionError(f"{path}: found layout {told['layout']}, expected {_LAYOUT}; measure again: attending limits")
        return Limits(
            flops_per_s={str(name): _rate(rate) for name, rate in told["flops_per_s"].items()},
            bytes_per_s=_rate(told["bytes_per_s"]),
            bytes_per_s_by_size={int(size): _rate(rate) for size, rate in told["bytes_per_s_by_size"].items()},
            machine=str(told["machine"]),
            threads=int(told["threads"]),
        )
    except AttentionError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise AttentionError(f"{path}: holds no limits that can be read; measure them again: attending limits") from error


def limits_here(path: Path) -> Limits:
    """Limits that were kept of this very processor with as many threads as torch uses now.

    Raises `AttentionError` for those of any other, and `FileNotFoundError` where there are none.
    """
    limits = kept_limits(path)
    here, threads = processor(), torch.get_num_threads()
    if (limits.machine, limits.threads) != (here, threads):
        raise AttentionError(
            f"{path}: holds the limits of {limits.machine} with {limits.threads} threads, and this is {here} with {threads}; "
            f"measure them here: attending limits --threads {threads}"
        )
    return limits


def _product_rate(dtype: torch.dtype, side: int, seconds: float) -> float:
    a, b = (torch.full((side, side), 0.5, dtype=dtype) for _ in range(2))
    with torch.inference_mode():
        best = _fastest(lambda: torch.mm(a, b), seconds)
        if dtype == torch.float32:
            # Where lower precision would be used instead, the default is all there is of float32.
            with suppress(AttentionError), fast_float32():
                best = min(best, _fastest(lambda: torch.mm(a, b), seconds))
    return 2.0 * side**3 / best


def _read_rate(n_bytes: int, seconds: float) -> float:
    numbers = torch.ones(n_bytes // 4)
    with torch.inference_mode():
        return n_bytes / min(_fastest(way, seconds) for way in (numbers.sum, numbers.max))


def _fastest(call: Callable[[], Any], seconds: float) -> float:
    """Seconds of the fastest call: a limit is what was reached once, not what is usual."""
    call()
    began, best, calls = time.perf_counter(), float("inf"), 0
    while calls < _FEWEST or time.perf_counter() - began < seconds:
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
        calls += 1
    return best


def _rate(value: object) -> float:
    rate = float(value)  # type: ignore[arg-type]
    if not 0.0 < rate < float("inf"):
        raise ValueError(f"found a rate of {rate}")
    return rate


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _processor_name() -> str:
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith(("model name", "Model")):
                return line.partition(":")[2].strip()
    if sys.platform == "darwin":
        asked = subprocess.run(
            ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"], capture_output=True, text=True, check=False
        )
        if asked.returncode == 0 and asked.stdout.strip():
            return asked.stdout.strip()
    return platform.processor() or platform.machine()
