"""Notices beyond the most per hour: gathered, and told in one mail an hour to each list of readers.

An outbreak over ten thousand accounts is then no flood. What waits for a digest has a row of the
ledger, in which the lists stand that have not been told yet.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from policyd.aup.incident import Entry
from policyd.clock import MonotonicTime, WallTime
from policyd.service.alarm import Alarm
from policyd.service.notice_queue import NOTICES, Outside, entry

EVERY: Final = 3600.0
"""Seconds from the first notice that is gathered to the digest."""

MOST_GATHERED: Final = 100_000

Readers = tuple[str, ...]


@dataclass(slots=True)
class _Gathered:
    """A notice that no mail of its own is written for; *readers* have not been told yet."""

    id: str
    incident: str
    made: WallTime
    readers: list[Readers]


class Digests:
    """Gathers notices, and has *write* write to the readers of some of them, by incident."""

    def __init__(
        self, outside: Outside, write: Callable[[str, Readers, Sequence[str]], None]
    ) -> None:
        self.due: MonotonicTime | None = None  # of the next digests
        self._outside = outside
        self._write = write
        self._all: dict[str, _Gathered] = {}
        self._next: dict[Readers, list[_Gathered]] = {}
        self._now: dict[Readers, list[_Gathered]] = {}  # those that are being written
        self._alarm = Alarm(outside.clock, self._begin)
        self._turn = Alarm(outside.clock, self._write_one)

    def __len__(self) -> int:
        return len(self._all)

    def __contains__(self, name: str) -> bool:
        return name in self._all

    @property
    def is_full(self) -> bool:
        """Whether no more should be added."""
        return len(self._all) >= MOST_GATHERED

    def add(self, name: str, incident: str, made: WallTime, readers: Sequence[Readers]) -> None:
        """Gather the notice *name* of *incident* for each of *readers*."""
        gathered = _Gathered(name, incident, made, list(readers))
        self._take_in(gathered, EVERY)
        self._outside.keep([self._entry(gathered)])

    def restore(self, name: str, incident: str, row: Mapping[str, Any]) -> None:
        """Go on with the notice of *row*, which must be right."""
        readers = [tuple(one) for one in json.loads(row["recipients"])]
        wait = min(max(row["due"] - self._outside.now().wall, 0.0), EVERY)
        self._take_in(_Gathered(name, incident, WallTime(row["made"]), readers), wait)

    def entries(self) -> Sequence[Entry]:
        """Return the rows of all that waits."""
        return [self._entry(gathered) for gathered in self._all.values()]

    def stop(self) -> None:
        """Write no more."""
        self._alarm.off()
        self._turn.off()

    def _take_in(self, gathered: _Gathered, wait: float) -> None:
        now = self._outside.now().monotonic
        self._all[gathered.id] = gathered
        for readers in gathered.readers:
            self._next.setdefault(readers, []).append(gathered)
        if self.due is None or now + wait < self.due:
            self.due = MonotonicTime(now + wait)
            self._alarm.within(wait)

    def _begin(self) -> None:
        for readers, gathered in self._next.items():
            self._now.setdefault(readers, []).extend(gathered)
        self._next.clear()
        self.due = None
        self._turn.within(0)

    def _write_one(self) -> None:
        """Write one digest, and the next one in the next turn of the reactor."""
        readers = next(iter(self._now), None)
        if readers is None:
            return
        gathered = self._now.pop(readers)
        self._turn.within(0)
        self._outside.keep(list(self._without(readers, gathered)))
        incidents = list(dict.fromkeys(one.incident for one in gathered))
        made = self._outside.now().wall
        digest = hashlib.sha256(json.dumps([made, readers]).encode()).hexdigest()
        self._write(f"digest {digest[:16]}", readers, incidents)

    def _without(self, readers: Readers, gathered: Sequence[_Gathered]) -> Iterator[Entry]:
        """Note that *readers* are told; yield the rows."""
        for one in gathered:
            one.readers.remove(readers)
            if one.readers:
                yield self._entry(one)
            else:
                del self._all[one.id]
                yield Entry(NOTICES, one.id, None)

    def _entry(self, gathered: _Gathered) -> Entry:
        now = self._outside.now()
        wait = 0.0 if self.due is None else self.due - now.monotonic
        return entry(gathered.id, gathered.readers, b"", gathered.made, now.wall + wait)
