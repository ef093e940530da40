"""What mechanisms over a latent share: one small vector a token, from which the keys and values of every head are made.

Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434, section 2.1): c = norm(W x) is remembered beside one rotary key that
all heads share. Expanded, each head makes its keys and values from c; absorbed, the queries are taken to c instead, and the
values come back from it: the same sum in another order. Not a mechanism itself: `latent.py` and `indexed.py` are.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from attending.attention.costs import Cost, Meeting, Phase, bytes_of, cache_cost
from attending.attention.errors import AttentionError
from attending.attention.grid import Places
from attending.attention.mechanism import MechanismConfig
from attending.attention.positions import PositionEncoding, RotaryConfig
from attending.attention.projection import Projection
from attending.attention.rows import each_by_its_own, lies_in_rows, serves
from attending.attention.steps import Step, Weighed, finished, mixed, step


@dataclass(frozen=True, kw_only=True)
class LatentShape(MechanismConfig):
    """Widths of the latent (`latent_dim`), of a head's unrotated and rotary part and of its values.

    `query_latent_dim` None makes queries straight from the tokens. In self-attention `rotary` turns the `rope_dim` numbers;
    over a context they stay as they are. Scores are divided by √(nope_dim + rope_dim), times the scaling's factor (YaRN's m²).
    `norms_latents` False remembers latents as they are projected, `bias` adds biases to queries and to what is remembered, and
    `rope_dim` 0 has no rotary part: what attention that was trained otherwise becomes (`conversion`).
    """

    latent_dim: int
    rope_dim: int
    nope_dim: int
    value_dim: int
    query_latent_dim: int | None = None
    context_dim: int | None = None
    rotary: RotaryConfig = field(default_factory=lambda: RotaryConfig(layout="interleaved"))
    norm_eps: float = 1e-6
    norms_latents: bool = True
    bias: bool = False
    output_bias: bool = False
    dropout: float = 0.0

    def __post_init__(self) -> None:
        widths = {name: getattr(self, name) for name in ("dim", "n_heads", "latent_dim", "nope_dim", "value_dim")}
        small = [f"{name}={width}" for name, width in widths.items() if width < 1]
        if small:
            raise AttentionError(f"latent: found {', '.join(small)}; every width is 1 or more")
        if self.rope_dim < 0 or self.rope_dim % 2:
            raise AttentionError(f"rope_dim: found {self.rope_dim}, expected an even number, or 0 for no rotary part")
        if not 0.0 <= self.dropout < 1.0:
            raise AttentionError(f"dropout: found {self.dropout}, expected a share of weights in [0, 1)")

    @property
    def source_dim(self) -> int:
        """Width of the tokens that become latents."""
        return self.dim if self.context_dim is None else self.context_dim

    @property
    def query_source_dim(self) -> int:
        """Width of what queries are made from."""
        return self.dim if self.query_latent_dim is None else self.query_latent_dim

    @property
    def score_scale(self) -> float:
        scaling = self.rotary.scaling
        return (self.nope_dim + self.rope_dim) ** -0.5 * (1.0 if scaling is None else scaling.score_scale)

    @property
    def remembered(self) -> dict[str, tuple[int, int]]:
        """(heads, dim) of what a cache holds of each token, by name."""
        return {"latent": (1, self.latent_dim + self.rope_dim)}

    def prefers_absorbed(self, n_query: int, n_key: int) -> bool:
        """Whether taking the queries to the latents costs fewer products than making keys and values of all of them.

        Expanded: n_key·d_c·(d_n + d_v) to expand and n_query·n_key·(d_n + d_r + d_v) to attend. Absorbed:
        n_query·d_c·(d_n + d_v) and n_query·n_key·(2·d_c + d_r).
        """
        if n_query == 0 or n_key == 0:
            return False
        head = self.nope_dim + self.value_dim
        return 1 / n_query - 1 / n_key > (2 * self.latent_dim - head) / (self.latent_dim * head)

    @property
    def query_products(self) -> int:
        """Multiplications that make one token's queries, and its output from the heads."""
        query = self.dim * (self.query_latent_dim or 0) + self.query_source_dim * self.n_heads * (self.nope_dim + self.rope_dim)
        return query + self.n_heads * self.value_dim * self.dim

    @property
    def latent_products(self) -> int:
        """Multiplications that make what is remembered of one token."""
        return self.source_dim * (self.latent_dim + self.rope_dim)

    @property
    def up_products(self) -> int:
        """Multiplications that take one token through the up-projections of keys and values, in either direction."""
        return self.n_heads * self.latent_dim * (self.nope_dim + self.value_dim)

    @property
    def parameter_count(self) -> int:
        norms = self.latent_dim + (self.query_latent_dim or 0) if self.norms_latents else 0
        remembered = self.n_heads * (self.nope_dim + self.rope_dim) + self.latent_dim + self.rope_dim
        biases = (remembered if self.bias else 0) + (self.dim if self.output_bias else 0)
        return self.query_products + self.latent_products + self.up_products + norms + biases

    def latent_cost(
        self,
        met: Meeting,
        *,
        length: int,
        batch: int,
        dtype: str,
        phase: Phase,
        cache_dtype: str | None,
        context: int | None,
    ) -> Cost:
        """Cost of attending densely over the latents, in the form that `prefers_absorbed` takes."""
        absorbed = phase != "train" and self.prefers_absorbed(met.rows, met.keys)
        per_pair = self.n_heads * (
            2 * self.latent_dim + self.rope_dim if absorbed else self.nope_dim + self.rope_dim + self.value_dim
        )
        fixed = met.rows * self.query_products + met.projected * self.latent_products
        fixed += (met.rows if absorbed else met.keys) * self.up_products
        times, size = (6 if phase == "train" else 2) * batch, bytes_of(dtype)
        return Cost(
            phase=phase,
            dtype=dtype,
            parameters=self.parameter_count,
            parameter_bytes=self.parameter_count * size,
            flops=times * (fixed + met.pairs * per_pair),
            causal_flops=times * (fixed + met.seen * per_pair),
            activation_bytes=batch * self.passed_on(met, absorbed=absorbed) * size,
            cache=cache_cost(self.remembered, length=length, batch=batch, dtype=cache_dtype or dtype, context=context),
        )

    def passed_on(self, met: Meeting, *, absorbed: bool) -> int:
        """Numbers that pass between the projections: of rows, of tokens that are remembered now, and what is expanded."""
        row = 2 * self.dim + (self.query_latent_dim or 0) + self.n_heads * (self.nope_dim + self.rope_dim + self.value_dim)
        if absorbed:
            row += self.n_heads * (2 * self.latent_dim + self.rope_dim)
        expanded = 0 if absorbed else met.keys * self.n_heads * (self.nope_dim + self.value_dim)
        return met.rows * row + met.projected * (self.latent_dim + self.rope_dim) + met.beside * self.source_dim + expanded


class LatentQueries(NamedTuple):
    """Queries by head, their parts that meet the latent and the rotary key, and what they were made from."""

    nope: Float[Tensor, "batch head query nope"]
    rope: Float[Tensor, "batch head query rope"]
    source: Float[Tensor, "batch query query_source"]


class LatentProjections(nn.Module):
    """The weights of latent attention, and the ways between tokens, latents and heads."""

    def __init__(self, shape: LatentShape) -> None:
        super().__init__()
        self.shape = shape
        heads, latent = shape.n_heads, shape.latent_dim
        self.query_down: nn.Linear | None = None
        self.query_norm: nn.Module | None = None
        if shape.query_latent_dim is not None:
            self.query_down = Projection(shape.dim, shape.query_latent_dim, bias=False)
            self.query_norm = _norm(shape.query_latent_dim, shape)
        self.query_up = Projection(shape.query_source_dim, heads * (shape.nope_dim + shape.rope_dim), bias=shape.bias)
        self.latent_down = Projection(shape.source_dim, latent + shape.rope_dim, bias=shape.bias)
        self.latent_norm = _norm(latent, shape)
        self.key_up = Projection(latent, heads * shape.nope_dim, bias=False)
        self.value_up = Projection(latent, heads * shape.value_dim, bias=False)
        self.output = Projection(heads * shape.value_dim, shape.dim, bias=shape.output_bias)
        self.rotary: PositionEncoding = PositionEncoding()
        if shape.rope_dim > 0:
            self.rotary = shape.rotary.build(dim=shape.dim, n_heads=heads, head_dim=shape.rope_dim)

    def queries(self, x: Float[Tensor, "batch query dim"], places: Places | None) -> LatentQueries:
        """Queries of every head; turned where places are given."""
        source = x
        if self.query_down is not None and self.query_norm is not None:
            source = self.query_norm(self.query_down(x))
        heads = self.query_up(source).unflatten(-1, (self.shape.n_heads, -1)).transpose(1, 2)
        nope, rope = heads.split([self.shape.nope_dim, self.shape.rope_dim], dim=-1)
        return LatentQueries(nope, rope if places is None else self.rotary.rotate(rope, places), source)

    def latents(
        self, source: Float[Tensor, "batch key source"], places: Places | None
    ) -> Float[Tensor, "batch 1 key latent_and_rope"]:
        """What is remembered: the normed latent beside the (turned) rotary key."""
        latent, rope = self.latent_down(source)[:, None].split([self.shape.latent_dim, self.shape.rope_dim], dim=-1)
        rope = rope if places is None else self.rotary.rotate(rope, places)
        return torch.cat([self.latent_norm(latent), rope], dim=-1)

    def expanded(
        self, latents: Float[Tensor, "batch 1 key latent_and_rope"]
    ) -> tuple[Float[Tensor, "batch head key dim"], Float[Tensor, "batch head key value"]]:
        """Keys and values of every head."""
        latent, rope = latents[:, 0, :, : self.shape.latent_dim], latents[..., self.shape.latent_dim :]
        keys = self.key_up(latent).unflatten(-1, (self.shape.n_heads, -1)).transpose(1, 2)
        values = self.value_up(latent).unflatten(-1, (self.shape.n_heads, -1)).transpose(1, 2)
        return torch.cat([keys, rope.expand(-1, self.shape.n_heads, -1, -1)], dim=-1), values

    def absorbed(self, queries: LatentQueries) -> Float[Tensor, "batch head query latent_and_rope"]:
        """Queries taken to the latent. The rotary part stays outside: a rotation between the two would not commute."""
        up = self.key_up.weight.unflatten(0, (self.shape.n_heads, -1))
        return torch.cat([each_head_by_its_own(queries.nope, up), queries.rope], dim=-1)

    def steps_of_tokens(self, queries: LatentQueries, latents: Float[Tensor, "batch 1 key latent_and_rope"]) -> Iterator[Step]:
        """What is made of the tokens: in the expanded form, and the queries of the absorbed one."""
        latent, rope = latents[:, 0, :, : self.shape.latent_dim], latents[:, 0, :, self.shape.latent_dim :]
        small = "small projection" if isinstance(self.latent_norm, nn.Identity) else "small projection, RMS norm"
        if self.query_down is not None:
            yield step("query latents", queries.source, "batch query latent", small)
        yield step("unrotated queries", queries.nope, "batch head query nope", "the part that meets the latents")
        if self.shape.rope_dim:
            yield step("rotary queries", queries.rope, "batch head query rope", "turned by the place")
        yield step("latents", latent, "batch key latent", f"{small}; kept")
        if self.shape.rope_dim:
            yield step("rotary keys", rope, "batch key rope", "one for all heads, turned; kept")
        keys, values = self.expanded(latents)
        yield step("keys", keys, "batch head key dim", "latents × W_UK, rotary keys beside")
        yield step("values", values, "batch head key value", "latents × W_UV")
        absorbed = self.absorbed(queries)
        yield step("absorbed queries", absorbed, "batch head query latent+rope", "× what is kept: the same scores")

    def steps_of_weights(
        self, found: Weighed, latents: Float[Tensor, "batch 1 key latent_and_rope"], values: Tensor
    ) -> Iterator[Step]:
        """From the weights to the result."""
        mean = found.weights @ latents[..., : self.shape.latent_dim]
        yield step("mean latents", mean, "batch head query latent", "weights × latents; × W_UV: heads")
        heads = yield from mixed(found.weights, values)
        yield from finished(heads, found.alive, self.output)

    def from_latent(self, mixed: Float[Tensor, "batch head query latent"]) -> Float[Tensor, "batch head query value"]:
        """Each head's mean latent as its mean value."""
        return each_head_by_its_own(mixed, self.value_up.weight.unflatten(0, (self.shape.n_heads, -1)).mT)


def _norm(width: int, shape: LatentShape) -> nn.Module:
    return nn.RMSNorm(width, eps=shape.norm_eps) if shape.norms_latents else nn.Identity()


def each_head_by_its_own(
    heads: Float[Tensor, "batch head query one"], matrices: Float[Tensor, "head one two"]
) -> Float[Tensor, "batch head query two"]:
    """Each head times its matrix. `heads @ matrices` would copy the matrices for every sample."""
    batch, n_heads, n_query, width = heads.shape
    if batch * n_query == 1 and serves(matrices, heads) and lies_in_rows(matrices):
        return each_by_its_own(heads[0, :, 0], matrices)[None, :, None]
    rows = heads.transpose(0, 1).reshape(n_heads, batch * n_query, width)
    return torch.bmm(rows, matrices).view(n_heads, batch, n_query, matrices.shape[2]).transpose(0, 1)
