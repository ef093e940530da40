"""The blocks in which tokens talk: attention of your choice, then a small network per token, both pre-norm.

`Block` is self-attention among tokens. `Summary` is a few learned queries that speak for a modality of many tokens. `Readout`
is one learned query per finding that looks at the evidence by cross-attention. Which mechanism attends is the config's business
alone.
"""

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

from attending.attention import Mask, MechanismConfig, keep, keep_keys
from attending.model.tokens import Tokens


class FeedForward(nn.Sequential):
    """Two linear maps with a GELU between them."""

    def __init__(self, *, dim: int, expansion: int, dropout: float) -> None:
        super().__init__(
            nn.Linear(dim, expansion * dim),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(expansion * dim, dim),
            nn.Dropout(dropout),
        )


class Block(nn.Module):
    """x + attention(norm x), then x + network(norm x)."""

    def __init__(self, attention: MechanismConfig, *, expansion: int = 2, dropout: float = 0.0) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(attention.dim)
        self.attention = attention.build()
        self.dropout = nn.Dropout(dropout)
        self.network_norm = nn.LayerNorm(attention.dim)
        self.network = FeedForward(dim=attention.dim, expansion=expansion, dropout=dropout)

    def forward(self, x: Float[Tensor, "case token dim"], *, mask: Mask) -> Float[Tensor, "case token dim"]:
        """Tokens after one round of conversation."""
        x = x + self.dropout(self.attention(self.attention_norm(x), mask=mask))
        return x + self.network(self.network_norm(x))


class Summary(nn.Module):
    """Learned queries that read one modality's tokens by cross-attention."""

    def __init__(self, attention: MechanismConfig, *, n_queries: int) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.randn(n_queries, attention.dim) * attention.dim**-0.5)
        self.query_norm = nn.LayerNorm(attention.dim)
        self.token_norm = nn.LayerNorm(attention.dim)
        self.attention = attention.build()

    def forward(self, tokens: Tokens) -> Tokens:
        """One token per query; none is seen where no token was."""
        query = self.query.expand(len(tokens.values), -1, -1)
        context = self.token_norm(tokens.values)
        read = self.attention(self.query_norm(query), mask=keep_keys(tokens.seen), context=context)
        seen = tokens.seen.any(dim=1, keepdim=True).expand(-1, query.shape[1])
        return Tokens(values=query + read, seen=seen)

    def origin(self, tokens: Tokens) -> Float[Tensor, "case query token"]:
        """How much each query reads from each token, the mean over heads; rows sum to 1, or to 0 where nothing is seen."""
        query = self.query.expand(len(tokens.values), -1, -1)
        context = self.token_norm(tokens.values)
        return self.attention.weights(self.query_norm(query), mask=keep_keys(tokens.seen), context=context).mean(dim=1)


class Readout(nn.Module):
    """A query per finding over the evidence of each case."""

    def __init__(self, attention: MechanismConfig, *, n_findings: int, expansion: int = 2, dropout: float = 0.0) -> None:
        super().__init__()
        dim = attention.dim
        self.query = nn.Parameter(torch.randn(n_findings, dim) * dim**-0.5)
        self.query_norm = nn.LayerNorm(dim)
        self.evidence_norm = nn.LayerNorm(dim)
        self.attention = attention.build()
        self.dropout = nn.Dropout(dropout)
        self.network_norm = nn.LayerNorm(dim)
        self.network = FeedForward(dim=dim, expansion=expansion, dropout=dropout)
        self.answer_norm = nn.LayerNorm(dim)
        self.answer = nn.Parameter(torch.randn(n_findings, dim) * dim**-0.5)
        self.bias = nn.Parameter(torch.zeros(n_findings))

    def forward(
        self, values: Float[Tensor, "case token dim"], *, seen: Bool[Tensor, "case view token"]
    ) -> Float[Tensor, "case view finding"]:
        """One logit per finding and view; a view says which tokens exist. Tokens are projected once for all views."""
        return (self.fused(values, seen=seen) * self.answer).sum(dim=-1) + self.bias

    def fused(
        self, values: Float[Tensor, "case token dim"], *, seen: Bool[Tensor, "case view token"]
    ) -> Float[Tensor, "case view finding dim"]:
        """What each finding's query holds after it read the evidence, normalised as the answer reads it."""
        n_views, n_findings = seen.shape[1], len(self.query)
        query = self.query.repeat(n_views, 1).expand(len(values), -1, -1)
        mask = keep_keys(seen[:, 0]) if n_views == 1 else keep(seen.repeat_interleave(n_findings, dim=1))
        looked = self.attention(self.query_norm(query), mask=mask, context=self.evidence_norm(values))
        x = query + self.dropout(looked)
        x = x + self.network(self.network_norm(x))
        return rearrange(self.answer_norm(x), "case (view finding) dim -> case view finding dim", view=n_views)

    def weights(
        self, values: Float[Tensor, "case token dim"], *, seen: Bool[Tensor, "case token"]
    ) -> Float[Tensor, "case head finding token"]:
        """How much each finding's query looks at each token; rows sum to 1."""
        query = self.query.expand(len(values), -1, -1)
        context = self.evidence_norm(values)
        return self.attention.weights(self.query_norm(query), mask=keep_keys(seen), context=context)
