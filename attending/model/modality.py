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

import numpy as np
from jaxtyping import Bool, Float
from torch import Tensor, nn

from attending.case import Case, Evidence, Place
from attending.evaluation.gate import Trait
from attending.model.tokens import Inputs, Tokens


class Encoder(nn.Module, ABC):
    """The network of one modality."""

    @abstractmethod
    def forward(self, inputs: Inputs) -> Tokens:
        """Tokens of width `dim`; what is absent is not seen."""

    def summary(self, tokens: Tokens) -> Float[Tensor, "case dim"]:
        """One vector per case for the additive path: the sum over the tokens seen."""
        return (tokens.values * tokens.seen.unsqueeze(-1)).sum(dim=1)


@dataclass(frozen=True, kw_only=True, eq=False)
class Sketch:
    """Fixed numbers that say roughly what a modality holds of each case, known before any network is trained.

    Rows of cases that are not `there` are 0 and count for nothing.
    """

    values: Float[np.ndarray, "case number"]
    there: Bool[np.ndarray, " case"]


class Tokenizer(ABC):
    """How cases become tensors, as fitted on training cases. Plain numbers and strings: `state` is JSON.

    `facts`, `stated` and `sketch` serve the search for switches (`switches.py`), `traits` the gate; a modality may have none.
    """

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

    def facts(self) -> tuple[str, ...]:
        """What evidence of this kind may state, yes or no: a word, a level of a sign. The most frequent first."""
        return ()

    def stated(self, fact: str, inputs: Inputs) -> Bool[Tensor, " case"]:
        """Which cases state this fact. A case without such evidence states nothing."""
        raise ValueError(f"{type(self).__name__} states no facts; asked for {fact!r}")

    def sketch(self, inputs: Inputs) -> Sketch | None:
        """Roughly what each case holds; None where there is no such sketch."""
        return None

    def as_trained(self, inputs: Inputs, *, seed: int) -> Inputs:
        """The inputs as training shows them, where it alters them on purpose: what it does to them is not unlike training."""
        return inputs

    def traits(self, cases: Sequence[Case], inputs: Inputs) -> Mapping[str, Trait]:
        """Where evidence unlike that of training would stand out, by names that people know. `inputs` are `read(cases)`."""
        return {}


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
