"""What was found of a method over many patients, as lines: what was asked, what came out, measured on what, when."""

from attending.drawing.contributions import signed
from attending.evaluation.estimate import Estimate
from attending.explanation.agreement import SURVIVES
from attending.explanation.assessment import Assessed, Pointed
from attending.explanation.truth import Score

NOT_ASSESSED = "not assessed: attending assess MODEL TABLE measures it over many patients and keeps it with the model"


def lines_of(assessed: Assessed) -> tuple[Score, ...]:
    """Every figure as a line. Good is said only of what an interval supports."""
    figures = assessed.figures
    on = measured_on(assessed)
    return (
        Score(
            asked="Over many patients: the answer moves faster than in random orders, by (deletion and insertion, mean)",
            answer=interval(figures.gain, unit=figures.unit),
            measured_on=on,
            is_good=None if figures.gain.low is None else figures.gain.low > 0.0,
        ),
        Score(
            asked="Share of these cases in which both are above chance",
            answer=interval(figures.above_chance, sign=False),
            measured_on=on,
        ),
        Score(
            asked="Networks that differ by seed explain alike (rank correlation of two, mean)",
            answer=interval(figures.siblings),
            measured_on=on,
            is_good=_beyond(figures.siblings, is_above=True),
        ),
        Score(
            asked=f"Networks with random weights explain alike (mean; single pictures are refused from {SURVIVES:g} on)",
            answer=f"{interval(figures.random_weights)}; refused: {interval(figures.refused, sign=False)}"
            if figures.random_weights.value is not None
            else figures.random_weights.note,
            measured_on=on,
            is_good=_beyond(figures.random_weights, is_above=False),
        ),
        *(_pointed(each, on) for each in figures.pointing),
    )


def sentence_of(assessed: Assessed) -> str:
    """The figures in one sentence, as a card and a list of limits have them."""
    found = assessed.figures
    parts = [
        f"gain over random orders {interval(found.gain, unit=found.unit)}",
        f"siblings agree {interval(found.siblings)}",
        f"networks with random weights agree {interval(found.random_weights)}",
        *(f"points into the known reason, {each.modality}: {interval(each.hits, sign=False)}" for each in found.pointing),
    ]
    return f"{found.method}: {'; '.join(parts)}; measured on {measured_on(assessed)}"


def measured_on(assessed: Assessed) -> str:
    """On whom and when: `60 patients of patients.csv, 2026-11-21`."""
    ground = assessed.ground
    more = ", synthetic clinic" if ground.is_synthetic else ""
    more += ", the file it was trained on" if ground.is_training else ""
    n = assessed.figures.n
    return f"{n} patient{'' if n == 1 else 's'} of {ground.table}{more}, {ground.at[:10]}"


def interval(found: Estimate, *, sign: bool = True, unit: str = "") -> str:
    """`+2.07 log-odds (+1.87 to +2.26), n = 60`, or why there is none."""
    if found.value is None:
        return found.note
    write = signed if sign else "{:.2f}".format
    value = f"{write(found.value)} {unit}".rstrip()
    if found.low is None or found.high is None:
        return f"{value}, n = {found.n} ({found.note or 'no interval'})"
    return f"{value} ({write(found.low)} to {write(found.high)}), n = {found.n}"


def _pointed(found: Pointed, on: str) -> Score:
    low = found.hits.low
    denied = " (words that deny are not asked about)" if found.modality == "note" else ""
    return Score(
        asked=f"Its heaviest place of the {found.modality} lies in the known reason{denied}",
        answer=f"{interval(found.hits, sign=False)}; a random place would in {found.chance:.2f}",
        measured_on=on,
        is_good=None if low is None else low > found.chance,
    )


def _beyond(found: Estimate, *, is_above: bool) -> bool | None:
    """Whether the whole interval lies on the good side of `SURVIVES`; None where it holds it, or there is none."""
    if found.low is None or found.high is None:
        return None
    if found.low < SURVIVES <= found.high:
        return None
    return (found.low >= SURVIVES) is is_above
