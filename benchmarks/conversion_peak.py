"""How much memory converting takes beside a model: the process's peak above its start, as a multiple of the model's bytes.

    python -m benchmarks.conversion_peak --to mla:latent=256 --width 1024 --layers 4 [--rotary] [--refit]

The model is attention and nothing else, the hardest case: in a real one a layer of attention is a small part. A small model is
converted first, because libraries, threads and their buffers are no part of it. Asked for: under 3. Linux only: reads and
resets the peak in /proc.
"""

import argparse
import ctypes
from pathlib import Path

import torch
from torch import Tensor, nn

from attending.attention import GroupedConfig, RotaryConfig, causal
from attending.attention.conversion import conversion_from, convert_layers

TOKENS, SMALL = 16, 256


class Model(nn.Module):
    """Layers of multi-head attention, each beside what it reads."""

    def __init__(self, width: int, layers: int, *, is_rotary: bool) -> None:
        super().__init__()
        position = RotaryConfig() if is_rotary else None
        built = [GroupedConfig(dim=width, n_heads=8, position=position).build().eval() for _ in range(layers)]
        self.layers = nn.ModuleList(built)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = x + layer(x, mask=causal())
        return x


def peak() -> int:
    """Most bytes that this process had in memory since the peak was last reset."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def converted(model: Model, to: str, width: int, *, refits: bool) -> None:
    """Convert all layers in place, calibrated on one input."""
    x = torch.randn(1, TOKENS, width)
    convert_layers(model, conversion_from(to), fit=lambda: model(x), held_out=lambda: model(x), refits=refits)


@torch.no_grad()
def share(to: str, *, width: int, layers: int, is_rotary: bool, refits: bool) -> float:
    """The peak above the start over the bytes of the model."""
    trim = ctypes.CDLL("libc.so.6").malloc_trim
    converted(Model(SMALL, 1, is_rotary=is_rotary), "gqa:2" if to.startswith("gqa") else "mla:latent=64", SMALL, refits=refits)
    trim(0)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    start = peak()
    model = Model(width, layers, is_rotary=is_rotary)
    size = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    trim(0)
    converted(model, to, width, refits=refits)
    return (peak() - start) / size


def main() -> None:
    """Print one number."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--to", default="mla:latent=64")
    parser.add_argument("--width", type=int, default=SMALL)
    parser.add_argument("--layers", type=int, default=40)
    parser.add_argument("--rotary", action="store_true")
    parser.add_argument("--refit", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    found = share(asked.to, width=asked.width, layers=asked.layers, is_rotary=asked.rotary, refits=asked.refit)
    print(f"{found:.2f}")


if __name__ == "__main__":
    main()
