"""What is counted of the events that the engine tells: refusals and what they lead to.

Who was over a limit lately is counted as it happens: to find it out when asked would be a walk
over all keys. What is remembered for it is bounded; of more, the oldest are forgotten.
"""

from collections import Counter, OrderedDict
from typing import Final

from policyd.aup.event import Blocked, Event, Exceeded, IncidentOpened, NearLimit, Suspended
from policyd.clock import MonotonicTime

HOUR: Final = 3600.0
MOST_RECENT: Final = 50_000
_AT_ONCE: Final = 2000
"""Keys forgotten in one call, a millisecond of work."""


class Recent:
    """How many distinct keys of each limit were seen within the last hour."""

    def __init__(self) -> None:
        self._seen: OrderedDict[str, MonotonicTime] = OrderedDict()  # longest ago first
        self._number: Counter[str] = Counter()

    def see(self, limit: str, key: str, now: MonotonicTime) -> None:
        """Note that *key* of *limit* was seen."""
        name = f"{limit}\n{key}"
        if name not in self._seen:
            self._number[limit] += 1
            if len(self._seen) >= MOST_RECENT:
                self._forget()
        self._seen[name] = now
        self._seen.move_to_end(name)

    def counts(self, now: MonotonicTime) -> Counter[str]:
        """Return the numbers, by limit."""
        for _ in range(_AT_ONCE):
            if not self._seen or next(iter(self._seen.values())) > now - HOUR:
                break
            self._forget()
        return Counter(self._number)

    def _forget(self) -> None:
        """Forget what was seen longest ago."""
        name, _ = self._seen.popitem(last=False)
        limit, _, _ = name.partition("\n")
        self._number[limit] -= 1
        if not self._number[limit]:
            del self._number[limit]


class EventFigures:
    """How often each thing has happened.

    *exceeded* is by limit, stage, action and mode; *blocked* by kind of suspension and stage;
    *opened*, incidents, by whether they are only observed; *suspended* by kind. *over* and *near*
    are the keys that were over their limit or came near it.
    """

    def __init__(self) -> None:
        self.exceeded: Counter[tuple[str, str, str, str]] = Counter()
        self.blocked: Counter[tuple[str, str]] = Counter()
        self.opened: Counter[bool] = Counter()
        self.suspended: Counter[str] = Counter()
        self.over = Recent()
        self.near = Recent()

    def happened(self, event: Event, now: MonotonicTime) -> None:
        """Count *event*."""
        match event:
            case Exceeded(stage=stage, limit=limit, action=action):
                self.exceeded[limit.id, stage.value, action.verb, limit.mode.value] += 1
                self.over.see(limit.id, event.key, now)
            case Blocked(stage, suspension):
                self.blocked[suspension.kind.value, stage.value] += 1
            case NearLimit(limit):
                self.near.see(limit.id, event.account or event.domain, now)
            case IncidentOpened(incident):
                self.opened[incident.observed] += 1
            case Suspended(suspension):
                self.suspended[suspension.kind.value] += 1
