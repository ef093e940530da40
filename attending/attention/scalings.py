"""Longer contexts for rotary positions: each scaling bends the frequencies in its own way (linear, NTK, YaRN, Llama 3)."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


def plain_frequencies(base: float, dim: int) -> Float[Tensor, " half"]:
    """base^(−2i/dim) for each pair i, radians a position (Su et al. 2021, section 3.2.2)."""
    return base ** -(torch.arange(0, dim, 2, dtype=torch.float64) / dim)


@dataclass(frozen=True, kw_only=True)
class Scaling(ABC):
    """How rotary frequencies are stretched; `factor` times the trained length."""

    factor: float

    @abstractmethod
    def frequencies(self, base: float, dim: int) -> Float[Tensor, " half"]:
        """Frequencies in radians a position, float64."""

    @property
    def amplitude(self) -> float:
        """What cosine and sine are multiplied by."""
        return 1.0

    @property
    def score_scale(self) -> float:
        """What latent attention multiplies its scores by, whose unrotated part the amplitude does not reach."""
        return 1.0


@dataclass(frozen=True, kw_only=True)
class LinearScaling(Scaling):
    """Position interpolation: every frequency divided by the factor (Chen et al. 2023)."""

    def frequencies(self, base: float, dim: int) -> Float[Tensor, " half"]:
        return plain_frequencies(base, dim) / self.factor


@dataclass(frozen=True, kw_only=True)
class NtkScaling(Scaling):
    """NTK-aware: a larger base, so that the slowest pair is divided by the factor and the fastest stays."""

    def frequencies(self, base: float, dim: int) -> Float[Tensor, " half"]:
        return plain_frequencies(base * self.factor ** (dim / (dim - 2)), dim)


@dataclass(frozen=True, kw_only=True)
class YarnScaling(Scaling):
    """YaRN (Peng et al. 2023): slow pairs interpolated, fast ones kept, a ramp between, and a temperature.

    `mscale` and `mscale_all_dim` as DeepSeek uses them: m(x) = 0.1·x·ln(factor) + 1; cosine and sine carry
    m(mscale) / m(mscale_all_dim), and the scores of latent attention m(mscale_all_dim)² unless that is 0.
    """

    original_length: int
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    mscale: float = 1.0
    mscale_all_dim: float = 0.0

    def frequencies(self, base: float, dim: int) -> Float[Tensor, " half"]:
        def pair_with(rotations: float) -> float:
            return dim * math.log(self.original_length / (rotations * 2 * math.pi)) / (2 * math.log(base))

        low = max(math.floor(pair_with(self.beta_fast)), 0)
        high = min(math.ceil(pair_with(self.beta_slow)), dim - 1)
        width = high - low if high != low else 0.001
        interpolated = ((torch.arange(dim // 2, dtype=torch.float64) - low) / width).clamp(0.0, 1.0)
        plain = plain_frequencies(base, dim)
        return plain / self.factor * interpolated + plain * (1.0 - interpolated)

    @property
    def amplitude(self) -> float:
        return self._temperature(self.mscale) / self._temperature(self.mscale_all_dim)

    @property
    def score_scale(self) -> float:
        return self._temperature(self.mscale_all_dim) ** 2

    def _temperature(self, mscale: float) -> float:
        return 1.0 if self.factor <= 1.0 else 0.1 * mscale * math.log(self.factor) + 1.0


@dataclass(frozen=True, kw_only=True)
class Llama3Scaling(Scaling):
    """Llama 3.1: waves longer than original/low are divided, shorter than original/high kept, a ramp between."""

    original_length: int
    low_frequency_factor: float = 1.0
    high_frequency_factor: float = 4.0

    def frequencies(self, base: float, dim: int) -> Float[Tensor, " half"]:
        plain = plain_frequencies(base, dim)
        waves = self.original_length * plain / (2 * math.pi)
        kept = (waves - self.low_frequency_factor) / (self.high_frequency_factor - self.low_frequency_factor)
        kept = kept.clamp(0.0, 1.0)
        return (1.0 - kept) * plain / self.factor + kept * plain
