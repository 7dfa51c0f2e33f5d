r"""Units and other words beside a number: what they mean, and whether those of two answers fit together.

    >>> compare_words(read_words("hours"), read_words("minutes"))
    Fraction(60, 1)
    >>> compare_words(read_words("cm"), read_words("square cm")) is None
    True

A word that only one side has is forgiven ("18", "18 eggs", "18 eggs a day"); words that contradict each other are not
("increase" and "decrease", "a.m." and "p.m.", "apples" and "oranges", "cm" and "square cm"). Nor are words that make
another number of it ("5 factorial", "5 or more"), and unknown words before it ("half of 5", "June 5").
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction

_TABLE = """
length: 1000 km kilometer kilometre; 1 m meter metre; 1/10 dm decimeter decimetre; 1/100 cm centimeter centimetre
length: 1/1000 mm millimeter millimetre; 1/1000000000 nm nanometer nanometre; 127/5000 in inch inches
length: 381/1250 ft foot feet; 1143/1250 yd yard; 201168/125 mi mile
time: 1 s sec second; 60 min minute; 3600 h hr hour; 86400 d day; 604800 wk week; 1/1000 ms millisecond
months: 1 month; 12 yr year; 120 decade; 1200 century centuries
mass: 1 g gram; 1000 kg kilogram; 1/1000 mg milligram; 1000000 tonne
weight: 16 lb lbs pound; 1 oz ounce; 32000 ton
volume: 1 L l liter litre; 1/1000 mL ml milliliter millilitre
gallons: 16 gal gallon; 4 qt quart; 2 pt pint; 1 cup
money: 100 dollar usd buck; 1 cent; 5 nickel; 10 dime; 25 quarter
euro: 1 euro eur; sterling: 1 gbp; yen: 1 yen jpy; rupee: 1 rupee rs inr
angle: 1 degree deg; radian: 1 radian rad; celsius: 1 celsius; fahrenheit: 1 fahrenheit; kelvin: 1 K kelvin
energy: 1 J joule; 1000 kJ kilojoule; 1000000 MJ; electronvolt: 1 eV; 1000 keV; 1000000 MeV; 1000000000 GeV
force: 1 N newton; 1000 kN; power: 1 W watt; 1000 kW kilowatt; 1000000 MW; frequency: 1 Hz hertz; 1000 kHz; 1000000 MHz
pressure: 1 Pa pascal; 1000 kPa; 101325 atm; voltage: 1 V volt; 1/1000 mV; current: 1 A amp ampere; 1/1000 mA
resistance: 1 ohm; 1000 kohm; amount: 1 mol mole; 1/1000 mmol; charge: 1 C coulomb; field: 1 T tesla
"""
"""Dimension, then value in its base and names, of every unit."""
_ABBREVIATED = {"mph": (("mile", 1), ("hour", -1)), "kph": (("km", 1), ("h", -1)), "kmph": (("km", 1), ("h", -1))}
_SPELLED = {"a.m": "am", "p.m": "pm", "sq": "square", "cu": "cubic", "o'clock": "", "°c": "celsius", "°f": "fahrenheit"}
_OPPOSITES = (
    "increase increased increasing rise gain gained up / decrease decreased decreasing fall drop loss lost down",
    "more extra additional / less fewer off discount",
    "am / pm",
    "east / west / north / south",
    "left / right",
    "above / below",
    "gain gained profit / loss lost",
    "win won / loss lost lose / draw tie",
    "clockwise / counterclockwise anticlockwise",
    "even / odd",
    "ahead / behind",
    "before / after",
    "bc / ad",
)
"""Groups of words that exclude each other, apart from those that mean the same."""
_OPPOSED: dict[str, dict[int, int]] = {}
for _group, _sides in enumerate(_OPPOSITES):
    for _side, _names in enumerate(_sides.split("/")):
        for _name in _names.split():
            _OPPOSED.setdefault(_name, {})[_group] = _side
"""For each such word its groups, and the side of each that it is on."""
_ALTERING_WORDS = (
    "or half factorial squared cubed not third fourth fifth sixth seventh eighth ninth tenth hundredth thousandth "
    "millionth least most minus plus modulo mod root than"
)
_ALTERING = frozenset(_ALTERING_WORDS.split())
"""Words after a number that make another number of it: `5 factorial`, `5 or more`, `2 thirds`."""
_FILLING = (
    "the a an of in total is are was were at by to for on from with it its each every one exactly only about around "
    "all approximately approx different distinct possible such respectively units unit value answer there ways way per "
    "that this he she they has have had will long wide tall high deep away apart old"
)
_FILLERS = frozenset(_FILLING.split())
_LEADING = "final result we get so thus therefore hence equal equals i.e just positive plus option choice"
_LEADING_FILLERS = _FILLERS - {"per", "each", "every", "that", "with", "from"} | set(_LEADING.split())
_QUANTITY_NAMES = (
    "length width height area volume perimeter radius diameter distance speed probability chance sum difference "
    "product quotient remainder average mean median mode cost price profit time age number amount weight angle slope "
    "percentage percent maximum minimum"
)
_QUANTITIES = frozenset(_QUANTITY_NAMES.split())
"""Names of quantities before a number, which may be left out; but a length is no width."""
_WORD = re.compile(r"[A-Za-zµμΩ°][A-Za-z.'’°-]*|\^?\s*\{?\s*(-?\d+)\s*\}?|/|²|³|%")


def _read_table() -> dict[str, tuple[str, Fraction]]:
    found: dict[str, tuple[str, Fraction]] = {}
    dimension = ""
    for part in re.split(r"[;\n]", _TABLE):
        name, _, rest = part.rpartition(":")
        dimension = name.strip() or dimension
        for word in rest.split()[1:]:
            found[word] = dimension, Fraction(rest.split()[0])
    return found


_UNITS = _read_table()


@dataclass(frozen=True, slots=True)
class Words:
    """The words beside a number."""

    unit: frozenset[tuple[str, int]] = frozenset()
    """Dimensions with their exponents."""
    factor: Fraction = Fraction(1)
    """What one of that unit is in the base units of its dimensions."""
    others: frozenset[str] = frozenset()
    """Words that are no units, in small letters and the singular."""


def is_unit(word: str) -> bool:
    """Whether a word names a unit: `cm`, `hours`."""
    return _find_unit(word) is not None or word.casefold() in _ABBREVIATED


def is_carrying(word: str) -> bool:
    """Whether a word has an opposite and so carries the answer: `increase`, `p.m.`."""
    return _normalize_word(_spell(word)) in _OPPOSED


def read_words(text: str) -> Words:
    """The meaning of the words beside a number, such as `km/h`, `\\text{cm}^2` without its command, `eggs per day`."""
    exponents: dict[str, int] = {}
    factor, others = Fraction(1), set()
    sign, power, last = 1, 1, ""
    last_factor = Fraction(1)
    for match in _WORD.finditer(text):
        token = match[0]
        word = _spell(token)
        if token == "/" or word == "per":
            sign = -1
        elif word in ("square", "cubic"):
            power = 2 if word == "square" else 3
        elif match[1] or token in "²³" or word in ("squared", "cubed"):
            if not match.string[: match.start()].strip() and not match[1]:
                others.add(word)
            if last:
                to = int(match[1]) if match[1] else 2 if token == "²" or word == "squared" else 3
                step = to - 1
                exponents[last] = exponents.get(last, 0) + sign * step
                factor *= last_factor ** max(-9, min(9, sign * step))
            last = ""
        elif token == "%":
            continue
        else:
            parts = _ABBREVIATED.get(word) or ((token, 1),)
            for name, exponent in parts:
                unit = _find_unit(name)
                if unit is None:
                    if word and word not in _FILLERS:
                        others.add(_normalize_word(word))
                    last = ""
                    continue
                last, last_factor = unit
                step = sign * exponent * power
                exponents[last] = exponents.get(last, 0) + step
                factor *= last_factor**step
            power, sign = 1, 1
    return Words(frozenset((d, e) for d, e in exponents.items() if e), factor, frozenset(others))


def read_lead(words: Iterable[str]) -> tuple[list[str], frozenset[str]]:
    """The units among the words before a number (`USD 5`), and the other words without mere fillings."""
    units: list[str] = []
    others = set()
    for word in words:
        spelt = _spell(word)
        if is_unit(word) and spelt not in ("quarter", "second"):
            units.append(word)
        elif spelt and spelt not in _LEADING_FILLERS:
            others.add(_normalize_word(spelt))
    return units, frozenset(others)


def compare_leads(one: frozenset[str], after_one: Words, other: frozenset[str], after_other: Words) -> bool:
    """Whether the words before two numbers let them be equal: they are the same, but for the name of a quantity."""
    rest, other_rest = one - other - after_other.others, other - one - after_one.others
    return not (rest and other_rest) and rest | other_rest <= _QUANTITIES


def compare_words(one: Words, other: Words) -> Fraction | None:
    """By what a number with the words `one` must be multiplied to stand beside one with `other`; None if they clash."""
    if _contradict(one.others, other.others):
        return None
    if one.unit == other.unit:
        return one.factor / other.factor
    if not one.unit or not other.unit:
        bare, measured = (one, other) if other.unit else (other, one)
        clash = bare.others - _OPPOSED.keys() and not measured.others and all(e > 0 for _, e in measured.unit)
        return None if clash else Fraction(1)
    shorter, longer = sorted((one.unit, other.unit), key=len)
    rest = longer - shorter
    forgiven = shorter < longer and all(exponent < 0 for _, exponent in rest) and any(d == "money" for d, _ in shorter)
    return Fraction(1) if forgiven else None


def _contradict(one: Iterable[str], other: Iterable[str]) -> bool:
    a, b = set(one), set(other)
    if (a ^ b) & _ALTERING:
        return True
    for group in range(len(_OPPOSITES)):
        sides, others = ({_OPPOSED[w][group] for w in words if group in _OPPOSED.get(w, ())} for words in (a, b))
        if sides and others and not sides & others:
            return True
    a, b = a - _OPPOSED.keys(), b - _OPPOSED.keys()
    return bool(a and b) and not (a <= b or b <= a)


def _find_unit(word: str) -> tuple[str, Fraction] | None:
    """Dimension and factor; symbols are looked up as they are written, names in any case and number."""
    word = word.strip(".'’-")
    for name in (word, word.casefold(), _make_singular(word.casefold())):
        if name in _UNITS and (len(name) > 2 or name == word):
            return _UNITS[name]
    return None


def _spell(token: str) -> str:
    word = token.casefold().rstrip(".,-'’").replace("’", "'")
    return _SPELLED.get(word, word)


def _normalize_word(word: str) -> str:
    return word if word in _OPPOSED or word in _ALTERING else _make_singular(word)


def _make_singular(word: str) -> str:
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if re.search(r"(?:s|x|z|ch|sh)es$", word):
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith("ss") and len(word) > 3 else word


SCALES: Mapping[str, int] = {
    "dozen": 12,
    "hundred": 100,
    "thousand": 10**3,
    "million": 10**6,
    "billion": 10**9,
    "trillion": 10**12,
}
"""Words that are factors, with their value."""
