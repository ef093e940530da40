"""The table of mechanisms, for where names enter or leave: checkpoints, the command line."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from attending.attention.clustered import ClusteredConfig
from attending.attention.errors import AttentionError
from attending.attention.grouped import GroupedConfig
from attending.attention.indexed import IndexedConfig
from attending.attention.latent import LatentConfig
from attending.attention.low_rank import LowRankConfig
from attending.attention.mechanism import MechanismConfig
from attending.attention.native_sparse import NativeSparseConfig
from attending.attention.positions import AlibiConfig, LearnedConfig, RelativeBiasConfig, RotaryConfig
from attending.attention.scalings import LinearScaling, Llama3Scaling, NtkScaling, YarnScaling
from attending.attention.windowed import WindowedConfig

MECHANISMS: Mapping[str, type[MechanismConfig]] = {
    "clustered": ClusteredConfig,
    "grouped": GroupedConfig,
    "indexed": IndexedConfig,
    "latent": LatentConfig,
    "low rank": LowRankConfig,
    "native sparse": NativeSparseConfig,
    "windowed": WindowedConfig,
}
PARTS: Mapping[str, type] = {
    "alibi": AlibiConfig,
    "learned": LearnedConfig,
    "relative bias": RelativeBiasConfig,
    "rotary": RotaryConfig,
    "linear": LinearScaling,
    "llama3": Llama3Scaling,
    "ntk": NtkScaling,
    "yarn": YarnScaling,
}
"""What stands inside a mechanism's settings: a mapping with the part's "name" beside its own settings."""


def config_from(name: str, settings: Mapping[str, Any]) -> MechanismConfig:
    """The configuration of the named mechanism. Unknown names and left-over settings are refused, with what is known."""
    if name not in MECHANISMS:
        raise AttentionError(f"mechanism: found {name!r}, known are {', '.join(sorted(MECHANISMS))}")
    config: MechanismConfig = _made(name, MECHANISMS[name], settings)
    return config


def name_of(config: MechanismConfig) -> str:
    """The name under which a configuration is known."""
    return _name(config, MECHANISMS)


def settings_of(config: MechanismConfig) -> dict[str, Any]:
    """The settings as plain numbers, texts and mappings: `config_from(name_of(config), settings_of(config)) == config`."""
    return {field.name: _plain(getattr(config, field.name)) for field in fields(config)}


def _made(name: str, kind: type, settings: Mapping[str, Any]) -> Any:
    known = {field.name for field in fields(kind)}
    if unknown := sorted(set(settings) - known):
        raise AttentionError(f"{name}: unknown settings {', '.join(unknown)}; it takes {', '.join(sorted(known))}")
    try:
        return kind(**{key: _part(key, value) for key, value in settings.items()})
    except TypeError as error:
        raise AttentionError(f"{name}: {error}; it takes {', '.join(sorted(known))}") from error


def _part(key: str, value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    name = str(value.get("name", ""))
    if name not in PARTS:
        raise AttentionError(f"{key}: found the name {name!r}, known are {', '.join(sorted(PARTS))}")
    return _made(name, PARTS[name], {own: setting for own, setting in value.items() if own != "name"})


def _plain(value: Any) -> Any:
    if not is_dataclass(value):
        return value
    return {"name": _name(value, PARTS)} | {field.name: _plain(getattr(value, field.name)) for field in fields(value)}


def _name(value: Any, table: Mapping[str, type]) -> str:
    for name, kind in table.items():
        if type(value) is kind:
            return name
    raise AttentionError(f"catalog: {type(value).__name__} is not in it; add a line to attention/catalog.py")
