"""Trained attention turned into cheaper attention, with what it cost: how far outputs moved, and what the cache saves.

Multi-head or grouped-query attention in; fewer KV heads, latents, clusters or windows out. Knows torch and nothing of medicine.
"""

from attending.attention.conversion.aligned import AlignedConversion
from attending.attention.conversion.compressed import LatentConversion
from attending.attention.conversion.conversion import Conversion, ConversionError, Converted, Seen
from attending.attention.conversion.measured import OutputError, output_error
from attending.attention.conversion.pooled import PooledConversion

__all__ = [
    "AlignedConversion",
    "Conversion",
    "ConversionError",
    "Converted",
    "LatentConversion",
    "OutputError",
    "PooledConversion",
    "Seen",
    "output_error",
]
