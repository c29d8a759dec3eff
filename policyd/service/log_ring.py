"""The last events, for administrators who look, and the events to come for those who follow.

The log itself goes elsewhere; this is what is remembered of it, in memory and bounded. Whoever
follows and does not read is given up: nobody waits for him.
"""

import json
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

MOST_KEPT: Final = 1000
"""Events that are remembered."""

MOST_WAITING: Final = 1000
"""Events that wait for one who follows."""


class Logged(NamedTuple):
    """One event: when it was, in seconds since the epoch, how urgent it is, what it is about."""

    when: float
    level: str
    fields: Mapping[str, str | int | float]
    line: str

    def told(self) -> Mapping[str, str | float]:
        """Return what there is to tell of it."""
        return {"time_epoch": self.when, "level": self.level, "line": self.line}

    def is_about(self, name: str) -> bool:
        """Tell whether *name* is what one of the fields says; an empty one always is."""
        return not name or name in self.fields.values()


class LogRing:
    """The last *MOST_KEPT* events."""

    def __init__(self) -> None:
        self._kept: deque[Logged] = deque(maxlen=MOST_KEPT)
        self._followers: set[Follower] = set()

    def put(self, level: str, fields: Mapping[str, str | int | float], line: str) -> None:
        """Remember an event, and tell those who follow."""
        logged = Logged(time.time(), level, fields, line)
        self._kept.append(logged)
        for follower in tuple(self._followers):
            follower.put(logged)

    def last(self, number: int, name: str) -> Sequence[Logged]:
        """Return the last *number* of events that are about *name*, oldest first."""
        found = [one for one in self._kept if one.is_about(name)]
        return found[-number:]

    def follower(self, name: str) -> "Follower":
        """Return one who follows what is about *name*."""
        return Follower(self._followers, name)


class Follower:
    """One who follows what is about *name*; he is among *followers* from *begin* to *end*."""

    def __init__(self, followers: "set[Follower]", name: str) -> None:
        self.is_lost = False
        self._followers = followers
        self._name = name
        self._waiting: deque[Logged] = deque()
        self._wake: Callable[[], None] = _nobody

    def put(self, logged: Logged) -> None:
        """Take in what was logged."""
        if not logged.is_about(self._name):
            return
        if len(self._waiting) >= MOST_WAITING:
            self.is_lost = True
            self.end()
        else:
            self._waiting.append(logged)
        self._wake()

    def begin(self, wake: Callable[[], None]) -> None:
        """Call *wake* whenever there is something to be taken."""
        self._wake = wake
        self._followers.add(self)

    def take(self) -> bytes:
        """Return the events that wait, a line each."""
        return b"".join(self._lines())

    def end(self) -> None:
        """Follow no more."""
        self._followers.discard(self)
        self._waiting.clear()

    def _lines(self) -> Iterator[bytes]:
        while self._waiting:
            yield f"{json.dumps(self._waiting.popleft().told())}\n".encode("ascii")


def _nobody() -> None:
    """Wake nobody."""
