"""The kinds of quantities: numbers, sizes, percentages, durations.

What PyYAML would quietly turn into something else (``010``, ``12:30``, ``yes``) is an error here,
and names what to write instead.
"""

import re
from collections.abc import Callable
from typing import Final, NamedTuple

from policyd.config.kinds import ScalarKind, Schema
from policyd.config.nodes import Scalar
from policyd.config.problem import RuleError, quoted

MOST_DIGITS: Final = 15
_SIZES: Final = {
    "B": 1, "kB": 1000, "MB": 1000**2, "GB": 1000**3,
    "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3,
}  # fmt: skip
_SIZE: Final = re.compile(rf"([0-9]{{1,{MOST_DIGITS}}})({'|'.join(_SIZES)})")
_NEARLY_SIZE: Final = re.compile(
    rf"([0-9]{{1,{MOST_DIGITS}}})(?:\.([0-9]))? ?([kmgt])(i?)b?(?:ytes?)?", re.IGNORECASE
)
_PERCENTAGE: Final = r"(100|[0-9]{1,2}(\.[0-9]{1,3})?)%"
_DURATIONS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_DURATION: Final = re.compile(r"([0-9]{1,9})([smhdw])")
_LONGEST: Final = 400 * 86400


def plain_number(scalar: Scalar) -> int:
    """Return the number that *scalar* is: decimal digits and nothing else, not in quotes.

    Raise RuleError for everything else.
    """
    text = scalar.text
    if not scalar.quoted and re.fullmatch(r"0|[1-9][0-9]*", text):
        if len(text) <= MOST_DIGITS:
            return int(text)
        message = f"{quoted(text)} is too large"
        raise RuleError(scalar.place, message, f"write at most {MOST_DIGITS} digits")
    raise RuleError(scalar.place, *_no_number(text))


def _without_separators(text: str) -> int:
    return int(re.sub("[^0-9]", "", text))


def _with_exponent(text: str) -> int:
    digits, _, exponent = text.lower().partition("e")
    return int(digits + int(exponent) * "0")


_NO_NUMBERS: Final[tuple[tuple[str, str, Callable[[str], int] | None], ...]] = (
    ("0|[1-9][0-9]*", "in quotes is text, no number", int),
    ("[0-9]+", "begins with 0 and could be octal", int),
    ("-[0-9]+", "is negative", lambda text: -int(text)),
    (r"\+[0-9]+", "has a sign", int),
    ("[0-9]+(:[0-9]+)+", "is no number (YAML may read it in base 60)", None),
    ("[0-9][0-9_]*", "has separators", _without_separators),
    (r"[0-9]{1,3}([,.' ][0-9]{3})+", "has separators", _without_separators),
    (r"[0-9]+\.[0-9]*", "is no whole number", lambda text: int(text.partition(".")[0])),
    (r"[0-9]+[eE]\+?[0-9]", "is no plain number", _with_exponent),
    ("0[xX][0-9a-fA-F]+|0[oO][0-7]+|0[bB][01]+", "is no decimal number", lambda n: int(n, 0)),
    ("[0-9]+[smhdw]", "is a duration, no number", lambda text: int(text[:-1])),
    (_SIZE.pattern, "is a size, no number", None),
)
"""What is written where a number belongs: its form, what is wrong, and what it may mean."""


def _no_number(text: str) -> tuple[str, str]:
    """Return what is wrong with *text* as a number, and the likely fix."""
    if len(text) <= 2 * MOST_DIGITS:
        for form, wrong, meant in _NO_NUMBERS:
            if re.fullmatch(form, text):
                cure = meant(text) if meant else "digits, such as 250"
                return f"{quoted(text)} {wrong}", f"write {cure}"
    return f"{quoted(text)} is no number", "write digits, such as 250"


class Number(ScalarKind[int]):
    """A whole number in decimal digits."""

    def __init__(self, example: int, *, least: int = 0, most: int = 10**MOST_DIGITS - 1) -> None:
        self.noun = "a number"
        self.example = example
        self._least, self._most = least, most

    def parse(self, scalar: Scalar) -> int:
        """Return the number within its bounds."""
        number = plain_number(scalar)
        if not self._least <= number <= self._most:
            bound = f"{self._least} or more" if number < self._least else f"at most {self._most}"
            if self._least == self._most:
                bound = str(self._least)
            raise RuleError(scalar.place, f"{number} is out of range", f"write {bound}")
        return number

    def schema(self) -> Schema:
        """Return the schema of an integer."""
        return {"type": "integer", "minimum": self._least, "maximum": self._most}


class Amount(NamedTuple):
    """How much: a number, told with a unit of size or without; None is unlimited."""

    value: int | None
    is_size: bool = False


class AmountKind(ScalarKind[Amount]):
    """A number, or a size such as 25MB, or ``unlimited`` where *unlimited* says so."""

    def __init__(self, *, unlimited: bool = False) -> None:
        self.noun = "a number"
        self.example = 250
        self._unlimited = unlimited

    def parse(self, scalar: Scalar) -> Amount:
        """Return the amount; a size without a unit is in bytes."""
        text = scalar.text
        if text.lower() == "unlimited":
            if self._unlimited and text == "unlimited":
                return Amount(None)
            hint = "write it in lower case" if self._unlimited else "only an override can say so"
            raise RuleError(scalar.place, f"{quoted(text)} is no number", hint)
        if (size := _size(scalar)) is not None:
            return Amount(size, is_size=True)
        return Amount(plain_number(scalar))

    def schema(self) -> Schema:
        """Return the schema of a number or a size."""
        forms: list[Schema] = [
            {"type": "integer", "minimum": 0},
            {"type": "string", "pattern": f"^[0-9]+({'|'.join(_SIZES)})$"},
        ]
        if self._unlimited:
            forms.append({"const": "unlimited"})
        return {"anyOf": forms}


class Size(ScalarKind[int]):
    """A size in bytes, with its unit."""

    def __init__(self, example: str, *, least: int) -> None:
        self.noun = "a size"
        self.example = example
        self._least = least

    def parse(self, scalar: Scalar) -> int:
        """Return the bytes."""
        size = _size(scalar)
        if size is None:
            raise RuleError(
                scalar.place,
                f"{quoted(scalar.text)} is no size",
                f"write a number and a unit, such as {self.example}",
            )
        if size < self._least:
            least = as_size(self._least)
            raise RuleError(scalar.place, f"{scalar.text} is too little", f"write {least} or more")
        return size

    def schema(self) -> Schema:
        """Return the schema of a size."""
        return {"type": "string", "pattern": f"^[0-9]+({'|'.join(_SIZES)})$"}


def _size(scalar: Scalar) -> int | None:
    """Return the bytes of a size with a unit, or None when *scalar* is no size.

    Raise RuleError for what is nearly one.
    """
    cure = ""
    if found := _SIZE.fullmatch(scalar.text):
        number = int(found[1]) * _SIZES[found[2]]
    elif found := _NEARLY_SIZE.fullmatch(scalar.text):
        whole, tenths, letter, binary = found.groups()
        base = 1024 if binary else 1000
        number = int(whole + (tenths or "0")) * base ** ("kmgt".index(letter.lower()) + 1) // 10
        cure = as_size(number)
    else:
        return None
    if number >= 10**MOST_DIGITS:
        raise RuleError(scalar.place, f"{quoted(scalar.text)} is too large", "write less")
    if cure:
        raise RuleError(scalar.place, f"{quoted(scalar.text)} is no size", f"write {cure}")
    return number


def as_size(number: int) -> str:
    """Return *number* bytes as they are written in the rule file, in the largest unit that fits."""
    for unit, length in sorted(_SIZES.items(), key=lambda item: -item[1]):
        if number and number % length == 0:
            return f"{number // length}{unit}"
    return f"{number}B"


class Tolerance(NamedTuple):
    """How far sizes may be apart: in bytes, or in percent."""

    value: float
    percent: bool


class ToleranceKind(ScalarKind[Tolerance]):
    """A number of bytes, or a percentage."""

    def __init__(self) -> None:
        self.noun = "a number of bytes or a percentage"
        self.example = 64

    def parse(self, scalar: Scalar) -> Tolerance:
        """Return the tolerance."""
        text = scalar.text
        if re.fullmatch(_PERCENTAGE, text):
            return Tolerance(float(text[:-1]), percent=True)
        if "%" in text:
            message = f"{quoted(text)} is no percentage"
            raise RuleError(scalar.place, message, "write one from 0% to 100%, such as 2%")
        size = _size(scalar)
        return Tolerance(plain_number(scalar) if size is None else size, percent=False)

    def schema(self) -> Schema:
        """Return the schema of a number or a percentage."""
        pattern = rf"^({_PERCENTAGE}|[0-9]+({'|'.join(_SIZES)}))$"
        return {
            "anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": pattern}]
        }


class Percentage(ScalarKind[int]):
    """A whole percentage from 1% to 100%."""

    def __init__(self, example: str) -> None:
        self.noun = "a percentage"
        self.example = example

    def parse(self, scalar: Scalar) -> int:
        """Return the percentage as a number."""
        text = scalar.text
        if re.fullmatch("[1-9][0-9]?%|100%", text):
            return int(text[:-1])
        number = text.removesuffix("%").strip()
        hint = f"write {number}%" if re.fullmatch("[1-9][0-9]?", number) else "write 1% to 100%"
        raise RuleError(scalar.place, f"{quoted(text)} is no percentage", hint)

    def schema(self) -> Schema:
        """Return the schema of a percentage."""
        return {"type": "string", "pattern": "^([1-9][0-9]?|100)%$"}


class Duration(ScalarKind[int]):
    """A number with one unit: ``90s``, ``10m``, ``24h``, ``7d``, ``2w``; in seconds."""

    def __init__(self, example: str, *, most: int = _LONGEST) -> None:
        self.noun = "a duration"
        self.example = example
        self._most = most

    def parse(self, scalar: Scalar) -> int:
        """Return the seconds, at least one and at most 400 days, or as many as it may be."""
        text = scalar.text
        found = _DURATION.fullmatch(text)
        if not found:
            raise RuleError(scalar.place, f"{quoted(text)} is no duration", _duration_cure(text))
        seconds = int(found[1]) * _DURATIONS[found[2]]
        if not seconds:
            raise RuleError(scalar.place, f"{quoted(text)} is too short", "write at least 1s")
        if seconds > self._most:
            hint = f"write at most {as_duration(self._most)}"
            raise RuleError(scalar.place, f"{quoted(text)} is too long", hint)
        return seconds

    def schema(self) -> Schema:
        """Return the schema of a duration."""
        return {"type": "string", "pattern": "^0*[1-9][0-9]*[smhdw]$"}


def as_duration(seconds: int) -> str:
    """Return *seconds* as they are written in the rule file, in the largest unit that fits."""
    for unit, length in sorted(_DURATIONS.items(), key=lambda item: -item[1]):
        if seconds % length == 0 and unit != "w":
            return f"{seconds // length}{unit}"
    return f"{seconds}s"


def _duration_cure(text: str) -> str:
    """Return the hint for what is meant to be a duration."""
    if len(text) <= 2 * MOST_DIGITS:
        if re.fullmatch("[0-9]+", text):
            return f"write a unit: {text}s, {text}m, {text}h or {text}d"
        parts = re.findall(r"([0-9]+)(?:\.([0-9]))? ?([smhdw])[a-z]*", text.lower())
        seconds = sum(int(n + (t or "0")) * _DURATIONS[u] / 10 for n, t, u in parts)
        if 1 <= seconds <= _LONGEST and seconds == int(seconds):
            whole = len(parts) == 1 and not parts[0][1]
            return f"write {parts[0][0] + parts[0][2] if whole else as_duration(int(seconds))}"
    return "write a number and one unit, such as 90s, 10m, 24h or 7d"
