"""How a note says things: names of symptoms; frames for what is there, denied, or somebody else's; sentences without meaning.

Cues and symptom names are shared by both styles; the frames around them and the filling sentences are not, so that `fresh`
notes are new arrangements of known words. No label word occurs in any frame.
"""

from dataclasses import dataclass

from attending.records.clinic.config import Style

SYMPTOM_NAMES: dict[str, tuple[str, ...]] = {
    "productive_cough": ("productive cough", "purulent sputum"),
    "orthopnoea": ("orthopnoea", "nocturnal dyspnoea"),
    "pleuritic_pain": ("pleuritic pain", "pleurisy"),
    "weight_loss": ("weight loss", "wt loss"),
}
OTHER_SYMPTOMS: tuple[str, ...] = (
    "headache", "nausea", "dizziness", "back pain", "skin rash", "heartburn", "constipation", "joint stiffness", "tinnitus",
)  # fmt: skip
QUALIFIERS: tuple[str, ...] = ("recent", "new", "ongoing", "significant", "marked")
LABEL_WORDS: tuple[str, ...] = ("pneumonia", "heart failure", "pulmonary embolism", "lung cancer")


@dataclass(frozen=True, kw_only=True)
class Frames:
    """Sentence frames of one style. `{0}` is a list of symptoms, `{1}` a relative or a time."""

    affirmed: tuple[str, ...]
    denied: tuple[str, ...]
    elsewhere: tuple[str, ...]
    on_steroids: tuple[str, ...]
    off_steroids: tuple[str, ...]
    openings: tuple[str, ...]
    fillers: tuple[str, ...]


PHRASES: tuple[str, str] = ("Discussed at the morning meeting.", "Discussed at the evening meeting.")
"""Sentences of the `wording` shortcut, without and with its cue."""

RELATIVES: tuple[str, ...] = ("mother", "father", "sister", "brother", "wife", "husband", "neighbour")

TELEGRAPHIC = Frames(
    affirmed=("C/o {0}.", "Pt c/o {0}."),
    denied=("Nil {0}.", "Nil acute, no {0}."),
    elsewhere=("FHx: {1} had {0}.",),
    on_steroids=("Rx prednisolone od.", "Rx: prednisolone, omeprazole."),
    off_steroids=("Rx omeprazole od.", "Rx: metformin, omeprazole."),
    openings=("ED r/v.", "WR.", "GP ref."),
    fillers=("NKDA.", "Obs stable.", "Bloods sent.", "D/w cons.", "SHx: lives alone.", "PMHx nil of note."),
)
"""How notes are written where a site shift in wording is felt, in either style."""
TELEGRAPHIC_SHARE: tuple[float, float, float] = (0.0, 0.9, 0.4)
"""Share of such notes at each site, at full strength."""

FRAMES: dict[Style, Frames] = {
    "development": Frames(
        affirmed=("Reports {0}.", "Has {0}.", "C/o {0}."),
        denied=("Denies {0}.", "No {0}.", "Nil {0}."),
        elsewhere=("{1} had {0}.", "{1} reported {0}."),
        on_steroids=("Takes prednisolone daily.", "On prednisolone 10 mg.", "Meds: prednisolone, omeprazole."),
        off_steroids=("Takes omeprazole daily.", "On amlodipine 10 mg.", "Meds: metformin, omeprazole."),
        openings=(
            "Seen in the acute clinic.", "Referred by the GP.", "Walked in unaided.", "Brought in by ambulance.",
            "Reviewed on the ward.",
        ),
        fillers=(
            "Lives alone on the second floor.", "Works as a bus driver.", "Retired teacher.", "Sleeps poorly because of noise.",
            "Appetite as usual.", "Drinks two cups of coffee.", "Allergic to penicillin.", "Obs stable.",
            "Will discuss with consultant.",
            "Bloods sent.", "Travelled by train last month.", "Hx of appendicectomy.",
        ),
    ),
    "fresh": Frames(
        affirmed=("Today reports {0}.", "On direct questioning has {0}.", "Now c/o {0}."),
        denied=("Today denies {0}.", "At present no {0}.", "On direct questioning denies {0}.", "So far nil {0}."),
        elsewhere=("Years ago the {1} had {0}.", "At home the {1} reported {0}."),
        on_steroids=("Current tablets include prednisolone.", "Still takes prednisolone each morning."),
        off_steroids=("Current tablets include amlodipine.", "Still takes metformin each morning."),
        openings=("Attended with a friend.", "Sent from the walk-in centre.", "Came by taxi.", "Booked for a same-day visit."),
        fillers=(
            "Keeps two dogs.", "Plays the trumpet at weekends.", "Recently moved house.", "Worried about missing work.",
            "Eats well.", "Stopped gardening in spring.", "Intolerant of codeine.", "Looks comfortable.", "Plan to be agreed.",
        ),
    ),
}  # fmt: skip
