"""Units that are at work and stay there, for killing the run around them. Light to import: its processes start fast."""

import os
import time
from collections.abc import Sequence
from pathlib import Path

from attending.training.units import Arrays, Unit, Workplace, run_units

NAP_SECONDS = 120.0


class Nap(Unit):
    """A unit that says that it is at work, and stays there."""

    def work(self, workplace: Workplace) -> Arrays:
        assert workplace.folder is not None
        (workplace.folder / f"pid-{os.getpid()}").touch()
        time.sleep(NAP_SECONDS)
        return {}


class Collapse(Unit):
    """A unit whose process ends in the middle of it, as one that the system kills for memory does."""

    def work(self, workplace: Workplace) -> Arrays:
        os._exit(1)


def nap(folder: Path) -> None:
    """Two units at work in two processes."""
    units: Sequence[Unit] = [Nap(name="one", seed=0), Nap(name="two", seed=0)]
    list(run_units(units, workplace=Workplace(cases={}, folder=folder), threads=2))
