"""What mechanisms over heads share: the widths of heads, their projections, and how they are turned and scored.

Not a mechanism itself: `grouped.py`, `windowed.py` and `clustered.py` are; `low_rank.py` takes the widths alone.
"""

from abc import ABC
from collections.abc import Generator
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from attending.attention.errors import AttentionError
from attending.attention.grid import Grid, Places
from attending.attention.mechanism import Inputs, Mechanism, MechanismConfig, check_heads, prepare
from attending.attention.positions import PositionConfig, PositionEncoding
from attending.attention.projection import Projection
from attending.attention.rules import Mask
from attending.attention.scoring import ScoreBias, Scoring, check_bias
from attending.attention.steps import Step, step


@dataclass(frozen=True, kw_only=True)
class HeadShape(MechanismConfig):
    """Heads of dim / n_heads, or of `head_dim`, with or without biases; `dropout` is the share of weights lost in training."""

    head_dim: int | None = None
    bias: bool = False
    output_bias: bool = False
    dropout: float = 0.0

    def __post_init__(self) -> None:
        check_heads(self.dim, self.n_heads, self.kv_heads)
        if self.head_dim is None and self.dim % self.n_heads:
            raise AttentionError(f"n_heads: found {self.n_heads} for dim={self.dim}; it must divide dim, or give head_dim")
        if not 0.0 <= self.dropout < 1.0:
            raise AttentionError(f"dropout: found {self.dropout}, expected a share of weights in [0, 1)")

    @property
    def kv_heads(self) -> int:
        return self.n_heads

    @property
    def width(self) -> int:
        """Size of one head."""
        return self.dim // self.n_heads if self.head_dim is None else self.head_dim


@dataclass(frozen=True, kw_only=True)
class SharedHeadShape(HeadShape):
    """Heads that may share keys and values (`n_kv_heads` None: none do), may know their place, and scale their scores."""

    n_kv_heads: int | None = None
    position: PositionConfig | None = None
    scale: float | None = None

    @property
    def kv_heads(self) -> int:
        return self.n_heads if self.n_kv_heads is None else self.n_kv_heads

    @property
    def score_scale(self) -> float:
        return self.width**-0.5 if self.scale is None else self.scale

    @property
    def remembered(self) -> dict[str, tuple[int, int]]:
        """(heads, dim) of what a cache holds of each token, by name."""
        return dict.fromkeys(("key", "value"), (self.kv_heads, self.width))

    @property
    def position_parameters(self) -> int:
        """How many numbers the position encoding learns."""
        return 0 if self.position is None else self.position.parameters(dim=self.dim, n_heads=self.n_heads)


class HeadedAttention(Mechanism, ABC):
    """The projections of a `SharedHeadShape`, and the ways between tokens and heads."""

    config: SharedHeadShape

    def __init__(self, config: SharedHeadShape, *, source_dim: int, n_queries: int, n_keys: int) -> None:
        """`n_queries`, `n_keys`: how many heads of each are projected."""
        super().__init__()
        self.config = config
        self.query = Projection(config.dim, n_queries * config.width, bias=config.bias)
        self.key = Projection(source_dim, n_keys * config.width, bias=config.bias)
        self.value = Projection(source_dim, config.kv_heads * config.width, bias=config.bias)
        self.output = Projection(config.n_heads * config.width, config.dim, bias=config.output_bias)
        self.position: PositionEncoding | None = None
        if config.position is not None:
            self.position = config.position.build(dim=config.dim, n_heads=config.n_heads, head_dim=config.width)

    def scoring(
        self,
        mask: Mask,
        grid: Grid,
        biases: tuple[ScoreBias, ...] = (),
        *,
        position: PositionEncoding | None,
        dropout: float = 0.0,
    ) -> Scoring:
        """How these heads score; `position` is theirs over their own tokens, None over a context."""
        of_position = None if position is None else position.score_bias()
        biases = biases if of_position is None else (*biases, of_position)
        return Scoring(mask=mask, grid=grid, scale=self.config.score_scale, biases=biases, dropout=dropout)

    def project(self, x: Tensor, places: Places) -> tuple[Tensor, dict[str, Tensor]]:
        """Queries of new tokens, and what is remembered of them."""
        x = x if self.position is None else self.position.embed(x, places)
        return self._queries(x, places), {"key": self._keys(x, places), "value": self._heads(self.value, x)}

    def _lowered(
        self, x: Tensor, *, mask: Mask, context: Tensor | None, positions: Tensor | None, bias: ScoreBias | None
    ) -> tuple[Tensor, Tensor, Tensor, Scoring, Inputs]:
        """Queries, keys and values of all heads that are projected, how they are scored, and where they stand."""
        asking, seen, places, scoring, inputs = self._before_heads(
            x, mask=mask, context=context, positions=positions, bias=bias
        )
        q, k, v = self._queries(asking, places), self._keys(seen, places), self._heads(self.value, seen)
        return q, k, v, scoring, inputs

    def _before_heads(
        self, x: Tensor, *, mask: Mask, context: Tensor | None, positions: Tensor | None, bias: ScoreBias | None
    ) -> tuple[Tensor, Tensor, Places | None, Scoring, Inputs]:
        """Tokens as they ask and as they are seen, where they stand, and how they will be scored."""
        position = self.position if context is None else None
        dims = (self.config.dim, self.key.in_features)
        inputs = prepare(x, mask=mask, context=context, positions=positions, dims=dims, counts=position is not None)
        batch, n_query, n_key = x.shape[0], x.shape[1], inputs.source.shape[1]
        biases = check_bias(bias, batch=batch, n_heads=self.config.n_heads, n_query=n_query, n_key=n_key)
        places = None if position is None else inputs.positions
        asking, seen = (inputs.x, inputs.source) if position is None else self._embedded(inputs, position)
        dropout = self.config.dropout if self.training else 0.0
        return asking, seen, places, self.scoring(mask, inputs.grid, biases, position=position, dropout=dropout), inputs

    def _embedded(self, inputs: Inputs, position: PositionEncoding) -> tuple[Tensor, Tensor]:
        """Tokens as they ask, and as they are seen (0 where nobody may)."""
        asking = position.embed(inputs.x, inputs.positions)
        return asking, asking if inputs.source is inputs.x else position.embed(inputs.source, inputs.positions)

    def _queries(self, x: Tensor, places: Places | None) -> Float[Tensor, "batch head query dim"]:
        return self._turned(self.query, x, places)

    def _keys(self, x: Tensor, places: Places | None) -> Float[Tensor, "batch kv_head key dim"]:
        return self._turned(self.key, x, places)

    def _turned(
        self, projection: nn.Linear, x: Tensor, places: Places | None, norm: nn.Module | None = None
    ) -> Float[Tensor, "batch head seq dim"]:
        """Heads, normed and then turned; as they stand where no places are given."""
        heads = self._heads(projection, x)
        heads = heads if norm is None else norm(heads)
        return heads if self.position is None or places is None else self.position.rotate(heads, places)

    def _heads(self, projection: nn.Linear, x: Tensor) -> Float[Tensor, "batch head seq dim"]:
        return split_heads(projection(x), self.config.width)

    def _turning(
        self, name: str, axes: str, projection: nn.Linear, x: Tensor, *, places: Places | None, norm: nn.Module | None = None
    ) -> Generator[Step, None, Tensor]:
        """The steps of `_turned`, and what it gives."""
        heads = self._heads(projection, x)
        yield step(name, heads, axes, "projected, split into heads")
        if norm is not None:
            heads = norm(heads)
            yield step(f"normed {name}", heads, axes, "RMS norm of each head")
        turned = heads if self.position is None or places is None else self.position.rotate(heads, places)
        if turned is not heads:
            yield step(f"rotated {name}", turned, axes, "turned by the place")
        return turned

    def _project_queries(self, x: Tensor, places: Places) -> tuple[Tensor, dict[str, Tensor]]:
        """Queries to a context, which shares no places with them."""
        return self._queries(x, None), {}


def split_heads(x: Float[Tensor, "batch seq heads_dim"], width: int) -> Float[Tensor, "batch head seq dim"]:
    """The heads that lie side by side in each token."""
    return x.unflatten(-1, (-1, width)).transpose(1, 2)
