"""What two kinds of evidence say together: products of what is read from each, beside the sum of what each says alone.

A network that adds and then bends learns a product slowly: on two thousand patients it over-fits what acts alone before it
finds what acts together (journal, "Clinic"). Here products are there from the start, as in a factorization machine (Rendle
2010, "Factorization machines", equation 1), between kinds of evidence instead of columns.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from attending.attention import MechanismConfig, keep_keys
from attending.model.tokens import Tokens


class Pairs(nn.Module):
    """A query per finding reads each kind of evidence by an attention of that kind's own; readings multiply in pairs.

    Each reading has `rank` numbers. A kind of evidence that is absent reads as exactly 0, and so do all its products.
    """

    def __init__(self, attention: MechanismConfig, *, names: tuple[str, ...], n_findings: int, rank: int) -> None:
        super().__init__()
        dim = attention.dim
        self.query = nn.Parameter(torch.randn(n_findings, dim) * dim**-0.5)
        self.query_norm = nn.LayerNorm(dim)
        self.evidence_norms = nn.ModuleDict({name: nn.LayerNorm(dim) for name in names})
        self.attentions = nn.ModuleDict({name: attention.build() for name in names})
        self.readings = nn.ModuleDict({name: nn.Linear(dim, rank) for name in names})
        self.weight = nn.Parameter(torch.randn(n_findings, rank) * 0.3)

    def read(self, name: str, tokens: Tokens) -> Float[Tensor, "case finding rank"]:
        """What each finding reads from the kind of evidence called `name`; exactly 0 where a case has none of it."""
        asked = self.query_norm(self.query).expand(len(tokens.values), -1, -1)
        looked = self.attentions[name](asked, mask=keep_keys(tokens.seen), context=self.evidence_norms[name](tokens.values))
        return torch.where(tokens.seen.any(dim=1)[:, None, None], self.readings[name](looked), 0.0)

    def multiply(self, readings: Sequence[Float[Tensor, "case finding rank"]]) -> Float[Tensor, "case finding"]:
        """What to add to the logits: the weighted sum of all products of two readings: half of (Σ reading)² − Σ reading²."""
        total = torch.stack(list(readings)).sum(dim=0)
        squares = torch.stack([reading**2 for reading in readings]).sum(dim=0)
        return ((total**2 - squares) / 2 * self.weight).sum(dim=-1)
