"""A report on a predictions file: the same page, with what such a file cannot tell left unknown instead of guessed.

Population, times, reference standard, sampling, patients, training and refusals are not in the file; groups, cases and truth
are.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from attending.evaluation import Outcomes, Result
from attending.report.gathering import curves_of
from attending.report.report import UNSTATED, Conduct, Events, Flow, Primary, Question, Report


def gather_foreign(
    *,
    title: str,
    outcomes: Mapping[str, Outcomes],
    results: Sequence[Result],
    primary: Primary,
    split: str,
    seed: int,
    provenance: Mapping[str, object],
    cautions: tuple[str, ...] = (),
) -> Report:
    """The report of predictions that somebody made. `split` is the one judged; `provenance` names the files; `cautions` say,
    without counts, what the files betray of how they were made."""
    rows = outcomes[primary.model]
    _, first = np.unique(rows.ids.astype(str), return_index=True)
    truth, known = rows.truth[first], rows.known[first]
    n_repeats = len(np.unique(rows.repeat))
    repeats = f", {n_repeats} repeats" if n_repeats > 1 else ""
    return Report(
        title=title,
        question=Question(
            target=", ".join(rows.findings),
            unit="cases as the file names them, groups resampled whole",
            sampling=UNSTATED,
        ),
        flow=Flow(
            rows=None,
            cases=len(first),
            patients=None,
            groups=len(np.unique(rows.groups.astype(str))),
            findings=tuple(
                Events(
                    finding=finding,
                    known=int(known[:, place].sum()),
                    events=int((truth[:, place] & known[:, place]).sum()),
                )
                for place, finding in enumerate(rows.findings)
            ),
        ),
        conduct=Conduct(kind="foreign", repeats=n_repeats, seed=seed, reason=f'rows that the file marks as "{split}"{repeats}'),
        results=tuple(results),
        primary=primary,
        curves=curves_of(outcomes, primary, sampling=UNSTATED),
        provenance={name: str(value) for name, value in provenance.items()},
        cautions=cautions,
    )
