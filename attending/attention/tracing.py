"""Looking inside: every step of an attention layer by name, of one call or of all calls that a model makes.

A trace holds the square of the scores and is for short sequences; for weights and statistics of long ones ask the mechanism
(`weights(rows=…)`, `summary`). Knows no mechanism by name: each gives its own steps (`Mechanism.steps`).
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from attending.attention.errors import AttentionError
from attending.attention.grid import aligned
from attending.attention.masks import present
from attending.attention.mechanism import Mechanism, MechanismConfig
from attending.attention.rules import Mask
from attending.attention.scoring import ScoreBias
from attending.attention.steps import Step


@dataclass(frozen=True, kw_only=True)
class Trace(Mapping[str, Tensor]):
    """The steps of one call in order; `trace["scores"]` is a step's tensor and `print(trace)` a table of all.

    `is_self`: whether the keys are the tokens that ask, and not those of a context. `there`: which keys exist, as padding and
    keep_keys say (None: all); a key that exists may still be hidden from everybody.
    """

    mechanism: str
    is_self: bool
    there: Bool[Tensor, "batch_or_one key"] | None = None
    steps: tuple[Step, ...]

    def __getitem__(self, name: str) -> Tensor:
        for step in self.steps:
            if step.name == name:
                return step.values
        raise KeyError(f"{name!r}; this trace has {', '.join(self)}")

    def __iter__(self) -> Iterator[str]:
        return (step.name for step in self.steps)

    def __len__(self) -> int:
        return len(self.steps)

    def exists(self, sample: int) -> Bool[Tensor, " key"]:
        """Which keys of a sample exist."""
        if self.there is None:
            return torch.ones(self.weights.shape[3], dtype=torch.bool, device=self.weights.device)
        return self.there[sample if len(self.there) > 1 else 0]

    @property
    def weights(self) -> Float[Tensor, "batch head query key"]:
        """How much each query takes from each key."""
        return self["weights"]

    @property
    def result(self) -> Float[Tensor, "batch query dim"]:
        """What the mechanism gives."""
        return self["result"]

    def __str__(self) -> str:
        """The table: name, shape, range of values and origin of each step."""
        rows = [("step", "shape", "values", "what it is")]
        rows += [(step.name, shape_of(step), range_of(step.values), step.told) for step in self.steps]
        widths = [max(len(row[column]) for row in rows) for column in range(3)]
        lines = ["  ".join([*(cell.ljust(w) for cell, w in zip(row, widths, strict=False)), row[3]]) for row in rows]
        rule = "  ".join("─" * width for width in [*widths, max(len(row[3]) for row in rows)])
        return "\n".join([self.mechanism, "", lines[0], rule, *lines[1:]])


@torch.no_grad()
def trace(
    mechanism: Mechanism,
    x: Float[Tensor, "batch query dim"],
    mask: Mask,
    *,
    context: Float[Tensor, "batch key context"] | None = None,
    positions: Int[Tensor, "batch query"] | None = None,
    bias: ScoreBias | None = None,
) -> Trace:
    """Every step of `mechanism(x, mask=mask, …)`, without dropout; its `result` is what the mechanism gives in eval."""
    given = {"mask": mask, "context": context, "positions": positions, "bias": bias}
    return _trace_of(mechanism, (x,), given)


def traces_within(model: nn.Module, run: Callable[[], object]) -> dict[str, tuple[Trace, ...]]:
    """A trace of every call of a mechanism inside `model` while `run` runs it, by the module's name, in the order first called.

    Raises `AttentionError` when none was called.
    """
    found: dict[str, list[Trace]] = {}
    hooks = []

    def hook(name: str) -> Callable[..., None]:
        def traced(module: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> None:
            assert isinstance(module, Mechanism)
            found.setdefault(name, []).append(_trace_of(module, given, named))

        return traced

    for name, module in model.named_modules():
        if isinstance(module, Mechanism):
            hooks.append(module.register_forward_pre_hook(hook(name), with_kwargs=True))
    try:
        with torch.no_grad():
            run()
    finally:
        for one in hooks:
            one.remove()
    if not found:
        raise AttentionError(f"trace: no attention layer of {type(model).__name__} was called; it has {len(hooks)}")
    return {name: tuple(calls) for name, calls in found.items()}


def title_of(config: MechanismConfig) -> str:
    """`grouped: dim=24, n_heads=4, position=rotary(layout=half)`: the name, and the settings that are not the defaults."""
    return f"{_words(config)}: {_settings(config)}"


def _settings(config: Any) -> str:
    told = []
    for field in fields(config):
        value = getattr(config, field.name)
        default = field.default if field.default_factory is MISSING else field.default_factory()
        if value != default:
            told.append(f"{field.name}={_told(value)}")
    return ", ".join(told)


def _told(value: object) -> str:
    if not is_dataclass(value):
        return str(value)
    inner = _settings(value)
    return f"{_words(value)}({inner})" if inner else _words(value)


def shape_of(step: Step) -> str:
    """`batch 2 · head 4 · query 8`."""
    return " · ".join(f"{axis} {size}" for axis, size in zip(step.axes, step.values.shape, strict=True))


def range_of(values: Tensor) -> str:
    """Least and largest finite value, and the share that is −∞; how many are true; from where to where whole numbers go."""
    if values.numel() == 0:
        return "none"
    if values.dtype == torch.bool:
        return f"{int(values.sum())} of {values.numel()}"
    if not values.is_floating_point():
        return f"{int(values.min())} … {int(values.max())}"
    finite = values[values.isfinite()].double()
    hidden = float((values == -torch.inf).double().mean())
    told = "all −∞" if len(finite) == 0 else f"{_figure(float(finite.min()))} … {_figure(float(finite.max()))}"
    return told if hidden == 0.0 or len(finite) == 0 else f"{told}, {100 * hidden:.0f} % −∞"


def _trace_of(mechanism: Mechanism, given: tuple[Any, ...], named: Mapping[str, Any]) -> Trace:
    steps = tuple(replace(step, values=step.values.detach()) for step in mechanism.steps(*given, **named))
    context = named.get("context")
    x = given[0] if given else named["x"]
    n_query = x.shape[1]
    there = present(named["mask"], aligned(n_query, n_query if context is None else context.shape[1], x.device))
    return Trace(mechanism=title_of(mechanism.config), is_self=context is None, there=there, steps=steps)


def _words(config: object) -> str:
    """A `LowRankConfig` as `low rank`."""
    return re.sub(r"(?<!^)(?=[A-Z])", " ", type(config).__name__.removesuffix("Config")).lower()


def _figure(value: float) -> str:
    return f"{value:.3g}".replace("-", "−")
