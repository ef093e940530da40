"""Small networks that differ in their attention alone, trained alike: same weights' seed, same problems, as many steps.

Every place reads its symbol, the symbol before it (as in models that mix neighbours by a short convolution) and where it
stands, so that one layer of attention can look up what it needs. Not tuned for any mechanism.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from attending.attention import IndexedConfig, Mask, MechanismConfig, auxiliary_losses
from attending.comparison.contenders import Contender, mask_of
from attending.comparison.tasks import NOT_ASKED, SmallTask
from attending.model.fusion import Block


@dataclass(frozen=True, kw_only=True)
class LearningPlan:
    """How a small network is trained: the same for all mechanisms."""

    steps: int = 400
    batch: int = 16
    learning_rate: float = 1e-2
    warmup: int = 30
    n_blocks: int = 1
    n_asked: int = 256


class Reader(nn.Module):
    """Symbols → blocks of attention → a guess at every place."""

    def __init__(self, config: MechanismConfig, *, n_symbols: int, n_blocks: int) -> None:
        super().__init__()
        self.config = config
        self.symbol = nn.Parameter(torch.randn(n_symbols, config.dim) * config.dim**-0.5)
        self.before = nn.Linear(config.dim, config.dim, bias=False)
        self.blocks = nn.ModuleList(Block(config) for _ in range(n_blocks))
        self.norm = nn.LayerNorm(config.dim)

    def forward(self, symbols: Int[Tensor, "sample place"], *, mask: Mask) -> Float[Tensor, "sample place symbol"]:
        """Logits of the answer at every place."""
        x = self.symbol[symbols]
        x = x + nn.functional.pad(self.before(x)[:, :-1], (0, 0, 1, 0))
        x = x + sinusoids(symbols.shape[1], x.shape[2]) * x.shape[2] ** -0.5
        for block in self.blocks:
            x = block(x, mask=mask)
        return self.norm(x) @ self.symbol.T


def sinusoids(length: int, dim: int) -> Float[Tensor, "place dim"]:
    """Fixed places (Vaswani et al. 2017, section 3.5), the sines before the cosines."""
    rates = torch.exp(torch.arange(0, dim, 2) * (-math.log(10_000.0) / dim))
    angles = torch.arange(length)[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1)[:, :dim]


@contextmanager
def one_thread() -> Iterator[None]:
    """Inside, torch uses one thread: more of them only wait for each other over tensors this small."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def learn(
    contender: Contender, task: SmallTask, *, plan: LearningPlan, seed: int, heard: Callable[[], None] = lambda: None
) -> float:
    """Accuracy of a network trained on the task, on problems it has not seen. `heard` is called after every step.

    Weights start from the seed, problems are drawn from it: another mechanism with the same seed is given the same.
    """
    return accuracy(trained(contender, task, plan=plan, seed=seed, heard=heard), task, n_asked=plan.n_asked)


@one_thread()
def trained(
    contender: Contender, task: SmallTask, *, plan: LearningPlan, seed: int, heard: Callable[[], None] = lambda: None
) -> Reader:
    """The network that `learn` asks."""
    stages = training_stages(contender.over(task.length), task.length)
    mask = mask_of(stages[-1])
    drawn = torch.Generator().manual_seed(1_000 + seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network, optimiser = _begun(stages[0], task, plan)
        for step in range(plan.steps):
            if len(stages) > 1 and step == plan.steps // 2:
                before, moments = network.state_dict(), optimiser.state_dict()
                network, optimiser = _begun(stages[1], task, plan)
                network.load_state_dict(before)
                optimiser.load_state_dict(moments)
            for group in optimiser.param_groups:
                group["lr"] = plan.learning_rate * _pace(step, plan)
            symbols, answers = task.draw(plan.batch, drawn)
            with auxiliary_losses(network) as beside:
                logits = network(symbols, mask=mask)
            loss = nn.functional.cross_entropy(logits.flatten(0, 1), answers.flatten(), ignore_index=NOT_ASKED)
            optimiser.zero_grad(set_to_none=True)
            sum(beside, loss).backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
            heard()
    return network


@one_thread()
def accuracy(network: Reader, task: SmallTask, *, n_asked: int) -> float:
    """Share of the answers that are right, over problems that no training draws."""
    symbols, answers = task.draw(n_asked, torch.Generator().manual_seed(7))
    network.eval()
    with torch.no_grad():
        guessed = network(symbols, mask=mask_of(network.config)).argmax(dim=-1)
    asked = answers != NOT_ASKED
    return float((guessed == answers)[asked].double().mean())


def training_stages(config: MechanismConfig, length: int) -> tuple[MechanismConfig, ...]:
    """What is trained one after the other, half of the steps each, with the same weights.

    An indexer has to see what attention looks at before it can pick for it: DeepSeek-V3.2 trains densely first, and so do we.
    """
    if isinstance(config, IndexedConfig) and config.top_k < length:
        return replace(config, top_k=length), config
    return (config,)


def _begun(config: MechanismConfig, task: SmallTask, plan: LearningPlan) -> tuple[Reader, torch.optim.AdamW]:
    network = Reader(config, n_symbols=task.n_symbols, n_blocks=plan.n_blocks).train()
    settings: dict[str, Any] = {"betas": (0.9, 0.98), "weight_decay": 0.0, "fused": True}
    return network, torch.optim.AdamW(network.parameters(), lr=plan.learning_rate, **settings)


def _pace(step: int, plan: LearningPlan) -> float:
    """Linear warm-up, then a cosine to zero."""
    if step < plan.warmup:
        return (step + 1) / plan.warmup
    return 0.5 * (1.0 + math.cos(math.pi * (step - plan.warmup) / max(plan.steps - plan.warmup, 1)))
