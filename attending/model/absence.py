"""Taking evidence away in training, so that a model does without it in use.

Dropped tokens are not seen, exactly like evidence that is absent and may not be noticed. This is not the learned token of a
field whose absence was made visible: that one *says* that nobody measured, and must look different.
"""

from dataclasses import dataclass

import torch

from attending.model.tokens import Tokens


@dataclass(frozen=True, kw_only=True)
class EvidenceDropout:
    """Per case, a share of its tokens drawn uniformly from [0, `most_tokens`], and each modality with `modality` chance."""

    most_tokens: float = 0.4
    modality: float = 0.1

    def __post_init__(self) -> None:
        if not (0 <= self.most_tokens < 1 and 0 <= self.modality < 1):
            raise ValueError(f"rates of evidence dropout lie in [0, 1); found {self.most_tokens} and {self.modality}")

    def thin(self, modalities: list[Tokens]) -> list[Tokens]:
        """The same tokens with some no longer seen."""
        thinned = []
        n, device = len(modalities[0].values), modalities[0].values.device
        rate = torch.rand(n, 1, device=device) * self.most_tokens
        for tokens in modalities:
            kept = torch.rand(tokens.seen.shape, device=device) >= rate
            kept &= torch.rand(n, 1, device=device) >= self.modality
            thinned.append(Tokens(values=tokens.values, seen=tokens.seen & kept))
        return thinned
