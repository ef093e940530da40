"""Before anything is trained: how wide the intervals will be, what difference could be shown, what will be too small to say.

Approximations by formula (Hanley & McNeil 1982 for AUROC; Riley et al. 2021 for calibration; binomial for shares), for a
guess of the truth that is written beside each number. They plan; they prove nothing.
"""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from attending.evaluation.answers import FEWEST_IN_SLICE
from attending.evaluation.curve import ENOUGH_FOR_A_CURVE
from attending.evaluation.estimation import ENOUGH, FEWEST
from attending.evaluation.interval import exact_share

GUESSES = (0.7, 0.8, 0.9)
CORRELATION = 0.5
"""Guess of the correlation between two models' AUROC on the same patients."""
POWER = 0.8


@dataclass(frozen=True, kw_only=True)
class Expectation:
    """One line of the plan. `width` is that of the whole interval; None where nothing can be said, and `note` says why.

    `quantity` is a metric's name, or `auroc_difference` (then `width` is the smallest difference that 80 % of such studies
    would show). `guess` is the assumed truth.
    """

    finding: str
    quantity: str
    guess: float | None
    n: int
    events: int
    width: float | None
    note: str = ""


def expected_widths(
    finding: str,
    *,
    events: int,
    others: int,
    folds: int | None = None,
    test_share: float = 1.0,
    level: float = 0.95,
) -> tuple[Expectation, ...]:
    """Widths for one finding with so many patients with it and without.

    Under cross-validation give `folds`: every patient is tested, and intervals are wider by √(1 + 1 / (folds − 1)). Under one
    split give `test_share`, the share of patients that will be in test.
    """
    if events < 0 or others < 0:
        raise ValueError(f"{finding}: counts of patients are 0 or more, found {events} and {others}")
    m, n = (events, others) if folds else (round(events * test_share), round(others * test_share))
    widen = np.sqrt(1.0 + 1.0 / (folds - 1)) if folds else 1.0

    def line(quantity: str, guess: float | None, width: float | None, note: str = "") -> Expectation:
        return Expectation(finding=finding, quantity=quantity, guess=guess, n=m + n, events=m, width=width, note=note)

    smaller = min(m, n)
    if smaller < FEWEST:
        note = f"too small to say: {m} patients with and {n} without will be tested, fewer than {FEWEST}"
        return (line("auroc", None, None, note),)
    method = "" if smaller >= ENOUGH else f"small-sample methods: fewer than {ENOUGH} of a class"
    z = (
        float(stats.t.ppf((1.0 + level) / 2.0, smaller - 1))
        if folds or smaller < ENOUGH
        else float(stats.norm.ppf((1.0 + level) / 2.0))
    )
    lines = []
    for guess in GUESSES:
        error = area_error(guess, m, n) * widen
        middle, reach = np.log(guess / (1.0 - guess)), z * error / (guess * (1.0 - guess))
        width = float(1.0 / (1.0 + np.exp(-middle - reach)) - 1.0 / (1.0 + np.exp(-middle + reach)))
        lines.append(line("auroc", guess, width, method))
    for guess in GUESSES:
        detectable = (z + float(stats.norm.ppf(POWER))) * area_error(guess, m, n) * np.sqrt(2.0 * (1.0 - CORRELATION)) * widen
        note = f"smallest difference shown with power {POWER:g}, correlation {CORRELATION:g}, one primary comparison"
        lines.append(line("auroc_difference", guess, float(detectable), note))
    for guess in GUESSES:
        slope, intercept = _calibration_errors(guess, m, n)
        lines.append(line("calibration_slope", guess, float(2.0 * z * slope * widen), f"if the AUROC is {guess:g} and slope 1"))
        if guess == GUESSES[1]:
            lines.append(line("calibration_intercept", guess, float(2.0 * z * intercept * widen), f"if the AUROC is {guess:g}"))
    for quantity, guess, size in (("sensitivity", 0.95, m), ("specificity", 0.8, n)):
        low, high = exact_share(guess * size, size, level)
        lines.append(line(quantity, guess, float((high - low) * widen)))
    if smaller < ENOUGH_FOR_A_CURVE:
        note = f"no smooth curve: fewer than {ENOUGH_FOR_A_CURVE} patients of a class"
        lines.append(line("calibration_curve", None, None, note))
    return tuple(lines)


def too_small_slices(counts: dict[str, tuple[int, int]]) -> tuple[str, ...]:
    """Slices (name → patients with, without) of which nothing will be said."""
    return tuple(name for name, (events, others) in counts.items() if min(events, others) < FEWEST_IN_SLICE)


def area_error(area: float, events: int, others: int) -> float:
    """Standard error of an AUROC for so many events and non-events (Hanley & McNeil 1982)."""
    q1, q2 = area / (2.0 - area), 2.0 * area**2 / (1.0 + area)
    variance = area * (1.0 - area) + (events - 1) * (q1 - area**2) + (others - 1) * (q2 - area**2)
    return float(np.sqrt(variance / (events * others)))


def _calibration_errors(area: float, events: int, others: int) -> tuple[float, float]:
    """Standard errors of slope and intercept of calibrated predictions, by the information they carry.

    Log-odds normal in either class, with the distance that gives the AUROC; integrated on a grid.
    """
    distance = stats.norm.ppf(area) * np.sqrt(2.0)
    share = events / (events + others)
    grid = np.linspace(-5.0, 5.0, 401)
    weight = stats.norm.pdf(grid) * (grid[1] - grid[0])
    information = np.zeros((2, 2))
    for mass, sign in ((events, 0.5), (others, -0.5)):
        x = distance * (distance * sign + grid) + np.log(share / (1.0 - share))
        mean = 1.0 / (1.0 + np.exp(-x))
        variance = mass * weight * mean * (1.0 - mean)
        information += np.array([[variance.sum(), (variance * x).sum()], [(variance * x).sum(), (variance * x * x).sum()]])
    return float(np.sqrt(np.linalg.inv(information)[1, 1])), float(np.sqrt(1.0 / information[0, 0]))
