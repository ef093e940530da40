"""Where a finding's query reads: attention as it is, followed back through every layer to the tokens.

Weights have no sign and need not be reasons (Jain and Wallace 2019); they stand here so that they can be held against methods
that ask the model. Through blocks of self-attention the flow is rolled out: half of what a token says is its own, half what
it read (Abnar and Zuidema 2020, section 3). The weights are those of the mechanism in use, whichever it is.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from attending.attention import traces_within
from attending.case import Case
from attending.diagnosis import Explanation
from attending.explanation.explainer import Explainer, ExplainerConfig, column_of
from attending.explanation.opened import OpenCase
from attending.model.diagnoser import Diagnoser
from attending.model.tokens import Inputs, Kind
from attending.model.trained import TrainedModel


@dataclass(frozen=True, kw_only=True)
class AttentionConfig(ExplainerConfig):
    """Weights of the last look alone, the mean over heads and networks. Needs no reference."""

    name: ClassVar[str] = "attention"
    told: ClassVar[str] = "how much the finding's query reads here (mean over heads); without a sign, and no reason by itself"
    has_sign: ClassVar[bool] = False

    def build(self, model: TrainedModel, reference: Sequence[Case]) -> "Attention":
        """The explainer."""
        return Attention(model)


class Attention(Explainer):
    """Weights of the readout over tokens, by `Diagnoser.weights`."""

    def __init__(self, model: TrainedModel) -> None:
        self.model = model

    def explain(self, case: Case, finding: str) -> Explanation:
        """Weights that sum to what the query does not give to learned tokens."""
        return _explained(self.model, case, finding, method=AttentionConfig.name, look=_last_look)


@dataclass(frozen=True, kw_only=True)
class AttentionFlowConfig(ExplainerConfig):
    """Weights of the last look, carried back through every block and summary. Needs no reference."""

    name: ClassVar[str] = "attention-flow"
    told: ClassVar[str] = "how much of what the finding's query reads came from here, through all layers; without a sign"
    has_sign: ClassVar[bool] = False

    def build(self, model: TrainedModel, reference: Sequence[Case]) -> "AttentionFlow":
        """The explainer."""
        return AttentionFlow(model)


class AttentionFlow(Explainer):
    """Traced weights of every layer, multiplied."""

    def __init__(self, model: TrainedModel) -> None:
        self.model = model

    def explain(self, case: Case, finding: str) -> Explanation:
        """Weights that sum to what does not come from learned tokens. Without blocks the same as `attention`."""
        return _explained(self.model, case, finding, method=AttentionFlowConfig.name, look=_flow)


Look = Callable[[Diagnoser, Mapping[Kind, Inputs], OpenCase], Tensor]
"""What each finding's query takes from each token of a case, [finding, token], the register first."""


@torch.no_grad()
def _explained(model: TrainedModel, case: Case, finding: str, *, method: str, look: Look) -> Explanation:
    """What the finding's query takes from each place, the mean over networks."""
    column, opened = column_of(model.task, finding), OpenCase(model, case)
    total = np.zeros(len(opened))
    for network in model.networks:
        network.eval()
        inputs = {kind: each.to(network.register.device) for kind, each in opened.inputs.items()}
        taken = look(network, inputs, opened)[column].double().cpu().numpy()
        total += opened.by_place(_by_kind(taken, opened)) / len(model.networks)
    weights = tuple(zip(opened.places, map(float, total), strict=True))
    return Explanation(finding=finding, method=method, weights=weights)


def _last_look(network: Diagnoser, inputs: Mapping[Kind, Inputs], _: OpenCase) -> Tensor:
    """The weights of the readout, the mean over heads."""
    return network.weights(inputs)[0].mean(dim=0)


def _flow(network: Diagnoser, inputs: Mapping[Kind, Inputs], opened: OpenCase) -> Tensor:
    """The same, carried back through every block and summary."""
    traced = traces_within(network, lambda: network(inputs))
    layers = {name: calls[0].weights[0].mean(dim=0) for name, calls in traced.items() if calls}
    flow = layers["readout.attention"]
    for number in reversed(range(len(network.blocks))):
        read = layers[f"blocks.{number}.attention"]
        mixed = (read + torch.eye(len(read), device=read.device)) / 2
        flow = flow @ (mixed / mixed.sum(dim=1, keepdim=True).clamp(min=1e-12))
    parts, start = [flow[:, :1]], 1
    for kind in network.kinds:
        origin = layers.get(f"summaries.{kind.__name__}.attention")
        n = len(origin) if origin is not None else len(opened.place_of_token[kind])
        part = flow[:, start : start + n]
        parts.append(part if origin is None else part @ origin)
        start += n
    return torch.cat(parts, dim=1)


def _by_kind(of_token: np.ndarray, opened: OpenCase) -> dict[Kind, np.ndarray]:
    """Numbers in the order of `Tokenizers.places`, parted by kind, without the register's."""
    found, start = {}, 1
    for kind, places in opened.place_of_token.items():
        found[kind] = of_token[start : start + len(places)]
        start += len(places)
    assert start == len(of_token)
    return found
