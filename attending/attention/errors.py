"""The one error that people see: what was found, what was expected, what to write instead."""

from torch import Tensor


class AttentionError(ValueError):
    """Attention was asked for something that it cannot do, or that can be read in two ways."""


def describe(tensor: Tensor) -> str:
    """Type and shape of a tensor, for errors."""
    return f"{str(tensor.dtype).removeprefix('torch.')} of shape {tuple(tensor.shape)}"
