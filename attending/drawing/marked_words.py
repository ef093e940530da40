"""A note with its telling words marked: as a picture, and as pieces for a page that sets its own lines.

The words are the patient's: whoever draws them must say so. Weights are drawn as they are given; none is made up between words.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from attending.case import Characters
from attending.drawing.contributions import signed
from attending.drawing.palette import FIRST, INK, SECOND
from attending.drawing.svg import box, group, picture, tooltip, words

ACROSS = 88
"""Characters in a line of the picture."""
LETTER, LINE = 8.0, 24.0
LEAST = 0.08
"""Share of the heaviest weight under which a word is not marked."""


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A stretch of the note. `share` is its weight over the heaviest one's, from −1 to 1; 0: not marked."""

    text: str
    share: float = 0.0
    weight: float = 0.0

    @property
    def opacity(self) -> str:
        """How strongly it is marked."""
        return f"{0.08 + 0.42 * abs(self.share):.2f}"

    @property
    def told(self) -> str:
        """The weight with its sign."""
        return signed(self.weight)


def pieces_of(text: str, weights: Sequence[tuple[Characters, float]]) -> tuple[Piece, ...]:
    """The whole text in order, parted where marks begin and end. Of spans that overlap the first counts."""
    heaviest = max((abs(weight) for _, weight in weights), default=0.0)
    pieces, done = [], 0
    for span, weight in sorted(weights, key=lambda entry: entry[0].start):
        if span.start < done or span.stop > len(text) or not heaviest or abs(weight) < LEAST * heaviest:
            continue
        if span.start > done:
            pieces.append(Piece(text=text[done : span.start]))
        pieces.append(Piece(text=text[span.start : span.stop], share=weight / heaviest, weight=weight))
        done = span.stop
    if done < len(text):
        pieces.append(Piece(text=text[done:]))
    return tuple(pieces)


def marked_words(text: str, weights: Sequence[tuple[Characters, float]], *, title: str) -> str:
    """The note as a picture, in lines of even letters."""
    lines = _lines(pieces_of(text, weights))
    parts = []
    for row, line in enumerate(lines):
        x, y = 0.0, LINE * row + 17
        for piece in line:
            wide = LETTER * len(piece.text)
            if piece.share:
                colour = FIRST if piece.share > 0 else SECOND
                parts.append(box(x, y - 14, wide, 19, tooltip(piece.told), fill=colour, fill_opacity=piece.opacity))
            if piece.text.strip():
                parts.append(
                    words(
                        x,
                        y,
                        piece.text,
                        fill=INK,
                        font_size=13,
                        textLength=wide,
                        lengthAdjust="spacingAndGlyphs",
                        style="white-space:pre",
                    )
                )
            x += wide
    family = "ui-monospace, Menlo, Consolas, 'Liberation Mono', monospace"
    return picture(ACROSS * LETTER, LINE * len(lines) + 4, group(*parts, font_family=family), title=title)


def _lines(pieces: Sequence[Piece]) -> list[list[Piece]]:
    """Pieces broken at blanks into lines of at most `ACROSS` characters; a line break in the text breaks the line."""
    lines: list[list[Piece]] = [[]]
    used = 0
    for piece in pieces:
        for n, part in enumerate(piece.text.split("\n")):
            if n:
                lines.append([])
                used = 0
            for word in _words(part):
                if used and used + len(word.rstrip()) > ACROSS:
                    lines.append([])
                    used = 0
                lines[-1].append(Piece(text=word, share=piece.share, weight=piece.weight))
                used += len(word)
    return lines


def _words(text: str) -> list[str]:
    """Words with the blanks behind them; none is longer than a line."""
    found, start = [], 0
    for place, letter in enumerate(text):
        if (letter == " " and text[place + 1 : place + 2] != " ") or place - start == ACROSS - 1:
            found.append(text[start : place + 1])
            start = place + 1
    return [*found, text[start:]] if start < len(text) else found
