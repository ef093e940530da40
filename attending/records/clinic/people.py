"""Who comes to the clinic: site, age, sex, an invented identity, and when each visit was. Nothing here depends on disease
but the site under a `site` shortcut.

The names are invented combinations of common given and family names.
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta

import numpy as np
from jaxtyping import Bool, Float, Int

from attending.case import Identity
from attending.records.clinic.config import ClinicConfig
from attending.records.clinic.streams import Dice, Streams
from attending.records.clinic.world import AGE_BANDS

_WOMEN = ("Alice", "Brigid", "Carmen", "Dorothea", "Esther", "Fatima", "Greta", "Hanna", "Ingrid", "Jasmine", "Keiko", "Leila")
_MEN = ("Arthur", "Bruno", "Carlos", "Dmitri", "Emil", "Farid", "Gordon", "Henrik", "Ivan", "Jonas", "Kenji", "Luca")
_FAMILIES = (
    "Abernathy", "Bergstrom", "Castellano", "Dunmore", "Eriksen", "Fairweather", "Galloway", "Hathersage", "Ibarra",
    "Jankowski", "Kowalczyk", "Lindqvist", "Marchetti", "Nakamura", "Okonkwo", "Pemberton", "Quintero", "Rosenthal", "Sorensen",
    "Thackeray", "Ulrichsen", "Vandermeer", "Whitcombe", "Yamamoto", "Zielinski",
)  # fmt: skip
_EPOCH = datetime(2019, 1, 7, 8, 0)


@dataclass(frozen=True, kw_only=True, eq=False)
class People:
    """One row per case. `patient` numbers patients from 0; `visit` numbers a patient's visits from 0.

    `row` is the key of the case in every random stream; `age_years` is whole years at the first visit. `written_as` is
    the patient number in the table, `name_of` the patient whose identity is written: both are `patient` unless a leak
    repeats cases.
    """

    patient: Int[np.ndarray, " case"]
    visit: Int[np.ndarray, " case"]
    written_as: Int[np.ndarray, " case"]
    name_of: Int[np.ndarray, " case"]
    age_years: Int[np.ndarray, " case"]
    male: Bool[np.ndarray, " case"]
    born: tuple[date, ...]
    asked_at: tuple[datetime, ...]

    @property
    def row(self) -> Int[np.ndarray, " case"]:
        return self.patient * 1000 + self.visit

    @property
    def age_band(self) -> Int[np.ndarray, " case"]:
        return np.searchsorted(AGE_BANDS, self.age_years, side="right")


def admit(config: ClinicConfig, streams: Streams) -> People:
    """The people of a clinic and their visits, in the order of patients, then visits."""
    patients = np.arange(config.n_patients)
    person = streams.uniform("person", patients, 3)
    n_visits = 1 + (streams.uniform("visits", patients, 1)[:, 0] * config.visits).astype(int)
    patient = np.repeat(patients, n_visits)
    visit = np.arange(len(patient)) - np.repeat(np.cumsum(n_visits) - n_visits, n_visits)
    age = np.clip(18 + 78 * person[:, 0] ** 0.8, 18, 95)
    gap_days = 20 + (streams.uniform("visit dates", patient * 1000 + visit, 1)[:, 0] * 200).astype(int)
    days_since_first = _running_days(gap_days, visit)
    first_day = (person[:, 1] * 1400).astype(int)
    minutes = (streams.uniform("visit hours", patient * 1000 + visit, 1)[:, 0] * 14 * 60).astype(int)
    asked_at = tuple(
        _EPOCH + timedelta(days=int(first + since), minutes=int(minute))
        for first, since, minute in zip(first_day[patient], days_since_first, minutes, strict=True)
    )
    born = [
        (_EPOCH + timedelta(days=int(day) - int(whole * 365.25) - 20 - int(300 * part))).date()
        for day, whole, part in zip(first_day, age.astype(int), streams.uniform("birthday", patients, 1)[:, 0], strict=True)
    ]
    return People(
        patient=patient,
        visit=visit,
        written_as=patient,
        name_of=patient,
        age_years=age.astype(int)[patient],
        born=tuple(born[number] for number in patient),
        male=(person[:, 2] < 0.48)[patient],
        asked_at=asked_at,
    )


def identify(people: People, streams: Streams) -> tuple[Identity, ...]:
    """Name, record number, date of birth and telephone of each case's patient."""
    uniforms = streams.uniform("identity", people.name_of, 8)
    identities = []
    for place, (patient, male, born) in enumerate(zip(people.name_of.tolist(), people.male, people.born, strict=True)):
        dice = Dice(uniforms[place])
        name = f"{dice.pick(_MEN if male else _WOMEN)} {dice.pick(_FAMILIES)}"
        number = f"MRN{(patient * 7919 + int(dice.pick(range(1000)))) % 9_000_000 + 1_000_000}"
        telephone = f"020 7946 0{dice.pick(range(100, 1000))}"  # a range kept free for fiction
        identities.append(
            Identity(
                values={"name": name, "record_number": number, "date_of_birth": f"{born:%Y-%m-%d}", "telephone": telephone}
            )
        )
    return tuple(identities)


def _running_days(gap_days: Float[np.ndarray, " case"], visit: Int[np.ndarray, " case"]) -> np.ndarray:
    total = np.cumsum(np.where(visit == 0, 0, gap_days))
    start = np.maximum.accumulate(np.where(visit == 0, np.arange(len(visit)), 0))
    return total - total[start]
