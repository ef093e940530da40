"""How networks are trained: the few numbers that two recipes set differently."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """AdamW with linear warm-up and cosine decay to zero over `epochs`; gradients clipped to `clip_norm`.

    The defaults were measured on a few hundred patients (design note "small tables"). `members` networks that differ by seed
    are averaged. What somebody else trained already (`PretrainedNetwork`) moves by `pretrained_learning_rate` and is not
    decayed (Devlin et al. 2019, appendix A.3: 2e-5 to 5e-5). `patience` epochs without a lower watched loss end training
    where a part is set aside to watch. Beside the loss of the whole answer stands `alone_weight` times that of the answers
    which each modality gives alone; 0 leaves them out.
    """

    epochs: int = 20
    members: int = 5
    batch_size: int = 64
    learning_rate: float = 2e-3
    pretrained_learning_rate: float = 5e-5
    weight_decay: float = 2.0
    warmup_share: float = 0.1
    alone_weight: float = 0.0
    clip_norm: float = 1.0
    patience: int = 10
    precision: str = "auto"

    def __post_init__(self) -> None:
        for name in ("epochs", "members", "batch_size", "patience"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)}: at least 1 is needed")
        if self.precision not in PRECISIONS:
            raise ValueError(f'precision="{self.precision}": write one of {", ".join(PRECISIONS)}')


PRECISIONS = ("auto", "float32", "bfloat16")
"""`auto` takes bfloat16 where it is faster: from a width of 128 on (below, it is 2.1–2.6 times slower on a CPU)."""

BFLOAT16_FROM_DIM = 128
