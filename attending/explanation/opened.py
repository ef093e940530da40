"""A case opened: its tokens as each network holds them, the place of each, and the answer when some places are gone.

Evidence is encoded once; what is asked without a place is asked of the same tokens with that one not seen, which is what the
networks were trained to do without (`model.absence`). No value is put in its stead. Not a way to change evidence.

Words are encoded with their neighbours, so a neighbour's token may still tell of a word that is gone.
"""

import copy
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from attending.case import Case, Place
from attending.explanation.explainer import ExplanationError
from attending.explanation.scale import score_of
from attending.model.diagnoser import Diagnoser
from attending.model.modality import Encoder
from attending.model.tokens import Inputs, Kind, Tokens
from attending.model.trained import TrainedModel

VARIANTS = 256
"""Variants of a case that are asked at once."""


class OpenCase:
    """One case under one model. `places` are all distinct places that its tokens came from, in the model's order.

    Learned tokens (a field made visible as missing) have no place and always stay. Raises `ExplanationError` for a case
    without evidence that the model reads.
    """

    def __init__(self, model: TrainedModel, case: Case) -> None:
        self.model, self.case = model, case
        self.places: tuple[Place, ...]
        kinds: list[Kind] = []
        places: list[Place] = []
        number: dict[Place, int] = {}
        self.place_of_token: dict[Kind, np.ndarray] = {}
        for kind, tokenizer in model.tokenizers.by_kind.items():
            of_token = []
            for place in tokenizer.places(case):
                if place is None or place.evidence < 0:
                    of_token.append(-1)
                    continue
                if place not in number:
                    number[place] = len(places)
                    places.append(place)
                    kinds.append(kind)
                of_token.append(number[place])
            self.place_of_token[kind] = np.array(of_token, dtype=int)
        if not places:
            raise ExplanationError("the case has no evidence of a kind that the model reads; there is nothing to explain")
        self.places, self.kinds = tuple(places), tuple(kinds)
        self.inputs = model.tokenizers.batch([case], model.task).inputs
        self.evidence = tuple(encoded(network, self.inputs) for network in model.networks)
        for kind, tokens in self.evidence[0].items():
            assert tokens.values.shape[1] == len(self.place_of_token[kind]), f"{kind.__name__}: a token without a place"

    def __len__(self) -> int:
        return len(self.places)

    def scores(self, kept: Bool[np.ndarray, "variant place"]) -> Float[np.ndarray, "variant finding"]:
        """Calibrated scores (see `scale`) of the case with only the `kept` places."""
        task = self.model.task
        pieces = [np.zeros((0, len(task.findings)))]
        for start in range(0, len(kept), VARIANTS):
            some = kept[start : start + VARIANTS]
            said = []
            inputs = self.thinned_inputs(some)
            with torch.inference_mode():
                for network, evidence in zip(self.model.networks, self.evidence, strict=True):
                    logits = answer(network, self.thinned(evidence, some), inputs=inputs).double()
                    said.append((logits.softmax(dim=-1) if task.exclusive else logits.sigmoid()).cpu().numpy())
            settled = self.model.settling.calibrated(np.mean(said, axis=0))
            pieces.append(score_of(settled, is_exclusive=task.exclusive))
        return np.concatenate(pieces)

    def thinned(self, evidence: Mapping[Kind, Tokens], kept: Bool[np.ndarray, "variant place"]) -> dict[Kind, Tokens]:
        """The tokens once for each variant, those of places that are not kept unseen."""
        found = {}
        for kind, tokens in evidence.items():
            keep = self._kept_tokens(kind, kept).to(tokens.seen.device)
            found[kind] = Tokens(values=tokens.values.expand(len(kept), -1, -1), seen=tokens.seen & keep)
        return found

    def thinned_inputs(self, kept: Bool[np.ndarray, "variant place"]) -> dict[Kind, Inputs]:
        """The inputs once for each variant: a network may ask of them, beside the tokens, whether a fact is stated.

        What says of each token whether it is there says so no more of places that are not kept.
        """
        return {kind: self._thinned(inputs, self._kept_tokens(kind, kept)) for kind, inputs in self.inputs.items()}

    def _kept_tokens(self, kind: Kind, kept: Bool[np.ndarray, "variant place"]) -> Bool[Tensor, "variant token"]:
        always = np.concatenate([kept, np.ones((len(kept), 1), dtype=bool)], axis=1)  # place −1 is the last column
        return torch.from_numpy(always[:, self.place_of_token[kind]])

    @staticmethod
    def _thinned(inputs: Inputs, keep: Bool[Tensor, "variant token"]) -> Inputs:
        rows = inputs.rows(torch.zeros(len(keep), dtype=torch.long))
        held = {field.name: getattr(rows, field.name) for field in fields(rows)}
        flags = {name: tensor & keep for name, tensor in held.items() if _are_flags(tensor, keep)}
        return replace(rows, **flags)

    def by_place(self, of_token: Mapping[Kind, Float[np.ndarray, " token"]]) -> Float[np.ndarray, " place"]:
        """Numbers of tokens summed over the place they came from; those of learned tokens are left out."""
        total = np.zeros(len(self.places) + 1)
        for kind, numbers in of_token.items():
            np.add.at(total, self.place_of_token[kind], numbers)
        return total[:-1]


def encoded(network: Diagnoser, inputs: Mapping[Kind, Inputs]) -> dict[Kind, Tokens]:
    """What each encoder makes of the inputs, nothing dropped."""
    network.eval()
    device = network.register.device
    with torch.no_grad():
        pairs = zip(network.kinds, network.encoders, strict=True)
        return {kind: encoder(inputs[kind].to(device)) for kind, encoder in pairs}


def answer(
    network: Diagnoser, evidence: Mapping[Kind, Tokens], *, inputs: Mapping[Kind, Inputs]
) -> Float[Tensor, "case finding"]:
    """Logits of a network that is given tokens beside the inputs they came from. The network itself is left as it is."""
    twin: Any = copy.copy(network)
    pairs = zip(network.kinds, network.encoders, strict=True)
    given = nn.ModuleList(_Given(encoder, evidence[kind]) for kind, encoder in pairs)
    object.__setattr__(twin, "_modules", {**network._modules, "encoders": given})
    device = network.register.device
    return twin({kind: each.to(device) for kind, each in inputs.items()})


def _are_flags(tensor: Tensor, keep: Tensor) -> bool:
    return tensor.dtype == torch.bool and tensor.shape == keep.shape


class _Given(Encoder):
    """Stands where an encoder stood and says what that had said."""

    def __init__(self, encoder: nn.Module, tokens: Tokens) -> None:
        super().__init__()
        self._encoder = (encoder,)  # in a tuple, so that it is held and not registered once more
        self._tokens = tokens

    def forward(self, inputs: Inputs) -> Tokens:
        """The tokens."""
        return self._tokens

    def summary(self, tokens: Tokens) -> Float[Tensor, "case dim"]:
        """As the encoder sums up."""
        encoder: Any = self._encoder[0]
        return encoder.summary(tokens)
