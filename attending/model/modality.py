"""The contract of a modality: cases → inputs → tokens that know their place.

A config is fitted on training cases to give a tokenizer (its vocabulary, bins, levels); the tokenizer turns cases into
tensors, builds the network that encodes them, and says for each token which part of which evidence it came from.
Nothing is imputed here or anywhere: evidence that is absent gives no token, or, where the schema made its absence visible,
one learned token that says so.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from jaxtyping import Float
from torch import Tensor, nn

from attending.case import Case, Evidence, Place
from attending.model.tokens import Inputs, Tokens


class Encoder(nn.Module, ABC):
    """The network of one modality."""

    @abstractmethod
    def forward(self, inputs: Inputs) -> Tokens:
        """Tokens of width `dim`; what is absent is not seen."""

    def summary(self, tokens: Tokens) -> Float[Tensor, "case dim"]:
        """One vector per case for the additive path: the sum over the tokens seen."""
        return (tokens.values * tokens.seen.unsqueeze(-1)).sum(dim=1)


class Tokenizer(ABC):
    """How cases become tensors, as fitted on training cases. Plain numbers and strings: `state` is JSON."""

    @abstractmethod
    def read(self, cases: Sequence[Case]) -> Inputs:
        """Tensors of these cases."""

    @abstractmethod
    def places(self, case: Case) -> tuple[Place | None, ...]:
        """Where each token of this case came from, in token order; None for a token that is not there."""

    @abstractmethod
    def build(self, dim: int) -> Encoder:
        """A fresh encoder to width `dim`, initialised from torch's current random state."""

    @abstractmethod
    def state(self) -> Mapping[str, Any]:
        """All that was learned from the cases, as JSON values."""


@dataclass(frozen=True, kw_only=True)
class ModalityConfig(ABC):
    """What to make of one kind of evidence.

    `visible` names fields whose absence the model may see (a declared choice of the schema). With `n_summaries` that many
    learned queries read this modality's tokens and join the conversation in their place, so that a film's or a note's many
    tokens neither crowd out a single laboratory value nor pay for talking to each other; 0 lets every token join.
    """

    kind: ClassVar[type[Evidence]]
    visible: tuple[str, ...] = ()
    n_summaries: int = 0

    @abstractmethod
    def fit(self, cases: Sequence[Case]) -> Tokenizer | None:
        """The tokenizer for these training cases, or None when none of them has evidence of this kind."""

    @abstractmethod
    def restore(self, state: Mapping[str, Any]) -> Tokenizer:
        """The tokenizer with this `state`, as it was fitted."""
