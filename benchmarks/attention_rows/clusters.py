"""Clustered heads: decoding against our own multi-head attention, and the memory that they save.

Heads of a cluster are made exactly alike, in clusters of equal size, so that the outputs of both sides are the same and a
sample finds just these clusters for itself.
"""

from collections.abc import Iterator

import torch

from attending.attention import ClusteredConfig, GroupedAttention, GroupedConfig, Mechanism, causal
from benchmarks.attention_rows.decoding import ROOM, steps_of
from benchmarks.attention_rows.measuring import Contest, Peer, Row, Run, Work, drawn, name_of

DIM, HEADS, WIDTH = 1024, 16, 64
MUSTS = {8: 1.15, 4: 1.35}
"""Least ratio by the number of representatives, in float32."""


def decode_clustered(run: Run) -> Iterator[Row]:
    """A step of the whole layer, with membership fixed beforehand and found by the sample itself."""
    for dtype in (torch.float32, torch.bfloat16):
        for tokens in (2048, 8192):
            for n_clusters, must in MUSTS.items():
                length = run.length(tokens)
                whole = alike(n_clusters, dtype)
                x = drawn(1, length + ROOM, DIM, dtype=dtype)
                for name, layer in clustered(whole, n_clusters).items():
                    contest = Contest(
                        job=f"decode clustered, {name}",
                        shape=f"{n_clusters} of {HEADS} heads of {WIDTH}, T {length}",
                        dtype=dtype,
                        ours=steps_of(layer, causal(), x, length),
                        peers=(
                            Peer(
                                name="our own MHA",
                                call=steps_of(whole, causal(), x, length),
                                must=must if dtype == torch.float32 else None,
                            ),
                        ),
                        work=Work(
                            bytes=((n_clusters + HEADS) * WIDTH * length + sum(p.numel() for p in layer.parameters()))
                            * x.element_size()
                        ),
                    )
                    yield from contest.rows(run)


def alike(n_clusters: int, dtype: torch.dtype) -> GroupedAttention:
    """Multi-head attention whose heads score alike in `n_clusters` groups: head h as head h mod n_clusters."""
    torch.manual_seed(0)
    layer = GroupedConfig(dim=DIM, n_heads=HEADS).build().eval()
    with torch.no_grad():
        for projection in (layer.query, layer.key):
            # Sharper than at the start of training, so that the maps of heads differ.
            few = 3.0 * projection.weight.unflatten(0, (HEADS, WIDTH))[:n_clusters]
            projection.weight.copy_(few.repeat(HEADS // n_clusters, 1, 1).flatten(0, 1))
    return layer.to(dtype)


def clustered(whole: GroupedAttention, n_clusters: int) -> dict[str, Mechanism]:
    """The same layer with its scores shared, by how membership is found."""
    leaders = tuple(head % n_clusters for head in range(HEADS))
    made: dict[str, Mechanism] = {}
    for name, given in (("static", leaders), ("by sample", None)):
        config = ClusteredConfig(dim=DIM, n_heads=HEADS, n_clusters=n_clusters, leaders=given)
        layer = config.build().eval().to(whole.query.weight.dtype)
        layer.load_state_dict(config.weights_from(whole.state_dict()))
        made[name] = layer
    return made


def clustered_memory(run: Run) -> Iterator[Row]:
    """Bytes saved by a stack of layers with different numbers of clusters, against ½·(1 − mean k/H), to the byte."""
    length, counts = run.length(2048), (16, 8, 4, 12)
    x = drawn(1, length, DIM)
    for dtype in (torch.float32, torch.bfloat16):
        used = whole = 0
        for n_clusters in counts:
            leaders = tuple(head % n_clusters for head in range(HEADS))
            config = ClusteredConfig(dim=DIM, n_heads=HEADS, n_clusters=n_clusters, leaders=leaders)
            caches = [
                made.build().eval().to(dtype).new_cache(1, mask=causal())
                for made in (config, GroupedConfig(dim=DIM, n_heads=HEADS))
            ]
            for cache in caches:
                for start in range(0, length, 512):
                    cache.extend(x[:, start : start + 512].to(dtype))
            used, whole = used + caches[0].nbytes_used, whole + caches[1].nbytes_used
        expected = whole // 2 - whole * sum(counts) // (2 * len(counts) * HEADS)
        yield Row(
            job="clustered memory",
            peer="½·(1 − mean k/H) of our own MHA's bytes",
            shape=f"k {', '.join(map(str, counts))} of {HEADS} heads, {length} tokens: {whole - used} of {whole} bytes saved",
            dtype=name_of(dtype),
            ratio=(whole - used) / expected,
            spread=((whole - used) / expected,) * 2,
            must=1.0,
            error=float(abs(whole - used - expected)),
        )
