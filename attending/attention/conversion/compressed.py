"""Latents: keys and values of all heads as maps of one small remembered vector a token (MLA, DeepSeek-V2, arXiv 2405.04434).

At full size a re-expression and exact, with and without RoPE. Cut short by the plain singular value decomposition of the
weights (as in MHA2MLA, arXiv 2502.14837), or, better, in the measure of the layer's output on calibration inputs (as CARE,
arXiv 2603.17946, argues; the measure is ours).

RoPE cannot pass through a latent. Per frequency the keys of all heads are therefore turned into principal components by a
unitary map across heads, which commutes with RoPE (TransMLA's RoRoPE, arXiv 2502.07864, with complex instead of real
rotations). Those that matter most stay rotary and are shared by all heads: exact. The others join the latent unturned, times
the mean of the rotation over the distances that matter: not exact, unless nothing is left over.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from attending.attention.conversion.conversion import (
    Conversion,
    ConversionError,
    Converted,
    Seen,
    need_calibration,
    refuse_extras,
)
from attending.attention.conversion.factors import Directions, best_directions, energies
from attending.attention.conversion.measured import output_error
from attending.attention.conversion.pairs import pairs_of
from attending.attention.conversion.ranks import falling, share_out
from attending.attention.conversion.statistics import LayerStatistics, gather_statistics
from attending.attention.conversion.weights import Draft, drafted, read_constant, read_heads, read_output
from attending.attention.grouped import GroupedAttention, GroupedConfig
from attending.attention.latent import LatentConfig
from attending.attention.positions import RotaryConfig

_ROTARY_SHARES = 8
"""Where nobody says how much of what is remembered is rotary, so many even steps from none to all are weighed."""
_TRIED, _TRIED_ON = 4, 8
"""So many of these are tried, on so many calibration inputs."""


@dataclass(frozen=True, kw_only=True)
class LatentConversion(Conversion):
    """To latent attention that remembers `latent_dim` + `rope_dim` numbers a token.

    Both None: as many as make it exact. `latent_dim` alone: without RoPE that is all; with RoPE it is the sum, of which the
    rotary part gets what is foretold to lose least. `by`: what is kept, by the weights alone or by the output on calibration
    inputs. `ranks` "shared": the bytes that `latent_dim` costs in all layers go where they save most; "even": all the same.
    """

    latent_dim: int | None = None
    rope_dim: int | None = None
    by: Literal["weights", "output"] = "output"
    ranks: Literal["even", "shared"] = "shared"

    def check(self, source: GroupedConfig, seen: Sequence[Seen] = ()) -> None:
        refuse_extras(source, "mla", "gqa and mqa")
        if not (source.position is None or isinstance(source.position, RotaryConfig)):
            kind = type(source.position).__name__.removesuffix("Config").lower()
            raise ConversionError(
                f"mla: found {kind} positions, and latents have rotary ones or none; possible are gqa, mqa, clustered, window"
            )
        rotary, full = full_size(source)
        given = [(name, size) for name, size in (("latent", self.latent_dim), ("rope", self.rope_dim)) if size is not None]
        for name, size in given:
            most = rotary if name == "rope" else full + (rotary if self.rope_dim is None else 0)
            least = 0 if name == "rope" else 1
            if not least <= size <= most or (name == "rope" and size % 2):
                even = "even numbers " if name == "rope" else ""
                raise ConversionError(
                    f"mla:{name}={size}: a layer of {source.kv_heads} KV heads of {source.width} over tokens of "
                    f"{source.source_dim} has at most {most}; possible are {even}{least} to {most}"
                )
        if self.latent_dim is None and self.rope_dim is not None:
            raise ConversionError(f"mla:rope={self.rope_dim}: says nothing of the latent; add latent=N")

    def convert(self, layer: GroupedAttention, seen: Sequence[Seen]) -> Converted:
        self.check(layer.config)
        if self.latent_dim is None:
            return _Compression(layer, None).at_full_size().built(like=layer)
        work = _Compression(layer, self._statistics(layer, seen))
        if self.rope_dim is None and work.n_rotary:
            return work.best_cut(self.latent_dim, seen if self.by == "output" else ())
        draft = work.cut(self.latent_dim, self.rope_dim or 0)
        del work
        return draft.built(like=layer)

    def planned(self, layers: Sequence[tuple[GroupedAttention, Sequence[Seen]]]) -> tuple[Conversion, ...]:
        """What each layer remembers: shares of the common budget, by what is foretold to be lost of each layer's output."""
        if self.latent_dim is None or self.ranks == "even":
            return tuple(self for _ in layers)
        curves = [self._foretold(layer, seen) for layer, seen in layers]
        # A number costs bytes for every token remembered, and layers over different contexts remember more or fewer.
        tokens = [_tokens(seen) for _, seen in layers]
        given = share_out(curves, self.latent_dim * sum(tokens), costs=tokens)
        return tuple(replace(self, latent_dim=n) for n in given)

    def _foretold(self, layer: GroupedAttention, seen: Sequence[Seen]) -> list[float]:
        """The share of a layer's output that is lost with 0, 1, 2, … numbers."""
        self.check(layer.config)
        work = _Compression(layer, self._statistics(layer, seen))
        return falling([loss / work.measure.scale for loss in work.losses(self.rope_dim)])

    def _statistics(self, layer: GroupedAttention, seen: Sequence[Seen]) -> LayerStatistics | None:
        if self.by == "weights":
            return None
        need_calibration(seen, "mla")
        return gather_statistics(layer, seen)


def _tokens(seen: Sequence[Seen]) -> float:
    """Mean number of tokens that a layer remembers of one sample; 1 where nothing was seen."""
    lengths = [(one.x if one.context is None else one.context).shape[1] for one in seen]
    return sum(lengths) / len(lengths) if lengths else 1.0


def full_size(source: GroupedConfig) -> tuple[int, int]:
    """Rotary and latent numbers that make the re-expression exact."""
    turned = 2 * len(pairs_of(source).first)
    in_latent = source.kv_heads * (2 * source.width - turned)
    return source.kv_heads * turned, min(in_latent, source.source_dim)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Rotary:
    """The components that stay rotary: the pair of each, how each head's queries reach them, and what is lost."""

    pair: tuple[int, ...]
    down: Complex[Tensor, "component source"]
    up: Complex[Tensor, "component kv_head"]
    lost: float


@dataclass(frozen=True, kw_only=True, eq=False)
class _Measure:
    """What of a layer's statistics is asked for while it is cut; without statistics every weight counts alike.

    `metric` are the blocks by which rows of keys, then of values count, `tokens` how their sources do.
    """

    metric: Float[Tensor, "block width width"] | None = None
    tokens: Float[Tensor, "source source"] | None = None
    mean_token: Float[Tensor, "head source"] | None = None
    turning: Complex[Tensor, " pair"] | None = None
    coherence: float = 1.0
    scale: float = 1.0


def _measure(layer: GroupedAttention, statistics: LayerStatistics, of_key: Tensor) -> _Measure:
    """One latent serves keys and values, which are missed on different tokens: the mean of the two moments serves both."""
    output = read_output(layer)
    near = output.mT @ output * statistics.value_share[:, None, None]
    of_value = near.unflatten(0, (layer.config.kv_heads, -1)).sum(dim=1)
    of_keys, of_values = (
        float(moment.diagonal().sum().clamp(min=1e-300)) for moment in (statistics.key_tokens, statistics.value_tokens)
    )
    return _Measure(
        metric=torch.cat([of_key * of_keys, of_value * of_values]),
        tokens=(statistics.key_tokens / of_keys).add_(statistics.value_tokens, alpha=1 / of_values).div_(2),
        mean_token=statistics.mean_token,
        turning=statistics.turning,
        coherence=statistics.coherence,
        scale=max(statistics.output_energy, 1e-300),
    )


class _Compression:
    """One layer at work.

    Holds as little as it can: all of a layer's weights in float64 are a good part of a model of few layers, and so is every
    moment of its tokens.
    """

    def __init__(self, layer: GroupedAttention, statistics: LayerStatistics | None) -> None:
        self.layer, self.config, self.pairs = layer, layer.config, pairs_of(layer.config)
        self.maps = torch.stack([read_heads(projection, layer.config.width) for projection in (layer.key, layer.value)])
        self.keys, self.values = self.maps
        self.n_rotary, _ = full_size(layer.config)
        if statistics is None:
            self.measure, self._components = _Measure(), self._principal(None, None)
        else:
            of_key = statistics.query.unflatten(0, (layer.config.kv_heads, -1)).sum(dim=1)
            self._components = self._principal(of_key, statistics.rotary_tokens)
            self.measure = _measure(layer, statistics, of_key)

    def _principal(self, of_key: Tensor | None, tokens: Tensor | None) -> list[Directions]:
        """For each frequency the components of the keys of all heads."""
        found = []
        for first, second in zip(self.pairs.first, self.pairs.second, strict=True):
            metric = None if of_key is None else ((of_key[:, first, first] + of_key[:, second, second]) / 2)[:, None, None]
            rows = torch.complex(self.keys[:, first], self.keys[:, second])
            found.append(best_directions(rows, metric=metric, tokens=tokens))
        return found

    def rotary(self, rope_dim: int) -> _Rotary:
        """The `rope_dim / 2` components whose rotation is missed most, and the rest."""
        n_pairs = len(self.pairs.first)
        turning = self.measure.turning
        still = torch.ones(n_pairs) if turning is None else 1.0 - turning.abs() ** 2
        price = [
            (float(component.energy[rank] * still[pair]), pair, rank)
            for pair, component in enumerate(self._components)
            for rank in range(len(component.energy))
        ]
        price.sort(key=lambda one: -one[0])
        chosen = sorted(((pair, rank) for _, pair, rank in price[: rope_dim // 2]))
        nothing = torch.zeros(0, dtype=torch.complex128, device=self.keys.device)
        n_heads, _, n_source = self.keys.shape
        return _Rotary(
            pair=tuple(pair for pair, _ in chosen),
            down=torch.stack([self._components[p].down[r] for p, r in chosen]) if chosen else nothing.view(0, n_source),
            up=torch.stack([self._components[p].up[:, r] for p, r in chosen]) if chosen else nothing.view(0, n_heads),
            lost=sum(energy for energy, _, _ in price[rope_dim // 2 :]) * self.measure.coherence,
        )

    def latent(self, rotary: _Rotary | None, size: int) -> tuple[Float[Tensor, "size source"], Float[Tensor, "row size"]]:
        """The latent of this size: how tokens become it, and how keys (as far as they are not rotary) and values are read."""
        found = best_directions(self._in_latent(rotary), metric=self.measure.metric, tokens=self.measure.tokens)
        return found.down[:size].clone(), found.up[:, :size].clone()  # not parts of all directions, which may go

    def _in_latent(self, rotary: _Rotary | None) -> Float[Tensor, "row source"]:
        """Keys, as far as they are not rotary, above values."""
        maps = self.maps if rotary is None else self.maps.clone()
        if rotary is not None:
            left = self.pairs.complex_of(self.keys)
            for pair, up, down in zip(rotary.pair, rotary.up, rotary.down, strict=True):
                left[:, pair] -= up[:, None] * down
            turning = 1.0 if self.measure.turning is None else self.measure.turning[:, None]
            self.pairs.put(maps[0], left.mul_(turning * self.pairs.amplitude))
        rows = maps.flatten(0, 2)
        return rows[:, :-1] if self.measure.tokens is None else rows

    def losses(self, rope_dim: int | None) -> list[float]:
        """What is foretold to be lost with 0, 1, 2, … numbers, the rotary part as given or as is best for each."""
        options = [rope_dim or 0] if rope_dim is not None or not self.n_rotary else self._rotary_options(self.n_rotary)
        _, full = full_size(self.config)
        most = full + (self.n_rotary if rope_dim is None else 0)
        best = [float("inf")] * (most + 1)
        for rope in options:
            for n, loss in enumerate(self._losses_with(rope)):
                total = n + (0 if rope_dim is not None else rope)
                if total <= most:
                    best[total] = min(best[total], loss)
        for n in range(1, most + 1):
            best[n] = min(best[n], best[n - 1])
        return best

    def _losses_with(self, rope: int) -> list[float]:
        """What is lost with a latent of 0, 1, 2, … beside a rotary part of this size."""
        rotary = self.rotary(rope) if self.n_rotary else None
        energy = energies(self._in_latent(rotary), metric=self.measure.metric, tokens=self.measure.tokens)
        tails = [*energy.flip(0).cumsum(0).flip(0).tolist(), 0.0]
        return [(0.0 if rotary is None else rotary.lost) + tail for tail in tails[: full_size(self.config)[1] + 1]]

    def _rotary_options(self, most: int) -> list[int]:
        return sorted({round(most * n / _ROTARY_SHARES / 2) * 2 for n in range(_ROTARY_SHARES + 1)})

    def best_cut(self, total: int, seen: Sequence[Seen]) -> Converted:
        """The layer that remembers `total` numbers, of which as many are rotary as is best.

        Of the sizes that are foretold to lose least a few are tried on the calibration inputs; without any, the foretold best.
        """
        _, full = full_size(self.config)
        least = max(total - full, 0)
        options = {rope for rope in self._rotary_options(min(self.n_rotary, total)) if least <= rope < total}
        options |= {rope for rope in (least + least % 2,) if rope < total}
        foretold = {rope: self._losses_with(rope)[min(total - rope, full)] for rope in options}
        best = sorted(options, key=lambda rope: foretold[rope])[: _TRIED if seen else 1]
        made = self.cut(min(total - best[0], full), best[0]).built(like=self.layer)
        error = output_error(self.layer, made, seen[:_TRIED_ON]).output if len(best) > 1 else 0.0
        for rope in best[1:]:  # one at a time: each is as large as a layer
            other = self.cut(min(total - rope, full), rope).built(like=self.layer)
            if (tried := output_error(self.layer, other, seen[:_TRIED_ON]).output) < error:
                made, error = other, tried
        return made

    def at_full_size(self) -> Draft:
        """The same layer over latents."""
        rotary, full = full_size(self.config)
        return self.cut(full, rotary)

    def cut(self, latent_dim: int, rope_dim: int) -> Draft:
        """The layer that remembers so much."""
        config, width = self.config, self.config.width
        rotary = self.rotary(rope_dim) if self.n_rotary else None
        down, up = self.latent(rotary, latent_dim)
        key_up, value_up = up.chunk(2)
        key_up, value_up = (part.unflatten(0, (config.kv_heads, width)) for part in (key_up, value_up))
        is_all_rotary = rotary is not None and rope_dim == self.n_rotary and not self.pairs.rest
        nope_dim = 1 if is_all_rotary else width
        if is_all_rotary:
            key_up = key_up[:, :1] * 0.0
        of_head = torch.arange(config.kv_heads).repeat_interleave(config.n_heads // config.kv_heads)
        query = read_heads(self.layer.query, width)
        parts = [query[:, :nope_dim] * (0.0 if is_all_rotary else 1.0)]
        remembered = [torch.nn.functional.pad(down[:, : self.keys.shape[-1] - 1], (0, 1))]
        if rotary is not None and rotary.pair:
            pair = list(rotary.pair)
            # The queries of a head meet every component of its frequency, through its own share in it.
            met = self.pairs.complex_of(query)[:, pair] * rotary.up.T[of_head].conj()[..., None]
            parts.append(_interleaved(met) * self.pairs.amplitude)
            remembered.append(_interleaved(rotary.down[None])[0])
        scale = config.score_scale * (nope_dim + rope_dim) ** 0.5
        queries, kept = torch.cat(parts, dim=1).mul_(scale), torch.cat(remembered)
        del query, parts
        constant = self._constant(value_up[of_head] @ remembered[0])
        frequencies = tuple(self.pairs.frequencies[list(rotary.pair)].tolist()) if rotary is not None else ()
        new = LatentConfig(
            dim=config.dim,
            n_heads=config.n_heads,
            latent_dim=latent_dim,
            rope_dim=rope_dim,
            nope_dim=nope_dim,
            value_dim=width,
            context_dim=config.context_dim,
            rotary=RotaryConfig(layout="interleaved", frequencies=frequencies if rope_dim else None),
            norms_latents=False,
            bias=bool(queries[..., -1].any() or kept[..., -1].any()),
            output_bias=config.output_bias or bool(constant.any()),
            dropout=config.dropout,
        )
        state = {
            "query_up.weight": queries[..., :-1].flatten(0, 1),
            "query_up.bias": queries[..., -1].flatten(),
            "latent_down.weight": kept[..., :-1],
            "latent_down.bias": kept[..., -1],
            "key_up.weight": key_up[of_head].flatten(0, 1),
            "value_up.weight": value_up[of_head].flatten(0, 1),
            "output.weight": self.layer.output.weight.detach(),
            "output.bias": constant,
        }
        state = {f"projections.{name}": tensor for name, tensor in state.items()}
        heads, told = tuple(range(config.n_heads)), self._told(latent_dim, rope_dim)
        return drafted(new, state, heads=heads, told=told, like=self.layer)

    def _constant(self, kept: Float[Tensor, "head width source"]) -> Float[Tensor, " dim"]:
        """The output bias: with it what the latent misses of the mean value, and the biases of values."""
        of_head = torch.arange(self.config.kv_heads).repeat_interleave(self.config.n_heads // self.config.kv_heads)
        if self.measure.mean_token is None:
            missed = self.values[of_head, :, -1]
        else:
            missed = torch.einsum("hws,hs->hw", self.values[of_head] - kept, self.measure.mean_token)
        return read_constant(self.layer.output) + torch.einsum("how,hw->o", read_output(self.layer), missed)

    def _told(self, latent_dim: int, rope_dim: int) -> str:
        rotary, full = full_size(self.config)
        if rope_dim < rotary:
            return f"{rope_dim // 2} of {rotary // 2} rotary components stay so: exact; the rest without rotation: not exact"
        return "a re-expression: exact" if latent_dim == full else f"latent of {latent_dim} of {full}: not exact"


def _interleaved(pairs: Complex[Tensor, "head pair source"]) -> Float[Tensor, "head width source"]:
    return torch.stack([pairs.real, pairs.imag], dim=2).flatten(1, 2)
