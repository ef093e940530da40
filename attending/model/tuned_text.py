"""Notes through somebody else's encoder, whose weights are trained on: a token per word piece, in its context.

Starts from the folder's weights; afterwards they are the model's own, and the folder is needed no more. Slow on a processor and
soon overfitted on a few hundred notes: `frozen_text` is the first thing to try.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from attending.case import Case, Evidence, Note, Place
from attending.model.bert import Bert, BertConfig
from attending.model.features import log_days
from attending.model.modality import Encoder, ModalityConfig, Tokenizer
from attending.model.pretrained import TEXT_FILES, TOKENIZER, find_encoder
from attending.model.tokens import Inputs, Tokens
from attending.model.word_pieces import Chunk, WordPieces


@dataclass(frozen=True, kw_only=True)
class TunedTextConfig(ModalityConfig):
    """`encoder` is `minilm` or a local folder with a BERT; `digest` is what `find_encoder` says of it and must say again.

    A note longer than `chunk` pieces continues in a further chunk.
    """

    kind: ClassVar[type[Evidence]] = Note
    encoder: str
    digest: str
    chunk: int = 128

    def fit(self, cases: Sequence[Case]) -> "TunedTextTokenizer | None":
        """The tokenizer for these cases' note columns; None without any note."""
        names = {note.field_name for case in cases for note in case.of(Note)}
        if not names:
            return None
        folder = find_encoder(self.encoder, needed=TEXT_FILES, digest=self.digest)
        return TunedTextTokenizer(
            config=self,
            field_names=tuple(sorted(names)),
            architecture=dict(folder.architecture),
            content=folder.text(TOKENIZER),
            starts_from_folder=True,
        )

    def restore(self, state: Mapping[str, Any]) -> "TunedTextTokenizer":
        """The tokenizer as it was fitted; the weights come from the model's own file."""
        return TunedTextTokenizer(
            config=self,
            field_names=tuple(state["field_names"]),
            architecture=state["architecture"],
            content=state["tokenizer"],
            starts_from_folder=False,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class PieceInputs(Inputs):
    """Piece numbers in chunks with their marks, and how many each chunk has (0: no such chunk)."""

    pieces: Int[Tensor, "case chunk piece"]
    length: Int[Tensor, "case chunk"]
    field_number: Int[Tensor, "case chunk"]
    age_log_days: Float[Tensor, "case chunk"]

    def rows(self, index: Tensor) -> "PieceInputs":
        """The cases at `index`, without chunks and places in them that none of these fills."""
        chosen = super().rows(index)
        n_chunks = max(1, int((chosen.length > 0).sum(dim=1).max())) if len(index) else 1
        size = max(1, int(chosen.length.max())) if len(index) else 1
        return PieceInputs(
            pieces=chosen.pieces[:, :n_chunks, :size],
            length=chosen.length[:, :n_chunks],
            field_number=chosen.field_number[:, :n_chunks],
            age_log_days=chosen.age_log_days[:, :n_chunks],
        )


class TunedTextTokenizer(Tokenizer):
    """Chunks of all notes of a case, one note after the other."""

    def __init__(
        self,
        *,
        config: TunedTextConfig,
        field_names: tuple[str, ...],
        architecture: Mapping[str, Any],
        content: str,
        starts_from_folder: bool,
    ) -> None:
        self.config, self.field_names = config, field_names
        self._architecture, self._content = architecture, content
        self._starts_from_folder = starts_from_folder
        self.sizes = BertConfig.from_architecture(architecture)
        self.pieces = WordPieces(content, size=config.chunk, n_positions=self.sizes.n_positions)
        self._field = {name: n for n, name in enumerate(field_names)}
        self._visible = any(name in config.visible for name in field_names)

    def state(self) -> Mapping[str, Any]:
        """The note columns, and what the encoder's folder said of its shape and pieces."""
        return {
            "field_names": list(self.field_names),
            "architecture": dict(self._architecture),
            "tokenizer": self._content,
        }

    def _chunks(self, case: Case) -> list[tuple[int, Note, Chunk]]:
        return [
            (index, note, chunk)
            for index, note in enumerate(case.evidence)
            if isinstance(note, Note) and note.field_name in self._field
            for chunk in self.pieces.chunks(note.text)
        ]

    def read(self, cases: Sequence[Case]) -> PieceInputs:
        """Piece numbers of each chunk between its marks."""
        found = [self._chunks(case) for case in cases]
        n_chunks = max([1, *(len(chunks) for chunks in found)])
        longest = max([1, *(len(chunk.pieces) + 2 for chunks in found for *_, chunk in chunks)])
        shape = (len(cases), n_chunks)
        pieces = np.zeros((*shape, longest), dtype=np.int64)
        length, column = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
        age = np.zeros(shape, dtype=np.float32)
        for row, chunks in enumerate(found):
            for number, (_, note, chunk) in enumerate(chunks):
                marked = (self.pieces.first, *chunk.pieces, self.pieces.last)
                pieces[row, number, : len(marked)] = marked
                length[row, number] = len(marked)
                column[row, number], age[row, number] = self._field[note.field_name], log_days(note.at)
        return PieceInputs(
            pieces=torch.from_numpy(pieces),
            length=torch.from_numpy(length),
            field_number=torch.from_numpy(column),
            age_log_days=torch.from_numpy(age),
        )

    def places(self, case: Case) -> tuple[Place | None, ...]:
        """The characters of each piece; marks and the room behind a short chunk are no place."""
        chunks = self._chunks(case)
        longest = max([1, *(len(chunk.pieces) + 2 for *_, chunk in chunks)])
        found: list[Place | None] = []
        for index, _, chunk in chunks:
            told = [None, *(Place(index, part) for part in chunk.characters), None]
            found += [*told, *[None] * (longest - len(told))]
        is_empty = not found
        return (*(found or [None]), *([Place(-1) if is_empty else None] if self._visible else []))

    def build(self, dim: int) -> "TunedTextEncoder":
        """The encoder with the folder's weights, and a map to `dim`."""
        made = TunedTextEncoder(sizes=self.sizes, dim=dim, n_fields=len(self.field_names), is_visible=self._visible)
        if self._starts_from_folder:
            folder = find_encoder(self.config.encoder, needed=TEXT_FILES, digest=self.config.digest)
            made.bert.load_hub_weights(folder.weights())
        return made


class TunedTextEncoder(Encoder):
    """Pieces → tokens."""

    def __init__(self, *, sizes: BertConfig, dim: int, n_fields: int, is_visible: bool) -> None:
        super().__init__()
        self.bert = Bert(sizes)
        self.project = nn.Linear(sizes.dim, dim)
        self.field = nn.Embedding(n_fields, dim)
        nn.init.zeros_(self.field.weight)
        self.time = nn.Parameter(torch.zeros(dim))
        self.missing = nn.Parameter(torch.randn(dim) * dim**-0.5) if is_visible else None

    def forward(self, inputs: Inputs) -> Tokens:
        """A token per place of a chunk; marks and room behind short chunks are not seen."""
        assert isinstance(inputs, PieceInputs)
        step = torch.arange(inputs.pieces.shape[2], device=inputs.pieces.device)
        length = inputs.length.unsqueeze(-1)
        values = self.field(inputs.field_number) + inputs.age_log_days.unsqueeze(-1) * self.time
        values = values.unsqueeze(2).expand(*inputs.pieces.shape, -1)
        is_there = inputs.length > 0
        if is_there.any():
            read = self.project(self.bert(inputs.pieces[is_there], there=step < length[is_there]))
            values = values.index_put((is_there,), values[is_there] + read.to(values.dtype))
        values, seen = values.flatten(1, 2), ((step >= 1) & (step < length - 1)).flatten(1)
        if self.missing is not None:
            values = torch.cat([values, self.missing.expand(len(values), 1, -1)], dim=1)
            seen = torch.cat([seen, ~is_there.any(dim=1, keepdim=True)], dim=1)
        return Tokens(values=values, seen=seen)

    def summary(self, tokens: Tokens) -> Float[Tensor, "case dim"]:
        """The mean piece: a note says no more by being longer."""
        return super().summary(tokens) / tokens.seen.sum(dim=1, keepdim=True).clamp(min=1)
