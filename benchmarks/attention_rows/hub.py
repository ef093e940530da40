"""The peers of Hugging Face transformers, which come with the extra "hub"; without it their rows say so."""

from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from typing import Any

import torch

from benchmarks.attention_rows.measuring import NO_HUB, Row, name_of


def hub() -> Any:
    """The library, or None."""
    if find_spec("transformers") is None:
        return None
    import transformers

    return transformers


def unmeasured(job: str, musts: Mapping[str, float | None], shape: str, dtype: torch.dtype) -> Iterator[Row]:
    """The rows of these peers without figures."""
    for peer, must in musts.items():
        yield Row(job=job, peer=peer, shape=shape, dtype=name_of(dtype), must=must, error=NO_HUB)
