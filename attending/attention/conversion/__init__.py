"""Trained attention turned into cheaper attention, with what it cost: how far outputs moved, and what the cache saves.

Multi-head or grouped-query attention in; fewer KV heads, latents, clusters or windows out. Knows torch and nothing of medicine.

    receipt = convert_layers(model, conversion_from("gqa:2"), fit=lambda: model(some), held_out=lambda: model(others))
"""

from attending.attention.conversion.aligned import AlignedConversion
from attending.attention.conversion.catalog import CONVERSIONS, FORMS, conversion_from
from attending.attention.conversion.clusters import ClusteredConversion
from attending.attention.conversion.compressed import LatentConversion, full_size
from attending.attention.conversion.conversion import Conversion, ConversionError, Converted, Seen
from attending.attention.conversion.measured import OutputError, output_error
from attending.attention.conversion.pooled import PooledConversion
from attending.attention.conversion.refitted import refit_output
from attending.attention.conversion.whole import LayerReceipt, ModelReceipt, Price, convert_layers, convertible, watch
from attending.attention.conversion.windows import WindowedConversion

__all__ = [
    "CONVERSIONS",
    "FORMS",
    "AlignedConversion",
    "ClusteredConversion",
    "Conversion",
    "ConversionError",
    "Converted",
    "LatentConversion",
    "LayerReceipt",
    "ModelReceipt",
    "OutputError",
    "PooledConversion",
    "Price",
    "Seen",
    "WindowedConversion",
    "conversion_from",
    "convert_layers",
    "convertible",
    "full_size",
    "output_error",
    "refit_output",
    "watch",
]
