"""Who may not send: mailboxes and domains, since when, until when, why, by whom.

A suspension takes effect when it is on the disk. It ends at its time, or when an administrator
lifts it, who forgives thereby: what led to it counts no more.
"""

from collections.abc import Iterable, Mapping, Sequence
from math import inf
from typing import Any, Final

from policyd.aup import incident as records
from policyd.aup.address import split_address
from policyd.aup.incident import Entry, Suspension, SuspensionKind
from policyd.clock import WallTime

TIME: Final = "time"
"""Who lifts a suspension whose time has come."""


class Suspensions:
    """All suspensions, by id, oldest first; those that are over as long as they may matter."""

    def __init__(self) -> None:
        self.by_id: dict[str, Suspension] = {}
        self._in_force: dict[str, Suspension] = {}  # by id
        self._longest: dict[tuple[SuspensionKind, str], Suspension] = {}  # of those, by whom
        self._waiting: list[Suspension] = []  # for the disk
        self._forgiven: dict[str, WallTime] = {}  # mailboxes and domains, when that was
        self._changed: dict[str, Suspension | None] = {}

    @property
    def any_in_force(self) -> bool:
        """Whether anybody is suspended at all."""
        return bool(self._in_force)

    def of(self, account: str, domain: str, now: WallTime) -> Suspension | None:
        """Return what keeps *account* of *domain* from sending, None if nothing does."""
        if not self._in_force:
            return None
        for key in ((SuspensionKind.MAILBOX, account), (SuspensionKind.DOMAIN, domain)):
            found = self._longest.get(key)
            if found is not None and found.holds(now):
                return found
        return None

    def add(self, suspension: Suspension) -> None:
        """Suspend; it is in force when it *takes_effect*."""
        self.by_id[suspension.id] = suspension
        self._waiting.append(suspension)
        self._changed[suspension.id] = suspension

    @property
    def waiting(self) -> Sequence[Suspension]:
        """Those that are not in force because they are not on the disk yet."""
        return tuple(self._waiting)

    def take_effect(self, suspensions: Iterable[Suspension]) -> Sequence[Suspension]:
        """Let *suspensions* be in force; return those that were waiting for it."""
        taken = [one for one in suspensions if one in self._waiting]
        for one in taken:
            self._waiting.remove(one)
            self._enforce(one)
        return taken

    def lift(
        self, kind: SuspensionKind, name: str, now: WallTime, *, by: str, why: str
    ) -> Sequence[Suspension]:
        """Lift what suspends *name*, and forgive; return what was lifted."""
        lifted = [
            one
            for one in self.by_id.values()
            if (one.kind, one.name) == (kind, name) and one.holds(now)
        ]
        for one in lifted:
            self._lift(one, now, by, why)
        return lifted

    def end(self, now: WallTime) -> Sequence[Suspension]:
        """End those whose time has come; return them."""
        live = self._in_force.values()
        ended = [one for one in live if one.until is not None and not one.holds(now)]
        for one in ended:
            self._lift(one, one.until or now, TIME, "")
        return ended

    def forgiven(self, *names: str) -> float:
        """Return when the last of the *names*, mailboxes or domains, was forgiven; 0 for never."""
        return max(self._forgiven.get(name, 0.0) for name in names)

    def mailboxes(self, domain: str, since: float) -> set[str]:
        """Return the mailboxes of *domain* that were suspended after *since*, and not forgiven."""
        since = max(since, self.forgiven(domain))
        return {
            one.name
            for one in self.by_id.values()
            if one.kind is SuspensionKind.MAILBOX
            and split_address(one.name)[1] == domain
            and one.since > since
            and one.lifted_by in ("", TIME)
        }

    def forget(self, before: float, at_most: int) -> int:
        """Forget up to *at_most* that were over *before* then; return how many."""
        done = 0
        while done < at_most and self.by_id:
            oldest = next(iter(self.by_id.values()))
            if oldest.lifted is None or oldest.lifted >= before:
                break
            del self.by_id[oldest.id]
            self._changed[oldest.id] = None
            done += 1
        return done

    def step_back(self, now: WallTime) -> None:
        """Let none last longer because the clock was stepped back."""
        for one in self.by_id.values():
            if one.since > now and one.until is not None:
                one.until = WallTime(min(one.until, now + (one.until - one.since)))

    def take_entries(self) -> list[Entry]:
        """Return the rows that changed since the last call."""
        changed, self._changed = self._changed, {}
        return [
            Entry(records.SUSPENSIONS, name, None) if one is None else one.entry()
            for name, one in changed.items()
        ]

    def whole_entries(self) -> list[Entry]:
        """Return all rows."""
        self._changed.clear()
        return [one.entry() for one in self.by_id.values()]

    def restore(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Go on from the *rows*; raise ValueError if they are none of ours."""
        for one in sorted(map(records.suspension, rows), key=lambda one: one.since):
            self.by_id[one.id] = one
            if one.lifted is None:
                self._enforce(one)  # also one whose time has come: nobody was told of that yet
            else:
                self._forgive(one)

    def _enforce(self, one: Suspension) -> None:
        one.in_force = True
        self._in_force[one.id] = one
        other = self._longest.get((one.kind, one.name))
        if other is None or _end(other) <= _end(one):
            self._longest[one.kind, one.name] = one

    def _lift(self, one: Suspension, now: WallTime, by: str, why: str) -> None:
        one.lifted, one.lifted_by, one.lifted_why = now, by, why
        if one in self._waiting:
            self._waiting.remove(one)
        self._in_force.pop(one.id, None)
        if self._longest.get((one.kind, one.name)) is one:
            del self._longest[one.kind, one.name]
        self._forgive(one)
        self._changed[one.id] = one

    def _forgive(self, one: Suspension) -> None:
        if one.lifted is not None and one.lifted_by != TIME:
            self._forgiven[one.name] = max(one.lifted, self._forgiven.get(one.name, one.lifted))

    def _check(self) -> None:
        """Assert the invariants."""
        for name, one in self._in_force.items():
            assert one.in_force
            assert one.lifted is None
            assert self.by_id[name] is one
        for key, one in self._longest.items():
            same = [other for other in self._in_force.values() if (other.kind, other.name) == key]
            assert one in same
            assert max(map(_end, same)) == _end(one)
        assert {(one.kind, one.name) for one in self._in_force.values()} == set(self._longest)
        assert not any(one.in_force for one in self._waiting)


def _end(suspension: Suspension) -> float:
    return inf if suspension.until is None else suspension.until
