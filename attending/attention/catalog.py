"""The table of mechanisms, for where names enter or leave: checkpoints, the command line."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from attending.attention.errors import AttentionError
from attending.attention.grouped import GroupedConfig
from attending.attention.indexed import IndexedConfig
from attending.attention.latent import LatentConfig
from attending.attention.mechanism import MechanismConfig

MECHANISMS: Mapping[str, type[MechanismConfig]] = {
    "grouped": GroupedConfig,
    "indexed": IndexedConfig,
    "latent": LatentConfig,
}


def config_from(name: str, settings: Mapping[str, Any]) -> MechanismConfig:
    """The configuration of the named mechanism. Unknown names and left-over settings are refused, with what is known."""
    if name not in MECHANISMS:
        raise AttentionError(f"mechanism: found {name!r}, known are {', '.join(sorted(MECHANISMS))}")
    kind = MECHANISMS[name]
    known = [field.name for field in fields(kind)]
    unknown = sorted(set(settings) - set(known))
    if unknown:
        raise AttentionError(f"{name}: unknown settings {', '.join(unknown)}; it takes {', '.join(known)}")
    return kind(**settings)


def name_of(config: MechanismConfig) -> str:
    """The name under which a configuration is known."""
    for name, kind in MECHANISMS.items():
        if type(config) is kind:
            return name
    raise AttentionError(f"mechanism: {type(config).__name__} is not in the catalog; add a line to attention/catalog.py")
