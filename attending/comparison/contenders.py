"""Who is compared: mechanisms by name at one width, one number of heads and one budget of keys, or configurations of your own.

Names are those of the catalog (grouped attention under its three usual ones), each with settings that a reader would guess.
Not a search for the best settings of any: give your own for that.
"""

import json
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch

from attending.attention import (
    AttentionError,
    ClusteredConfig,
    GroupedConfig,
    IndexedConfig,
    LatentConfig,
    LowRankConfig,
    Mask,
    MechanismConfig,
    NativeSparseConfig,
    WindowedConfig,
    causal,
    config_from,
    everything,
    name_of,
    settings_of,
)


class ComparisonError(ValueError):
    """What was asked for cannot be compared; says what was found, what was expected and what to do."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What all have in common. `budget`: how many keys a mechanism that does not read all of them may read a query."""

    dim: int = 64
    n_heads: int = 4
    budget: int = 16

    def __post_init__(self) -> None:
        if min(self.dim, self.n_heads, self.budget) < 1:
            raise ComparisonError(f"found dim={self.dim}, n_heads={self.n_heads}, budget={self.budget}; all are 1 or more")
        if self.dim % self.n_heads or self.head_dim % 2:
            raise ComparisonError(
                f"found {self.n_heads} heads for a width of {self.dim}; heads divide the width into even parts, as 4 do 64"
            )

    @property
    def head_dim(self) -> int:
        return self.dim // self.n_heads


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A mechanism under a name. `follows_length`: what is made for a number of tokens is made anew for each number."""

    name: str
    config: MechanismConfig
    follows_length: bool = False

    def over(self, length: int) -> MechanismConfig:
        """The configuration for so many tokens."""
        if self.follows_length and isinstance(self.config, LowRankConfig):
            return replace(self.config, length=length, rank=min(self.config.rank, length))
        return self.config

    def both_ways(self, length: int) -> MechanismConfig:
        """The same where tokens may look ahead: a window that looks back only looks to both sides, at as many."""
        config = self.over(length)
        if self.follows_length and isinstance(config, WindowedConfig | NativeSparseConfig) and config.after == 0:
            return replace(config, before=config.before - config.before // 2, after=config.before // 2)
        return config


def _grouped(shape: Shape, n_kv_heads: int) -> GroupedConfig:
    return GroupedConfig(dim=shape.dim, n_heads=shape.n_heads, n_kv_heads=n_kv_heads)


def _group_heads(n_heads: int) -> int:
    """A quarter of the heads, two at least where there are more."""
    return max(n for n in range(1, max(n_heads // 4, min(n_heads - 1, 2), 1) + 1) if n_heads % n == 0)


def _latent_widths(shape: Shape) -> dict[str, Any]:
    """A latent of a quarter of the width: keys and values of MHA take twice the width, eight times as much."""
    head = shape.head_dim
    rope = max(head // 2 // 2 * 2, 2)
    return {
        "dim": shape.dim, "n_heads": shape.n_heads, "latent_dim": max(shape.dim // 4, 1), "rope_dim": rope, "nope_dim": head,
        "value_dim": head,
    }  # fmt: skip


def _clustered(shape: Shape) -> ClusteredConfig:
    leaders = tuple(head - head % 2 for head in range(shape.n_heads))
    return ClusteredConfig(dim=shape.dim, n_heads=shape.n_heads, n_clusters=len(set(leaders)), leaders=leaders)


def _indexed(shape: Shape) -> IndexedConfig:
    widths = _latent_widths(shape)
    index = max(shape.head_dim, widths["rope_dim"])
    return IndexedConfig(**widths, top_k=shape.budget, index_heads=max(shape.n_heads // 2, 1), index_dim=index)


def _native_sparse(shape: Shape) -> NativeSparseConfig:
    """Half of the budget near, half in blocks of an eighth of it; beside it every run of a quarter, two to each quarter."""
    block, run = max(shape.budget // 8, 1), max(shape.budget // 4, 1)
    n_selected = max(shape.budget // 2 // block, 1)
    return NativeSparseConfig(
        dim=shape.dim,
        n_heads=shape.n_heads,
        n_kv_heads=_group_heads(shape.n_heads),
        run=run,
        stride=-(-run // 2),
        block=block,
        n_selected=n_selected,
        n_first=min(n_selected - 1, 1),
        n_local=1,
        before=max(shape.budget // 2 - 1, 0),
    )


STANDARD: Mapping[str, Callable[[Shape], MechanismConfig]] = {
    "mha": lambda shape: _grouped(shape, shape.n_heads),
    "gqa": lambda shape: _grouped(shape, _group_heads(shape.n_heads)),
    "mqa": lambda shape: _grouped(shape, 1),
    "latent": lambda shape: LatentConfig(**_latent_widths(shape)),
    "indexed": _indexed,
    "clustered": _clustered,
    "native sparse": _native_sparse,
    "windowed": lambda shape: WindowedConfig(dim=shape.dim, n_heads=shape.n_heads, before=shape.budget - 1),
    "low rank": lambda shape: LowRankConfig(
        dim=shape.dim, n_heads=shape.n_heads, length=shape.budget, rank=shape.budget, sharing="heads"
    ),
}
"""Every mechanism of the catalog at a shape; grouped attention three times, because it is three in the literature."""
ALSO = {
    "grouped": "mha",
    "mla": "latent",
    "dsa": "indexed",
    "chai": "clustered",
    "linformer": "low rank",
    "low-rank": "low rank",
    "nsa": "native sparse",
    "native-sparse": "native sparse",
}
"""Other names of the same."""


def standard_contenders(shape: Shape) -> tuple[Contender, ...]:
    """All of the catalog."""
    return tuple(contender(name, shape) for name in STANDARD)


def contender(asked: str, shape: Shape) -> Contender:
    """`NAME`, or `NAME:setting=value,…` to change settings of the standard one; `gqa:2` is `gqa:n_kv_heads=2`.

    Raises `ComparisonError` for an unknown name or setting, with those that are known.
    """
    name, _, changes = (part.strip() for part in asked.partition(":"))
    known = ALSO.get(name.lower(), name.lower())
    if known not in STANDARD:
        raise ComparisonError(f"mechanism: found {name!r}, known are {', '.join((*STANDARD, *ALSO))}; or give --config FILE")
    config = STANDARD[known](shape)
    if not changes:
        return Contender(name=known, config=config, follows_length=True)
    if changes.isdigit() and isinstance(config, GroupedConfig):
        changes = f"n_kv_heads={changes}"
    parts = [part.partition("=") for part in changes.split(",")]
    if bad := [before for before, sign, _ in parts if not sign]:
        raise ComparisonError(f"{asked}: found {bad[0]!r} after the colon, expected setting=value, as in windowed:before=63")
    settings = settings_of(config) | {key.strip(): _value(text.strip()) for key, _, text in parts}
    return Contender(name=f"{known}:{changes}", config=_made(asked, name_of(config), settings), follows_length=True)


def contenders_from(path: Path, shape: Shape) -> tuple[Contender, ...]:
    """Contenders of a TOML or JSON file: a table each, by a name of your own, with `mechanism` and its settings.

    `dim` and `n_heads` are those of the shape unless the table has them.
    """
    try:
        text = path.read_text(encoding="utf-8")
        told = json.loads(text) if path.suffix.lower() == ".json" else tomllib.loads(text)
    except ValueError as error:
        raise ComparisonError(f"{path}: is no {'JSON' if path.suffix.lower() == '.json' else 'TOML'}: {error}") from error
    if not isinstance(told, dict) or not told or not all(isinstance(table, dict) for table in told.values()):
        raise ComparisonError(
            f'{path}: expected a table for each mechanism, as [ours] with mechanism = "latent" and its settings'
        )
    found = []
    for name, table in told.items():
        if "mechanism" not in table:
            raise ComparisonError(f'{path}, [{name}]: has no "mechanism", which names one of the catalog')
        settings = {"dim": shape.dim, "n_heads": shape.n_heads} | {k: v for k, v in table.items() if k != "mechanism"}
        where = f"{path}, [{name}]"
        found.append(Contender(name=name, config=_made(where, str(table["mechanism"]), settings)))
    return tuple(found)


def chosen_contenders(names: Sequence[str], path: Path | None, shape: Shape) -> tuple[Contender, ...]:
    """Those named and those of a file; all of the catalog where neither is given."""
    named = tuple(contender(name, shape) for name in names)
    of_file = () if path is None else contenders_from(path, shape)
    return checked((*named, *of_file) or standard_contenders(shape))


def checked(contenders: Sequence[Contender]) -> tuple[Contender, ...]:
    """The same, after a look at whether they can be given the same inputs."""
    if not contenders:
        raise ComparisonError(f"found no mechanism to compare; known are {', '.join(STANDARD)}")
    names = [one.name for one in contenders]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ComparisonError(f"found {', '.join(twice)} twice; name each mechanism once")
    if len(widths := {one.config.dim for one in contenders}) > 1:
        told = ", ".join(f"{one.name} {one.config.dim}" for one in contenders)
        raise ComparisonError(f"found widths of {sorted(widths)} ({told}); the same inputs need the same dim, so give all one")
    for one in contenders:
        if (context := getattr(one.config, "context_dim", None)) not in (None, one.config.dim):
            raise ComparisonError(f"{one.name}: found context_dim={context}; tokens look at each other here, so leave it out")
    return tuple(contenders)


def mask_of(config: MechanismConfig) -> Mask:
    """Causal for what can be causal; what cannot sees everything."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        try:
            config.build()(torch.zeros(1, 2, config.dim), mask=causal())
        except AttentionError:
            return everything()
    return causal()


def can_be_causal(config: MechanismConfig) -> bool:
    """Whether each token can be kept from seeing later ones."""
    return mask_of(config).rules == causal().rules


def told_settings(config: MechanismConfig) -> str:
    """What is not a default, in words for a table."""
    usual = {each.name: each.default for each in fields(config)}
    told = {
        key: value for key, value in settings_of(config).items() if key not in ("dim", "n_heads") and value != usual.get(key)
    }
    parts = [
        f"{key} {value if not isinstance(value, (list, tuple)) else ' '.join(map(str, value))}" for key, value in told.items()
    ]
    return ", ".join(part for part, value in zip(parts, told.values(), strict=True) if not isinstance(value, Mapping))


def _made(where: str, mechanism: str, settings: Mapping[str, Any]) -> MechanismConfig:
    try:
        return config_from(mechanism, settings)
    except AttentionError as error:
        raise ComparisonError(f"{where}: {error}") from error


def _value(text: str) -> Any:
    words: dict[str, Any] = {"none": None, "true": True, "false": False}
    if text.lower() in words:
        return words[text.lower()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
