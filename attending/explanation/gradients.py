"""Integrated gradients over token values: what each place adds along a straight line from the usual token to its own.

Sundararajan et al. 2017, "Axiomatic attribution for deep networks", equation 1, by Gauss–Legendre quadrature. The line runs
in the space of encoded tokens, because a word or an absent value has no gradient of its own. Its start is the mean token of
the reference, not a piece of evidence that anybody has: read weights as "rather than usual". Ours, not captum's, since that
differentiates a function of given tensors with a mask of their shape, and adds a dependency for one sum.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from attending.case import Case
from attending.diagnosis import Explanation
from attending.explanation.explainer import Account, Explainer, ExplainerConfig, ExplanationError, column_of
from attending.explanation.opened import OpenCase, answer, encoded
from attending.explanation.scale import unit_of
from attending.model.diagnoser import Diagnoser
from attending.model.tokens import Kind, Tokens
from attending.model.trained import TrainedModel

AT_ONCE = 32
"""Points of the line that are asked at once."""
Usual = Mapping[Kind, Tensor]
"""The mean token of each kind: one per position where every case has as many, otherwise one for all."""


@dataclass(frozen=True, kw_only=True)
class GradientsConfig(ExplainerConfig):
    """`n_points` of the line; the reference gives the usual token, and one case is enough for a rough one."""

    name: ClassVar[str] = "integrated-gradients"
    told: ClassVar[str] = "what this place adds to the uncalibrated answer, rather than the usual token in its position"
    n_points: int = 32

    def __post_init__(self) -> None:
        if self.n_points < 2:
            raise ValueError(f"n_points={self.n_points}: at least 2 are needed")

    def build(self, model: TrainedModel, reference: Sequence[Case]) -> "Gradients":
        """The explainer. Raises `ExplanationError` without a reference."""
        if not reference:
            raise ExplanationError("integrated gradients need reference cases that say what is usual; found none")
        return Gradients(model, self, usual=tuple(_usual(model, network, reference) for network in model.networks))


class Gradients(Explainer):
    """The line from the usual tokens to the case's."""

    def __init__(self, model: TrainedModel, config: GradientsConfig, *, usual: tuple[Usual, ...]) -> None:
        self.model, self.config, self.usual = model, config, usual

    def explain(self, case: Case, finding: str) -> Explanation:
        """As `account`, without what the weights sum to."""
        return self.account(case, finding).explanation

    def account(self, case: Case, finding: str) -> Account:
        """The mean over networks of each place's weight; they sum to the mean logit less that of the usual tokens."""
        column = column_of(self.model.task, finding)
        opened = OpenCase(self.model, case)
        total, start, end = np.zeros(len(opened)), 0.0, 0.0
        for network, evidence, usual in zip(self.model.networks, opened.evidence, self.usual, strict=True):
            by_token, begins, ends = self._line(network, opened, evidence, usual, column)
            total += opened.by_place(by_token) / len(self.model.networks)
            start += begins / len(self.model.networks)
            end += ends / len(self.model.networks)
        return Account(
            explanation=Explanation(
                finding=finding,
                method=GradientsConfig.name,
                weights=tuple(zip(opened.places, map(float, total), strict=True)),
            ),
            start=start,
            end=end,
            unit=f"uncalibrated {unit_of(is_exclusive=self.model.task.exclusive)}",
            origin="the usual token in every place",
        )

    def _line(
        self, network: Diagnoser, opened: OpenCase, evidence: Mapping[Kind, Tokens], usual: Usual, column: int
    ) -> tuple[dict[Kind, np.ndarray], float, float]:
        """Weights of the tokens of one network, and its answer at both ends."""
        points, shares = np.polynomial.legendre.leggauss(self.config.n_points)
        points, shares = (points + 1) / 2, shares / 2
        begin = {kind: self._begin(opened, kind, tokens, usual[kind]) for kind, tokens in evidence.items()}
        change = {kind: tokens.values - begin[kind] for kind, tokens in evidence.items()}
        slope = {kind: torch.zeros_like(tokens.values, dtype=torch.float64) for kind, tokens in evidence.items()}
        for first in range(0, len(points), AT_ONCE):
            along = torch.from_numpy(points[first : first + AT_ONCE]).to(begin[network.kinds[0]])[:, None, None]
            weight = torch.from_numpy(shares[first : first + AT_ONCE]).to(along.device)
            values = {kind: (begin[kind] + along * change[kind]).requires_grad_() for kind in evidence}
            said = self._said(network, opened, evidence, values)[:, column]
            grads = torch.autograd.grad(said.sum(), list(values.values()), allow_unused=True)
            for kind, grad in zip(values, grads, strict=True):
                if grad is not None:
                    slope[kind] += torch.einsum("p,ptd->td", weight, grad.double())[None]
        with torch.no_grad():
            starts = float(self._said(network, opened, evidence, begin)[0, column])
            own = {kind: tokens.values for kind, tokens in evidence.items()}
            ends = float(self._said(network, opened, evidence, own)[0, column])
        weights = {}
        for kind, tokens in evidence.items():
            there = tokens.seen[0].double()
            weights[kind] = ((slope[kind] * change[kind].double()).sum(dim=-1)[0] * there).cpu().numpy()
        return weights, starts, ends

    def _said(
        self, network: Diagnoser, opened: OpenCase, evidence: Mapping[Kind, Tokens], values: Mapping[Kind, Tensor]
    ) -> Tensor:
        """Logits, or log-probabilities where findings exclude each other, of tokens with these values."""
        n = len(next(iter(values.values())))
        tokens = {kind: Tokens(values=values[kind], seen=evidence[kind].seen.expand(n, -1)) for kind in evidence}
        inputs = opened.thinned_inputs(np.ones((n, len(opened)), dtype=bool))
        logits = answer(network, tokens, inputs=inputs).double()
        return logits.log_softmax(dim=-1) if self.model.task.exclusive else logits

    def _begin(self, opened: OpenCase, kind: Kind, tokens: Tokens, usual: Tensor) -> Tensor:
        """The start of the line; learned tokens stay where they are, so that they get no weight."""
        learned = torch.from_numpy(opened.place_of_token[kind] < 0).to(usual.device)[None, :, None]
        return torch.where(learned, tokens.values, usual.expand_as(tokens.values))


def _usual(model: TrainedModel, network: Diagnoser, reference: Sequence[Case]) -> Usual:
    inputs = model.tokenizers.batch(reference, model.task).inputs
    found = {}
    for kind, tokens in encoded(network, inputs).items():
        seen = tokens.seen.unsqueeze(-1)
        lengths = {len(model.tokenizers.by_kind[kind].places(case)) for case in reference}
        is_fixed = len(lengths) == 1 and len(reference) > 1
        axes = (0,) if is_fixed else (0, 1)
        total = (tokens.values * seen).sum(dim=axes, keepdim=True)
        found[kind] = total / seen.sum(dim=axes, keepdim=True).clamp(min=1)
    return found
