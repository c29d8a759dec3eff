"""Early notices that were sent: remembered, over restarts too, as long as the limit's window.

So none is repeated before it has passed, however often the sender comes near the limit.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from policyd.aup.incident import Entry, Row
from policyd.clock import WallTime
from policyd.service.alarm import Alarm
from policyd.service.notice_queue import NOTICES, Mail, Outside, entry

MOST: Final = 100_000
"""Beyond it the oldest are forgotten."""

_FORGET_EVERY: Final = 3600.0


class EarlyNotices:
    """Remembers, by id, when each was made and until when it counts."""

    def __init__(self, outside: Outside) -> None:
        self._outside = outside
        self._times: dict[str, tuple[WallTime, WallTime]] = {}
        self._alarm = Alarm(outside.clock, self._forget_past)

    def __len__(self) -> int:
        return len(self._times)

    def __contains__(self, name: str) -> bool:
        _, until = self._times.get(name, (0.0, 0.0))
        return until > self._outside.now().wall

    def add(self, mail: Mail, window: float) -> Row | None:
        """Remember *mail*, which was sent, for the *window*; return what its row becomes."""
        until = WallTime(mail.made + window)
        if until <= self._outside.now().wall:
            return None
        if len(self._times) >= MOST:
            self._forget([next(iter(self._times))])
        self._times[mail.id] = mail.made, until
        self._alarm.within(_FORGET_EVERY)
        return _entry(mail.id, mail.made, until).row

    def restore(self, name: str, row: Mapping[str, Any]) -> None:
        """Remember the one of *row*."""
        self._times[name] = WallTime(float(row["made"])), WallTime(float(row["due"]))
        self._alarm.within(0)

    def entries(self) -> Sequence[Entry]:
        """Return all rows."""
        return [_entry(name, *times) for name, times in self._times.items()]

    def stop(self) -> None:
        """Forget nothing more."""
        self._alarm.off()

    def _forget_past(self) -> None:
        now = self._outside.now().wall
        self._forget([name for name, (_, until) in self._times.items() if until <= now])
        if self._times:
            self._alarm.within(_FORGET_EVERY)

    def _forget(self, names: Iterable[str]) -> None:
        for name in names:
            del self._times[name]
            self._outside.keep([Entry(NOTICES, name, None)])


def _entry(name: str, made: WallTime, until: WallTime) -> Entry:
    return entry(name, (), b"", made, until, sent=made)
