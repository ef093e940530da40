"""What may be asked of the synthetic clinic: its knobs, each independent of the others and seeded by its own stream.

Contract of this folder: every other file reads it, and it reads none.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Missing = Literal["mcar", "mar", "mnar"]
Style = Literal["development", "fresh"]
Profile = Literal["ward", "clean"]
ShortcutKind = Literal["site", "marker", "exposure", "wording"]
Trap = Literal["T1", "T2", "T3", "T4", "T5", "T6", "T7", "T8", "T9", "T10", "T11", "T12"]

TRAPS: tuple[Trap, ...] = ("T1", "T2", "T3", "T4", "T5", "T6", "T7", "T8", "T9", "T10", "T11", "T12")


class ClinicError(ValueError):
    """A clinic that cannot be drawn or written as asked."""


@dataclass(frozen=True, kw_only=True)
class SiteShift:
    """How far the three sites differ, each from 0 (not at all) to 1: in prevalence, film contrast, note style and units."""

    prevalence: float = 0.0
    contrast: float = 0.0
    wording: float = 0.0
    units: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Shortcut:
    """A cue that goes with the first disease without being caused by it.

    `strength` 0 is none, 1 is present exactly where the disease is. `site`: such patients come to the second site (and the
    oracle, which knows sites, knows it); `marker`: a mark burned into the film; `exposure`: a brighter film; `wording`: a
    phrase of the note. The last three are unknown to the oracle: they are not evidence.
    """

    kind: ShortcutKind
    strength: float


@dataclass(frozen=True, kw_only=True)
class Leak:
    """One of the traps T1 to T12 of the audit, planted at a strength in (0, 1]; 1 is the plainest form."""

    trap: Trap
    strength: float = 1.0


@dataclass(frozen=True, kw_only=True)
class ClinicConfig:
    """One synthetic clinic. Equal configs draw equal clinics, bit for bit.

    - `interaction` 1: what a film or a laboratory value means depends on another modality; 0: every finding has one cause.
    - `overlap` in [0, 1): how much of each finding's sensitivity is lost.
    - `prevalence`: factor on the odds of every disease (1: between 15 and 25 %).
    - `missing`, `missing_rate`: whether and how often a whole modality (film, note, laboratory, signs) is absent; `mar` by age
      and site, `mnar` by disease. `field_missing_rate`: single laboratory values and signs, completely at random.
    - `label_noise`: share of recorded labels that are flipped. `unknown_rate`: share not recorded.
    - `visits`: a patient has 1 to `visits` visits, uniformly.
    - `style`: `fresh` words notes and draws films by templates and styles that `development` does not contain.
    - `profile`: `clean` refuses every knob that plants a fault, and writes no label word anywhere.
    - `film_size` in pixels; `noise_columns` adds numeric table columns that mean nothing.
    """

    n_patients: int
    seed: int = 0
    interaction: float = 1.0
    overlap: float = 0.0
    prevalence: float = 1.0
    missing: Missing = "mcar"
    missing_rate: float = 0.1
    field_missing_rate: float = 0.05
    label_noise: float = 0.0
    unknown_rate: float = 0.0
    site_shift: SiteShift = field(default_factory=SiteShift)
    shortcut: Shortcut | None = None
    leaks: tuple[Leak, ...] = ()
    visits: int = 1
    style: Style = "development"
    profile: Profile = "ward"
    film_size: int = 64
    noise_columns: int = 0

    def __post_init__(self) -> None:
        if self.n_patients < 1 or not 1 <= self.visits <= 100 or self.film_size < 32 or self.noise_columns < 0:
            raise ClinicError(
                "a clinic needs n_patients >= 1, visits from 1 to 100, film_size >= 32 and noise_columns >= 0; "
                f"found {self.n_patients}, {self.visits}, {self.film_size}, {self.noise_columns}"
            )
        for name in ("interaction", "missing_rate", "field_missing_rate", "label_noise", "unknown_rate", "overlap"):
            value = getattr(self, name)
            if not 0.0 <= value <= (0.6 if name == "missing_rate" else 1.0):
                raise ClinicError(f"{name} is a share between 0 and 1 (missing_rate: 0.6); found {value:g}")
        if not self.prevalence > 0.0:
            raise ClinicError(f"prevalence is a positive factor on the odds; found {self.prevalence:g}")
        for strength in (*vars(self.site_shift).values(), *(planted.strength for planted in self._planted())):
            if not 0.0 <= strength <= 1.0:
                raise ClinicError(f"a strength lies between 0 and 1; found {strength:g}")
        if self.profile == "clean" and (
            self._planted() or self.label_noise or self.missing != "mcar" or any(vars(self.site_shift).values())
        ):
            raise ClinicError(
                'profile="clean" has no leak, shortcut, site shift, label noise or informative missingness; drop them'
            )

        if self.shortcut is not None and self.shortcut.kind == "site" and self.site_shift.prevalence:
            raise ClinicError("a site shortcut and a site shift in prevalence are two laws for one thing; ask for one of them")
        traps = [leak.trap for leak in self.leaks]
        unknown = [trap for trap in traps if trap not in TRAPS]
        if unknown or len(set(traps)) < len(traps):
            raise ClinicError(f"leaks: found {', '.join(traps)}; expected each of {TRAPS[0]} to {TRAPS[-1]} at most once")

    @property
    def leak_strengths(self) -> Mapping[str, float]:
        """Trap → strength of each leak that is planted."""
        return {leak.trap: leak.strength for leak in self.leaks}

    def _planted(self) -> tuple[Leak | Shortcut, ...]:
        return self.leaks if self.shortcut is None else (*self.leaks, self.shortcut)
