"""Conversions written as text."""

import pytest

from attending.attention.conversion import (
    AlignedConversion,
    ClusteredConversion,
    Conversion,
    ConversionError,
    LatentConversion,
    PooledConversion,
    WindowedConversion,
    conversion_from,
)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("gqa:2", AlignedConversion(n_kv_heads=2)),
        ("gqa:2,pool=mean", PooledConversion(n_kv_heads=2)),
        ("mqa", AlignedConversion(n_kv_heads=1)),
        ("mqa:pool=mean", PooledConversion(n_kv_heads=1)),
        ("mla", LatentConversion()),
        ("mla:latent=64", LatentConversion(latent_dim=64)),
        (
            "mla:latent=48,rope=16,by=weights,ranks=even",
            LatentConversion(latent_dim=48, rope_dim=16, by="weights", ranks="even"),
        ),
        ("clustered", ClusteredConversion()),
        ("clustered:3", ClusteredConversion(n_clusters=3)),
        ("window:16", WindowedConversion(before=16, after=16)),
        ("window:before=15", WindowedConversion(before=15, after=0)),
        ("window:before=4,after=2,global=1", WindowedConversion(before=4, after=2, n_global=1)),
    ],
)
def test_a_text_means(text: str, meant: Conversion) -> None:
    assert conversion_from(text) == meant


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("gqb:2", "found 'gqb', known are gqa:HEADS"),
        ("gqa", "the number of KV heads is not said; write gqa:HEADS"),
        ("gqa:two", "found 'two', expected a whole number"),
        ("gqa:-2", "found '-2', expected a whole number"),
        ("gqa:2,4", "the bare number is said twice"),
        ("gqa:2,pool=max", "found pool=max, known are aligned, mean"),
        ("mqa:2", "mqa does not take 2; write mqa"),
        ("mla:64", "mla does not take 64; write mla"),
        ("mla:rank=3", "mla does not take rank; write mla"),
        ("window", "say how far a token sees"),
        ("window:3,before=2", "say how far a token sees, once"),
    ],
)
def test_what_cannot_be_read_is_refused_with_what_can(text: str, said: str) -> None:
    with pytest.raises(ConversionError, match=said):
        conversion_from(text)
