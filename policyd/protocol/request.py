"""One policy request, typed: the attributes of CONTRACT.md A1."""

from collections.abc import Mapping
from enum import Enum
from re import Match
from typing import Final


class Stage(Enum):
    """The two protocol states that count; every other one is answered with a pass.

    *CONTENT* comes after them, where a milter shows the content. Postfix has no such state.
    """

    RCPT = "RCPT"
    END_OF_MESSAGE = "END-OF-MESSAGE"
    CONTENT = "CONTENT"


_STAGES: Final[Mapping[str, Stage]] = {
    stage.value: stage for stage in (Stage.RCPT, Stage.END_OF_MESSAGE)
}
_LONGEST_NUMBER: Final = 18
"""Digits; sizes and counts stay within 64 bits, and int() has no work with hostile ones."""


class Request:
    """What Postfix says in one request.

    *values* are its attributes by name: a mapping, or what a pattern with a group for each has
    found. Attributes that Postfix did not send, as older versions do not send all of them, are
    empty. *stage* is None for a protocol state that counts nothing.
    """

    __slots__ = ("_values", "stage")

    def __init__(self, values: Mapping[str, str] | Match[str]) -> None:
        self._values = values
        self.stage = _STAGES.get(self["protocol_state"])

    def __repr__(self) -> str:
        return f"Request({dict(self.attributes)!r})"

    def __getitem__(self, name: str) -> str:
        """Return the attribute *name* as it arrived, or the empty string."""
        try:
            return self._values[name]
        except LookupError:
            return ""

    @property
    def attributes(self) -> Mapping[str, str]:
        """All attributes as they arrived."""
        values = self._values
        return values.groupdict() if isinstance(values, Match) else values

    @property
    def is_access_policy(self) -> bool:
        """Whether this is a request of Postfix's access policy protocol at all."""
        return self["request"] == "smtpd_access_policy"

    @property
    def recipient_count(self) -> int:
        """Accepted recipients so far: 0 at RCPT."""
        return _number(self["recipient_count"])

    @property
    def size(self) -> int:
        """Bytes: as declared by the client at RCPT, the actual ones at END-OF-MESSAGE."""
        return _number(self["size"])


def _number(text: str) -> int:
    """Return the decimal *text* as a number; 0 for what Postfix would not send."""
    if text.isascii() and text.isdigit() and len(text) <= _LONGEST_NUMBER:
        return int(text)
    return 0
