"""Taking evidence away in training, so that a model does without it in use.

Dropped tokens are not seen, exactly like evidence that is absent and may not be noticed. This is not the learned token of a
field whose absence was made visible: that one *says* that nobody measured, and must look different.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from attending.model.tokens import Kind, Tokens


@dataclass(frozen=True, kw_only=True)
class EvidenceDropout:
    """Per case, a share of its tokens drawn uniformly from [0, `most_tokens`], and each modality with `modality` chance."""

    most_tokens: float = 0.4
    modality: float = 0.1

    def __post_init__(self) -> None:
        if not (0 <= self.most_tokens < 1 and 0 <= self.modality < 1):
            raise ValueError(f"rates of evidence dropout lie in [0, 1); found {self.most_tokens} and {self.modality}")

    def thin(self, evidence: Mapping[Kind, Tokens]) -> dict[Kind, Tokens]:
        """The same tokens with some no longer seen."""
        first = next(iter(evidence.values())).values
        rate = torch.rand(len(first), 1, device=first.device) * self.most_tokens
        thinned = {}
        for kind, tokens in evidence.items():
            kept = torch.rand(tokens.seen.shape, device=first.device) >= rate
            kept &= torch.rand(len(first), 1, device=first.device) >= self.modality
            thinned[kind] = Tokens(values=tokens.values, seen=tokens.seen & kept)
        return thinned
