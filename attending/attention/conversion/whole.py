"""All attention layers of a model at once: watched while the model runs, converted one after the other, and measured.

In place: each new layer takes the place of the old one, which is let go before the next is made, so that converting a model of
n bytes needs little more than n. What a layer has seen is held until that layer is done.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing
from dataclasses import dataclass
from statistics import median

import torch
from torch import nn

from attending.attention.conversion.conversion import Conversion, ConversionError, Seen, grouped_config
from attending.attention.conversion.measured import OutputError, output_error
from attending.attention.conversion.refitted import refit_output
from attending.attention.grouped import GroupedAttention
from attending.attention.masks import causal, everything
from attending.attention.mechanism import Mechanism, MechanismConfig

Run = Callable[[], object]
"""Lets the model answer its calibration inputs; what it gives back is not looked at."""
_TIMED = 5
"""Runs of which the median is told."""


@dataclass(frozen=True, kw_only=True)
class Price:
    """What a layer costs on the inputs at hand: cache bytes as its configuration foretells and as a real cache holds them.

    `length` is the number of tokens remembered, of one sample. `seconds` is the median forward pass over a held-out input.
    """

    length: int
    cache_foretold: int
    cache_measured: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class LayerReceipt:
    """One layer before and after. `heads[h]` is the old head that head h of the new layer stands for."""

    name: str
    before: MechanismConfig
    after: MechanismConfig
    told: str
    heads: tuple[int, ...]
    error: OutputError
    price_before: Price
    price_after: Price


@dataclass(frozen=True, kw_only=True)
class ModelReceipt:
    """What became of each layer; `left` says of those that stayed why."""

    layers: tuple[LayerReceipt, ...]
    left: Mapping[str, str]


def convertible(model: nn.Module) -> dict[str, GroupedAttention]:
    """The multi-head and grouped-query layers of a model, by name, in its order."""
    return {name: part for name, part in model.named_modules() if isinstance(part, GroupedAttention)}


def watch(layers: Mapping[str, Mechanism], run: Run) -> dict[str, tuple[Seen, ...]]:
    """Every call of these layers while `run` runs, without gradients."""
    seen: dict[str, list[Seen]] = {name: [] for name in layers}

    def keeper(name: str) -> Callable[..., None]:
        def keep(_: nn.Module, args: tuple, given: dict) -> None:
            x = args[0] if args else given["x"]
            beside = {key: value for key, value in given.items() if key != "x"}
            seen[name].append(Seen(x=x, **beside))

        return keep

    with ExitStack() as stack, torch.no_grad():
        for name, layer in layers.items():
            stack.enter_context(_hooked(layer, keeper(name)))
        run()
    return {name: tuple(calls) for name, calls in seen.items()}


def convert_layers(
    model: nn.Module,
    conversion: Conversion,
    *,
    fit: Run | None,
    held_out: Run,
    only: Iterable[str] | None = None,
    refits: bool = False,
) -> ModelReceipt:
    """Convert the layers of `model` in place and say what became of each.

    `fit` and `held_out` let the model answer calibration inputs; the second never enters a conversion, and errors are measured
    on it. `fit` None converts from the weights alone. `only`: names of layers, all of which must be convertible; None takes
    those that are, and leaves the others as they are. `refits`: the output projection of each new layer is fitted once more
    to what the old layer said (`refit_output`). Raises `ConversionError` before anything is changed.
    """
    found = convertible(model)
    if not found:
        for other in (part for part in model.modules() if isinstance(part, Mechanism)):
            grouped_config(other.config)
        raise ConversionError("convert: found no multi-head or grouped-query attention in the model, so nothing to convert")
    chosen = found if only is None else {name: _named(model, name) for name in only}
    unseen = watch(chosen, held_out)
    left = {name: why for name, layer in chosen.items() if (why := _obstacle(conversion, layer, unseen[name]))}
    if left and (only is not None or len(left) == len(chosen)):
        name, why = next(iter(left.items()))
        raise ConversionError(f"{name}: {why}")
    chosen = {name: layer for name, layer in chosen.items() if name not in left}
    watched = {} if fit is None else watch(chosen, fit)
    plans = conversion.planned([(layer, watched.get(name, ())) for name, layer in chosen.items()])
    told = []
    for name, plan in zip(tuple(chosen), plans, strict=True):
        seen = watched.pop(name, ())
        told.append(
            _converted(model, name, old=chosen.pop(name), conversion=plan, seen=seen, unseen=unseen.pop(name), refits=refits)
        )
        found.pop(name, None)  # the last name of the old layer: it is let go here
    return ModelReceipt(layers=tuple(told), left=left)


def prices(old: Mechanism, new: Mechanism, seen: Sequence[Seen]) -> tuple[Price, Price]:
    """What one sample costs in either's cache, and how long one input takes: timed in turns, after a warm-up."""
    seconds: tuple[list[float], list[float]] = ([], [])
    with torch.no_grad():
        for turn in range(_TIMED + 1):
            for layer, taken in zip((old, new), seconds, strict=True):
                start = time.perf_counter()
                seen[0].answered_by(layer)
                if turn:
                    taken.append(time.perf_counter() - start)
        return _price(old, seen[0], median(seconds[0])), _price(new, seen[0], median(seconds[1]))


def _price(layer: Mechanism, one: Seen, seconds: float) -> Price:
    tokens = one.x if one.context is None else one.context
    if one.context is None:
        cache = layer.new_cache(1, mask=causal())
        cache.extend(one.x[:1])
    else:
        cache = layer.new_cache(1, mask=everything(), context=one.context[:1])
    length = tokens.shape[1]
    dtype = str(tokens.dtype).removeprefix("torch.")
    return Price(
        length=length,
        cache_foretold=layer.config.cost(length, dtype=dtype).cache.used,
        cache_measured=cache.nbytes_used,
        seconds=seconds,
    )


def _converted(
    model: nn.Module,
    name: str,
    *,
    old: GroupedAttention,
    conversion: Conversion,
    seen: Sequence[Seen],
    unseen: Sequence[Seen],
    refits: bool,
) -> LayerReceipt:
    made = conversion.convert(old, seen)
    if refits:
        refit_output(old, made, seen)
    parent, _, own = name.rpartition(".")
    setattr(model.get_submodule(parent), own, made.layer.train(old.training))
    before, after = prices(old, made.layer, unseen)
    return LayerReceipt(
        name=name,
        before=old.config,
        after=made.layer.config,
        told=made.told,
        heads=made.heads,
        error=output_error(old, made, unseen),
        price_before=before,
        price_after=after,
    )


def _obstacle(conversion: Conversion, layer: Mechanism, seen: Sequence[Seen]) -> str:
    if not seen:
        return "the model did not use this layer on the held-out inputs, so nothing about it could be measured"
    try:
        conversion.check(grouped_config(layer.config), seen)
    except ConversionError as error:
        return str(error)
    return ""


def _named(model: nn.Module, name: str) -> GroupedAttention:
    found = convertible(model)
    if name not in found:
        raise ConversionError(f"{name}: no layer of this name can be converted; possible are {', '.join(found)}")
    return found[name]


def _hooked(layer: nn.Module, keep: Callable[..., None]) -> AbstractContextManager[object]:
    hook = layer.register_forward_pre_hook(keep, with_kwargs=True)
    return closing(_Closing(hook.remove))


@dataclass(frozen=True)
class _Closing:
    """What is closed by calling it."""

    close: Callable[[], None]
