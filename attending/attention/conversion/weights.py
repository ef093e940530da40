"""The weights of grouped attention head by head in float64, and the way back into a layer.

Where there is no bias it is read as 0. Reading copies: the layer stays as it is.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

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
    width = layer.config.width

    def heads(projection: nn.Linear) -> tuple[Tensor, Tensor]:
        weight = projection.weight.detach().double().unflatten(0, (-1, width))
        bias = weight.new_zeros(weight.shape[:2]) if projection.bias is None else projection.bias.detach().double()
        return weight, bias.view(weight.shape[:2])

    query, key, value = heads(layer.query), heads(layer.key), heads(layer.value)
    output = layer.output.weight.detach().double()
    bias = output.new_zeros(len(output)) if layer.output.bias is None else layer.output.bias.detach().double()
    return HeadWeights(
        query=query[0],
        query_bias=query[1],
        key=key[0],
        key_bias=key[1],
        value=value[0],
        value_bias=value[1],
        output=output.unflatten(1, (-1, width)).transpose(0, 1),
        output_bias=bias,
    )


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


def beside_projections(layer: GroupedAttention) -> dict[str, Tensor]:
    """State that belongs to no projection: norms, sinks, position tables."""
    own = ("query.", "key.", "value.", "output.")
    return {name: tensor.double() for name, tensor in layer.state_dict().items() if not name.startswith(own)}
