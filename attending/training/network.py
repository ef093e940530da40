"""Training one network, an epoch at a time, so that it can stop anywhere and continue with the same bits.

Nothing random is remembered: the order of epoch e and all that is dropped in it follow from (seed, e). What must be kept is
the network, the optimiser and the number of epochs done (`Training.state`). The same bits need the same thread count.
"""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from attending.attention import auxiliary_losses
from attending.case import Case
from attending.diagnosis import Task
from attending.model.diagnoser import Diagnoser
from attending.model.pretrained import PretrainedNetwork
from attending.model.tokens import Batch
from attending.training.settings import BFLOAT16_FROM_DIM, TrainingConfig

EVALUATION_BATCH = 256


def seeded(*parts: int) -> int:
    """One 32-bit seed from several numbers, mixed so that neighbours have nothing in common."""
    return int(np.random.SeedSequence(parts).generate_state(1)[0])


def loss_per_finding(
    logits: Float[Tensor, "case finding"],
    truth: Float[Tensor, "case finding"],
    known: Bool[Tensor, "case finding"],
    *,
    task: Task,
) -> Float[Tensor, "case finding"]:
    """Log loss of each case and finding; 0 where the truth is unknown.

    Exclusive findings share one softmax, whose loss stands in the column of the true finding; a case of theirs without a
    known true finding has no loss.
    """
    if task.exclusive:
        return -torch.log_softmax(logits, dim=-1) * truth * known
    losses = nn.functional.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    return losses * known


@dataclass(frozen=True, kw_only=True)
class EpochRecord:
    """One line of the journal: the epoch just done, its mean training loss and the learning rate it ended with."""

    epoch: int
    loss: float
    learning_rate: float


class Training:
    """A network in training on one batch of cases that holds all of them."""

    def __init__(self, network: Diagnoser, cases: Batch, *, task: Task, config: TrainingConfig, seed: int) -> None:
        self.network, self.cases, self.task, self.config, self.seed = network, cases, task, config, seed
        self.epochs_done = 0
        self._start_from_prevalence()
        parts = [part for part in network.modules() if isinstance(part, PretrainedNetwork)]
        pretrained = [p for part in parts for p in part.parameters()]
        slow = {id(p) for p in pretrained}
        own = [p for p in network.parameters() if id(p) not in slow]
        groups: list[dict[str, Any]] = [
            {"params": [p for p in own if p.ndim >= 2], "weight_decay": config.weight_decay, "pace": 1.0},
            {"params": [p for p in own if p.ndim < 2], "weight_decay": 0.0, "pace": 1.0},
        ]
        if pretrained:
            pace = config.pretrained_learning_rate / config.learning_rate
            groups.append({"params": pretrained, "weight_decay": 0.0, "pace": pace})
        self.optimiser = torch.optim.AdamW(groups, lr=config.learning_rate, betas=(0.9, 0.98), fused=True)
        self._steps_per_epoch = math.ceil(len(cases) / config.batch_size)
        self._device_type = network.register.device.type
        self._is_bfloat16 = config.precision == "bfloat16" or (
            config.precision == "auto" and network.config.dim >= BFLOAT16_FROM_DIM
        )

    def epochs(self) -> Iterator[EpochRecord]:
        """Train on, yielding after every epoch, until `config.epochs` are done."""
        while self.epochs_done < self.config.epochs:
            loss = self._epoch(self.epochs_done)
            self.epochs_done += 1
            yield EpochRecord(
                epoch=self.epochs_done, loss=loss, learning_rate=self._rate(self.epochs_done * self._steps_per_epoch)
            )

    def state(self) -> dict[str, Tensor]:
        """All that continuing needs, as tensors by name."""
        kept = {f"network.{name}": value for name, value in self.network.state_dict().items()}
        for number, entry in self.optimiser.state_dict()["state"].items():
            kept |= {f"optimiser.{number}.{name}": torch.as_tensor(value) for name, value in entry.items()}
        kept["epochs_done"] = torch.tensor(self.epochs_done)
        return kept

    def restore(self, state: dict[str, Tensor]) -> None:
        """Continue from a `state` of a training with the same settings."""
        self.network.load_state_dict(
            {name.removeprefix("network."): value for name, value in state.items() if name.startswith("network.")}
        )
        entries: dict[int, dict[str, Tensor]] = {}
        for name, value in state.items():
            if name.startswith("optimiser."):
                _, number, field = name.split(".", 2)
                entries.setdefault(int(number), {})[field] = value
        groups = self.optimiser.state_dict()["param_groups"]
        self.optimiser.load_state_dict({"state": entries, "param_groups": groups})
        self.epochs_done = int(state["epochs_done"])

    def _epoch(self, epoch: int) -> float:
        self.network.train()
        total = 0.0
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seeded(self.seed, epoch))
            order = torch.randperm(len(self.cases)).to(self.cases.weight.device)
            for number, index in enumerate(order.split(self.config.batch_size)):
                total += self._step(self.cases.rows(index), step=epoch * self._steps_per_epoch + number)
        return total / self._steps_per_epoch

    def _step(self, batch: Batch, *, step: int) -> float:
        for group in self.optimiser.param_groups:
            group["lr"] = self._rate(step) * group["pace"]
        share = self.config.alone_weight
        alone: list[tuple[Tensor, Tensor]] = []
        faster = torch.autocast(self._device_type, torch.bfloat16, enabled=self._is_bfloat16)
        with faster, auxiliary_losses(self.network) as beside:
            if share:
                logits, alone = self.network.together_and_alone(batch.inputs)
            else:
                logits = self.network(batch.inputs)
        together = self._loss(logits, batch, batch.weight)
        loss = sum(beside, together)
        for one, is_its_own in alone:
            loss = loss + share * self._loss(one, batch, batch.weight * is_its_own)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), self.config.clip_norm)
        self.optimiser.step()
        return float(together.detach())

    def _loss(self, logits: Tensor, batch: Batch, counts: Float[Tensor, " case"]) -> Tensor:
        """Mean loss over known truths; `counts` says how much of each case's weight enters the sum."""
        losses = loss_per_finding(logits.float(), batch.truth, batch.known, task=self.task)
        weight = batch.weight.unsqueeze(-1) * batch.known
        if self.task.exclusive:
            weight = weight * batch.truth
        return (losses * counts.unsqueeze(-1)).sum() / weight.sum().clamp(min=1e-6)

    def _rate(self, step: int) -> float:
        total = self.config.epochs * self._steps_per_epoch
        warmup = max(1, round(self.config.warmup_share * total))
        if step < warmup:
            return self.config.learning_rate * (step + 1) / warmup
        return self.config.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, total - warmup)))

    def _start_from_prevalence(self) -> None:
        """Begin at the log-odds of each finding's weighted prevalence, so that no step is spent on learning it."""
        weight = self.cases.weight.unsqueeze(-1) * self.cases.known
        share = ((self.cases.truth * weight).sum(0) + 0.5) / (weight.sum(0) + 1.0)
        with torch.no_grad():
            self.network.readout.bias.copy_(share.log() if self.task.exclusive else torch.logit(share))


def probabilities(network: Diagnoser, cases: Batch, *, task: Task) -> Float[np.ndarray, "case finding"]:
    """The network's probabilities as float64; rows of an exclusive task sum to 1."""
    network.eval()
    pieces = []
    with torch.inference_mode():
        for index in torch.arange(len(cases), device=cases.weight.device).split(EVALUATION_BATCH):
            logits = network(cases.rows(index).inputs).double()
            pieces.append(logits.softmax(dim=-1) if task.exclusive else logits.sigmoid())
    return torch.cat(pieces).cpu().numpy() if pieces else np.zeros((0, len(task.findings)))


def mean_loss(
    along: Float[np.ndarray, "length case finding"], cases: Sequence[Case], *, task: Task
) -> Float[np.ndarray, " length"]:
    """Log loss of probabilities at each length, over findings with a known truth, every patient counted once."""
    truth = np.array([[case.truth.get(finding, False) for finding in task.findings] for case in cases])
    known = np.array([[finding in case.truth for finding in task.findings] for case in cases])
    visits = Counter(case.patient for case in cases)
    weight = known / np.array([visits[case.patient] for case in cases])[:, None]
    bounded = np.clip(along, 1e-7, 1 - 1e-7)
    if task.exclusive:
        weight = weight * truth
    losses = -np.where(truth, np.log(bounded), np.log1p(-bounded))
    return (losses * weight).sum(axis=(1, 2)) / max(weight.sum(), 1e-12)
