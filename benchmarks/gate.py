"""What the gate turns away: usual cases, notes and films of a style never seen, and evidence spoiled in known ways.

    python -m benchmarks.gate [--patients 1000] [--seed 900]

Draws a clinic, fits tokenizers and gate to it (no network: the gate knows none) and asks it about 600 fresh patients of the
same style, of the fresh style, and about 200 whose films, values or notes were spoiled. Takes half a minute.
"""

import argparse
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from rich.console import Console
from rich.table import Table

from attending.case import Case, Evidence, Lab, Note, Scan
from attending.model.diagnoser import Tokenizers
from attending.privacy import deidentify
from attending.records.clinic import ClinicConfig, draw_clinic
from attending.records.clinic.config import Style
from attending.training.recipe import default_recipe

GERMAN = "Patient klagt seit drei Tagen über Husten und Fieber, kein Auswurf, raucht nicht, Lunge frei"
REASON = " is unlike"


def drawn(n: int, seed: int, style: Style = "development") -> tuple[Case, ...]:
    """Invented patients, de-identified."""
    return deidentify(draw_clinic(ClinicConfig(n_patients=n, seed=seed, style=style)).charts, key=bytes(range(32))).cases


def spoiled(cases: Sequence[Case], kind: type[Evidence], change: Callable[[Evidence], Evidence]) -> list[Case]:
    """The cases that have such evidence, all of it changed."""
    found = [case for case in cases if case.of(kind)]
    return [replace(c, evidence=tuple(change(e) if isinstance(e, kind) else e for e in c.evidence)) for c in found]


def main() -> None:
    """Draw, fit, ask, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=900)
    arguments = parser.parse_args()
    train = drawn(arguments.patients, arguments.seed)
    fitted = Tokenizers.fit(default_recipe(train).diagnoser, train).with_gate(train)
    rng = np.random.default_rng(0)
    films: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "film inverted": lambda p: p.max() - p,
        "film upside down": lambda p: p[::-1],
        "film turned by 90 degrees": np.rot90,
        "film mirrored": lambda p: p[:, ::-1],
        "film of 16 × 16 blocks": lambda p: np.kron(p[::16, ::16], np.ones((16, 16)))[: p.shape[0], : p.shape[1]],
        "half of the film black": lambda p: p * (np.arange(p.shape[1]) < p.shape[1] // 2),
        "noise instead of a film": lambda p: rng.random(p.shape),
    }
    asked: dict[str, Sequence[Case]] = {
        "fresh patients": drawn(600, arguments.seed + 1),
        "fresh patients, style never seen": drawn(600, arguments.seed + 2, "fresh"),
    }
    some = drawn(200, arguments.seed + 3)
    for name, change in films.items():
        asked[name] = spoiled(some, Scan, lambda e, change=change: replace(e, pixels=change(e.pixels).astype(np.float32)))
    asked["values tenfold"] = spoiled(some, Lab, lambda e: replace(e, value=e.value * 10))
    asked["note in German"] = spoiled(some, Note, lambda e: replace(e, text=GERMAN))
    table = Table(box=None, pad_edge=False)
    for name in ("evidence", "cases", "turned away", "because of"):
        table.add_column(name, justify="left" if name in ("evidence", "because of") else "right")
    for name, cases in asked.items():
        reasons = Counter(why.split(REASON)[0] for why in fitted.unusable(cases) if why is not None)
        told = ", ".join(f"{what} {n}" for what, n in reasons.most_common(4))
        table.add_row(name, str(len(cases)), f"{reasons.total() / len(cases):.3f}", told)
    Console().print(table)


if __name__ == "__main__":
    main()
