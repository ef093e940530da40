"""Attention mechanisms behind one contract: configured, costed, masked, cached and looked into in the same way.

Knows torch and nothing of medicine; can be lifted out and used alone.
"""

from attending.attention.catalog import MECHANISMS, config_from, name_of
from attending.attention.core import Attended, Choice, attend, explain, merge
from attending.attention.costs import Cost, Limits
from attending.attention.errors import AttentionError
from attending.attention.grouped import GroupedAttention, GroupedConfig
from attending.attention.masks import blocks, causal, documents, drop, everything, keep, keep_keys, padding, window
from attending.attention.mechanism import Cache, Mechanism, MechanismConfig
from attending.attention.rules import Mask

__all__ = [
    "MECHANISMS",
    "Attended",
    "AttentionError",
    "Cache",
    "Choice",
    "Cost",
    "GroupedAttention",
    "GroupedConfig",
    "Limits",
    "Mask",
    "Mechanism",
    "MechanismConfig",
    "attend",
    "blocks",
    "causal",
    "config_from",
    "documents",
    "drop",
    "everything",
    "explain",
    "keep",
    "keep_keys",
    "merge",
    "name_of",
    "padding",
    "window",
]
