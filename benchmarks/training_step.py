"""One training step of the encoder against `torch.nn.TransformerEncoder`: d 192, 6 layers, batch 32 × 144 tokens, 6 heads.

    python -m benchmarks.training_step [--rounds 15] [--threads 2]

Forward, backward and AdamW, pre-norm, dropout 0 on both sides, both sides interleaved round by round in one run, no
process-global switch. Prints samples/s and the median of the ratios, with their spread (5th to 95th percentile over rounds).
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from attending.attention import GroupedConfig, everything
from attending.model.fusion import Block

DIM, LAYERS, HEADS, BATCH, TOKENS = 192, 6, 6, 32, 144
EXPANSION = 4
WARM_UP = 3


class Ours(nn.Module):
    """Six blocks."""

    def __init__(self) -> None:
        super().__init__()
        attention = GroupedConfig(dim=DIM, n_heads=HEADS, bias=True, output_bias=True)
        self.blocks = nn.ModuleList(Block(attention, expansion=EXPANSION) for _ in range(LAYERS))

    def forward(self, x: Tensor) -> Tensor:
        """Tokens after six rounds."""
        for block in self.blocks:
            x = block(x, mask=everything())
        return x


def theirs() -> nn.Module:
    """The peer, as close as its arguments allow."""
    layer = nn.TransformerEncoderLayer(
        DIM, HEADS, dim_feedforward=EXPANSION * DIM, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
    )
    return nn.TransformerEncoder(layer, LAYERS, enable_nested_tensor=False)


def stepper(network: nn.Module, x: Tensor, *, is_bfloat16: bool) -> Callable[[], None]:
    """One step: forward, backward, optimiser."""
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-4, fused=True)

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=is_bfloat16):
            loss = network(x).float().square().mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()

    return step


def main() -> None:
    """Measure both dtypes and print a row each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    torch.manual_seed(0)
    x = torch.randn(BATCH, TOKENS, DIM)
    for name, is_bfloat16 in (("float32", False), ("bfloat16", True)):
        steps = {"ours": stepper(Ours(), x, is_bfloat16=is_bfloat16), "theirs": stepper(theirs(), x, is_bfloat16=is_bfloat16)}
        seconds: dict[str, list[float]] = {side: [] for side in steps}
        for round_ in range(WARM_UP + asked.rounds):
            for side, step in steps.items():
                began = time.perf_counter()
                step()
                if round_ >= WARM_UP:
                    seconds[side].append(time.perf_counter() - began)
        ratios = sorted(t / o for o, t in zip(seconds["ours"], seconds["theirs"], strict=True))
        medians = {side: statistics.median(found) for side, found in seconds.items()}
        low, high = ratios[len(ratios) // 20], ratios[-1 - len(ratios) // 20]
        print(
            f"{name}: ours {BATCH / medians['ours']:.0f}, nn.TransformerEncoder {BATCH / medians['theirs']:.0f} samples/s, "
            f"ratio {statistics.median(ratios):.2f} ({low:.2f} to {high:.2f})",
            flush=True,
        )


if __name__ == "__main__":
    main()
