"""One reference for each mechanism: the formula, head by head, in whatever precision the weights have. Never optimised.

Each returns the output and the weights. `seen` is a plain boolean tensor [batch, head, query, key].
"""

import torch
from scipy.cluster.hierarchy import fcluster, linkage
from torch import Tensor

from attending.attention import (
    AlibiConfig,
    ClusteredAttention,
    ClusteredConfig,
    GroupedAttention,
    GroupedConfig,
    IndexedAttention,
    LatentAttention,
    LearnedConfig,
    LowRankAttention,
    NativeSparseAttention,
    NativeSparseConfig,
    RelativeBiasConfig,
    RotaryConfig,
    WindowedAttention,
    WindowedConfig,
)


def softmax_seen(scores: Tensor, seen: Tensor, sink: Tensor | None = None) -> Tensor:
    """Weights over what is seen; a row that sees nothing is 0."""
    peak = scores.detach().masked_fill(~seen, -1e30).amax(-1, keepdim=True)
    powers = (scores - peak).masked_fill(~seen, -torch.inf).exp()
    total = powers.sum(-1, keepdim=True)
    if sink is not None:
        total = total + (sink - peak).exp()
    return torch.where(total > 0, powers / torch.where(total > 0, total, 1.0), 0.0)


def rotated(x: Tensor, config: RotaryConfig, places: Tensor) -> Tensor:
    """Pairs as complex numbers, times e^(i·place·frequency). x: [batch, seq, dim], places: [batch, seq]."""
    width = config.rotary_dim or x.shape[-1]
    pairs = x[..., :width].unflatten(-1, (2, width // 2) if config.layout == "half" else (width // 2, 2))
    first, second = pairs.unbind(-2 if config.layout == "half" else -1)
    frequency = config.base ** -(torch.arange(0, width, 2, dtype=torch.float64) / width)
    angle = places.double()[..., None] * frequency
    turned = torch.complex(first.double(), second.double()) * torch.polar(torch.ones_like(angle), angle)
    stacked = torch.stack([turned.real, turned.imag], dim=-2 if config.layout == "half" else -1).flatten(-2)
    return torch.cat([stacked.to(x.dtype), x[..., width:]], dim=-1)


def scale_of(config: GroupedConfig | WindowedConfig | ClusteredConfig | NativeSparseConfig) -> float:
    """What is asked for, or 1/√head; not read from what the library makes of it."""
    return (config.head_dim or config.dim // config.n_heads) ** -0.5 if config.scale is None else config.scale


def rms_normed(x: Tensor, norm: torch.nn.RMSNorm) -> Tensor:
    return x / (x.square().mean(-1, keepdim=True) + norm.eps).sqrt() * norm.weight


def grouped(module: GroupedAttention, x: Tensor, seen: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
    config, source = module.config, x if context is None else context
    place = torch.arange(x.shape[1]).expand(x.shape[0], -1)
    position = config.position if context is None else None
    if isinstance(position, LearnedConfig):
        x = source = x + module.position.table[: x.shape[1]]
    outputs, all_weights = [], []
    for head in range(config.n_heads):
        own = slice(head * config.width, (head + 1) * config.width)
        shared = head // (config.n_heads // config.kv_heads)
        theirs = slice(shared * config.width, (shared + 1) * config.width)
        q, k, v = x @ module.query.weight[own].T, source @ module.key.weight[theirs].T, source @ module.value.weight[theirs].T
        if config.bias:
            q, k, v = q + module.query.bias[own], k + module.key.bias[theirs], v + module.value.bias[theirs]
        if config.qk_norm_eps is not None:
            q, k = rms_normed(q, module.query_norm), rms_normed(k, module.key_norm)
        if isinstance(position, RotaryConfig):
            q, k = rotated(q, position, place), rotated(k, position, place)
        scores = q @ k.mT * scale_of(config)
        if config.softcap is not None:
            scores = config.softcap * torch.tanh(scores / config.softcap)
        if isinstance(position, AlibiConfig):
            far = (place[:, :, None] - place[:, None, :]).abs().to(x.dtype)
            scores = scores - 2.0 ** (-8 * (head + 1) / config.n_heads) * far
        if isinstance(position, RelativeBiasConfig):
            scores = scores + module.position.table[module.position.bucket(place[:, :, None] - place[:, None, :]), head]
        all_weights.append(softmax_seen(scores, seen[:, head], module.sink[head] if config.sinks else None))
        outputs.append(all_weights[-1] @ v)
    output = torch.cat(outputs, -1) @ module.output.weight.T + (module.output.bias if config.output_bias else 0.0)
    return torch.where(seen.any(-1).any(1)[..., None], output, 0.0), torch.stack(all_weights, 1)


def latent(
    module: LatentAttention | IndexedAttention, x: Tensor, seen: Tensor, context: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    c, p, source = module.config, module.projections, x if context is None else context
    place = torch.arange(x.shape[1]).expand(x.shape[0], -1)
    asked = x if c.query_latent_dim is None else rms_normed(x @ p.query_down.weight.T, p.query_norm)
    down = source @ p.latent_down.weight.T
    remembered, shared = rms_normed(down[..., : c.latent_dim], p.latent_norm), down[..., c.latent_dim :]
    shared = shared if context is not None else rotated(shared, c.rotary, place)
    outputs, all_weights = [], []
    for head in range(c.n_heads):
        q = asked @ p.query_up.weight.unflatten(0, (c.n_heads, -1))[head].T
        q_rope = q[..., c.nope_dim :] if context is not None else rotated(q[..., c.nope_dim :], c.rotary, place)
        k = remembered @ p.key_up.weight.unflatten(0, (c.n_heads, -1))[head].T
        v = remembered @ p.value_up.weight.unflatten(0, (c.n_heads, -1))[head].T
        scores = (q[..., : c.nope_dim] @ k.mT + q_rope @ shared.mT) / (c.nope_dim + c.rope_dim) ** 0.5
        all_weights.append(softmax_seen(scores, seen[:, head]))
        outputs.append(all_weights[-1] @ v)
    output = torch.cat(outputs, -1) @ p.output.weight.T + (p.output.bias if c.output_bias else 0.0)
    return torch.where(seen.any(-1).any(1)[..., None], output, 0.0), torch.stack(all_weights, 1)


def indexed(module: IndexedAttention, x: Tensor, seen: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
    c, n, source = module.config, module.indexer, x if context is None else context
    place, turn = torch.arange(x.shape[1]).expand(x.shape[0], -1), RotaryConfig(rotary_dim=c.rope_dim)
    p = module.projections
    asked = x if c.query_latent_dim is None else rms_normed(x @ p.query_down.weight.T, p.query_norm)
    key = source @ n.key.weight.T
    key = (key - key.mean(-1, keepdim=True)) / (key.var(-1, keepdim=True, unbiased=False) + c.norm_eps).sqrt()
    key = key * n.key_norm.weight + n.key_norm.bias
    key = key if context is not None else rotated(key, turn, place)
    index = 0.0
    for head in range(c.index_heads):
        q = asked @ n.query.weight.unflatten(0, (c.index_heads, -1))[head].T
        q = q if context is not None else rotated(q, turn, place)
        share = x @ n.share.weight[head] * c.index_heads**-0.5
        index = index + share[..., None] * torch.relu(q @ key.mT * c.index_dim**-0.5)
    index = index.masked_fill(~seen[:, 0], -torch.inf)
    best = index.argsort(dim=-1, descending=True, stable=True)[..., : c.top_k]
    return latent(module, x, seen & torch.zeros_like(seen[:, 0]).scatter(-1, best, True)[:, None], context)


def windowed(
    module: WindowedAttention, x: Tensor, seen: Tensor, context: None = None, is_global: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The whole square: the window by distance, global columns for all, global rows with projections of their own."""
    config, place = module.config, torch.arange(x.shape[1]).expand(x.shape[0], -1)
    if is_global is None:
        exists = x.ne(0).any(-1)
        is_global = exists & (exists.cumsum(1) <= config.n_global)
    distance = place[:, :, None] - place[:, None, :]
    near = (distance <= config.before) & (distance >= -config.after) | is_global[:, None, :]

    def attended(head: int, layers: tuple[torch.nn.Linear, ...], seen: Tensor) -> tuple[Tensor, Tensor]:
        shared = head // (config.n_heads // config.kv_heads)
        slots = [slice(one * config.width, (one + 1) * config.width) for one in (head, shared, shared)]
        q, k, v = (
            torch.nn.functional.linear(x, layer.weight[own], layer.bias[own] if config.bias else None)
            for layer, own in zip(layers, slots, strict=True)
        )
        if isinstance(config.position, RotaryConfig):
            q, k = rotated(q, config.position, place), rotated(k, config.position, place)
        weights = softmax_seen(q @ k.mT * scale_of(config), seen)
        return weights @ v, weights

    outputs, all_weights = [], []
    for head in range(config.n_heads):
        output, weights = attended(head, (module.query, module.key, module.value), seen[:, head] & near)
        if config.n_global:
            own = attended(head, (module.global_query, module.global_key, module.global_value), seen[:, head])
            output, weights = (torch.where(is_global[..., None], *pair) for pair in zip(own, (output, weights), strict=True))
        outputs.append(output)
        all_weights.append(weights)
    output = torch.cat(outputs, -1) @ module.output.weight.T + (module.output.bias if config.output_bias else 0.0)
    weights = torch.stack(all_weights, 1)
    return torch.where(weights.sum(-1).sum(1).gt(0)[..., None], output, 0.0), weights


def low_rank(module: LowRankAttention, x: Tensor, seen: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Sample by sample and head by head, with the whole E and F and zeros behind the real tokens."""
    config, source, linear = module.config, x if context is None else context, torch.nn.functional.linear
    outputs, all_weights = torch.zeros_like(x), x.new_zeros(x.shape[0], config.n_heads, x.shape[1], source.shape[1])
    for sample in range(x.shape[0]):
        real, heads = seen[sample].any(0).any(0).nonzero()[:, 0], []
        for head in range(config.n_heads):
            own, of = slice(head * config.width, (head + 1) * config.width), head if config.sharing == "none" else 0
            E = module.projection.key[of]
            F = E if module.projection.value is None else module.projection.value[of]
            q, k, v = (
                linear(tokens[sample], layer.weight[own], layer.bias[own] if config.bias else None)
                for tokens, layer in ((x, module.query), (source, module.key), (source, module.value))
            )
            K, V = (x.new_zeros(config.length, config.width) for _ in range(2))
            K[: len(real)], V[: len(real)] = k[real], v[real]
            weights = (q @ (E @ K).T / config.width**0.5).softmax(-1)
            heads.append(weights @ (F @ V))
            all_weights[sample, head, :, real] = (weights @ F)[:, : len(real)]
        if len(real):
            outputs[sample] = linear(torch.cat(heads, -1), module.output.weight, module.output.bias)
    return outputs, all_weights


def clustered(module: ClusteredAttention, x: Tensor, seen: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The maps of all heads, then each head takes its leader's; in the first rows its own, where samples find clusters."""
    config, source = module.config, x if context is None else context
    share, place = config.n_heads // config.kv_heads, torch.arange(x.shape[1]).expand(x.shape[0], -1)

    def of(layer: torch.nn.Linear, tokens: Tensor, slot: int, turns: bool) -> Tensor:
        own = slice(slot * config.width, (slot + 1) * config.width)
        heads = torch.nn.functional.linear(tokens, layer.weight[own], layer.bias[own] if config.bias else None)
        return rotated(heads, config.position, place) if turns and isinstance(config.position, RotaryConfig) else heads

    all_weights = []
    for head in range(config.n_heads):
        query, key = head, head // share
        if config.leaders is not None:
            query, key = (
                config.representatives.index(config.leaders[head]),
                config.key_heads.index(config.leaders[head] // share),
            )
        turns = context is None
        scores = of(module.query, x, query, turns) @ of(module.key, source, key, turns).mT * scale_of(config)
        all_weights.append(softmax_seen(scores, seen[:, head]))
    weights = torch.stack(all_weights, 1)
    if config.leaders is None:
        weights = torch.stack(
            [own_clusters(maps, config, exists) for maps, exists in zip(weights, seen.any(2)[:, 0], strict=True)]
        )
    outputs = [weights[:, head] @ of(module.value, source, head // share, False) for head in range(config.n_heads)]
    output = torch.cat(outputs, -1) @ module.output.weight.T + (module.output.bias if config.output_bias else 0.0)
    return torch.where(seen.any(-1).any(1)[..., None], output, 0.0), weights


def native_sparse(module: NativeSparseAttention, x: Tensor, seen: Tensor, context: None = None) -> tuple[Tensor, Tensor]:
    """Runs and blocks as lists of places, each branch a softmax of its own over the whole square."""
    c, n, place = module.config, x.shape[1], torch.arange(x.shape[1]).expand(x.shape[0], -1)
    runs = [range(first, first + c.run) for first in range(0, n - c.run + 1, c.stride)]
    blocks = [range(first, min(first + c.block, n)) for first in range(0, n, c.block)]
    overlap = torch.tensor([[len({*run} & {*block}) for block in blocks] for run in runs], dtype=x.dtype).view(len(runs), -1)
    inside = torch.tensor([[token in run for token in range(n)] for run in runs], dtype=x.dtype).view(len(runs), n) / c.run
    there = torch.stack([seen[:, 0, :, list(block)].any(-1) for block in blocks], -1)
    whole = torch.stack([seen[:, 0, :, list(run)].all(-1) for run in runs], -1) if runs else there[..., :0]
    distance, behind = place[:, :, None] - place[:, None], torch.arange(n)[:, None] // c.block - torch.arange(len(blocks))
    near, always = (distance <= c.before) & (distance >= -c.after), (behind >= 0) & (behind < c.n_local)
    always[:, : c.n_first] = True
    gates = torch.sigmoid(x @ module.gate.weight.T + module.gate.bias).unflatten(-1, (3, c.n_heads))

    def of(name: str, slot: int, turns: bool = False) -> Tensor:
        layer, own = getattr(module, name), slice(slot * c.width, (slot + 1) * c.width)
        heads = torch.nn.functional.linear(x, layer.weight[own], layer.bias[own] if c.bias else None)
        return rotated(heads, c.position, place) if turns and c.position is not None else heads

    outputs, all_weights, share = [], [], c.n_heads // c.n_kv_heads
    for group in range(c.n_kv_heads):
        run_key = pooled_runs(module.key_pooling, of("run_key", group), runs)
        values = pooled_runs(module.value_pooling, of("run_value", group), runs), of("value", group), of("window_value", group)
        heads = range(group * share, (group + 1) * share)
        on_runs = [softmax_seen(of("query", head) @ run_key.mT * scale_of(c), whole) for head in heads]
        worth = torch.where(always, torch.inf, sum(on_runs) @ overlap).masked_fill(~there, -torch.inf)
        best = worth.argsort(dim=-1, descending=True, stable=True)[..., : c.n_selected]
        read = (torch.zeros_like(there).scatter(-1, best, True) & there).repeat_interleave(c.block, -1)[..., :n]
        for head, found in zip(heads, ([one] for one in on_runs), strict=True):
            for name, kept in (("key", read), ("window_key", near)):
                scores = of("query", head, True) @ of(name, group, True).mT * scale_of(c)
                found.append(softmax_seen(scores, seen[:, head] & kept))
            outputs.append(sum(gates[:, :, i, head, None] * (found[i] @ values[i]) for i in range(3)))
            found[0] = found[0] @ inside
            weights = sum(gates[:, :, i, head, None] * found[i] for i in range(3))
            all_weights.append(weights / weights.sum(-1, keepdim=True).masked_fill(~seen[:, head].any(-1, keepdim=True), 1.0))
    output = torch.nn.functional.linear(torch.cat(outputs, -1), module.output.weight, module.output.bias)
    return torch.where(seen.any(-1).any(1)[..., None], output, 0.0), torch.stack(all_weights, 1)


def pooled_runs(net: torch.nn.Module, heads: Tensor, runs: list[range]) -> Tensor:
    """Run by run through the two layers, with SiLU between them."""
    found = [heads.new_zeros(len(heads), 0, net.outer.out_features)]
    for run in runs:
        hidden = (heads[:, list(run)] + net.place).flatten(1) @ net.inner.weight.T + net.inner.bias
        found.append((hidden / (1 + (-hidden).exp()) @ net.outer.weight.T + net.outer.bias)[:, None])
    return torch.cat(found, 1)


def own_clusters(maps: Tensor, config: ClusteredConfig, exists: Tensor) -> Tensor:
    """Maps [head, query, key] of one sample with those of the leaders from token `observe` on, found by scipy's linkage."""
    first = exists.nonzero()[: config.observe, 0]
    if len(first) < config.observe:
        return maps
    flat = torch.nn.functional.normalize(maps[:, first][:, :, first].flatten(1).detach().double(), dim=-1)
    # Rounded, so that the two of a pair tie exactly and the first leads.
    far = (1 - flat @ flat.T).round(decimals=9)
    tree = linkage(far[tuple(torch.triu_indices(len(far), len(far), 1))].numpy(), "average")
    label = torch.as_tensor(fcluster(tree, config.n_clusters, "maxclust"))
    shared, late = maps.clone(), torch.ones(maps.shape[1], dtype=torch.bool)
    late[first] = False
    for head in range(len(maps)):
        group = (label == label[head]).nonzero()[:, 0]
        shared[head, late] = maps[group[far[group][:, group].sum(1).argmin()], late]
    return shared
