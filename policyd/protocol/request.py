"""One policy request, typed: the attributes of CONTRACT.md A1."""

from collections.abc import Mapping
from enum import Enum
from typing import Final


class Stage(Enum):
    """The two protocol states that count; every other one is answered with a pass."""

    RCPT = "RCPT"
    END_OF_MESSAGE = "END-OF-MESSAGE"


_STAGES: Final[Mapping[str, Stage]] = {stage.value: stage for stage in Stage}
_LONGEST_NUMBER: Final = 18
"""Digits; sizes and counts stay within 64 bits, and int() has no work with hostile ones."""


class Request:
    """What Postfix says in one request.

    Attributes that Postfix did not send, as older versions do not send all of them, are empty.
    """

    __slots__ = ("_attributes",)

    def __init__(self, attributes: Mapping[str, str]) -> None:
        self._attributes = attributes

    def __repr__(self) -> str:
        return f"Request({dict(self._attributes)!r})"

    def __getitem__(self, name: str) -> str:
        """Return the attribute *name* as it arrived, or the empty string."""
        return self._attributes.get(name, "")

    @property
    def attributes(self) -> Mapping[str, str]:
        """All attributes as they arrived."""
        return self._attributes

    @property
    def is_access_policy(self) -> bool:
        """Whether this is a request of Postfix's access policy protocol at all."""
        return self["request"] == "smtpd_access_policy"

    @property
    def stage(self) -> Stage | None:
        """The stage, or None for a protocol state that counts nothing."""
        return _STAGES.get(self["protocol_state"])

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
