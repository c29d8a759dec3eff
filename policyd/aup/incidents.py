"""Incidents on record: by id, by account, and those that are open.

An open one is found by whom it is held against. Those that count no more are forgotten.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from policyd.aup import incident as records
from policyd.aup.incident import Entry, Incident
from policyd.clock import WallTime

MOST_INCIDENTS: Final = 100_000


class Against(NamedTuple):
    """Whom an incident is held against: *who* was refused by *limit*, or only *observed*."""

    who: str
    limit: str
    observed: bool


class Incidents:
    """All incidents, by id, oldest first; those that are over as long as they may matter."""

    def __init__(self) -> None:
        self.by_id: dict[str, Incident] = {}
        self._open: dict[Against, Incident] = {}  # who was quiet longest is first
        self._by_account: dict[str, list[Incident]] = defaultdict(list)
        self._changed: dict[str, Incident | None] = {}

    def open(self, against: Against) -> Incident | None:
        """Return the open incident, None if there is none."""
        return self._open.get(against)

    def of(self, account: str) -> Sequence[Incident]:
        """Return the incidents of *account*."""
        return self._by_account.get(account, ())

    def longest_quiet(self) -> Iterator[Incident]:
        """Yield those that are open, whose last refusal is longest ago first."""
        return iter(self._open.values())

    def extended(self, incident: Incident) -> None:
        """Note that *incident*, which may be a new one, is open and was extended just now."""
        if incident.id not in self.by_id:
            self._take_in(incident)
        against = _against(incident)
        self._open.pop(against, None)
        self._open[against] = incident  # at the end again
        self._changed[incident.id] = incident

    def close(self, incident: Incident, now: WallTime) -> None:
        """Close *incident*, which is open."""
        del self._open[_against(incident)]
        incident.closed = now
        self._changed[incident.id] = incident

    def forget(self, before: float, at_most: int) -> int:
        """Forget up to *at_most* that are closed and were opened *before*; return how many."""
        done = 0
        while done < at_most and self.by_id:
            oldest = next(iter(self.by_id.values()))
            is_past = oldest.closed is not None and oldest.opened < before
            if not is_past and len(self.by_id) <= MOST_INCIDENTS:
                break
            self._drop(oldest)
            done += 1
        return done

    def step_back(self, now: WallTime) -> None:
        """Let nothing be of the future: the clock was stepped back."""
        for incident in self.by_id.values():
            incident.opened = min(incident.opened, now)
            incident.last = min(incident.last, now)

    def take_entries(self) -> list[Entry]:
        """Return the rows that changed since the last call."""
        changed, self._changed = self._changed, {}
        return [
            Entry(records.INCIDENTS, name, None) if one is None else one.entry()
            for name, one in changed.items()
        ]

    def whole_entries(self) -> list[Entry]:
        """Return all rows."""
        self._changed.clear()
        return [incident.entry() for incident in self.by_id.values()]

    def restore(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Go on from *rows*; raise ValueError if they are none of ours."""
        incidents = [records.incident(row) for row in rows]
        for incident in sorted(incidents, key=lambda one: one.opened):
            self._take_in(incident)
        for incident in sorted(incidents, key=lambda one: one.last):
            if incident.closed is None:
                self._open[_against(incident)] = incident

    def _take_in(self, incident: Incident) -> None:
        self.by_id[incident.id] = incident
        if incident.account:
            self._by_account[incident.account].append(incident)

    def _drop(self, incident: Incident) -> None:
        del self.by_id[incident.id]
        against = _against(incident)
        if self._open.get(against) is incident:  # and not one that came after it
            del self._open[against]
        if incident.account:
            left = self._by_account[incident.account]
            left.remove(incident)
            if not left:
                del self._by_account[incident.account]
        self._changed[incident.id] = None

    def _check(self) -> None:
        """Assert the invariants."""
        for against, incident in self._open.items():
            assert against == _against(incident)
            assert self.by_id[incident.id] is incident
        still_open = {id(one) for one in self.by_id.values() if one.closed is None}
        assert still_open == {id(one) for one in self._open.values()}
        accounts = [one for many in self._by_account.values() for one in many]
        assert {one.id for one in accounts} == {n for n, i in self.by_id.items() if i.account}


def _against(incident: Incident) -> Against:
    return Against(incident.who, incident.limit, incident.observed)
