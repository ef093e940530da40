"""Cues that are no evidence: what a shortcut or a leak adds to films, notes and sites of the cases it touches.

A cue goes with the recorded disease, or with the site, but was not caused by illness; the oracle does not see it.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from attending.records.clinic.config import ClinicConfig
from attending.records.clinic.streams import Streams
from attending.records.clinic.wording import LABEL_WORDS, PHRASES

_BRIGHTER = 0.10


@dataclass(frozen=True, kw_only=True, eq=False)
class Cues:
    """One row per case. `mark`: a letter burned into the film; `brightness`: added to its grey; `saturated`: films too bright
    to read. `sentences`: put at the end of the note.
    """

    mark: Bool[np.ndarray, " case"]
    brightness: Float[np.ndarray, " case"]
    saturated: Bool[np.ndarray, " case"]
    sentences: tuple[tuple[str, ...], ...]

    def rows(self, chosen: np.ndarray) -> "Cues":
        """The cues of the cases at these indices."""
        return Cues(
            mark=self.mark[chosen],
            brightness=self.brightness[chosen],
            saturated=self.saturated[chosen],
            sentences=tuple(self.sentences[case] for case in chosen),
        )


def find_cues(
    config: ClinicConfig,
    streams: Streams,
    *,
    rows: Int[np.ndarray, " case"],
    diseases: Bool[np.ndarray, "case disease"],
    written_site: Int[np.ndarray, " case"],
) -> Cues:
    """The cues of each case under the config's shortcut and leaks."""
    n, leaks = len(rows), config.leak_strengths
    first = diseases[:, 0]
    u = streams.uniform("cue", rows, 4)
    mark = np.zeros(n, dtype=bool)
    brightness: np.ndarray = np.zeros(n)
    sentences: list[list[str]] = [[] for _ in range(n)]
    if config.shortcut is not None and config.shortcut.kind != "site":
        strength = config.shortcut.strength
        has_cue = u[:, 0] < 0.5 + 0.5 * strength * np.where(first, 1.0, -1.0)
        if config.shortcut.kind == "marker":
            mark = has_cue
        elif config.shortcut.kind == "exposure":
            brightness = _BRIGHTER * has_cue
        else:
            for case in range(n):
                sentences[case].append(PHRASES[int(has_cue[case])])
    if "T6" in leaks:  # the second site's films carry its letter
        mark = mark | ((written_site == 1) & (u[:, 1] < leaks["T6"]))
    saturated = u[:, 2] < 0.5 * leaks.get("T9", 0.0)
    if "T5" in leaks:
        for case in np.flatnonzero((u[:, 3] < leaks["T5"]) & diseases.any(axis=1)).tolist():
            named = " and ".join(word for word, is_there in zip(LABEL_WORDS, diseases[case], strict=True) if is_there)
            sentences[case].append(f"Known {named}.")
    return Cues(mark=mark, brightness=brightness, saturated=saturated, sentences=tuple(map(tuple, sentences)))
