"""Where a token stands: rotary, ALiBi, T5 and learned positions, each acting at one of three places.

An encoding may add to the tokens (`embed`), turn queries and keys (`rotate`) or add to the scores (`score_bias`). Encodings are
for self-attention; over a context they are not applied, because its places are not those of the queries.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Self

import torch
from jaxtyping import Float
from torch import Tensor, nn

from attending.attention.errors import AttentionError
from attending.attention.grid import Grid, Places
from attending.attention.scalings import Scaling, plain_frequencies
from attending.attention.scoring import ScoreBias

Layout = Literal["half", "interleaved"]
_TURNS_KEPT = 64
"""Places whose cosines and sines are kept together: a step of decoding needs the next one, and its keys the same."""


class PositionEncoding(nn.Module):
    """Changes nothing; an encoding overrides the one place where it acts."""

    def embed(self, x: Float[Tensor, "batch seq dim"], places: Places) -> Float[Tensor, "batch seq dim"]:
        """Tokens with their positions added."""
        return x

    def rotate(self, heads: Float[Tensor, "batch head seq dim"], places: Places) -> Float[Tensor, "batch head seq dim"]:
        """Queries or keys turned by their positions."""
        return heads

    def score_bias(self) -> ScoreBias | None:
        """What is added to the scores, as a function of the grid."""
        return None


@dataclass(frozen=True, kw_only=True)
class PositionConfig(ABC):
    """What a position encoding is made from."""

    @abstractmethod
    def build(self, *, dim: int, n_heads: int, head_dim: int) -> PositionEncoding:
        """The encoding for tokens of width `dim` and heads of width `head_dim`."""

    def parameters(self, *, dim: int, n_heads: int) -> int:
        """How many numbers the encoding learns."""
        return 0


@dataclass(frozen=True, kw_only=True)
class RotaryConfig(PositionConfig):
    """RoPE (Su et al. 2021) on the first `rotary_dim` numbers of a head (None: all).

    `layout` says which two numbers form a pair: "half" i and i + dim/2 (Llama, Hugging Face), "interleaved" 2i and 2i + 1
    (the paper, GPT-J, DeepSeek-V3). The wrong one raises no error and costs quality. `frequencies` are radians a place of each
    pair, instead of those that `base` and `scaling` give.
    """

    base: float = 10_000.0
    rotary_dim: int | None = None
    layout: Layout = "half"
    scaling: Scaling | None = None
    frequencies: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if self.frequencies is not None:
            object.__setattr__(self, "frequencies", tuple(self.frequencies))
        if self.layout not in ("half", "interleaved"):
            raise AttentionError(f'layout: found {self.layout!r}, expected "half" or "interleaved"')

    def build(self, *, dim: int, n_heads: int, head_dim: int) -> "Rotary":
        return Rotary(self, head_dim)

    def frequencies_of(self, width: int) -> Float[Tensor, " pair"]:
        """Radians a place of each pair of `width` numbers, float64."""
        if self.frequencies is None:
            scaling = self.scaling
            return plain_frequencies(self.base, width) if scaling is None else scaling.frequencies(self.base, width)
        if len(self.frequencies) != width // 2:
            raise AttentionError(f"frequencies: found {len(self.frequencies)} for {width // 2} pairs; give one for each pair")
        return torch.tensor(self.frequencies, dtype=torch.float64)


class Rotary(PositionEncoding):
    """See `RotaryConfig`."""

    def __init__(self, config: RotaryConfig, head_dim: int) -> None:
        super().__init__()
        width = head_dim if config.rotary_dim is None else config.rotary_dim
        if width % 2 or not 0 < width <= head_dim:
            raise AttentionError(f"rotary_dim: found {width} for heads of {head_dim}; it is even and no wider than the head")
        self.config = config
        self._width = width
        self._amplitude = 1.0 if config.scaling is None else config.scaling.amplitude
        # Not a buffer: `module.to(bfloat16)` would round the frequencies, and far positions would turn by the wrong angle.
        self._frequencies = config.frequencies_of(width)
        self._kept: tuple[object, tuple[Tensor, Tensor]] | None = None

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        super()._apply(fn, recurse)
        self._frequencies = self._frequencies.to(fn(torch.empty(0)).device)
        return self

    def rotate(self, heads: Float[Tensor, "batch head seq dim"], places: Places) -> Float[Tensor, "batch head seq dim"]:
        cosine, sine = self._turns(places, heads)
        is_whole = heads.shape[-1] == self._width
        turned = heads if is_whole else heads[..., : self._width]
        if self.config.layout == "half":
            partner = turned.roll(self._width // 2, dims=-1)
        else:
            partner = torch.stack([turned[..., 1::2], turned[..., 0::2]], dim=-1).flatten(-2)
        turned = torch.addcmul(turned * cosine, partner, sine)
        return turned if is_whole else torch.cat([turned, heads[..., self._width :]], dim=-1)

    def _turns(self, places: Places, heads: Tensor) -> tuple[Tensor, Tensor]:
        """Cosine and signed sine that each number and its partner are multiplied by, [batch or 1, 1, seq, width].

        In decoding those of some places to come are made and kept.
        """
        if not isinstance(places, range) or torch.compiler.is_compiling() or type(heads) is not Tensor:
            return self._turned_by(places, heads.dtype, heads.device)
        first = places.start - places.start % _TURNS_KEPT
        last = first + _TURNS_KEPT
        if places.stop > last:
            return self._turned_by(places, heads.dtype, heads.device)
        # What is made in inference mode may not meet gradients.
        key = (first, heads.dtype, heads.device, torch.is_inference_mode_enabled())
        kept = self._kept
        if kept is None or kept[0] != key:
            kept = self._kept = (key, self._turned_by(range(first, last), heads.dtype, heads.device))
        cosine, sine = kept[1]
        here = slice(places.start - first, places.stop - first)
        return cosine[:, :, here], sine[:, :, here]

    def _turned_by(self, places: Places, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
        precise = torch.promote_types(dtype, torch.float32)
        if isinstance(places, range):
            place = torch.arange(places.start, places.stop, device=device, dtype=precise)[None, None, :, None]
        else:
            place = places.to(precise)[:, None, :, None]
        angle = place * self._frequencies.to(device, precise)
        cosine, sine = ((part * self._amplitude).to(dtype) for part in (angle.cos(), angle.sin()))
        if self.config.layout == "half":
            return torch.cat([cosine, cosine], dim=-1), torch.cat([-sine, sine], dim=-1)
        return cosine.repeat_interleave(2, dim=-1), torch.stack([-sine, sine], dim=-1).flatten(-2)


@dataclass(frozen=True, kw_only=True)
class AlibiConfig(PositionConfig):
    """ALiBi (Press et al. 2021): scores fall linearly with distance, with a slope fixed for each head."""

    def build(self, *, dim: int, n_heads: int, head_dim: int) -> "Alibi":
        return Alibi(n_heads)


class Alibi(PositionEncoding):
    """See `AlibiConfig`. Keys after the query count their distance, too."""

    def __init__(self, n_heads: int) -> None:
        super().__init__()
        self._slopes = alibi_slopes(n_heads)

    def score_bias(self) -> ScoreBias:
        def bias(grid: Grid) -> Float[Tensor, "batch_or_one head query key"]:
            slopes = torch.tensor(self._slopes, dtype=torch.float64, device=grid.device)
            return -slopes[:, None, None] * grid.distance().abs()[:, None]

        return bias


def alibi_slopes(n_heads: int) -> list[float]:
    """2^(−8i/n) for n a power of two; otherwise the slopes of the next lower one and every second of the next higher."""
    power = 2 ** math.floor(math.log2(n_heads))
    slopes = [2 ** (-8 * (i + 1) / power) for i in range(power)]
    between = [2 ** (-4 * (i + 1) / power) for i in range(0, 2 * (n_heads - power), 2)]
    return slopes + between


@dataclass(frozen=True, kw_only=True)
class RelativeBiasConfig(PositionConfig):
    """T5 (Raffel et al. 2020, section 2.1): a learned number for each head and bucket of distance.

    `future_buckets`: half of the buckets serve keys after the query (encoders); without, those keys share bucket 0 (decoders).
    """

    n_buckets: int = 32
    max_distance: int = 128
    future_buckets: bool = True

    def build(self, *, dim: int, n_heads: int, head_dim: int) -> "RelativeBias":
        return RelativeBias(self, n_heads)

    def parameters(self, *, dim: int, n_heads: int) -> int:
        return self.n_buckets * n_heads


class RelativeBias(PositionEncoding):
    """See `RelativeBiasConfig`."""

    def __init__(self, config: RelativeBiasConfig, n_heads: int) -> None:
        super().__init__()
        self.config = config
        self.table = nn.Parameter(torch.zeros(config.n_buckets, n_heads))

    def score_bias(self) -> ScoreBias:
        return _LearnedBias(self)

    def bucket(self, distance: Tensor) -> Tensor:
        """Bucket of each distance: one each up to half of them, then logarithmic up to `max_distance`."""
        n_buckets, offset = self.config.n_buckets, torch.zeros_like(distance)
        if self.config.future_buckets:
            n_buckets //= 2
            offset = (distance < 0) * n_buckets
            distance = distance.abs()
        distance = distance.clamp(min=0)
        exact = n_buckets // 2
        ratio = torch.log(distance.clamp(min=1).float() / exact) / math.log(self.config.max_distance / exact)
        coarse = (exact + (ratio * (n_buckets - exact)).long()).clamp(max=n_buckets - 1)
        return offset + torch.where(distance < exact, distance, coarse)


class _LearnedBias:
    """A bias of the grid whose numbers are parameters."""

    is_learned = True

    def __init__(self, encoding: RelativeBias) -> None:
        self._encoding = encoding

    def __call__(self, grid: Grid) -> Float[Tensor, "batch_or_one head query key"]:
        return self._encoding.table[self._encoding.bucket(grid.distance())].permute(0, 3, 1, 2)


@dataclass(frozen=True, kw_only=True)
class LearnedConfig(PositionConfig):
    """One learned vector for each of `length` places, added to the tokens."""

    length: int

    def build(self, *, dim: int, n_heads: int, head_dim: int) -> "Learned":
        return Learned(self, dim)

    def parameters(self, *, dim: int, n_heads: int) -> int:
        return self.length * dim


class Learned(PositionEncoding):
    """See `LearnedConfig`. Tokens beyond the last place are refused."""

    def __init__(self, config: LearnedConfig, dim: int) -> None:
        super().__init__()
        self.config = config
        self.table = nn.Parameter(torch.empty(config.length, dim).normal_(std=0.02))

    def embed(self, x: Float[Tensor, "batch seq dim"], places: Places) -> Float[Tensor, "batch seq dim"]:
        last: Any = places.stop - 1 if isinstance(places, range) else places.max().item() if places.numel() else -1
        if last >= self.config.length:
            raise AttentionError(f"positions: found place {last}, and only {self.config.length} were learned; build with more")
        chosen = self.table[places.start : places.stop][None] if isinstance(places, range) else self.table[places]
        return x + chosen
