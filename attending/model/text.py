"""Notes: a token per word, read in its context.

Words are looked up in a vocabulary that keeps only those of several patients (so no name survives in a model file), mixed
with their neighbours by small convolutions, which carry negation and order, and by attention within a chunk. A note longer
than a chunk continues in the next one: nothing is cut.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from attending.attention import MechanismConfig, keep_keys
from attending.case import Case, Characters, Evidence, Note, Place
from attending.evaluation.gate import Trait
from attending.model.features import log_days
from attending.model.fusion import Block
from attending.model.modality import Encoder, ModalityConfig, Sketch, Tokenizer
from attending.model.tokens import Inputs, Tokens

WORD = re.compile(r"[^\W\d_]+|\d+(?:[.,]\d+)?|[^\w\s]")
PADDING, UNKNOWN, NUMBER, ABSENT = 0, 1, 2, 3
N_RESERVED = 4
SKETCHED_WORDS = 1000
"""Words that a sketch of the notes tells of."""


def _entry(word: str) -> str:
    return "<number>" if word[0].isdigit() else word.lower()


@dataclass(frozen=True, kw_only=True)
class TextConfig(ModalityConfig):
    """A vocabulary of words that at least `min_patients` patients' notes contain, at most `n_words` of them.

    `attention` mixes the words of one chunk of `chunk` words; None leaves that to the convolutions. In training each word turns
    into the unknown one with `unknown_rate`, because notes from elsewhere hold words that this vocabulary lacks.
    """

    kind: ClassVar[type[Evidence]] = Note
    n_words: int = 4000
    min_patients: int = 5
    chunk: int = 128
    n_convolutions: int = 3
    unknown_rate: float = 0.3
    attention: MechanismConfig | None = None

    def fit(self, cases: Sequence[Case]) -> "TextTokenizer | None":
        """Vocabulary of these cases' notes; None without any note."""
        patients: dict[str, set[str]] = defaultdict(set)
        names = set()
        for case in cases:
            for note in case.of(Note):
                names.add(note.field_name)
                for match in WORD.finditer(note.text):
                    patients[_entry(match.group())].add(case.patient)
        if not names:
            return None
        counts = Counter({word: len(who) for word, who in patients.items() if len(who) >= self.min_patients})
        counts.pop("<number>", None)
        words = sorted(counts, key=lambda word: (-counts[word], word))[: self.n_words]
        return TextTokenizer(config=self, words=tuple(words), field_names=tuple(sorted(names)))

    def restore(self, state: Mapping[str, Any]) -> "TextTokenizer":
        """The tokenizer as it was fitted."""
        return TextTokenizer(config=self, words=tuple(state["words"]), field_names=tuple(state["field_names"]))


@dataclass(frozen=True, kw_only=True, eq=False)
class TextInputs(Inputs):
    """Word numbers in chunks. Position `chunk × case` is the padding of a case with fewer chunks."""

    words: Int[Tensor, "case token"]
    field_number: Int[Tensor, "case token"]
    age_log_days: Float[Tensor, "case token"]
    seen: Bool[Tensor, "case token"]

    def rows(self, index: Tensor) -> "TextInputs":
        """The cases at `index`, without the columns that none of them fills."""
        chosen = super().rows(index)
        longest = max(1, int(chosen.seen.sum(dim=1).max())) if len(index) else 1
        return chosen._each(lambda tensor: tensor[:, :longest])


class TextTokenizer(Tokenizer):
    """Words of all notes of a case, one note after the other."""

    def __init__(self, *, config: TextConfig, words: tuple[str, ...], field_names: tuple[str, ...]) -> None:
        self.config, self.words, self.field_names = config, words, field_names
        self._number = {word: n for n, word in enumerate(words, start=N_RESERVED)} | {"<number>": NUMBER}
        self._field = {name: n for n, name in enumerate(field_names)}
        self._visible = any(name in config.visible for name in field_names)

    def state(self) -> Mapping[str, Any]:
        """Vocabulary and the names of the note columns."""
        return {"words": list(self.words), "field_names": list(self.field_names)}

    def _words(self, case: Case) -> list[tuple[int, int, float, Place]]:
        """(word number, note column, age, place) of every word."""
        found = []
        for index, note in enumerate(case.evidence):
            if isinstance(note, Note) and note.field_name in self._field:
                age = log_days(note.at)
                for match in WORD.finditer(note.text):
                    number = self._number.get(_entry(match.group()), UNKNOWN)
                    place = Place(index, Characters(match.start(), match.end()))
                    found.append((number, self._field[note.field_name], age, place))
        if not found and self._visible:
            found.append((ABSENT, 0, 0.0, Place(-1)))
        return found

    def read(self, cases: Sequence[Case]) -> TextInputs:
        """Word numbers, column and age of each word."""
        found = [self._words(case) for case in cases]
        longest = max([1, *(len(words) for words in found)])
        shape = (len(cases), longest)
        words, column = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
        age, seen = np.zeros(shape, dtype=np.float32), np.zeros(shape, dtype=bool)
        for row, entries in enumerate(found):
            if entries:
                n = len(entries)
                words[row, :n], column[row, :n], age[row, :n] = zip(*((w, f, a) for w, f, a, _ in entries), strict=True)
                seen[row, :n] = True
        return TextInputs(
            words=torch.from_numpy(words),
            field_number=torch.from_numpy(column),
            age_log_days=torch.from_numpy(age),
            seen=torch.from_numpy(seen),
        )

    def places(self, case: Case) -> tuple[Place | None, ...]:
        """The characters of each word."""
        return tuple(place for *_, place in self._words(case)) or (None,)

    def facts(self) -> tuple[str, ...]:
        """Every word of the vocabulary."""
        return self.words

    def stated(self, fact: str, inputs: Inputs) -> Bool[Tensor, " case"]:
        """Cases with this word in a note."""
        assert isinstance(inputs, TextInputs)
        return ((inputs.words == self._number[fact]) & inputs.seen).any(dim=1)

    def sketch(self, inputs: Inputs) -> Sketch:
        """Which of the most frequent words stand in the notes."""
        assert isinstance(inputs, TextInputs)
        n = min(len(self.words), SKETCHED_WORDS)
        there = (inputs.seen & (inputs.words != ABSENT)).numpy()
        rows, columns = np.nonzero(there)
        word = inputs.words.numpy()[rows, columns] - N_RESERVED
        known = (word >= 0) & (word < n)
        values = np.zeros((len(there), n), dtype=np.float32)
        values[rows[known], word[known]] = 1.0
        return Sketch(values=values, there=np.asarray(there.any(axis=1)))

    def as_trained(self, inputs: Inputs, *, seed: int) -> TextInputs:
        """Words turned into the unknown one as often as in training."""
        assert isinstance(inputs, TextInputs)
        chance = torch.rand(inputs.words.shape, generator=torch.Generator().manual_seed(seed))
        is_word = inputs.seen & (inputs.words != ABSENT)
        hidden = is_word & (chance < self.config.unknown_rate)
        return replace(inputs, words=inputs.words.masked_fill(hidden, UNKNOWN))

    def traits(self, cases: Sequence[Case], inputs: Inputs) -> Mapping[str, Trait]:
        """How long the notes are, and what share of their words the vocabulary lacks: no less than training hides."""
        assert isinstance(inputs, TextInputs)
        there = (inputs.seen & (inputs.words != ABSENT)).numpy()
        n = there.sum(axis=1)
        unknown = (there & (inputs.words == UNKNOWN).numpy()).sum(axis=1)
        # The arcsine of a root: a share then varies about as much wherever it lies.
        share = np.arcsin(np.sqrt(np.maximum(unknown / np.maximum(n, 1), self.config.unknown_rate)))
        return {"note": Trait(values=np.stack([np.log1p(n), share], axis=1), there=n > 0)}

    def build(self, dim: int) -> "TextEncoder":
        """Embedding, convolutions and attention."""
        return TextEncoder(dim=dim, config=self.config, n_words=len(self.words) + N_RESERVED, n_fields=len(self.field_names))


class TextEncoder(Encoder):
    """Words in context. Convolutions and attention see only words that are there."""

    def __init__(self, *, dim: int, config: TextConfig, n_words: int, n_fields: int) -> None:
        super().__init__()
        self.chunk, self.unknown_rate = config.chunk, config.unknown_rate
        self.word = nn.Embedding(n_words, dim)
        self.field = nn.Embedding(n_fields, dim)
        nn.init.normal_(self.word.weight, std=dim**-0.5)
        nn.init.zeros_(self.field.weight)
        self.time = nn.Parameter(torch.zeros(dim))
        self.convolutions = nn.ModuleList(nn.Conv1d(dim, dim, kernel_size=3, padding=1) for _ in range(config.n_convolutions))
        self.block = None if config.attention is None else Block(config.attention)

    def forward(self, inputs: Inputs) -> Tokens:
        """A token per word."""
        assert isinstance(inputs, TextInputs)
        there = inputs.seen.unsqueeze(-1)
        words = inputs.words
        if self.training and self.unknown_rate:
            forgotten = torch.rand(words.shape, device=words.device) < self.unknown_rate
            words = words.masked_fill(forgotten & inputs.seen, UNKNOWN)
        values = self.word(words) + self.field(inputs.field_number) + inputs.age_log_days.unsqueeze(-1) * self.time
        for convolution in self.convolutions:
            mixed = convolution((values * there).transpose(1, 2)).transpose(1, 2)
            values = values + nn.functional.gelu(mixed)
        if self.block is not None:
            values = self._within_chunks(values, inputs.seen)
        return Tokens(values=values, seen=inputs.seen)

    def _within_chunks(self, values: Float[Tensor, "case token dim"], seen: Bool[Tensor, "case token"]) -> Tensor:
        assert self.block is not None
        length = values.shape[1]
        size = min(self.chunk, length)
        padding = -length % size
        chunks = rearrange(nn.functional.pad(values, (0, 0, 0, padding)), "c (n s) d -> (c n) s d", s=size)
        there = rearrange(nn.functional.pad(seen, (0, padding)), "c (n s) -> (c n) s", s=size)
        mixed = self.block(chunks, mask=keep_keys(there))
        return rearrange(mixed, "(c n) s d -> c (n s) d", c=len(values))[:, :length]

    def summary(self, tokens: Tokens) -> Float[Tensor, "case dim"]:
        """The mean word: a note says no more by being longer."""
        return super().summary(tokens) / tokens.seen.sum(dim=1, keepdim=True).clamp(min=1)
