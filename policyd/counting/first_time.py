"""Counts of first-time members: those that a key has not had for a long time.

What a key has is remembered for much longer than a window is: as long as a member is known, it is
no first-time one.
"""

from collections.abc import Iterator, Sequence
from math import inf

from policyd.clock import WallTime
from policyd.counting.counters import (
    BucketCounter,
    Claim,
    Counter,
    DistinctCounter,
    Figures,
    SumCounter,
)
from policyd.counting.usage import Usage


class FirstTimeCounter(Counter):
    """Counts of members that were not counted for *known_for* seconds before."""

    def __init__(self, window: float, known_for: float) -> None:
        self._counted = SumCounter(window)
        self.known = DistinctCounter(known_for)

    @property
    def usage(self) -> Usage:
        """The usage of every key, bucket by bucket."""
        return self._counted.usage

    @property
    def weight(self) -> int:
        """The memory that is held, in bytes, about."""
        return self._counted.weight + self.known.weight

    def __len__(self) -> int:
        return len(self.known)

    def parts(self) -> Iterator[tuple[str, BucketCounter]]:
        """Yield what is kept of the counter, each part with what its series is called by."""
        yield "", self._counted
        yield " known", self.known

    def figures(self, claim: Claim, now: WallTime) -> Figures:
        """Return U, R and A of *claim*."""
        _, reserved, asked = self.known.figures(claim, now)
        return Figures(self._counted.figures(claim, now).used, reserved, asked)

    def may_exceed(self, most: int, claims: Sequence[Claim], now: WallTime) -> bool:
        """Tell whether U + R + A of any of the *claims* may be more than *most*."""
        for claim in claims:
            known = self.known.usage.sum(claim.key)
            used = self._counted.figures(claim, now).used
            if self.known.may_exceed(most + known - used, (claim,), now):
                return True
        return False

    def commit(self, claim: Claim, now: WallTime) -> None:
        """Add *claim* to the usage; its reservation is released separately."""
        first = self.known.figures(claim, now).asked
        self.known.commit(claim, now)
        self._counted.commit(Claim(claim.key, first), now)

    def reserve(self, claim: Claim) -> None:
        """Hold *claim* for an open transaction."""
        self.known.reserve(claim)

    def release(self, claim: Claim) -> None:
        """Give up what *reserve* held for the equal claim."""
        self.known.release(claim)

    def tidy(self, now: WallTime, at_most: int) -> int:
        """Let time pass; look at up to *at_most* keys for what is out of their windows."""
        done = self._counted.tidy(now, at_most)
        return done + self.known.tidy(now, at_most - done)

    def forget(self, key: str) -> None:
        """Forget what the window holds of *key*; whom it knows it goes on knowing."""
        self._counted.forget(key)

    def evict(self, at_most: int, spare: float) -> int:
        """Look at up to *at_most* keys and forget those that memory can be spared of."""
        return self._counted.evict(at_most, spare) + self.known.evict(at_most, inf)

    def _check(self) -> None:
        """Assert the invariants."""
        self._counted._check()
        self.known._check()
