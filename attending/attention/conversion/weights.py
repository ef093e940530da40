"""The weights of grouped attention head by head in float64, and the way back into a layer.

Where there is no bias it is read as 0. Reading copies: the layer stays as it is.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from attending.attention.conversion.conversion import Converted
from attending.attention.grouped import GroupedAttention
from attending.attention.mechanism import Mechanism, MechanismConfig


@dataclass(frozen=True, kw_only=True, eq=False)
class HeadWeights:
    """Projections by head. `key` and `value` have KV heads."""

    query: Float[Tensor, "head width dim"]
    query_bias: Float[Tensor, "head width"]
    key: Float[Tensor, "kv_head width source"]
    key_bias: Float[Tensor, "kv_head width"]
    value: Float[Tensor, "kv_head width source"]
    value_bias: Float[Tensor, "kv_head width"]
    output: Float[Tensor, "head dim width"]
    output_bias: Float[Tensor, " dim"]


def read_weights(layer: GroupedAttention) -> HeadWeights:
    """Copies of the weights, in float64."""
    query, key, value = (read_heads(projection, layer.config.width) for projection in (layer.query, layer.key, layer.value))
    return HeadWeights(
        query=query[..., :-1],
        query_bias=query[..., -1],
        key=key[..., :-1],
        key_bias=key[..., -1],
        value=value[..., :-1],
        value_bias=value[..., -1],
        output=read_output(layer),
        output_bias=read_constant(layer.output),
    )


def read_heads(projection: nn.Linear, width: int) -> Float[Tensor, "head width source"]:
    """A copy of one projection by head in float64, its bias behind the last number of the source."""
    weight = projection.weight.detach()
    heads = weight.new_empty(len(weight), weight.shape[1] + 1, dtype=torch.float64)
    heads[:, :-1], heads[:, -1] = weight, read_constant(projection)
    return heads.unflatten(0, (-1, width))


def read_output(layer: GroupedAttention) -> Float[Tensor, "head dim width"]:
    """A copy of the output projection by head in float64."""
    return layer.output.weight.detach().to(torch.float64, copy=True).unflatten(1, (-1, layer.config.width)).transpose(0, 1)


def read_constant(projection: nn.Linear) -> Float[Tensor, " out"]:
    """A copy of a projection's bias in float64."""
    if projection.bias is None:
        return projection.weight.new_zeros(len(projection.weight), dtype=torch.float64)
    return projection.bias.detach().to(torch.float64, copy=True)


def grouped_state(weights: HeadWeights) -> dict[str, Tensor]:
    """By the names of grouped attention, biases among them whether or not a configuration has room for them."""
    return {
        "query.weight": weights.query.flatten(0, 1),
        "query.bias": weights.query_bias.flatten(),
        "key.weight": weights.key.flatten(0, 1),
        "key.bias": weights.key_bias.flatten(),
        "value.weight": weights.value.flatten(0, 1),
        "value.bias": weights.value_bias.flatten(),
        "output.weight": weights.output.transpose(0, 1).flatten(1),
        "output.bias": weights.output_bias,
    }


def filled(config: MechanismConfig, state: Mapping[str, Tensor], *, like: nn.Module) -> Mechanism:
    """A layer with this state in eval mode, in the dtype and on the device of `like`. Names without room in it are passed over.

    Passing over is for biases that are exactly 0; anything else would be a loss, and is an error of ours.
    """
    some = next(iter(like.parameters()))
    with torch.random.fork_rng(devices=[]):  # fresh weights are made only to be replaced
        made = config.build().eval().to(device=some.device, dtype=some.dtype)
    own = made.state_dict()
    for name, tensor in state.items():
        assert name in own or not tensor.any(), f"{name} has no place in {type(config).__name__}"
    made.load_state_dict({name: tensor for name, tensor in state.items() if name in own})
    return made


@dataclass(frozen=True, kw_only=True, eq=False)
class Draft:
    """A new layer before it is built: what it will be, its state in the type it will have, and what is told of it.

    What was needed to find it can be let go before the layer itself takes memory.
    """

    config: MechanismConfig
    state: Mapping[str, Tensor]
    heads: tuple[int, ...]
    told: str

    def built(self, *, like: nn.Module) -> Converted:
        """The layer, on the device of `like`."""
        return Converted(layer=filled(self.config, self.state, like=like), heads=self.heads, told=self.told)


def drafted(
    config: MechanismConfig, state: Mapping[str, Tensor], *, heads: tuple[int, ...], told: str, like: nn.Module
) -> Draft:
    """A draft in the type of `like`."""
    dtype = next(iter(like.parameters())).dtype
    return Draft(config=config, state={name: tensor.to(dtype) for name, tensor in state.items()}, heads=heads, told=told)


def beside_projections(layer: GroupedAttention) -> dict[str, Tensor]:
    """State that belongs to no projection: norms, sinks, position tables."""
    own = ("query.", "key.", "value.", "output.")
    return {name: tensor.double() for name, tensor in layer.state_dict().items() if not name.startswith(own)}
