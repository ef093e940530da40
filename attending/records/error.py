"""What is wrong with a file, said to the person who can mend it: file, row, column, expected, remedy.

Messages name places and never quote a patient's text; short codes and units may be quoted, free text may not.
"""

import difflib
from collections.abc import Iterable


class RecordError(ValueError):
    """A table, an image or a companion file cannot be read as asked."""


class SchemaError(RecordError):
    """A schema, or a request about columns, does not fit the table."""


def did_you_mean(found: str, known: Iterable[str]) -> str:
    """` Did you mean "x"?` for the closest known word, or an empty string."""
    by_lower = {word.lower(): word for word in known}
    close = difflib.get_close_matches(found.lower(), by_lower, n=1, cutoff=0.6)
    return f' Did you mean "{by_lower[close[0]]}"?' if close else ""
