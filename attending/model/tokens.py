"""What passes between the encoders, the fusion and the findings: inputs, tokens, batches, predictions.

Tensors are case first. A token that is not `seen` does not exist for anything downstream: it has exactly zero influence,
whatever its values are. Where a token came from is asked of its tokenizer (`Tokenizer.places`), not carried along, because
training handles a hundred thousand batches and looks at none of their places.
"""

from abc import ABC
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Self

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from attending.case import Evidence

Kind = type[Evidence]
"""A kind of evidence, by its type."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Inputs(ABC):  # noqa: B024 -- a family of records without behaviour of their own
    """Tensors of one modality, one row per case. Members add tensors; every tensor's first axis is the case."""

    def _each(self, change: Callable[[Tensor], Tensor]) -> Self:
        return type(self)(**{f.name: change(getattr(self, f.name)) for f in fields(self)})

    def rows(self, index: Tensor) -> Self:
        """The cases at `index`, in that order."""
        return self._each(lambda tensor: tensor[index])

    def to(self, device: torch.device) -> Self:
        """The same on another device."""
        return self._each(lambda tensor: tensor.to(device))


@dataclass(frozen=True, kw_only=True, eq=False)
class Tokens:
    """One modality, encoded. `seen` says which tokens exist."""

    values: Float[Tensor, "case token dim"]
    seen: Bool[Tensor, "case token"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """Cases ready for a network: inputs per kind of evidence, truth where `known`, and each case's weight."""

    inputs: Mapping[Kind, Inputs]
    truth: Float[Tensor, "case finding"]
    known: Bool[Tensor, "case finding"]
    weight: Float[Tensor, " case"]

    def __len__(self) -> int:
        return len(self.weight)

    def rows(self, index: Tensor) -> "Batch":
        """The cases at `index`, in that order."""
        return Batch(
            inputs={kind: inputs.rows(index) for kind, inputs in self.inputs.items()},
            truth=self.truth[index],
            known=self.known[index],
            weight=self.weight[index],
        )

    def to(self, device: torch.device) -> "Batch":
        """The same on another device."""
        return Batch(
            inputs={kind: inputs.to(device) for kind, inputs in self.inputs.items()},
            truth=self.truth.to(device),
            known=self.known.to(device),
            weight=self.weight.to(device),
        )
