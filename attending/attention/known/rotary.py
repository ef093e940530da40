"""Rotary settings as published: `rope_parameters` (transformers 5) or `rope_theta` beside `rope_scaling` (config.json before).

What cannot be followed exactly (dynamic and LongRoPE scaling, per-layer-type tables) is refused, never ignored.
"""

import math

from attending.attention.errors import AttentionError
from attending.attention.known.layout import Settings
from attending.attention.positions import Layout, RotaryConfig
from attending.attention.scalings import LinearScaling, Llama3Scaling, Scaling, YarnScaling

_ALWAYS = {"rope_type", "type", "rope_theta", "partial_rotary_factor", "max_position_embeddings"}
_READ = {
    "default": set[str](),
    "linear": {"factor"},
    "llama3": {"factor", "original_max_position_embeddings", "low_freq_factor", "high_freq_factor"},
    "yarn": {
        "factor",
        "original_max_position_embeddings",
        "beta_fast",
        "beta_slow",
        "mscale",
        "mscale_all_dim",
        "attention_factor",
        "truncate",
    },
}


def rotary_of(settings: Settings, *, width: int, layout: Layout, default_base: float = 10_000.0) -> RotaryConfig:
    """The rotation of `width` numbers of a head; `layout` says which two of them form a pair."""
    rope = settings.part("rope_parameters" if settings.get("rope_parameters") else "rope_scaling")
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind not in _READ:
        raise AttentionError(f"{rope.layout}: found rope_type {kind!r}, known are {', '.join(sorted(_READ))}")
    if unknown := sorted(set(rope) - _READ[kind] - _ALWAYS):
        raise AttentionError(f"{rope.layout}: {kind} is not known to take {', '.join(unknown)}")
    share = float(rope.get("partial_rotary_factor", 1.0))
    return RotaryConfig(
        base=float(rope.get("rope_theta", settings.get("rope_theta", default_base))),
        rotary_dim=None if share == 1.0 else int(width * share),
        layout=layout,
        scaling=_scaling(kind, rope),
    )


def _scaling(kind: str, rope: Settings) -> Scaling | None:
    if kind == "default":
        return None
    factor = float(rope["factor"])
    if kind == "linear":
        return LinearScaling(factor=factor)
    length = int(rope["original_max_position_embeddings"])
    if kind == "llama3":
        return Llama3Scaling(
            factor=factor,
            original_length=length,
            low_frequency_factor=float(rope["low_freq_factor"]),
            high_frequency_factor=float(rope["high_freq_factor"]),
        )
    if not rope.get("truncate", True):
        raise AttentionError(f"{rope.layout}: found truncate=false; our YaRN rounds the bounds of its ramp to whole pairs")
    mscale, all_dim = _temperatures(rope, factor)
    return YarnScaling(
        factor=factor,
        original_length=length,
        beta_fast=float(rope.get("beta_fast", 32.0)),
        beta_slow=float(rope.get("beta_slow", 1.0)),
        mscale=mscale,
        mscale_all_dim=all_dim,
    )


def _temperatures(rope: Settings, factor: float) -> tuple[float, float]:
    """mscale and mscale_all_dim of `YarnScaling`, where cosine and sine carry m(mscale) / m(mscale_all_dim).

    Published: an `attention_factor` of cosine and sine, or that ratio where both numbers are given, or m(1) where one is
    missing; and the scores of latent attention carry m(mscale_all_dim)² in any case.
    """
    mscale, all_dim = float(rope.get("mscale", 0.0)), float(rope.get("mscale_all_dim", 0.0))
    amplitude = rope.get("attention_factor")
    if amplitude is None and mscale and all_dim:
        return mscale, all_dim
    slope = 0.1 * math.log(factor) if factor > 1.0 else 0.0
    wanted = (1.0 + slope if amplitude is None else float(amplitude)) * (1.0 + all_dim * slope)
    if slope == 0.0:
        if wanted != 1.0:
            raise AttentionError(f"{rope.layout}: found attention_factor {amplitude} with factor {factor}, expected above 1")
        return 1.0, all_dim
    return (wanted - 1.0) / slope, all_dim
