"""Every job by name, in the order in which they run."""

from collections.abc import Callable, Iterator, Mapping

from benchmarks.attention_rows import clusters, cores, decoding, latents, looking, models, sparse, windows
from benchmarks.attention_rows.measuring import Row, Run

JOBS: Mapping[str, Callable[[Run], Iterator[Row]]] = {
    "one-token": decoding.one_token,
    "decode-layer": decoding.decode_layer,
    "decode-folded": decoding.decode_folded,
    "decode-int8": decoding.decode_int8,
    "decode-latent": latents.decode_latent,
    "decode-indexed": latents.decode_indexed,
    "core": cores.core_16,
    "layer": cores.layers,
    "layer-fast": cores.layers_fast,
    "window-core": windows.window_core,
    "window-layer": windows.window_layer,
    "window-growth": windows.window_growth,
    "clustered": clusters.decode_clustered,
    "clustered-memory": clusters.clustered_memory,
    "decode-sparse": sparse.decode_sparse,
    "decode-sparse-int8": sparse.decode_sparse_int8,
    "sparse-growth": sparse.sparse_growth,
    "weights": looking.weights_of_rows,
    "weights-layer": looking.weights_of_layer,
    "models": models.models,
}
