"""Notes through somebody else's encoder, which stays as it is: a token per word piece, in its context.

What is trained is a linear map of the encoder's states. They are computed once per note and kept in float16 (in memory, and in
`cache` where a folder is named), each note by itself and by one thread, so that a state is the same bits whoever asks for it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float, Float16, Int
from torch import Tensor, nn

from attending.case import Case, Characters, Evidence, Note, Place
from attending.evaluation.gate import Trait
from attending.model.bert import Bert, BertConfig
from attending.model.embedding_cache import EmbeddingCache, States, one_thread
from attending.model.features import log_days
from attending.model.modality import Encoder, ModalityConfig, Tokenizer
from attending.model.pretrained import TEXT_FILES, TOKENIZER, find_encoder
from attending.model.tokens import Inputs, Tokens
from attending.model.word_pieces import WordPieces


@dataclass(frozen=True, kw_only=True)
class FrozenTextConfig(ModalityConfig):
    """`encoder` is `minilm` or a local folder with a BERT; `digest` is what `find_encoder` says of it and must say again.

    A note longer than `chunk` pieces continues in a further chunk. `cache` is a folder for the states, which hold what the
    notes say.
    """

    kind: ClassVar[type[Evidence]] = Note
    encoder: str
    digest: str
    chunk: int = 256
    cache: str | None = None

    def fit(self, cases: Sequence[Case]) -> "FrozenTextTokenizer | None":
        """The tokenizer for these cases' note columns; None without any note."""
        names = {note.field_name for case in cases for note in case.of(Note)}
        return FrozenTextTokenizer(config=self, field_names=tuple(sorted(names))) if names else None

    def restore(self, state: Mapping[str, Any]) -> "FrozenTextTokenizer":
        """The tokenizer as it was fitted. Raises `EncoderError` where the encoder is not there any more."""
        return FrozenTextTokenizer(config=self, field_names=tuple(state["field_names"]))


class FrozenReader:
    """An encoder that only reads."""

    def __init__(self, name: str, *, digest: str, chunk: int, cache: str | None) -> None:
        folder = find_encoder(name, needed=TEXT_FILES, digest=digest)
        config = BertConfig.from_architecture(folder.architecture)
        self.width = config.dim
        self.pieces = WordPieces(folder.text(TOKENIZER), size=chunk, n_positions=config.n_positions)
        with torch.random.fork_rng(devices=[]):
            self._network = Bert(config).eval()
        self._network.load_hub_weights(folder.weights())
        self._cache = EmbeddingCache(encoder=f"{digest} {chunk}", folder=None if cache is None else Path(cache))

    def states(self, text: str) -> States:
        """A state per piece of the whole text."""
        return self._cache.states(text.encode(), lambda: self._read(text))

    def _read(self, text: str) -> States:
        chunks = self.pieces.chunks(text)
        if not chunks:
            return np.zeros((0, self.width), dtype=np.float16)
        found = []
        with one_thread():
            for chunk in chunks:
                pieces = torch.tensor([[self.pieces.first, *chunk.pieces, self.pieces.last]])
                states = self._network(pieces, there=torch.ones_like(pieces, dtype=torch.bool))
                found.append(states[0, 1:-1].numpy().astype(np.float16))
        return np.concatenate(found)


@lru_cache(maxsize=2)
def _reader(name: str, digest: str, chunk: int, cache: str | None) -> FrozenReader:
    """One per process: the weights are large and every fit asks for them."""
    return FrozenReader(name, digest=digest, chunk=chunk, cache=cache)


@dataclass(frozen=True, kw_only=True, eq=False)
class StatesInputs(Inputs):
    """States of all pieces of all cases one after the other, and which stretch of them is each case's.

    Flat, because notes differ in length and 384 numbers a piece are too many to pad with.
    """

    states: Float16[Tensor, "piece width"]
    field_number: Int[Tensor, " piece"]
    age_log_days: Float[Tensor, " piece"]
    start: Int[Tensor, " case"]
    length: Int[Tensor, " case"]

    def rows(self, index: Tensor) -> "StatesInputs":
        """The cases at `index`; the states stay where they are."""
        return replace(self, start=self.start[index], length=self.length[index])


class FrozenTextTokenizer(Tokenizer):
    """Pieces of all notes of a case, one note after the other."""

    def __init__(self, *, config: FrozenTextConfig, field_names: tuple[str, ...]) -> None:
        self.config, self.field_names = config, field_names
        self.reader = _reader(config.encoder, config.digest, config.chunk, config.cache)
        self._field = {name: n for n, name in enumerate(field_names)}
        self._visible = any(name in config.visible for name in field_names)

    def state(self) -> Mapping[str, Any]:
        """The names of the note columns; the encoder is known by the config's digest."""
        return {"field_names": list(self.field_names)}

    def _notes(self, case: Case) -> list[tuple[int, Note]]:
        return [(i, e) for i, e in enumerate(case.evidence) if isinstance(e, Note) and e.field_name in self._field]

    def read(self, cases: Sequence[Case]) -> StatesInputs:
        """The encoder's states of each note."""
        states: list[States] = [np.zeros((0, self.reader.width), dtype=np.float16)]
        column: list[int] = []
        age: list[float] = []
        lengths: list[int] = []
        for case in cases:
            before = len(column)
            for _, note in self._notes(case):
                found = self.reader.states(note.text)
                states.append(found)
                column += [self._field[note.field_name]] * len(found)
                age += [float(log_days(note.at))] * len(found)
            lengths.append(len(column) - before)
        length = torch.tensor(lengths, dtype=torch.long)
        return StatesInputs(
            states=torch.from_numpy(np.concatenate(states)),
            field_number=torch.tensor(column, dtype=torch.long),
            age_log_days=torch.tensor(age, dtype=torch.float32),
            start=length.cumsum(0) - length,
            length=length,
        )

    def places(self, case: Case) -> tuple[Place | None, ...]:
        """The characters of each piece."""
        found: list[Place | None] = []
        for index, note in self._notes(case):
            for chunk in self.reader.pieces.chunks(note.text):
                found += [Place(index, Characters(part.start, part.stop)) for part in chunk.characters]
        is_empty = not found
        found = found or [None]
        return (*found, *([Place(-1) if is_empty else None] if self._visible else []))

    def traits(self, cases: Sequence[Case], inputs: Inputs) -> Mapping[str, Trait]:
        """The mean state of the notes."""
        assert isinstance(inputs, StatesInputs)
        states, there = inputs.states.numpy(), (inputs.length > 0).numpy()
        values = np.zeros((len(cases), self.reader.width))
        for row, (start, n) in enumerate(zip(inputs.start.tolist(), inputs.length.tolist(), strict=True)):
            if n:
                values[row] = states[start : start + n].mean(axis=0, dtype=float)
        return {"note": Trait(values=values, there=there)}

    def build(self, dim: int) -> "FrozenTextEncoder":
        """A map from the encoder's width to `dim`."""
        return FrozenTextEncoder(width=self.reader.width, dim=dim, n_fields=len(self.field_names), is_visible=self._visible)


class FrozenTextEncoder(Encoder):
    """States → tokens."""

    def __init__(self, *, width: int, dim: int, n_fields: int, is_visible: bool) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.project = nn.Linear(width, dim)
        self.field = nn.Embedding(n_fields, dim)
        nn.init.zeros_(self.field.weight)
        self.time = nn.Parameter(torch.zeros(dim))
        self.missing = nn.Parameter(torch.randn(dim) * dim**-0.5) if is_visible else None

    def forward(self, inputs: Inputs) -> Tokens:
        """A token per piece, in the order of the notes; then, where absence is visible, the token that says so."""
        assert isinstance(inputs, StatesInputs)
        longest = max(1, int(inputs.length.max()) if len(inputs.length) else 0)
        step = torch.arange(longest, device=inputs.length.device)
        seen = step < inputs.length.unsqueeze(1)
        index = torch.where(seen, inputs.start.unsqueeze(1) + step, 0)
        if len(inputs.states):
            tokens = self.project(self.norm(inputs.states[index].float())) + self.field(inputs.field_number[index])
            values = tokens + inputs.age_log_days[index].unsqueeze(-1) * self.time
        else:
            values = self.time.new_zeros(*seen.shape, len(self.time))
        if self.missing is not None:
            values = torch.cat([values, self.missing.expand(len(values), 1, -1)], dim=1)
            seen = torch.cat([seen, inputs.length.unsqueeze(1) == 0], dim=1)
        return Tokens(values=values, seen=seen)

    def summary(self, tokens: Tokens) -> Float[Tensor, "case dim"]:
        """The mean piece: a note says no more by being longer."""
        return super().summary(tokens) / tokens.seen.sum(dim=1, keepdim=True).clamp(min=1)
