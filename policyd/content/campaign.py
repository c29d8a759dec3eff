"""A campaign, and how it is written down."""

import struct
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from policyd.clock import WallTime
from policyd.content.fingerprint import SKETCH, share, votes_needed

MOST_FORMS: Final = 4
"""Sketches that a campaign is known by."""

_DIFFERENT: Final = 0.7
"""A message that shares less than this with all forms of its campaign is another form of it."""

_HEAD: Final = struct.Struct("<QdH")


class Campaign(NamedTuple):
    """Messages of one *scope* that are alike.

    *serial* names it for good, *last* is when it was prolonged, *forms* are the hashes of its first
    message and of the latest that were rather different.
    """

    scope: str
    serial: int
    last: WallTime
    forms: tuple[tuple[int, ...], ...]

    def closeness(self, hashes: tuple[int, ...]) -> float:
        """Return the most that *hashes* have in common with a form that they are alike to, or 0."""
        best = 0.0
        held = {*hashes}
        for form in self.forms:
            shared = len(held.intersection(form))
            if shared and shared >= votes_needed(len(form), len(hashes)):
                best = max(best, shared / max(len(form), len(hashes)))
        return best

    def joined(self, hashes: tuple[int, ...], now: WallTime) -> "Campaign":
        """Return the campaign with a message of these *hashes*, which belongs to it."""
        forms = self.forms
        if all(share(hashes, form) < _DIFFERENT for form in forms):
            kept = forms if len(forms) < MOST_FORMS else (forms[0], *forms[2:])
            forms = (*kept, hashes)
        return Campaign(self.scope, self.serial, now, forms)


def write(campaign: Campaign) -> bytes:
    """Return *campaign*, with its scope, as bytes."""
    scope = campaign.scope.encode("utf-8", "surrogatepass")
    return struct.pack("<I", len(scope)) + scope + pack((campaign,))


def read(data: bytes) -> Campaign:
    """Return what *write* made *data* of."""
    end = 4 + int.from_bytes(data[:4], "little")
    return next(unpack(data[4:end].decode("utf-8", "surrogatepass"), data[end:]))


def pack(campaigns: Iterable[Campaign]) -> bytes:
    """Return *campaigns* of one scope as bytes; the scope is not written."""
    return b"".join(
        _HEAD.pack(one.serial, one.last, sum(len(form) + 1 for form in one.forms))
        + b"".join(struct.pack(f"<{len(form) + 1}I", len(form), *form) for form in one.forms)
        for one in campaigns
    )


def unpack(scope: str, data: bytes) -> Iterator[Campaign]:
    """Yield the campaigns that *pack* made *data* of; raise ValueError if it did not."""
    at = 0
    while at < len(data):
        if len(data) - at < _HEAD.size:
            raise ValueError("a campaign is cut short")
        serial, last, numbers = _HEAD.unpack_from(data, at)
        at += _HEAD.size
        if not numbers or len(data) - at < 4 * numbers:
            raise ValueError("a campaign is cut short")
        forms = tuple(_forms(struct.unpack_from(f"<{numbers}I", data, at)))
        at += 4 * numbers
        if not 0 < len(forms) <= MOST_FORMS:
            raise ValueError("a campaign has too many forms")
        yield Campaign(scope, serial, WallTime(last), forms)


def _forms(numbers: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    at = 0
    while at < len(numbers):
        length = numbers[at]
        form = numbers[at + 1 : at + 1 + length]
        if not 0 < length <= SKETCH or len(form) < length:
            raise ValueError("a form of a campaign is cut short")
        yield form
        at += 1 + length
