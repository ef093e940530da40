"""Numbers and categories as one token per field: the parts that laboratory values, signs and demographics share.

A number is piecewise linear over the quantile bins of its training values (Gorishniy et al. 2022, "On embeddings for numerical
features", section 3.1): bin b holds clip((x − low_b) / (high_b − low_b), 0, 1). Each field has its own weights, so a sum over
tokens is an additive model and attention adds the interactions.
A field may be measured several times: its occurrences share weights and differ by their time.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from attending.model.modality import Encoder, Sketch
from attending.model.tokens import Inputs, Tokens

HOURS_PER_DAY = 24.0


@dataclass(frozen=True, kw_only=True, eq=False)
class FieldInputs(Inputs):
    """One slot per (field, occurrence): its features, whether it is there, and how long ago in log days."""

    features: Float[Tensor, "case slot feature"]
    present: Bool[Tensor, "case slot"]
    age_log_days: Float[Tensor, "case slot"]


def log_days(at_hours: float) -> float:
    """log(1 + days before the question); 0 for now."""
    return float(np.log1p(-at_hours / HOURS_PER_DAY))


def quantile_edges(values: Sequence[float], n_bins: int) -> tuple[float, ...]:
    """Edges of at most `n_bins` bins that hold about equally many training values; distinct and ascending.

    A constant field gives one edge, and with it no bins: its token then says only that it was measured.
    """
    edges = np.unique(np.quantile(np.asarray(values, dtype=float), np.linspace(0, 1, n_bins + 1)))
    return tuple(float(edge) for edge in edges)


def piecewise_linear(value: float, edges: Sequence[float]) -> Float[np.ndarray, " bin"]:
    """Share of each bin that lies below `value`, in [0, 1], however far outside the edges that is."""
    low, high = np.asarray(edges[:-1]), np.asarray(edges[1:])
    inside = np.clip(value, edges[0], edges[-1])
    return np.clip((inside - low) / (high - low), 0.0, 1.0)


def field_sketch(inputs: Inputs) -> Sketch:
    """All features of all slots; those of a slot that is not there are 0."""
    assert isinstance(inputs, FieldInputs)
    values = (inputs.features * inputs.present.unsqueeze(-1)).flatten(start_dim=1)
    return Sketch(values=values.numpy(), there=inputs.present.any(dim=1).numpy())


class FieldEncoder(Encoder):
    """Slots → tokens: a linear map of each field's features, its own bias, and a shared direction for time.

    `field_of_slot` maps slots to fields. `visible_slots` are those whose absence is a token of its own.
    """

    def __init__(
        self, *, dim: int, n_features: int, field_of_slot: Sequence[int], visible_slots: Sequence[bool], is_timed: bool = True
    ) -> None:
        super().__init__()
        n_fields = max(field_of_slot) + 1
        self.weight = nn.Parameter(torch.randn(n_fields, n_features, dim) * n_features**-0.5)
        self.bias = nn.Parameter(torch.randn(n_fields, dim) * dim**-0.5)
        self.time = nn.Parameter(torch.zeros(n_fields, dim)) if is_timed else None
        self.missing = nn.Parameter(torch.randn(n_fields, dim) * dim**-0.5) if any(visible_slots) else None
        self.field_of_slot: Int[Tensor, " slot"]
        self.register_buffer("field_of_slot", torch.tensor(field_of_slot), persistent=False)
        self.visible_slots: Bool[Tensor, " slot"]
        self.register_buffer("visible_slots", torch.tensor(visible_slots), persistent=False)
        self._one_slot_per_field = list(field_of_slot) == list(range(n_fields))

    def forward(self, inputs: Inputs) -> Tokens:
        """Tokens in slot order."""
        assert isinstance(inputs, FieldInputs)
        weight, bias = self._by_slot(self.weight), self._by_slot(self.bias)
        values = torch.einsum("csf,sfd->csd", inputs.features, weight) + bias
        if self.time is not None:
            values = values + inputs.age_log_days.unsqueeze(-1) * self._by_slot(self.time)
        if self.missing is None:
            return Tokens(values=values, seen=inputs.present)
        values = torch.where(inputs.present.unsqueeze(-1), values, self._by_slot(self.missing))
        return Tokens(values=values, seen=inputs.present | self.visible_slots)

    def _by_slot(self, of_field: Tensor) -> Tensor:
        return of_field if self._one_slot_per_field else of_field[self.field_of_slot]
