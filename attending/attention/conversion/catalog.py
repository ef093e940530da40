"""The table of conversions, for where they are written as text: `gqa:2`, `mqa`, `mla:latent=64`, `clustered`, `window:16`."""

from collections.abc import Callable, Mapping

from attending.attention.conversion.aligned import AlignedConversion
from attending.attention.conversion.clusters import ClusteredConversion
from attending.attention.conversion.compressed import LatentConversion
from attending.attention.conversion.conversion import Conversion, ConversionError
from attending.attention.conversion.pooled import PooledConversion
from attending.attention.conversion.windows import WindowedConversion

Options = dict[str, str]
"""What stands behind the colon: a bare value under "", others by name."""


def conversion_from(text: str) -> Conversion:
    """The conversion that a text names. Unknown names, options and values are refused with what is known."""
    name, _, rest = text.strip().partition(":")
    if name not in CONVERSIONS:
        raise ConversionError(f"--to {text}: found {name!r}, known are {', '.join(FORMS.values())}")
    options: Options = {}
    for part in filter(None, rest.split(",")):
        key, sign, value = part.strip().partition("=")
        key, value = (key, value) if sign else ("", key)
        if key in options:
            raise ConversionError(f"--to {text}: {key or 'the bare number'} is said twice; write {FORMS[name]}")
        options[key] = value
    made = CONVERSIONS[name](options, text)
    if options:
        raise ConversionError(f"--to {text}: {name} does not take {', '.join(key or value for key, value in options.items())}; "
                              f"write {FORMS[name]}")  # fmt: skip
    return made


def _gqa(options: Options, text: str) -> Conversion:
    return _to_heads(_needed(options, "", text), options, text)


def _mqa(options: Options, text: str) -> Conversion:
    return _to_heads(1, options, text)


def _to_heads(n: int, options: Options, text: str) -> Conversion:
    pool = _one_of(options, "pool", ("aligned", "mean"), text)
    return PooledConversion(n_kv_heads=n) if pool == "mean" else AlignedConversion(n_kv_heads=n)


def _mla(options: Options, text: str) -> Conversion:
    by = _one_of(options, "by", ("output", "weights"), text)
    ranks = _one_of(options, "ranks", ("shared", "even"), text)
    return LatentConversion(
        latent_dim=_number(options, "latent", text),
        rope_dim=_number(options, "rope", text),
        by="weights" if by == "weights" else "output",
        ranks="even" if ranks == "even" else "shared",
    )


def _clustered(options: Options, text: str) -> Conversion:
    return ClusteredConversion(n_clusters=_number(options, "", text))


def _window(options: Options, text: str) -> Conversion:
    both, before, after = (_number(options, key, text) for key in ("", "before", "after"))
    if (both is None) == (before is None and after is None):
        raise ConversionError(f"--to {text}: say how far a token sees, once; write {FORMS['window']}")
    n_global = _number(options, "global", text) or 0
    if both is not None:
        return WindowedConversion(before=both, after=both, n_global=n_global)
    return WindowedConversion(before=before or 0, after=after or 0, n_global=n_global)


CONVERSIONS: Mapping[str, Callable[[Options, str], Conversion]] = {
    "gqa": _gqa,
    "mqa": _mqa,
    "mla": _mla,
    "clustered": _clustered,
    "window": _window,
}
FORMS: Mapping[str, str] = {
    "gqa": "gqa:HEADS[,pool=mean]",
    "mqa": "mqa[:pool=mean]",
    "mla": "mla[:latent=N,rope=N,by=weights,ranks=even]",
    "clustered": "clustered[:N]",
    "window": "window:N or window:before=N,after=N[,global=N]",
}


def _number(options: Options, key: str, text: str) -> int | None:
    if key not in options:
        return None
    value = options.pop(key)
    if not value.isdecimal():
        raise ConversionError(f"--to {text}: found {value!r}{f' for {key}' if key else ''}, expected a whole number, 0 or more")
    return int(value)


def _needed(options: Options, key: str, text: str) -> int:
    found = _number(options, key, text)
    if found is None:
        raise ConversionError(f"--to {text}: the number of KV heads is not said; write {FORMS['gqa']}")
    return found


def _one_of(options: Options, key: str, known: tuple[str, ...], text: str) -> str:
    value = options.pop(key, known[0])
    if value not in known:
        raise ConversionError(f"--to {text}: found {key}={value}, known are {', '.join(known)}")
    return value
