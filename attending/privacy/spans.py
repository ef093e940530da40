"""Where the characters of a text went after parts of it were replaced."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from attending.case import Characters


@dataclass(frozen=True, kw_only=True)
class Replacement:
    """Characters [`start`, `stop`) of the old text were replaced by `text`; `kind` says what they were."""

    start: int
    stop: int
    text: str
    kind: str


@dataclass(frozen=True)
class OffsetMap:
    """Old spans → new spans and back. `pieces` are the replaced ones: (old start, old stop, new start, new stop), in order.

    A span that touches a replaced piece grows to hold the whole of it, since parts of a placeholder mean nothing.
    """

    pieces: tuple[tuple[int, int, int, int], ...] = ()

    def to_new(self, span: Characters) -> Characters:
        """The span of the old text in the new text."""
        return self._carry(span, [p[:2] for p in self.pieces], [p[2:] for p in self.pieces])

    def to_old(self, span: Characters) -> Characters:
        """The span of the new text in the old text."""
        return self._carry(span, [p[2:] for p in self.pieces], [p[:2] for p in self.pieces])

    @staticmethod
    def _carry(span: Characters, here: Sequence[tuple[int, ...]], there: Sequence[tuple[int, ...]]) -> Characters:
        starts, stops = [piece[0] for piece in here], [piece[1] for piece in here]

        def shifted(position: int, n_before: int) -> int:
            return position + (there[n_before - 1][1] - here[n_before - 1][1] if n_before else 0)

        # the start lies in a piece when that piece has begun and not ended; an empty span at a border stays outside
        i = bisect_right(stops, span.start)
        start = there[i][0] if i < len(here) and starts[i] <= span.start else shifted(span.start, i)
        j = bisect_left(starts, span.stop)
        stop = there[j - 1][1] if j and stops[j - 1] >= span.stop else shifted(span.stop, j)
        return Characters(start, max(start, stop))


def replace_spans(text: str, replacements: Sequence[Replacement]) -> tuple[str, OffsetMap]:
    """The text with the replacements made, and the map of its characters. They are in order and do not overlap."""
    parts: list[str] = []
    pieces = []
    old = new = 0
    for each in replacements:
        parts.append(text[old : each.start])
        new += each.start - old
        parts.append(each.text)
        pieces.append((each.start, each.stop, new, new + len(each.text)))
        new += len(each.text)
        old = each.stop
    parts.append(text[old:])
    return "".join(parts), OffsetMap(tuple(pieces))
