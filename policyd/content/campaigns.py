"""Which messages are alike, told by their content.

The messages of one scope (an account, or a domain) that are alike are a campaign. A message joins
the live one that it has most in common with, if that is enough, and opens one otherwise. A mailing
that drifts from batch to batch stays together: of each campaign some forms are known, not just the
first.

Nothing here ever walks through all campaigns in one go, but *whole*: what has to be done to all of
them, such as forgetting those that have ended, is done to some at a time.
"""

from collections.abc import Callable, Iterator, Mapping
from heapq import nlargest
from typing import Final

from policyd.clock import WallTime
from policyd.content.campaign import Campaign, pack, unpack
from policyd.content.fingerprint import Fingerprint
from policyd.content.index import Index
from policyd.content.store import Store
from policyd.counting.changes import Changes
from policyd.oldest_first import OldestFirst

_INDEXED: Final = 16
"""Hashes of each form, the smallest, that it is found by.

Of messages that are just alike one in a thousand shares none of them.
"""

_LOOKED_AT: Final = 4
"""Candidates that are compared in full, those that share most of these hashes."""

_SERIALS: Final = 2**32
"""Serial numbers that the index tells apart."""


class Campaigns:
    """The live campaigns; they live *life* seconds after they were last prolonged."""

    def __init__(self, life: float) -> None:
        self._life = life
        self._store = Store(_INDEXED)
        self._index = Index(lambda low: self._serial(low) in self._store)
        self._next_serial = 1
        self._changes: dict[str, dict[int, Campaign]] = {}
        self._tidied: Iterator[Campaign] = iter(())
        self._eviction: OldestFirst[Campaign] = OldestFirst()
        self._asked: tuple[str, tuple[int, ...], WallTime] | None = None  # found, then joined
        self._answer: Campaign | None = None

    def __len__(self) -> int:
        return self._store.count

    @property
    def weight(self) -> int:
        """The memory that is held, in bytes, about."""
        return self._store.weight

    def obey(self, life: float) -> None:
        """Go on under changed rules, with the campaigns that there are."""
        self._asked = None
        self._life = life

    @property
    def next_name(self) -> str:
        """The likeness of the campaign that is opened next."""
        return _name(self._next_serial)

    def find(self, scope: str, fingerprint: Fingerprint, now: WallTime) -> str | None:
        """Return the likeness of a message; None if it is like no other yet."""
        campaign = self._nearest(scope, fingerprint.hashes, now)
        return None if campaign is None else _name(campaign.serial)

    def join(self, scope: str, fingerprint: Fingerprint, now: WallTime) -> str:
        """Return the likeness of a message that is committed: a campaign is prolonged, or opened.

        Raise ValueError if the message is *UNKNOWN*: it has to be told by something else.
        """
        hashes = fingerprint.hashes
        if not hashes:
            raise ValueError("nothing is known of the message")
        before = self._nearest(scope, hashes, now)
        if before is None:
            after = Campaign(scope, self._next_serial, now, (hashes,))
            self._next_serial += 1
        else:
            after = before.joined(hashes, now)
        self._put(after, None if before is None else before.forms)
        self._changes.setdefault(scope, {})[after.serial] = after
        return _name(after.serial)

    def tidy(self, now: WallTime, at_most: int) -> int:
        """Forget campaigns that have ended; look at the next *at_most*, return how many have."""
        self._asked = None
        ended = 0
        for _ in range(min(at_most, len(self))):
            campaign = next(self._tidied, None)
            if campaign is None:
                self._tidied = self._store.walk()
                campaign = next(self._tidied, None)
            if campaign is None:
                break
            if campaign.last > now:  # the clock was stepped back
                self._store.put(campaign._replace(last=now))
            elif not self._lives(campaign, now):
                self._forget(campaign)
                ended += 1
        return ended

    def evict(self, at_most: int, is_near: Callable[[str, str], bool]) -> int:
        """Look at up to *at_most* campaigns and forget those that memory can be spared of.

        That is what was prolonged longest ago; *is_near* tells of a scope and a likeness whether
        something counted under them is near its limit. Return how many they were.
        """
        self._asked = None
        evicted = 0
        for _ in range(at_most):
            campaign = self._eviction.next_place(self._store.walk)
            if campaign is None:
                break
            near = is_near(campaign.scope, _name(campaign.serial))
            if self._eviction.may_go(campaign.last, near=near):
                self._forget(campaign)
                evicted += 1
        return evicted

    def take(self) -> Changes:
        """Return, by scope and packed, the campaigns opened or prolonged since the last call."""
        taken = Changes()
        for scope, some in self._changes.items():
            if some:
                taken.note(scope, pack(some.values()))
        self._changes = {}
        return taken

    def whole(self) -> dict[str, bytes]:
        """Return all campaigns, by scope and packed."""
        found: dict[str, bytearray] = {}
        for campaign in self._store.walk():
            found.setdefault(campaign.scope, bytearray()).extend(pack((campaign,)))
        return {scope: bytes(packed) for scope, packed in found.items()}

    def restore(self, entries: Mapping[str, bytes]) -> None:
        """Take what *take* or *whole* gave; raise ValueError if it is nothing of theirs."""
        self._asked = None
        for scope, packed in entries.items():
            for campaign in unpack(scope, packed):
                self._next_serial = max(self._next_serial, campaign.serial + 1)
                self._put(campaign, None)

    def _nearest(self, scope: str, hashes: tuple[int, ...], now: WallTime) -> Campaign | None:
        if self._asked != (scope, hashes, now):
            self._asked = scope, hashes, now
            self._answer = self._look_up(scope, hashes, now)
        return self._answer

    def _look_up(self, scope: str, hashes: tuple[int, ...], now: WallTime) -> Campaign | None:
        candidates = self._index.candidates(scope, hashes[:_INDEXED])
        best, closeness = None, 0.0
        # the first of those that are as close; the index may name what is forgotten, or another's
        for low in nlargest(_LOOKED_AT, candidates, key=lambda low: (candidates[low], -low)):
            campaign = self._store.get(self._serial(low))
            if campaign is None or campaign.scope != scope or not self._lives(campaign, now):
                continue
            found = campaign.closeness(hashes)
            if found > closeness:
                best, closeness = campaign, found
        return best

    def _forget(self, campaign: Campaign) -> None:
        self._store.remove(campaign.serial)
        # nor is it to be kept: it would live again if the clock were stepped back
        if (changes := self._changes.get(campaign.scope)) is not None:
            changes.pop(campaign.serial, None)

    def _put(self, campaign: Campaign, indexed: tuple[tuple[int, ...], ...] | None) -> None:
        """Put in *campaign*, of which the index knows the forms *indexed* already."""
        self._asked = None
        self._store.put(campaign)
        for form in campaign.forms:
            if indexed is None or form not in indexed:
                self._index.add(campaign.scope, form[:_INDEXED], campaign.serial)

    def _serial(self, low: int) -> int:
        """Return the latest serial number with these lower 32 bits."""
        return self._next_serial - (self._next_serial - low) % _SERIALS

    def _lives(self, campaign: Campaign, now: WallTime) -> bool:
        return campaign.last + self._life > now

    def _check(self) -> None:
        """Assert that all is where it belongs."""
        self._store._check()
        self._index._check()
        for campaign in self._store.walk():
            assert campaign.serial < self._next_serial
            assert campaign.forms


def _name(serial: int) -> str:
    """Return the name of a campaign, which no group by size has."""
    return f"c{serial}"
