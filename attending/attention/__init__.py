"""Attention mechanisms behind one contract: configured, costed, masked, cached and looked into in the same way.

Knows torch and nothing of medicine; can be lifted out and used alone.
"""

from attending.attention.auxiliary import auxiliary_losses
from attending.attention.catalog import MECHANISMS, config_from, name_of, settings_of
from attending.attention.clustered import ClusteredAttention, ClusteredConfig
from attending.attention.clusters import HeadClusters, find_clusters, group_heads
from attending.attention.core import Attended, Choice, attend, explain, merge
from attending.attention.costs import CacheCost, Cost, Limits, RaggedCost, ragged_cost
from attending.attention.errors import AttentionError
from attending.attention.grouped import GroupedAttention, GroupedConfig
from attending.attention.indexed import IndexedAttention, IndexedConfig
from attending.attention.inspection import Summary
from attending.attention.latent import LatentAttention, LatentConfig
from attending.attention.limits import keep_limits, kept_limits, limits_here, measure_limits
from attending.attention.low_rank import LowRankAttention, LowRankConfig
from attending.attention.masks import blocks, causal, documents, drop, everything, keep, keep_keys, padding, window
from attending.attention.mechanism import Cache, Mechanism, MechanismConfig
from attending.attention.native_sparse import NativeSparseAttention, NativeSparseConfig
from attending.attention.positions import AlibiConfig, LearnedConfig, PositionConfig, RelativeBiasConfig, RotaryConfig
from attending.attention.precision import fast_float32
from attending.attention.projection import Projection, streamed
from attending.attention.rules import Mask
from attending.attention.scalings import LinearScaling, Llama3Scaling, NtkScaling, Scaling, YarnScaling
from attending.attention.steps import Step
from attending.attention.tracing import Trace, trace, traces_within
from attending.attention.windowed import WindowedAttention, WindowedConfig

__all__ = [
    "MECHANISMS",
    "AlibiConfig",
    "Attended",
    "AttentionError",
    "Cache",
    "CacheCost",
    "Choice",
    "ClusteredAttention",
    "ClusteredConfig",
    "Cost",
    "GroupedAttention",
    "GroupedConfig",
    "HeadClusters",
    "IndexedAttention",
    "IndexedConfig",
    "LatentAttention",
    "LatentConfig",
    "LearnedConfig",
    "Limits",
    "LinearScaling",
    "Llama3Scaling",
    "LowRankAttention",
    "LowRankConfig",
    "Mask",
    "Mechanism",
    "MechanismConfig",
    "NativeSparseAttention",
    "NativeSparseConfig",
    "NtkScaling",
    "PositionConfig",
    "Projection",
    "RaggedCost",
    "RelativeBiasConfig",
    "RotaryConfig",
    "Scaling",
    "Step",
    "Summary",
    "Trace",
    "WindowedAttention",
    "WindowedConfig",
    "YarnScaling",
    "attend",
    "auxiliary_losses",
    "blocks",
    "causal",
    "config_from",
    "documents",
    "drop",
    "everything",
    "explain",
    "fast_float32",
    "find_clusters",
    "group_heads",
    "keep",
    "keep_keys",
    "keep_limits",
    "kept_limits",
    "limits_here",
    "measure_limits",
    "merge",
    "name_of",
    "padding",
    "ragged_cost",
    "settings_of",
    "streamed",
    "trace",
    "traces_within",
    "window",
]
