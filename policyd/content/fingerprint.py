"""What a message is like: a value to compare, of which no text can be read.

A message of some length has a *sketch*: the smallest of the keyed hashes of all runs of three words
in it. How many of them two messages share tells how much of their words they share, whatever else
their senders put in. A short message has no such middle ground: it is known by one hash of all that
it holds.
"""

from collections.abc import Sequence
from enum import Enum
from math import ceil
from typing import Final, NamedTuple

SKETCH: Final = 64
"""The most hashes that a sketch has."""

ALIKE: Final = 1 / 3
"""The share of their hashes that two sketches must have in common."""

SHORTEST: Final = 12
"""Words; a message of fewer, without boilerplate, is known by one hash of all that it holds."""

_EXACT: Final = 2
"""Numbers that the one hash of a short message is written in."""


class Kind(Enum):
    """How a message is known.

    *SKETCH*: by its words. *EXACT*: by one hash of its text, subject and attachments. *UNKNOWN*:
    it is encrypted, and its content says nothing.
    """

    SKETCH = "sketch"
    EXACT = "exact"
    UNKNOWN = "unknown"


class Fingerprint(NamedTuple):
    """What a message is like.

    *hashes* are 32-bit numbers in ascending order, but for those of an *EXACT* one. *subject* is in
    clear, one line; it is no part of what is compared. *is_calendar_reply* tells that the message
    answers an invitation: whoever invites many gets, and whose calendar accepts much sends, many
    that are alike. It is the message's own claim, so it should excuse only what goes to one
    recipient.
    """

    kind: Kind
    hashes: tuple[int, ...] = ()
    subject: str = ""
    is_calendar_reply: bool = False


def share(one: Sequence[int], other: Sequence[int]) -> float:
    """Return how much two messages have in common, from 0 to 1, by their hashes."""
    most = max(len(one), len(other))
    return len({*one} & {*other}) / most if most else 0.0


def votes_needed(one: int, other: int) -> int:
    """Return how many hashes of *one* and *other* many must be the same in messages alike."""
    most = max(one, other)
    return _EXACT if most <= _EXACT else ceil(ALIKE * most)


def are_alike(one: Sequence[int], other: Sequence[int]) -> bool:
    """Tell whether messages with these hashes are alike."""
    shared = len({*one} & {*other})
    return shared > 0 and shared >= votes_needed(len(one), len(other))
