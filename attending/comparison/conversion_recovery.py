"""A short training after a conversion: the new layers learn to make the networks answer as they did. Nothing else moves.

Taught by the original's answers, not by the recorded truth: what was calibrated on the old answers stays calibrated, and cases
without a known truth teach, too.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from attending.case import Case
from attending.model.diagnoser import Diagnoser
from attending.model.tokens import Batch
from attending.model.trained import TrainedModel

_BATCH, _RATE, _WARMUP = 32, 1e-3, 0.1
_LOOKS = 10
"""Times that a training is looked at; what answered nearest on the calibration cases is kept, the beginning among them."""


@dataclass(frozen=True, kw_only=True)
class Recovery:
    """Mean divergence from the original's answers on calibration cases, in nats a finding, before and after the training."""

    steps: int
    divergence_before: float
    divergence_after: float


def recover(original: TrainedModel, converted: TrainedModel, cases: Sequence[Case], *, steps: int, seed: int) -> Recovery:
    """Train the converted layers of each network in place, for so many steps."""
    before, after = [], []
    for old, new, layers in zip(original.networks, converted.networks, converted.converted, strict=True):
        batch = converted.tokenizers.batch(cases, converted.task).to(new.register.device)
        learning = [new.get_submodule(name) for name in layers]
        taught = _taught(old, batch)
        before.append(_mean_divergence(new, batch, taught, exclusive=converted.task.exclusive))
        after.append(_train(new, learning, batch, taught, exclusive=converted.task.exclusive, steps=steps, seed=seed))
    return Recovery(steps=steps, divergence_before=sum(before) / len(before), divergence_after=sum(after) / len(after))


def _train(
    network: Diagnoser, learning: Sequence[nn.Module], batch: Batch, taught: Tensor, *, exclusive: bool, steps: int, seed: int
) -> float:
    """Trains, keeps the best, and gives its divergence."""
    parameters = [parameter for module in learning for parameter in module.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=_RATE, weight_decay=0.0, betas=(0.9, 0.98))
    rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=_RATE, total_steps=max(steps, 2), pct_start=_WARMUP)
    draw = torch.Generator().manual_seed(seed)
    network.eval()  # without dropout: the answers that are learned were given without
    every = max(steps // _LOOKS, 1)
    best, kept = _mean_divergence(network, batch, taught, exclusive=exclusive), _copies(learning)
    for step in range(1, steps + 1):
        chosen = torch.randint(len(batch), (min(_BATCH, len(batch)),), generator=draw).to(taught.device)
        loss = _divergence(network(batch.rows(chosen).inputs), taught[chosen], exclusive=exclusive)
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss, inputs=parameters)
        optimiser.step()
        rate.step()
        if step % every == 0 and (now := _mean_divergence(network, batch, taught, exclusive=exclusive)) < best:
            best, kept = now, _copies(learning)
    for module, state in zip(learning, kept, strict=True):
        module.load_state_dict(state)
    return best


def _copies(modules: Sequence[nn.Module]) -> list[dict[str, Tensor]]:
    return [{name: tensor.clone() for name, tensor in module.state_dict().items()} for module in modules]


@torch.no_grad()
def _taught(network: Diagnoser, batch: Batch) -> Tensor:
    network.eval()
    index = torch.arange(len(batch), device=batch.weight.device)
    return torch.cat([network(batch.rows(some).inputs) for some in index.split(4 * _BATCH)])


@torch.no_grad()
def _mean_divergence(network: Diagnoser, batch: Batch, taught: Tensor, *, exclusive: bool) -> float:
    return float(_divergence(_taught(network, batch), taught, exclusive=exclusive))


def _divergence(logits: Tensor, taught: Tensor, *, exclusive: bool) -> Tensor:
    """Kullback–Leibler divergence of the answers from those taught, the mean over cases (and findings, unless exclusive)."""
    if exclusive:
        return nn.functional.kl_div(
            logits.log_softmax(dim=-1), taught.log_softmax(dim=-1), log_target=True, reduction="batchmean"
        )
    share = taught.sigmoid()
    cross = nn.functional.binary_cross_entropy_with_logits(logits, share)
    return cross - nn.functional.binary_cross_entropy_with_logits(taught, share)
