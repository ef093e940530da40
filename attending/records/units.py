"""Units of measurement: reading them from symbols and column names, and converting between those that measure the same.

A unit is a product of known symbols; two units convert when their dimensions agree. Between mass and amount of substance a
conversion needs the molar mass of the analyte (`MOLAR_MASS`). Symbols follow common laboratory usage, close to UCUM
(ucum.org). Nothing here guesses: what does not fit is refused with the nearest unit that would.
"""

import re
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache

from attending.records.error import RecordError, did_you_mean

# dimensions: m mass, n substance, l length, t time, u enzyme activity, i international units, p pressure, K temperature,
# e energy, q charge equivalents, o osmoles. A litre is a length cubed.
_BASE: dict[str, tuple[float, dict[str, int]]] = {
    "g": (1.0, {"m": 1}),
    "mol": (1.0, {"n": 1}),
    "L": (1e-3, {"l": 3}),
    "m": (1.0, {"l": 1}),
    "s": (1.0, {"t": 1}),
    "U": (1.0, {"u": 1}),
    "IU": (1.0, {"i": 1}),
    "Pa": (1.0, {"p": 1}),
    "bar": (1e5, {"p": 1}),
    "J": (1.0, {"e": 1}),
    "cal": (4.184, {"e": 1}),
    "Eq": (1.0, {"q": 1}),
    "osm": (1.0, {"o": 1}),
}
_PREFIX = {"k": 1e3, "h": 1e2, "d": 1e-1, "c": 1e-2, "m": 1e-3, "u": 1e-6, "n": 1e-9, "p": 1e-12, "f": 1e-15}
_WHOLE: dict[str, tuple[float, dict[str, int]]] = {
    "1": (1.0, {}),
    "%": (1e-2, {}),
    "min": (60.0, {"t": 1}),
    "h": (3600.0, {"t": 1}),
    "d": (86400.0, {"t": 1}),
    "wk": (604800.0, {"t": 1}),
    "mo": (86400.0 * 30.4375, {"t": 1}),
    "a": (86400.0 * 365.25, {"t": 1}),
    "mmHg": (133.322, {"p": 1}),
    "cmH2O": (98.0665, {"p": 1}),
    "in": (0.0254, {"l": 1}),
    "lb": (453.59237, {"m": 1}),
    "bpm": (1.0 / 60.0, {"t": -1}),
    "katal": (6e7, {"u": 1}),
}
_AFFINE = {"°C": (1.0, 273.15), "°F": (5.0 / 9.0, 459.67 * 5.0 / 9.0), "K": (1.0, 0.0)}
"""Temperatures: kelvin = factor × value + offset. They stand alone, never in a product."""

# what people write → symbol
_SPELLINGS = {
    "l": "L", "dl": "dL", "ml": "mL", "ul": "uL", "µl": "uL", "μl": "uL", "mcl": "uL", "nl": "nL", "fl": "fL", "pl": "pL",
    "cl": "cL", "cc": "mL", "mcg": "ug", "µg": "ug", "μg": "ug", "ug": "ug", "kg": "kg", "mg": "mg", "ng": "ng", "pg": "pg",
    "gm": "g", "mmol": "mmol", "umol": "umol", "µmol": "umol", "μmol": "umol", "nmol": "nmol", "pmol": "pmol",
    "meq": "mEq", "eq": "Eq", "mosm": "mosm", "mosmol": "mosm",
    "iu": "IU", "miu": "mIU", "uiu": "uIU", "u": "U", "mu": "mU", "units": "U", "unit": "U", "ukat": "ukatal", "kat": "katal",
    "pct": "%", "percent": "%", "perc": "%", "prozent": "%",
    "mmhg": "mmHg", "torr": "mmHg", "kpa": "kPa", "hpa": "hPa", "mbar": "mbar", "cmh2o": "cmH2O",
    "c": "°C", "°c": "°C", "cel": "°C", "celsius": "°C", "degc": "°C", "f": "°F", "°f": "°F", "degf": "°F", "fahrenheit": "°F",
    "kelvin": "K", "cm": "cm", "mm": "mm", "um": "um", "µm": "um", "km": "km", "inch": "in", "inches": "in", "lbs": "lb",
    "sec": "s", "secs": "s", "second": "s", "seconds": "s", "minute": "min", "minutes": "min", "mins": "min",
    "hour": "h", "hours": "h", "hrs": "h", "hr": "h", "day": "d", "days": "d", "week": "wk", "weeks": "wk", "month": "mo",
    "months": "mo", "year": "a", "years": "a", "yr": "a", "yrs": "a", "y": "a",
    "beats/min": "bpm", "breaths/min": "bpm", "kcal": "kcal", "kj": "kJ", "ratio": "1", "fraction": "1",
}  # fmt: skip

MOLAR_MASS = {
    "glucose": 180.156, "creatinine": 113.12, "urea": 60.06, "bun": 28.014, "bilirubin": 584.66, "lactate": 90.08,
    "cholesterol": 386.65, "hdl": 386.65, "ldl": 386.65, "triglycerides": 885.7, "calcium": 40.078, "magnesium": 24.305,
    "phosphate": 30.974, "urate": 168.11, "uric_acid": 168.11, "iron": 55.845, "albumin": 66500.0, "cortisol": 362.46,
    "sodium": 22.990, "potassium": 39.098, "chloride": 35.45, "haemoglobin": 16114.0, "hemoglobin": 16114.0,
}  # fmt: skip
"""g/mol. Urea nitrogen (bun) counts its two nitrogens, phosphate its phosphorus, haemoglobin one chain, as laboratories do."""

KNOWN = (
    "mg/L", "mg/dL", "g/L", "g/dL", "ug/L", "ug/mL", "ng/mL", "pg/mL", "mmol/L", "umol/L", "nmol/L", "pmol/L", "U/L", "IU/L",
    "mIU/L", "10^3/uL", "10^6/uL", "10^9/L", "10^12/L", "%", "mmHg", "kPa", "°C", "°F", "kg", "g", "cm", "m", "mm", "kg/m^2",
    "d", "h", "min", "s", "a", "fL", "pg", "mEq/L", "bpm", "1/min", "mL/min", "1",
)  # fmt: skip
"""Units offered in "did you mean"."""


class UnitError(RecordError):
    """A unit is not known, or does not measure what it should."""


@dataclass(frozen=True)
class _Measure:
    factor: float
    dimension: tuple[tuple[str, int], ...]
    offset: float = 0.0


@lru_cache(maxsize=4096)
def measure(symbol: str) -> _Measure:
    """Size and dimension of a unit. Raises `UnitError` for one that is not known."""
    text = canonical(symbol)
    if text in _AFFINE:
        factor, offset = _AFFINE[text]
        return _Measure(factor, (("K", 1),), offset)
    if text in _WHOLE:
        factor, whole = _WHOLE[text]
        return _Measure(factor, tuple(sorted(whole.items())))
    total, dimension = 1.0, Counter[str]()
    numerator, *denominators = text.split("/")
    for sign, product in [(1, numerator), *((-1, part) for part in denominators)]:
        for part in filter(None, re.split(r"[*.·]", product)):
            factor, powers, exponent = _factor(part, symbol)
            total *= factor ** (sign * exponent)
            for name, power in powers.items():
                dimension[name] += sign * exponent * power
    return _Measure(total, tuple(sorted((name, power) for name, power in dimension.items() if power)))


def _factor(part: str, symbol: str) -> tuple[float, dict[str, int], int]:
    if re.fullmatch(r"\{[^{}]+\}", part):  # UCUM's braces name what is counted; it converts to nothing but itself
        return 1.0, {part: 1}, 1
    power_of_ten = re.fullmatch(r"10\^(\d+)", part)
    if power_of_ten:
        return 10.0 ** int(power_of_ten[1]), {}, 1
    match = re.fullmatch(r"(.*?)(?:\^?([23]))?", part)
    name, exponent = (match[1], int(match[2] or 1)) if match and match[1] else (part, 1)
    for candidate, power in ((part, 1), (name, exponent)):
        for table in (_WHOLE, _BASE):
            if candidate in table:
                return *table[candidate], power
        if candidate[:1] in _PREFIX and candidate[1:] in {**_BASE, "katal": None}:
            factor, powers = _WHOLE["katal"] if candidate[1:] == "katal" else _BASE[candidate[1:]]
            return _PREFIX[candidate[0]] * factor, powers, power
    raise UnitError(f'unit "{symbol}" is not known.{did_you_mean(symbol, KNOWN)}')


@lru_cache(maxsize=4096)
def canonical(symbol: str) -> str:
    """The symbol in one spelling: `mg/l`, `mg / L` and `mg_l` written as people do all give `mg/L`."""
    text = symbol.strip().replace("μ", "u").replace("µ", "u").replace("×", "").replace("x10", "10").replace("**", "^")
    text = re.sub(r"\s*([/*·^])\s*", r"\1", text).replace("*10", "10").lstrip("*")
    text = re.sub(r"\b10[eE]?\^?(3|6|9|12)(?=/)", r"10^\1", text)
    text = re.sub(r"^(?:1[eE])(\d+)(?=/)", r"10^\1", text)
    text = re.sub(r"^(?:[kK]|[tT]hou(?:sand)?)/", "10^3/", text)
    text = re.sub(r"^(?:[gG])/(?=[lL]$)", "g/", text)
    if text.lower() in _SPELLINGS:
        return _SPELLINGS[text.lower()]
    parts = [_SPELLINGS.get(part.lower(), part) if part not in _BASE else part for part in text.split("/")]
    return "/".join(parts)


def is_unit(symbol: str) -> bool:
    """Whether this is a unit that can be read."""
    try:
        measure(symbol)
    except UnitError:
        return False
    return True


def fits(found: str, expected: str) -> bool:
    """Whether the two units measure the same, molar masses aside."""
    try:
        return measure(found).dimension == measure(expected).dimension
    except UnitError:
        return False


def convert(value: float, found: str, expected: str, *, code: str = "") -> float:
    """`value` of unit `found` in the unit `expected`. `code` names the analyte where mass meets amount of substance.

    Raises `UnitError` with a proposal when the units do not measure the same.
    """
    if canonical(found) == canonical(expected):
        return value
    goal = measure(expected)
    try:
        source = measure(found)
    except UnitError:
        raise _misfit(found, expected) from None
    factor = source.factor
    if source.dimension != goal.dimension:
        factor *= _by_molar_mass(source, goal, found=found, expected=expected, code=code)
    return (factor * value + source.offset - goal.offset) / goal.factor


def _by_molar_mass(source: _Measure, goal: _Measure, *, found: str, expected: str, code: str) -> float:
    mass = MOLAR_MASS.get(code.lower())
    powers, wanted = dict(source.dimension), dict(goal.dimension)
    for step, factor in ((1, 1.0 / mass if mass else 0.0), (-1, mass or 0.0)):
        moved = Counter(powers)
        moved["m"] -= step
        moved["n"] += step
        if {name: power for name, power in moved.items() if power} == wanted:
            if factor:
                return factor
            break
    raise _misfit(found, expected)


def _misfit(found: str, expected: str) -> UnitError:
    near = [unit for unit in KNOWN if fits(unit, expected)]
    hint = did_you_mean(found, near) or (f' Did you mean "{canonical(expected)}"?' if found else "")
    return UnitError(f'found unit "{found}", expected one that converts to "{canonical(expected)}".{hint}')


_ALONE = {
    "pct", "percent", "mmhg", "kpa", "hpa", "mbar", "cm", "mm", "kg", "days", "hours", "years", "months", "weeks", "minutes",
    "seconds", "bpm", "fl", "celsius", "fahrenheit", "mg", "ug", "mcg", "ml", "cmh2o", "yrs", "hrs",
}  # fmt: skip
"""Endings that are a unit by themselves; single letters are not (vitamin_d, protein_c), but for temperatures."""
_AMOUNTS = {"g", "kg", "mg", "ug", "mcg", "ng", "pg", "mol", "mmol", "umol", "nmol", "pmol", "u", "iu", "miu", "uiu",
            "meq", "mosm", "ml", "ukat", "mu"}  # fmt: skip
_PER = {"l", "dl", "ml", "ul", "min", "h", "hr", "kg", "g", "m2", "d", "day", "nl", "mmol"}


def from_column_name(name: str) -> tuple[str, str | None]:  # noqa: PLR0911 -- one return per way of writing
    """(`crp`, `mg/L`) for `crp_mg_l`: what is measured and its unit, or (`name`, None) where the name states none.

    Understands `wbc_1e3_ul`, `bmi_kg_m2`, `CRP (mg/L)`, `crp [mg/L]`; a single letter counts only after a temperature.
    """
    bracket = re.fullmatch(r"\s*(.+?)\s*[(\[]\s*([^)\]]+?)\s*[)\]]\s*", name)
    if bracket:
        try:
            measure(bracket[2])
        except UnitError:
            return name, None
        return bracket[1], canonical(bracket[2])
    parts = name.split("_")
    lower = [part.lower() for part in parts]
    if len(parts) >= 3:
        power = re.fullmatch(r"(?:1e|10e|x?10\^?)(\d+)", lower[-2]) or re.fullmatch(r"(k)", lower[-2])
        if power and lower[-1] in ("l", "ul", "ml", "dl", "nl"):
            exponent = "3" if power[1] == "k" else power[1]
            return "_".join(parts[:-2]), canonical(f"10^{exponent}/{lower[-1]}")
        if lower[-2] in _AMOUNTS and lower[-1] in _PER:
            below = "m^2" if lower[-1] == "m2" else lower[-1]
            return "_".join(parts[:-2]), canonical(f"{lower[-2]}/{below}")
    if len(parts) >= 3 and lower[-2] == "per":
        return "_".join(parts[:-2]), canonical(f"1/{lower[-1]}")
    if len(parts) >= 2:
        if lower[-1] in _ALONE:
            return "_".join(parts[:-1]), canonical(lower[-1])
        if lower[-1] in ("c", "f") and any(part.startswith("temp") for part in lower[:-1]):
            return "_".join(parts[:-1]), canonical(lower[-1])
    return name, None
