"""Text → chunks of word pieces that an encoder of limited length can read one by one, so that a long note is never cut.

Chunks end between words. Each has the encoder's own marks at its ends; these are no part of the text and have no place in it.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from tokenizers import Tokenizer

from attending.case import Characters
from attending.model.pretrained import EncoderError

FIRST, LAST = "[CLS]", "[SEP]"
N_MARKS = 2


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """Piece numbers between the marks, and the characters each stands for."""

    pieces: tuple[int, ...]
    characters: tuple[Characters, ...]


class WordPieces:
    """The pieces of an encoder, by the content of its `tokenizer.json`."""

    def __init__(self, content: str, *, size: int, n_positions: int) -> None:
        if not N_MARKS < size <= n_positions:
            raise EncoderError(f"chunk={size}: the encoder reads between {N_MARKS + 1} and {n_positions} pieces at a time")
        try:
            self._tokenizer = Tokenizer.from_str(content)
        except Exception as error:  # the library raises plain Exception
            raise EncoderError("text encoder: tokenizer.json cannot be read by the tokenizers library") from error
        # As delivered, MiniLM's tokenizer pads to and cuts at 128 pieces.
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self.size = size
        self.first, self.last = self._number(FIRST), self._number(LAST)

    def chunks(self, text: str) -> tuple[Chunk, ...]:
        """All pieces of the text, in chunks of at most `size` with their marks; none for a text without any."""
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        places = [Characters(start, stop) for start, stop in encoding.offsets]
        return tuple(
            Chunk(pieces=tuple(encoding.ids[start:stop]), characters=tuple(places[start:stop]))
            for start, stop in _spans(encoding.word_ids, self.size - N_MARKS)
        )

    def _number(self, mark: str) -> int:
        number = self._tokenizer.token_to_id(mark)
        if number is None:
            raise EncoderError(f"text encoder: tokenizer.json has no {mark}; only BERT's marks are known here")
        return int(number)


def _spans(words: list[int | None], size: int) -> Iterator[tuple[int, int]]:
    """Stretches of at most `size` pieces that end between words, unless a single word is longer."""
    start = 0
    while start < len(words):
        stop = min(start + size, len(words))
        if stop < len(words):
            between = stop
            while between > start and words[between] is not None and words[between] == words[between - 1]:
                between -= 1
            stop = between if between > start else stop
        yield start, stop
        start = stop
