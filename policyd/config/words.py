"""The kinds of words: truths, choices, texts, dates, time zones."""

import re
from collections.abc import Mapping
from datetime import UTC, date, tzinfo
from enum import Enum
from typing import Final, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from policyd.config.kinds import ScalarKind, Schema, suggestion
from policyd.config.nodes import Scalar
from policyd.config.problem import RuleError, quoted

E = TypeVar("E", bound=Enum)

_TRUTHS: Final = {"yes": "true", "on": "true", "y": "true", "1": "true", "true": "true"} | {
    "no": "false", "off": "false", "n": "false", "0": "false", "false": "false"
}  # fmt: skip
_LAST_YEAR: Final = 2999


class Boolean(ScalarKind[bool]):
    """``true`` or ``false``, and no other word."""

    def __init__(self) -> None:
        self.noun = "true or false"
        self.example = True

    def parse(self, scalar: Scalar) -> bool:
        """Return the truth."""
        text = scalar.text
        if text in ("true", "false") and not scalar.quoted:
            return text == "true"
        truth = _TRUTHS.get(text.lower(), "true or false")
        quotes = " without quotes" if text in ("true", "false") else ""
        message = f"{quoted(text)} is neither true nor false"
        raise RuleError(scalar.place, message, f"write {truth}{quotes}")

    def schema(self) -> Schema:
        """Return the schema of a boolean."""
        return {"type": "boolean"}


class OneOf(ScalarKind[E]):
    """One of the values of an enumeration.

    *explanations* say why other words, which are often tried, are none of them.
    """

    def __init__(
        self, noun: str, words: type[E], explanations: Mapping[str, str] | None = None
    ) -> None:
        self.noun = noun
        self._words = {str(word.value): word for word in words}
        self.example = next(iter(self._words))
        self._explanations = explanations or {}

    def parse(self, scalar: Scalar) -> E:
        """Return the member of the enumeration."""
        text = scalar.text
        if text in self._words:
            return self._words[text]
        hint = self._explanations.get(text) or suggestion(text, self._words)
        raise RuleError(scalar.place, f"{quoted(text)} is not {self.noun}", hint)

    def schema(self) -> Schema:
        """Return the schema of the enumeration."""
        return {"enum": list(self._words)}


class Text(ScalarKind[str]):
    """Any text."""

    def __init__(self, noun: str = "a text", example: str = "text", pattern: str = "") -> None:
        self.noun = noun
        self.example = example
        self._pattern = pattern

    def parse(self, scalar: Scalar) -> str:
        """Return the text, which must have the form that is asked for."""
        if self._pattern and not re.fullmatch(self._pattern, scalar.text):
            message = f"{quoted(scalar.text)} is not {self.noun}"
            raise RuleError(scalar.place, message, f"write something like {self.example}")
        return scalar.text

    def schema(self) -> Schema:
        """Return the schema of a text; unquoted digits are text as well."""
        if self._pattern:
            return {"type": "string", "pattern": f"^({self._pattern})$"}
        return {"type": ["string", "number", "boolean"]}


class Date(ScalarKind[date]):
    """A day, as YYYY-MM-DD."""

    def __init__(self) -> None:
        self.noun = "a date"
        self.example = "2030-01-31"

    def parse(self, scalar: Scalar) -> date:
        """Return the day."""
        text = scalar.text
        if re.fullmatch("[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
            try:
                day = date.fromisoformat(text)
            except ValueError:
                message, hint = f"there is no day {text}", "check the month and the day"
                raise RuleError(scalar.place, message, hint) from None
            if day.year <= _LAST_YEAR:
                return day
            raise RuleError(scalar.place, f"{text} is too far away", "delete the key: no end")
        raise RuleError(scalar.place, f"{quoted(text)} is no date", _date_cure(text))

    def schema(self) -> Schema:
        """Return the schema of a date."""
        return {"type": "string", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$"}


def _date_cure(text: str) -> str:
    if found := re.fullmatch(r"([0-9]{1,2})\.([0-9]{1,2})\.([0-9]{4})", text):
        return f"write {found[3]}-{found[2]:0>2}-{found[1]:0>2}"
    if found := re.fullmatch(r"([0-9]{4})[-/.]([0-9]{1,2})[-/.]([0-9]{1,2})([T ].*)?", text):
        return f"write {found[1]}-{found[2]:0>2}-{found[3]:0>2}"
    return "write year, month and day, such as 2030-01-31"


class TimeZone(ScalarKind[tzinfo]):
    """The name of a time zone."""

    def __init__(self) -> None:
        self.noun = "a time zone"
        self.example = "Europe/Berlin"

    def parse(self, scalar: Scalar) -> tzinfo:
        """Return the time zone; UTC needs no database."""
        text = scalar.text
        if text == "UTC":
            return UTC
        try:
            return ZoneInfo(text)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            message = f"unknown time zone {quoted(text)}"
            raise RuleError(scalar.place, message, _zone_cure(text)) from None

    def schema(self) -> Schema:
        """Return the schema of a name."""
        return {"type": "string"}


def _zone_cure(text: str) -> str:
    zones = available_timezones()
    if not zones:
        return "install the package tzdata, or write UTC"
    by_city = {zone.rpartition("/")[2].lower(): zone for zone in sorted(zones, reverse=True)}
    city = text.strip().replace(" ", "_").rpartition("/")[2].lower()
    if city in by_city:
        return f"write {by_city[city]}"
    return suggestion(text, zones)
