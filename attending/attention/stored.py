"""Keys or values as a cache stores them, made into numbers where they are read: a step that reads few of them converts few."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from attending.attention.buffers import Buffer, as_numbers


@dataclass(frozen=True, kw_only=True)
class Stored:
    """`parts`: the numbers themselves, or whole numbers beside a scale for each vector (int8); both [batch, head, key, …]."""

    parts: tuple[Tensor, ...]
    reads_as: torch.dtype

    @classmethod
    def of(cls, buffer: Buffer, n_key: int | None = None) -> "Stored":
        """The first `n_key` slots of a buffer, or all of them."""
        return cls(parts=tuple(tensor[:, :, :n_key] for tensor in buffer.tensors), reads_as=buffer.reads_as)

    @classmethod
    def plain(cls, heads: Float[Tensor, "batch head key dim"]) -> "Stored":
        """Numbers that are read as they are."""
        return cls(parts=(heads,), reads_as=heads.dtype)

    def first(self, n_key: int) -> "Stored":
        """The first keys alone."""
        return Stored(parts=tuple(part[:, :, :n_key] for part in self.parts), reads_as=self.reads_as)

    def at(
        self, sample: Int[Tensor, "..."], head: Int[Tensor, "..."], key: Int[Tensor, "..."]
    ) -> Float[Tensor, "batch head *read dim"]:
        """What stands at these places, which broadcast."""
        return as_numbers([part[sample, head, key] for part in self.parts], self.reads_as)

    def all(self) -> Float[Tensor, "batch head key dim"]:
        """Everything."""
        return as_numbers(self.parts, self.reads_as)


class Tokens(NamedTuple):
    """Keys and values of the same tokens."""

    key: Stored
    value: Stored

    def first(self, n_key: int) -> "Tokens":
        """The first ones alone."""
        return Tokens(self.key.first(n_key), self.value.first(n_key))

    def read(self) -> "Tokens":
        """All of them made into numbers."""
        return Tokens(Stored.plain(self.key.all()), Stored.plain(self.value.all()))
