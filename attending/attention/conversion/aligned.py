"""Aligned pooling: KV heads that share are first brought into line, each in its own way, as far as nobody can tell.

A value may pass through any map that the output projection takes back, a key that is not turned through any map that the query
takes back, a rotary pair through any complex number (`pairs.py`). Within these freedoms the shared head is the best that least
squares can find, in the measure of the layer's output on calibration inputs. Procrustes alignment (Jin et al. 2025) asks for
rotations; they are among these maps, so heads that are rotated copies of each other are merged exactly. Which heads share is
chosen, too, and heads change places accordingly.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from attending.attention.conversion.conversion import Conversion, Converted, Seen, check_group_size, need_calibration
from attending.attention.conversion.factors import best_directions, spectrum
from attending.attention.conversion.groups import Group, find_groups
from attending.attention.conversion.pairs import pairs_of
from attending.attention.conversion.statistics import LayerStatistics, gather_statistics
from attending.attention.conversion.weights import (
    Draft,
    HeadWeights,
    beside_projections,
    drafted,
    grouped_state,
    read_constant,
    read_heads,
    read_output,
)
from attending.attention.grouped import GroupedAttention, GroupedConfig
from attending.attention.positions import AlibiConfig


@dataclass(frozen=True, kw_only=True)
class AlignedConversion(Conversion):
    """To `n_kv_heads` KV heads, aligned on calibration inputs. With QK norms values are aligned and keys averaged."""

    n_kv_heads: int

    def check(self, source: GroupedConfig, seen: Sequence[Seen] = ()) -> None:
        check_group_size(source, self.n_kv_heads)

    def convert(self, layer: GroupedAttention, seen: Sequence[Seen]) -> Converted:
        self.check(layer.config)
        need_calibration(seen, "aligned pooling")
        work = _Alignment(layer, gather_statistics(layer, seen))
        stays = isinstance(layer.config.position, AlibiConfig) or any(one.bias_differs_by_head for one in seen)
        groups = _neighbours(layer.config.kv_heads, self.n_kv_heads) if stays else work.groups(self.n_kv_heads)
        draft = work.merged(groups)
        del work
        return draft.built(like=layer)


def _neighbours(n_heads: int, n_groups: int) -> tuple[Group, ...]:
    size = n_heads // n_groups
    return tuple(tuple(range(start, start + size)) for start in range(0, n_heads, size))


class _Alignment:
    """One layer at work: what each KV head's key and value are to its queries and outputs."""

    def __init__(self, layer: GroupedAttention, statistics: LayerStatistics) -> None:
        self.layer, self.config, self.statistics = layer, layer.config, statistics
        self.pairs = pairs_of(layer.config)
        self.share = layer.config.n_heads // layer.config.kv_heads
        self.width = layer.config.width
        self.aligns_keys = layer.config.qk_norm_eps is None
        # Queries and outputs are read where they are needed: in float64 they are a good part of a model of few layers.
        self.keys, self.values = (read_heads(projection, self.width) for projection in (layer.key, layer.value))
        output = read_output(layer)
        self.value_metric = self._by_kv_head(output.mT @ output * statistics.value_share[:, None, None])
        self.key_metric = self._by_kv_head(statistics.query)

    def _by_kv_head(self, of_heads: Float[Tensor, "head a b"]) -> Float[Tensor, "kv_head a b"]:
        return of_heads.unflatten(0, (-1, self.share)).sum(dim=1)

    def groups(self, n_groups: int) -> tuple[Group, ...]:
        """Who shares with whom."""
        kv_heads = self.config.kv_heads
        value_gram = self._gram(self.values, self.value_metric, self.statistics.value_tokens)
        rest = list(self.pairs.rest)
        key_gram = self._gram(self.keys[:, rest], self.key_metric[:, rest][:, :, rest], self.statistics.key_tokens)
        rotary = self._weighed_pairs()
        rotary_gram = torch.einsum("hps,st,gpt->phg", rotary, self.statistics.rotary_tokens.to(rotary.dtype), rotary.conj())

        def loss(group: Group) -> float:
            heads = list(group)
            lost = sum(
                _tail(gram[heads][:, :, heads], size) for gram, size in ((value_gram, self.width), (key_gram, len(rest)))
            )
            turned = rotary_gram[:, heads][:, :, heads]
            if turned.shape[0]:
                energy = torch.linalg.eigvalsh(turned)
                lost += float(energy[:, :-1].clamp(min=0.0).sum())
            return lost

        return find_groups(kv_heads, n_groups, loss)

    def _gram(self, maps: Tensor, metric: Tensor, tokens: Tensor) -> Float[Tensor, "kv_head row kv_head row"]:
        weighed = spectrum(metric).power(0.5) @ maps if maps.shape[1] else maps
        return torch.einsum("hrs,st,gqt->hrgq", weighed, tokens, weighed)

    def _pair_weights(self) -> Float[Tensor, "kv_head pair"]:
        """How much a pair of a KV head counts: the energy of its queries' pair."""
        energy = self.key_metric.diagonal(dim1=-2, dim2=-1)
        counts = (energy[:, list(self.pairs.first)] + energy[:, list(self.pairs.second)]) / 2
        return counts + counts.mean() * 1e-12 + 1e-300

    def _weighed_pairs(self) -> Tensor:
        return self.pairs.complex_of(self.keys) * self._pair_weights().sqrt()[..., None]

    def merged(self, groups: tuple[Group, ...]) -> Draft:
        """The layer in which each group has one KV head."""
        config, n = self.config, len(groups)
        key, value = self.keys.new_zeros(n, self.width, self.keys.shape[-1]), self.values.new_zeros(n, *self.values.shape[1:])
        query, output = read_heads(self.layer.query, self.width), read_output(self.layer)
        constant = read_constant(self.layer.output)
        cancels = config.softcap is None and not config.sinks
        for number, group in enumerate(groups):
            up, value[number] = self._shared(self.values, self.value_metric, self.statistics.value_tokens, group)
            for place, kv_head in enumerate(group):
                for head in range(kv_head * self.share, (kv_head + 1) * self.share):
                    if cancels:
                        missed = (self.values[kv_head] - up[place] @ value[number]) @ self.statistics.mean_token[head]
                        constant += output[head] @ missed
                    output[head] = output[head] @ up[place]
            if self.aligns_keys:
                self._merge_keys(group, key[number], query, drops_constant=cancels)
            else:
                key[number] = self.keys[list(group)].mean(dim=0)
        order = [kv * self.share + i for group in groups for kv in group for i in range(self.share)]
        query, output = query[order], output[order]
        made = HeadWeights(
            query=query[..., :-1],
            query_bias=query[..., -1],
            key=key[..., :-1],
            key_bias=key[..., -1],
            value=value[..., :-1],
            value_bias=value[..., -1],
            output=output,
            output_bias=constant,
        )
        new = replace(config, n_kv_heads=n, output_bias=config.output_bias or bool(constant.any()))
        state = grouped_state(made) | _in_order(beside_projections(self.layer), order)
        if not config.bias and any(bool(state[f"{name}.bias"].any()) for name in ("query", "key", "value")):
            new = replace(new, bias=True)
        told = f"{config.kv_heads} KV heads aligned and merged in {n}: " + " ".join(
            "+".join(str(head) for head in group) for group in groups
        )
        return drafted(new, state, heads=tuple(order), told=told, like=self.layer)

    def _shared(self, maps: Tensor, metric: Tensor, tokens: Tensor, group: Group) -> tuple[Tensor, Tensor]:
        """For each member the map from the shared head, and the shared head: exact where a member stays alone."""
        heads = list(group)
        if len(heads) == 1:
            return torch.eye(maps.shape[1], dtype=maps.dtype, device=maps.device)[None], maps[heads[0]]
        found = best_directions(maps[heads].flatten(0, 1), metric=metric[heads], tokens=tokens)
        size = maps.shape[1]
        return found.up[:, :size].unflatten(0, (len(heads), size)), found.down[:size]

    def _merge_keys(self, group: Group, key: Tensor, query: Tensor, *, drops_constant: bool) -> None:
        """Write the shared key, and the queries that meet it."""
        rest, pairs, heads = list(self.pairs.rest), self.pairs, list(group)
        whose = {kv: range(kv * self.share, (kv + 1) * self.share) for kv in heads}
        if rest:
            metric = self.key_metric[:, rest][:, :, rest]
            up, key[rest] = self._shared(self.keys[:, rest], metric, self.statistics.key_tokens, group)
            if drops_constant and len(heads) > 1:
                key[rest, -1] = 0.0  # the same for all keys of a query: no weight changes
            for place, kv_head in enumerate(heads):
                for head in whose[kv_head]:
                    query[head, rest] = up[place].T @ query[head, rest]
        if pairs.first and len(heads) == 1:
            turned = [*pairs.first, *pairs.second]
            key[turned] = self.keys[heads[0], turned]
        elif pairs.first:
            rows, counts = pairs.complex_of(self.keys[heads]), self._pair_weights()[heads]
            shared = []
            scales = rows.new_zeros(len(heads), rows.shape[1])
            for pair in range(rows.shape[1]):
                metric = counts[:, pair, None, None]
                found = best_directions(rows[:, pair], metric=metric, tokens=self.statistics.rotary_tokens)
                scales[:, pair] = found.up[:, 0]
                shared.append(found.down[0])
            pairs.put(key[None], torch.stack(shared)[None])
            for place, kv_head in enumerate(heads):
                turned_queries = pairs.complex_of(query[list(whose[kv_head])]) * scales[place].conj()[:, None]
                some = query[list(whose[kv_head])]
                pairs.put(some, turned_queries)
                query[list(whose[kv_head])] = some


def _in_order(state: dict[str, Tensor], order: list[int]) -> dict[str, Tensor]:
    """What is kept by head, in the new order of heads."""
    taken = dict(state)
    if "sink" in state:
        taken["sink"] = state["sink"][order]
    if "position.table" in state and state["position.table"].shape[-1] == len(order):
        taken["position.table"] = state["position.table"][:, order]
    return taken


def _tail(gram: Float[Tensor, "head row head_ row_"], size: int) -> float:
    """What the best `size` directions do not carry."""
    if size == 0:
        return 0.0
    rows = gram.shape[0] * gram.shape[1]
    energy = torch.linalg.eigvalsh(gram.reshape(rows, rows))
    return float(energy[: rows - size].clamp(min=0.0).sum())
