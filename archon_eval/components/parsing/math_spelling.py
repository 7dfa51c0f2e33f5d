r"""What a mathematical answer says, whatever its spelling: its values, and the units and words beside each.

All rules of this project about equal answers stand here; what is left is LaTeX without units, styles and words, which
`math_equality.py` has compared by math-verify.

    >>> read_answer(r"2~\text{hours }30\text{ minutes}").spelling
    '9000|time1'
    >>> prepare_comparison(read_answer(r"\$18.00 per day"), read_answer("18"))
    True
    >>> prepare_comparison(read_answer(r"\pi r^2"), read_answer(r"\pi r^2 h"))
    [[[('\\pi r^2 h', ['\\pi r^2'])]]]

Forgiven are styles, kinds of space, a missing unit, and numbers written in another way (`1\,200`, `1.2e3`,
`0.\overline{3}`). Not forgiven are a variable at the end, another unit or word, another order of letters or of a tuple,
a value more or less in a list, a prime, a rounded decimal, two numbers with a space (`2 3` is not 23, `1 1/2` is 1.5),
a percent sign beside less than one (`0.5\%` is 0.005, not 0.5).
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache

from archon_eval.components.parsing.math_sets import write_as_intervals
from archon_eval.components.parsing.math_units import (
    SCALES,
    Words,
    compare_leads,
    compare_words,
    is_carrying,
    is_unit,
    read_lead,
    read_words,
)

MAX_UNORDERED_VALUES = 30
"""Values of a list that are looked for in any order; longer lists are compared place by place."""
Pair = bool | list[tuple[str, list[str]]]
"""Whether two values are equal; or what an engine must find equal, all of it: an expected expression, and the spellings
of the other, of which one must equal it."""

_OPEN, _CLOSE = "\ue000", "\ue001"
"""Around each word of running text inside a formula."""
_CHARACTERS = str.maketrans(
    {
        "−": "-",
        "–": "-",
        "—": "-",
        "×": r"\times ",
        "·": r"\cdot ",
        "⋅": r"\cdot ",
        "÷": r"\div ",
        "π": r"\pi ",
        "∞": r"\infty ",
        "≤": r"\le ",
        "≥": r"\ge ",
        "≈": r"\approx ",
        "≠": r"\neq ",
        "±": r"\pm ",
        "∪": r"\cup ",
        "∩": r"\cap ",
        "∈": r"\in ",
        "∅": r"\emptyset ",
        "∠": r"\angle ",
        "°": r"^\circ ",
        "′": "'",
        "″": "''",
        "θ": r"\theta ",
        "α": r"\alpha ",
        "β": r"\beta ",
        "λ": r"\lambda ",
        "ω": r"\omega ",
        "½": r"\frac{1}{2}",
        "¼": r"\frac{1}{4}",
        "¾": r"\frac{3}{4}",
        "“": '"',
        "”": '"',
        "’": "'",
        "\u2061": None,
        "\u200b": None,
    }
)
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺", "0123456789-+")
_SPELLINGS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), to)
    for pattern, to in (
        (r"√\s*\(([^()]*)\)", r"\\sqrt{\1}"),
        (r"√\s*(\d+|[A-Za-z])", r"\\sqrt{\1}"),
        (r"\{\s*([,:])\s*\}", r"\1"),
        (r"\\varnothing\b", r"\\emptyset "),
        (r"\\!\s*|\\(?:displaystyle|textstyle|limits|left|right|big|Big|bigg|Bigg)(?![A-Za-z])\.?", ""),
        (r"\\(?:mid)(?![A-Za-z])", "|"),
        (
            r"~|(?<!\\)\\[ ,;:>]|\\(?:quad|qquad|enspace|thinspace|medspace|thickspace|nobreakspace|hfill)(?![A-Za-z])",
            " ",
        ),
        (r"\\[hv]space\*?\{[^{}]*\}", " "),
        (r"\\[dtc]frac(?![A-Za-z])", r"\\frac"),
        (r"\\leqslant(?![A-Za-z])|\\leq(?![A-Za-z])", r"\\le "),
        (r"\\geqslant(?![A-Za-z])|\\geq(?![A-Za-z])", r"\\ge "),
        (r"\\(?:degrees?)(?![A-Za-z])|\^\s*\{?\s*\\circ\s*\}?", r"^\\circ "),
        (r"(\d)\s*\^\\circ\s*([CF])\b", "\\1" + _OPEN + "°\\2" + _CLOSE),
        (r"\\(?:prime)(?![A-Za-z])", "'"),
        (r"\^\s*\{\s*('+)\s*\}|\^\s*('+)", r"\1\2"),
        (r"\\gamma(?![A-Za-z])(?!\s*\()", r"g_{amma} "),
        (r"(?<![\w.\\])(\d+(?:\.\d+)?|\.\d+)[eE]\{?([+-]?)0*(\d{1,4})\}?(?![\w.])", r"\1\\times 10^{\2\3}"),
        (r"^\s*\\approx(?![A-Za-z])\s*", ""),
        (r"^\s*\{(\d+(?:\.\d+)?)\}", r"\1"),
        (r"(?<![\w.\\])(\d+)\s*(?:th\b|\^\s*\{?\s*th\b\s*\}?)", r"\1"),
        (r"\+\s*-", "-"),
        (r"-\s*-", "+"),
        (r"(?<=\d)\s*\*\s*10\s*(?:\*\*|\^)\s*\(?([+-]?\d+)\)?", r"\\times 10^{\1}"),
        (r"\*\*", "^"),
        (r"^(-?)0,(\d+)$", r"\g<1>0.\2"),
    )
)
_TEXT_COMMANDS = (
    "text",
    "textbf",
    "textit",
    "textrm",
    "textnormal",
    "textsf",
    "mathrm",
    "mbox",
    "hbox",
    "operatorname",
)
_STYLE_COMMANDS = (
    "underline",
    "bm",
    "boldsymbol",
    "mathbf",
    "mathit",
    "mathsf",
    "mathtt",
    "pmb",
    "emph",
    "boxed",
    "fbox",
    "textcolor",
    "ensuremath",
)
_FUNCTION_NAMES = "sin cos tan cot sec csc arcsin arccos arctan sinh cosh tanh ln log exp max min gcd lcm"
_OTHER_NAMES = "sqrt frac pi infty infinity and or mod det"
_FUNCTIONS = frozenset(_FUNCTION_NAMES.split())
_NOT_WORDS = _FUNCTIONS.union(_OTHER_NAMES.split())
_COUNTED = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
_NUMBER_WORDS = {word: str(number) for number, word in enumerate(_COUNTED.split())}
_PHRASES = {
    "no solution": r"\emptyset",
    "no solutions": r"\emptyset",
    "no real solution": r"\emptyset",
    "no real solutions": r"\emptyset",
    "empty set": r"\emptyset",
    "the empty set": r"\emptyset",
    "all real numbers": r"(-\infty,\infty)",
    "all reals": r"(-\infty,\infty)",
}
_CURRENCY = {"$": "dollar", "€": "euro", "£": "gbp", "¥": "yen", "₹": "rupee"}
_CURRENCY_SIGN = re.compile(r"(?:US\s*)?\\?([$€£¥₹])|(USD|EUR|GBP)(?=\s*\d)")
_WORD = r"(?:(?:[A-Za-z]\.){2,}|[A-Za-z]{2,}(?:['’-][A-Za-z]+)*|[A-Za-z])"
_WORDS = re.compile(_WORD)
_WORD_RUN = re.compile(rf"{_WORD}(?:(?:\s+|\s*/\s*){_WORD})*")
_SHORT = "a an at by he in is it no of on or so to up we and but for not one two six the"
_SHORT_WORDS = frozenset(_SHORT.split())
_MARKED = re.compile(f"{_OPEN}([^{_CLOSE}]*){_CLOSE}")
_TAIL = re.compile(
    rf"(?:\s*(?:{_OPEN}[^{_CLOSE}]*{_CLOSE}|\\?%|/|\\cdot|\^\\circ|(?<={_CLOSE})\s*\^\s*\{{?-?\d\}}?|(?<={_CLOSE})\s*[.\-,]))+\s*$"
)
_HEAD = re.compile(rf"^\s*(?:{_OPEN}[^{_CLOSE}]*{_CLOSE}[\s:.]*)+(?:=\s*)?")
_PLAIN = re.compile(
    r"(-?)\s*(?:\\frac\s*\{\s*(-?\d{1,300})\s*\}\s*\{\s*(\d{1,300})\s*\}|(\d{1,300})\s*/\s*(\d{1,300})"
    r"|(\d{0,300}(?:\.\d{0,300})?)(?:\s*(?:\\times|\\cdot)\s*10\s*\^\s*\{?\s*([+-]?\d{1,3})\s*\}?)?)"
)
_UNIT_FRACTION = re.compile(
    rf"\\frac\s*\{{\s*({_OPEN}[^{_CLOSE}]*{_CLOSE})\s*\}}\s*\{{\s*({_OPEN}[^{_CLOSE}]*{_CLOSE}\s*(?:\^\s*\{{?\d\}}?)?)\s*\}}\s*$"
)
_THOUSANDS = re.compile(r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?![\d,])")
_SPACED_THOUSANDS = re.compile(
    r"(?<![\w.,}])(?<!\d )(?<!\\frac )(?<!\\binom )"
    r"(?:\d{1,3}(?: \d{3})+(?:\.\d+)?|\d+\.\d{3}(?: \d{3})*(?: \d{1,3}))(?!\d| \d)"
)
_MIXED = re.compile(r"(?<![\w.,}^])(?<!\d )(\d{1,300}) (\d{1,300}) ?/ ?(\d{1,300})(?![\w.])")
_SPACED_DIGITS = re.compile(r"(?<=\d) (?=[\d.])(?<![A-Za-z_^]\d )(?<![_^]\d\d )(?<!\\frac \d )(?<!\\binom \d )")
_REPEATING = re.compile(r"(\d*)\.(\d*)\\(?:overline|bar|dot)\s*(?:\{(\d+)\}|(\d))")
_NUMERAL_BASE = re.compile(r"([0-9][0-9A-Z]*)_\{?([0-9]+|[a-z]+)\}?")
_PRIMED = re.compile(r"(?<![A-Za-z\\])([A-Za-z])('{1,4})(?!')")
_ANGLE = re.compile(r"\\angle\s*(?:\{\s*([A-Z])\s*([A-Z])\s*([A-Z])\s*\}|([A-Z])\s*([A-Z])\s*([A-Z])(?![A-Za-z]))")
_COUNTER = re.compile(r"(?<=[\d}])\s*[个個元人只本米天岁块條条次张名件]\s*$")
"""A Chinese measure word behind a number: its unit, which the other side may lack."""
_PLUS_MINUS = re.compile(r"\\(pm|mp)(?![A-Za-z])\s*")


@dataclass(frozen=True, slots=True)
class Value:
    """One value of an answer."""

    parts: tuple[str, ...]
    """LaTeX, in parts where words stand inside; empty for mere words."""
    inner: tuple[str, ...]
    """The words between the parts, or all of them where there is no part."""
    words: Words
    """Its units, and the words after it."""
    lead: frozenset[str] = frozenset()
    """The words before it, without units and mere fillings: `june` of `June 5`."""
    name: str = ""
    """The words of which it is the value: `area` of `\\text{area} = 5`."""
    percent: bool = False
    bare: str = ""
    """The variables at its end that are a unit if the other side has that unit as text: `m` of `5 m`."""

    @property
    def spelling(self) -> str:
        """Equal for values that are spelt alike in all that counts."""
        number = _parse_plain(self.parts[0]) if len(self.parts) == 1 else None
        scaled = "&".join("".join(part.split()) for part in self.parts) if number is None else ""
        if number is not None:
            scaled = str(number * self.words.factor)
        elif self.words.factor != 1:
            scaled += f"*{self.words.factor}"
        units = ".".join(f"{d}{e}" for d, e in sorted(self.words.unit))
        extra = [" ".join(self.inner), units, "%" * self.percent, " ".join(sorted(self.words.others))]
        named = [f"{self.name}=" if self.name else "", " ".join(sorted(self.lead))]
        return "|".join([scaled, *filter(None, extra), *(f"<{word}" for word in named if word)])


@dataclass(frozen=True, slots=True)
class MathAnswer:
    """A mathematical answer as its values."""

    text: str
    """The normalised LaTeX of all of it."""
    values: tuple[Value, ...]
    ordered: bool
    """Whether it is one tuple, so that the order of its values counts."""
    is_set: bool
    """Whether it is written as a set, in which a value stands once."""
    name: str = ""
    """The variable whose values they are, where one is said before a set."""

    @property
    def is_plain(self) -> bool:
        """Whether it is a number and nothing else, so that two of them are equal only if they are spelt alike."""
        [value, *more] = self.values or [None]
        if value is None or more or value != Value(value.parts, (), Words()) or len(value.parts) != 1:
            return False
        return _parse_plain(value.parts[0]) is not None

    @property
    def has_several(self) -> bool:
        """Whether it is a list or a tuple of values."""
        tuple_ = re.fullmatch(r"\((.*)\)", self.text)
        return len(self.values) > 1 or bool(tuple_ and _is_enclosed(self.text) and len(_split(tuple_[1])) > 1)

    @property
    def spelling(self) -> str:
        """Equal for answers that are spelt alike in all that counts."""
        values = [value.spelling for value in self.values]
        return ("(" if self.ordered else "") + ", ".join(values if self.ordered else sorted(values))


def prepare_comparison(answer: MathAnswer, gold: MathAnswer) -> bool | list[list[Pair]]:
    """Whether two answers are equal, or what an engine must find out for that.

    The table has a row for each value of `answer` and in it a column for each value of `gold`; every value of `answer`
    needs a value of `gold` of its own.
    """
    if answer.name and gold.name and answer.name != gold.name:
        return False
    if answer.spelling == gold.spelling and answer.values:
        return True
    answer, gold = _align(answer, gold)
    if not answer.values or not gold.values:
        return answer.text == gold.text
    if len(answer.values) != len(gold.values):
        whole = [_compare_parts((gold.text,), (answer.text,))]
        return [whole] if _has_set_operator(gold, answer) else False
    n = len(gold.values)
    in_order = answer.ordered or gold.ordered or n > MAX_UNORDERED_VALUES
    table: list[list[Pair]] = [
        [False if in_order and row != column else _compare_values(a, g) for column, g in enumerate(gold.values)]
        for row, a in enumerate(answer.values)
    ]
    if not all(any(pair is not False for pair in row) for row in table):
        return False
    if n == 1 and isinstance(table[0][0], bool):
        return table[0][0]
    return table


@lru_cache(maxsize=10_000)
def read_answer(latex: str) -> MathAnswer:
    """The values of an answer in LaTeX or in plain text, without its box."""
    text = write_as_intervals(_normalize(latex))
    if compound := _read_compound(text):
        return MathAnswer(text, (compound,), ordered=False, is_set=False)
    braced = re.fullmatch(r"(?:([A-Za-z])\s*(?:=|\\in(?![A-Za-z]))\s*)?(\\\{(.*)\\\})", text)
    is_set = bool(braced and _is_enclosed(braced[2]))
    body = braced[3] if braced and is_set else text
    pieces = [piece for item in _split(body) for piece in _expand_plus_minus(item)]
    values = [_read_value(piece) for piece in pieces]
    if is_set or all(value.parts and value.parts[0].startswith("(") for value in values):
        values = list({value.spelling: value for value in values}.values())
    return MathAnswer(text, tuple(values), ordered=False, is_set=is_set, name=(braced[1] or "") if braced else "")


def _align(answer: MathAnswer, gold: MathAnswer) -> tuple[MathAnswer, MathAnswer]:
    """Both with as many values, where one is a tuple and the other its values, or `1,200` may be one number or two."""
    sides = [answer, gold]
    for this, that in ((0, 1), (1, 0)):
        if len(sides[this].values) == 1 and len(sides[that].values) > 1:
            inside = re.fullmatch(r"\((.*)\)|\[(.*)\]|\{(.*)\}", sides[this].text)
            body = next(filter(None, inside.groups()), "") if inside and _is_enclosed(sides[this].text) else ""
            as_list = "" if body else sides[this].text
            if body or _THOUSANDS.fullmatch(as_list):
                items = _split(body) if body else as_list.split(",")
                ordered = sides[this].text.startswith("(")
                sides[this] = MathAnswer(sides[this].text, tuple(map(_read_value, items)), ordered, is_set=False)
    return sides[0], sides[1]


def _has_set_operator(gold: MathAnswer, answer: MathAnswer) -> bool:
    fewer = min(gold, answer, key=lambda side: len(side.values))
    return len(fewer.values) == 1 and bool(
        re.search(r"\\(?:cup|cap|in|setminus|le|ge|lt|gt|begin|pm|mp)(?![A-Za-z])|[<>|]", fewer.text)
    )


def _compare_values(answer: Value, gold: Value) -> Pair:
    if not answer.parts or not gold.parts:
        return _compare_text(answer, gold)
    if answer.inner != gold.inner or (answer.name and gold.name and answer.name != gold.name):
        return False
    if not compare_leads(answer.lead, answer.words, gold.lead, gold.words):
        return False
    answer, gold = _take_bare_unit(answer, gold.words), _take_bare_unit(gold, answer.words)
    factor = compare_words(answer.words, gold.words)
    if factor is None:
        return False
    if len(gold.parts) > 1:
        return _compare_parts(gold.parts, answer.parts) if factor == 1 else False
    a, g = answer.parts[0], gold.parts[0]
    one, other = _NUMERAL_BASE.fullmatch(a), _NUMERAL_BASE.fullmatch(g)
    if one and other and _read_base(one) != _read_base(other):
        return False
    a, g = one[1] if one else a, other[1] if other else g
    if (one or other) and not (a.isdigit() and g.isdigit()):
        return a == g
    if re.fullmatch(r"[A-Z]{2,}|[A-Za-z]", a.replace(" ", "")) and re.fullmatch(r"[A-Za-z]+", g.replace(" ", "")):
        letters, expected = a.replace(" ", "").casefold(), g.replace(" ", "").casefold()
        if letters == expected or len(letters) == 1 or g.replace(" ", "").isupper():
            return letters == expected
    x, y = _parse_plain(a), _parse_plain(g)
    if x is not None and y is not None:
        x *= factor
        if answer.percent == gold.percent:
            return x == y
        share, number = (x, y) if answer.percent else (y, x)
        return share / 100 == number or (share == number and abs(share) >= 1)
    if factor != 1:
        a = rf"({a})\cdot\frac{{{factor.numerator}}}{{{factor.denominator}}}"
    spellings = [a]
    if answer.percent != gold.percent:
        spellings.append(rf"\frac{{{a}}}{{100}}" if answer.percent else rf"100\cdot({a})")
    return [(g, spellings)]


def _read_base(numeral: re.Match[str]) -> str:
    return _NUMBER_WORDS.get(numeral[2], numeral[2])


def _compare_parts(gold: Sequence[str], answer: Sequence[str]) -> Pair:
    return [(g, [a]) for g, a in zip(gold, answer, strict=True)] if len(gold) == len(answer) else False


def _compare_text(answer: Value, gold: Value) -> bool:
    """Mere words: equal but for case, articles and punctuation; or a letter or number that is not in `\\text`."""

    def spell(value: Value) -> str:
        text = " ".join(value.inner) if not value.parts else "".join(value.parts).replace(" ", "")
        words = [word for word in re.findall(r"[^\W_]+|\\?\S", text.casefold()) if word not in ("the", "a", "an")]
        joined = "".join(word for word in words if word not in "().,'\"-") or text.casefold()
        return _NUMBER_WORDS.get(joined, joined)

    return spell(answer) == spell(gold)


def _take_bare_unit(value: Value, other: Words) -> Value:
    """`5 m` with its `m` as the unit if that is the unit that the other side has."""
    if not value.bare or value.words.unit or not other.unit or read_words(value.bare).unit != other.unit:
        return value
    part = value.parts[0][: len(value.parts[0]) - len(value.bare)].rstrip()
    return replace(value, parts=(part,), words=read_words(value.bare), bare="")


def _parse_plain(latex: str) -> Fraction | None:
    """The number, if it is written with digits, a fraction bar, a power of ten."""
    match = _PLAIN.fullmatch(latex.strip())
    if not match:
        return None
    sign = -1 if match[1] else 1
    top, bottom = (match[2], match[3]) if match[2] else (match[4], match[5])
    if top:
        return sign * Fraction(int(top), int(bottom)) if int(bottom) else None
    if not match[6] or match[6] == ".":
        return None
    return (
        sign
        * Fraction("0" + match[6] if match[6][0] == "." else match[6].rstrip("."))
        * Fraction(10) ** int(match[7] or 0)
    )


def _normalize(latex: str) -> str:
    """One spelling of everything that is not words; words are marked."""
    text = re.sub("[⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺]+", lambda match: f"^{{{match[0].translate(_SUPERSCRIPTS)}}}", latex)
    text = _drop_math_delimiters(text.translate(_CHARACTERS).replace("\n", " "))
    if "matrix" not in text and "cases" not in text:
        text = re.sub(r"\\\\(?=[A-Za-z])", r"\\", text)
    text = _replace_command(text, _STYLE_COMMANDS, lambda content, _: f"{{{content}}}")
    text = _replace_command(text, _TEXT_COMMANDS, _read_text)
    text = re.sub(r"\{\\(?:rm|bf|it)\s+([^{}]*)\}", lambda match: _read_text(match[1], ""), text)
    for pattern, to in _SPELLINGS:
        text = pattern.sub(to, text)
    text = re.sub(r"\s+", " ", text).strip().rstrip(".").strip()
    text = _join_digits(text)
    text = _REPEATING.sub(_write_repeating, text)
    text = _ANGLE.sub(_write_angle, _COUNTER.sub("", text))
    text = _PRIMED.sub(lambda match: f"{match[1]}_{{{'p' * len(match[2])}rime}}", text)
    text = _mark_bare_words(text)
    while re.fullmatch(r"\{.*\}", text) and _is_enclosed(text):
        text = text[1:-1].strip()
    return text


def _write_angle(match: re.Match[str]) -> str:
    """An angle as one symbol: the same from either side, its vertex in the middle."""
    first, vertex, last = (letter for letter in match.groups() if letter)
    return f"q_{{{min(first, last)}{vertex}{max(first, last)}}}"


def _join_digits(text: str) -> str:
    """Numbers with spaces in them: `1 000` is one number, `1 1/2` a sum, and `2 3` neither 23 nor 6."""
    text = _SPACED_THOUSANDS.sub(lambda match: match[0].replace(" ", ""), text)
    text = _MIXED.sub(_write_mixed, text)
    return _SPACED_DIGITS.sub(f"{_OPEN} {_CLOSE}", text)


def _write_mixed(match: re.Match[str]) -> str:
    whole, top, bottom = (int(group) for group in match.groups())
    return rf"\frac{{{whole * bottom + top}}}{{{bottom}}}"


def _drop_math_delimiters(text: str) -> str:
    text = re.sub(r"\\[()\[\]]", " ", text) if re.search(r"\\[(\[]", text) else text
    bare = len(re.findall(r"(?<!\\)\$", text))
    return re.sub(r"(?<!\\)\$", " ", text) if bare and bare % 2 == 0 else text


def _replace_command(text: str, names: Sequence[str], write: Callable[[str, str], str]) -> str:
    r"""The text with each `\name{content}` replaced by `write(content, text before it)`, the inner ones first."""
    pattern = re.compile(
        r"\\(?:" + "|".join(names) + r")(?![A-Za-z])\s*\{([^{}]*(?:\{[^{}]*(?:\{[^{}]*\}[^{}]*)*\}[^{}]*)*)\}"
    )
    for _ in range(4):
        changed = pattern.sub(lambda match: write(match[1], match.string[: match.start()]), text)
        if changed == text:
            break
        text = changed
    return text


def _read_text(content: str, before: str) -> str:
    """The content of a `\\text{...}`: words marked, the rest as it is; in a subscript or exponent plain letters."""
    word = content.strip()
    if re.search(r"[_^]\s*\{?\s*$", before):
        return word
    if word in ("e", "i", "d"):
        return word
    if word in _FUNCTIONS:
        return rf"\{word} "
    if word.casefold().rstrip(",") in ("and", "or"):
        return f" {word.casefold()} "
    if "\\" in content:
        return content
    return re.sub(r"[A-Za-zµμΩ][A-Za-z'.’-]*", lambda match: f" {_OPEN}{match[0]}{_CLOSE} ", content)


def _mark_bare_words(text: str) -> str:
    """Words outside `\\text` marked: of a text of words alone, and after a number where they cannot be variables."""

    def mark(run: str) -> str:
        return _WORDS.sub(lambda match: f" {_OPEN}{match[0]}{_CLOSE} ", run)

    if re.fullmatch(r"[(\"']?[A-Za-z][A-Za-z\s,.'’\"()-]*", text):
        words = [word for word in _WORDS.findall(text) if word.casefold() not in _SHORT_WORDS]
        if (words and all(map(_is_prose, words))) or text.casefold() == "no":
            return re.sub(r"\s+", " ", mark(text)).strip()

    def check(match: re.Match[str]) -> str:
        run = match[0]
        before = match.string[: match.start()]
        if re.search(r"[\\{_^]\s*$|\\[A-Za-z]*$", before) or before.endswith(_OPEN):
            return run
        words = _WORDS.findall(run)
        last = before.rstrip()[-1:]
        after_number = bool(re.search(r"(?:\d[.]?|\d\}|\\?%)\s*$", before)) and not re.search(
            r"_\s*\{?\d+\}?\s*$", before
        )
        attached = before[-1:].isdigit()
        if (
            after_number
            and not attached
            and (_is_phrase(words) or (words == ["h"] and _parse_plain(before) is not None))
        ):
            return mark(run)
        if after_number and attached and len(words[0]) > 1 and _is_bare_unit(words[0]):
            return mark(run)
        if last in (_CLOSE,) and all(len(word) > 1 or word in "aI" for word in words):
            return mark(run)
        if not before.strip() and len(words) >= 1 and all(map(_is_prose, words)):
            return mark(run)
        return run

    return re.sub(r"\s+", " ", _WORD_RUN.sub(check, text)).strip()


def _is_phrase(words: Sequence[str]) -> bool:
    """Whether words after a number are words: `eggs`, `duck eggs a day`, `p.m.`, `cm`; not `x`, `xy`, `mg`."""
    if words[0].casefold() in ("and", "or") or words[0] in _NOT_WORDS:
        return False
    return (_is_prose(words[0]) or _is_bare_unit(words[0]) or is_carrying(words[0])) and all(
        len(word) > 1 or word in "aIA" for word in words
    )


def _is_bare_unit(word: str) -> bool:
    """Whether a word after a number is a unit though it could be a product; `mg`, `ms` and `in` more often are."""
    return len(word) > 1 and is_unit(word) and word not in ("mg", "ms", "in", "hr", "rad", "mV", "mA", "pt")


def _is_prose(word: str) -> bool:
    """Whether letters are a word rather than a product of variables."""
    parts = re.split(r"['’-]", word.rstrip("."))
    if len(parts) > 1:
        return _is_prose(parts[0])
    if word.casefold() in _NOT_WORDS:
        return False
    if len(word) == 3:
        known = word.casefold() in ("yes", "men", "egg", "day", "toy", "way", "pie", "new", "old", "odd", "per")
        return known or bool(re.fullmatch(r"[^aeiouAEIOUxyz][aeiou][^aeiouxyz]", word))
    return len(word) > 3 and not word.isupper() and bool(re.search(r"[aeiouy]", word.casefold()))


def _write_repeating(match: re.Match[str]) -> str:
    r"""`0.1\overline{6}` as a fraction."""
    whole, fixed, repeated = match[1] or "0", match[2], match[3] or match[4]
    bottom = 10 ** len(fixed) * (10 ** len(repeated) - 1)
    top = int(whole + fixed + repeated) - int(whole + fixed)
    return rf"\frac{{{top}}}{{{bottom}}}"


def _is_enclosed(text: str) -> bool:
    """Whether the first bracket of a text closes at its end."""
    depth = 0
    for place, step in _walk_depth(text):
        depth += step
        if depth == 0 and step < 0:
            return place == len(text) - 1
    return False


def _walk_depth(text: str) -> Iterator[tuple[int, int]]:
    """Place and step (1, -1) of each bracket; of an escaped one its second character."""
    for match in re.finditer(r"\\[{}]|\\[A-Za-z]+|\\.|[()\[\]{}]", text):
        if match[0][-1] in "([{":
            yield match.end() - 1, 1
        elif match[0][-1] in ")]}":
            yield match.end() - 1, -1
        elif match[0] in (r"\langle", r"\begin"):
            yield match.start(), 1
        elif match[0] in (r"\rangle", r"\end"):
            yield match.start(), -1


def _split(text: str) -> list[str]:
    """The values of a list: parts between commas, semicolons, "and", "or" that stand in no bracket."""
    steps = dict(_walk_depth(text))
    balance = [0]
    for place in range(len(text)):
        balance.append(balance[-1] + steps.get(place, 0))
    if balance[-1] != 0 or min(balance) < 0:  # ]1, 2[
        return [text]
    kept = {place for match in _THOUSANDS.finditer(text) for place in range(match.start(), match.end())}
    items, separators, start = [], set(), 0
    for match in re.finditer(
        r"\s*[,;]\s*(?:(?:and|or)\b\s*)?|\s+(?:and|or|&)\s+|(?<=[\d)}])\s*(?:and|or)\s*(?=[\d({\\-])", text
    ):
        inside = any(balance[place + 1] > 0 or place in kept for place in range(match.start(), match.end()))
        if not inside and balance[match.start()] == 0:
            items.append(text[start : match.start()])
            start = match.end()
            separators.add(match[0].strip()[:1])
    items.append(text[start:])
    if separators == {",", ";"}:  # p = 5, q = 2; p = 7, q = 2
        return [f"({group.strip()})" if "," in group else group.strip() for group in text.split(";")]
    return [item.strip() for item in items if item.strip()]


def _expand_plus_minus(item: str) -> list[str]:
    r"""`a \pm b` as its two values."""
    if not _PLUS_MINUS.search(item):
        return [item]

    def write(upper: bool) -> str:
        text = _PLUS_MINUS.sub(lambda match: "+" if (match[1] == "pm") == upper else "-", item)
        return re.sub(r"(^|[=({])\s*\+", r"\1", text).strip()

    return [write(True), write(False)]


def _read_compound(text: str) -> Value | None:
    """`2 hours 30 minutes` or `5 dollars and 20 cents` as one value in the base unit."""
    marked = rf"\s*{_OPEN}([^{_CLOSE}]*){_CLOSE}\s*"
    number = r"(\d+(?:\.\d+)?|\\frac\{\d+\}\{\d+\})"
    if not re.fullmatch(rf"(?:{number}{marked}(?:,\s*|,?\s*(?:and|{_OPEN}and{_CLOSE})\s*)?){{2,4}}", text):
        return None
    dimensions: set[tuple[str, int]] = set()
    factors: list[Fraction] = []
    total = Fraction(0)
    for amount, name in re.findall(number + marked, text):
        words, value = read_words(name), _parse_plain(amount)
        if value is None or len(words.unit) != 1 or words.others:
            return None
        dimensions |= words.unit
        factors.append(words.factor)
        total += value * words.factor
    if len(dimensions) != 1 or factors != sorted(set(factors), reverse=True):
        return None
    return Value((_write_fraction(total),), (), Words(frozenset(dimensions)))


def _write_fraction(value: Fraction) -> str:
    return str(value.numerator) if value.denominator == 1 else rf"\frac{{{value.numerator}}}{{{value.denominator}}}"


def _read_value(item: str) -> Value:
    """One value: its words and units apart from the rest."""
    text = item.strip().strip('"').strip()
    beside: list[str] = []
    while re.fullmatch(r"\{.*\}", text) and _is_enclosed(text):
        text = text[1:-1].strip()
    if _MARKED.search(text) and not re.search(r"\d|\\[A-Za-z]|[=<>]", text):
        letters = _MARKED.sub(" ", text).strip(" ().,'\"-:;!?")
        if not letters:
            said_words = tuple(word.strip(".") for word in _MARKED.findall(text))
            if latex := _PHRASES.get(" ".join(said_words).casefold()):
                return Value((latex,), (), Words())
            return Value((), said_words, Words())
    for sign in _CURRENCY_SIGN.finditer(text):
        beside.append(_CURRENCY.get(sign[1] or "", (sign[2] or "").casefold()))
    text = _CURRENCY_SIGN.sub("", text).strip()
    lead, name = frozenset[str](), ""
    if (head := _HEAD.match(text)) and text[head.end() :].strip():
        said_words = tuple(_MARKED.findall(head[0]))
        text = text[head.end() :].strip()
        if head[0].rstrip().endswith("="):
            if len(said_words) == 1 and len(said_words[0]) == 1:
                text = f"{said_words[0]}={text}"
            else:
                name = " ".join(said_words).casefold()
        else:
            units, lead = read_lead(said_words)
            beside += units
            negative = lead & {"negative", "minus"}
            if len(negative) == 1 and re.match(r"\d|\.\d|\\frac", text):
                text, lead = f"-{text}", lead - negative
    percent, factor = False, 1
    if fraction := _UNIT_FRACTION.search(text):
        beside.append(re.sub(f"[{_OPEN}{_CLOSE}]", " ", f"{fraction[1]}/{fraction[2]}"))
        text = text[: fraction.start()].strip()
    elif tail := _TAIL.search(text):
        said, text = tail[0], text[: tail.start()].strip()
        percent = "%" in said or bool(re.search(r"percent|pct", said, re.I))
        said = said.replace(r"\cdot", " ").replace(r"^\circ", " degree ")
        for scale, value in SCALES.items():
            if re.search(rf"\b{scale}\b", said):
                factor *= value
                said = re.sub(rf"\b{scale}\b", "", said)
        if percent:
            said = re.sub(r"(?i)\b(?:percentage|percent|pct|points?)\b", "", said)
        beside.append(re.sub(f"[{_OPEN}{_CLOSE}]", " ", said))
    text = text.rstrip(" .,").strip()
    if factor != 1:
        number = _parse_plain(text)
        text = _write_fraction(number * factor) if number is not None else rf"({text})\times {factor}"
    inner = tuple(word.casefold() for word in _MARKED.findall(text))
    parts = tuple(part.strip() for part in _MARKED.split(text)[::2]) if inner else (_tidy(text),)
    words = read_words(" ".join(beside))
    match = (
        re.fullmatch(r".*?[\d})]\s*([A-Za-z]{1,2}(?:\s*/\s*[a-z](?:\^\{?2\}?)?)?(?:\^\{?[23]\}?)?)", parts[0])
        if len(parts) == 1
        else None
    )
    return Value(parts, inner, words, lead, name, percent, match[1] if match else "")


def _tidy(text: str) -> str:
    """A value without thousands separators and without the base of a numeral in base ten."""
    if not re.search(r"[(\[{]", text):
        text = _THOUSANDS.sub(lambda match: match[0].replace(",", ""), text)
    return re.sub(r"^\+\s*", "", re.sub(r"^(-?)\.(?=\d)", r"\g<1>0.", text))
