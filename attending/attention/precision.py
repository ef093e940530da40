"""Faster float32 products on a CPU, as an explicit choice and only where they stay float32.

PyTorch multiplies float32 matrices through MKL, which on some processors reaches half of what oneDNN does; oneDNN is taken only
where lower precision is allowed. Without hardware to multiply in lower precision the permission changes the library and not the
numbers, which is tried before anything is switched. Not for CUDA, whose own switch this does not touch.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch

from attending.attention.errors import AttentionError

_PROBE = 256
_MOST_ERROR = 1e-5
"""Relative to the largest entry of the probe's product: float32 comes out near 1e-6, bfloat16 near 1e-3."""


@contextmanager
def fast_float32() -> Iterator[None]:
    """Inside, float32 products on the CPU run through oneDNN, at about twice the speed where MKL is slow and never less exact.

    Refused where this machine would really multiply in lower precision (AMX): a product is compared to float64 once a process.
    The switch is the process's own, so that other threads have it too while this is open; on leaving it is as it was.
    """
    matmul: Any = getattr(torch.backends.mkldnn, "matmul")  # noqa: B009 -- not in its type stubs
    before = matmul.fp32_precision
    matmul.fp32_precision = "bf16"
    try:
        error = _probe_error()
        if error > _MOST_ERROR:
            raise AttentionError(
                f"fast_float32: found an error of {error:.0e} in a product of this machine, expected float32's 1e-6; here "
                "the faster products are of lower precision. To take them all the same, set "
                'torch.backends.mkldnn.matmul.fp32_precision = "bf16"'
            )
        yield
    finally:
        matmul.fp32_precision = before


@cache
def _probe_error() -> float:
    """Largest error of a float32 product as products run now, relative to its largest entry."""
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(_PROBE, _PROBE, generator=generator) for _ in range(2))
    exact = a.double() @ b.double()
    return float(((a @ b) - exact).abs().max() / exact.abs().max())
