"""The answers given at END-OF-MESSAGE, for requests that are repeated (rule 8).

Postfix asks again when it lost the reply; a server that then counts again counts twice. Nearly all
answers are passes, so what is kept of each is a text and a time; only another answer is an object.
"""

import json
from collections.abc import Iterable
from itertools import islice
from typing import Final

from policyd.aup.series import Series
from policyd.clock import Instant, MonotonicTime, WallTime
from policyd.counting.changes import Bucket
from policyd.protocol.reply import PASS, Verdict, reply
from policyd.protocol.request import Request

KEPT_FOR: Final = 300.0
"""Seconds."""

MOST: Final = 500_000
"""More are kept for less long."""

_PASSED: Final = b"\n"
"""A pass on disk: a line with nothing on it."""

_WIDTH: Final = 10.0
"""Seconds; on disk they are kept by when they were given, like counts."""


class KeptVerdicts:
    """The verdicts of the last *KEPT_FOR* seconds, oldest first."""

    __slots__ = ("_changes", "_given", "_other_than_pass")

    def __init__(self) -> None:
        self._given: dict[str, MonotonicTime] = {}
        self._other_than_pass: dict[str, Verdict] = {}
        self._changes: dict[str, bytes] = {}

    def __len__(self) -> int:
        return len(self._given)

    @staticmethod
    def name(request: Request, host: str) -> str:
        """Return what tells *request* of *host* from all that are not repetitions of it."""
        return (
            f"{host}\n{request['instance']}\n{request['queue_id']}"
            f"\n{request['recipient_count']}\n{request['size']}"
        )

    def find(self, name: str, now: MonotonicTime) -> Verdict | None:
        """Return the verdict that was given; None for a request that is no repetition."""
        given = self._given.get(name)
        if given is None or now >= given + KEPT_FOR:
            return None
        return self._other_than_pass.get(name, PASS)

    def keep(self, name: str, verdict: Verdict, now: MonotonicTime) -> None:
        """Remember *verdict*."""
        self._put(name, verdict, now)
        self._changes[name] = _packed(verdict)

    def take(self, now: WallTime) -> Series:
        """Return what was kept since the last call."""
        changes, self._changes = self._changes, {}
        latest = (now // _WIDTH + 1) * _WIDTH
        buckets = [Bucket(latest, changes)] if changes else []
        return Series("text", now - KEPT_FOR, latest, buckets)

    def whole(self, now: Instant) -> Series:
        """Return all that are kept."""
        self._changes = {
            name: _packed(self._other_than_pass.get(name, PASS)) for name in self._given
        }
        return self.take(now.wall)

    def restore(self, buckets: Iterable[Bucket], now: Instant) -> None:
        """Take what *take* gave, in that order; raise ValueError for anything else."""
        given = now.monotonic - KEPT_FOR
        for end, entries in buckets:
            ago = min(max(now.wall - end, 0.0), KEPT_FOR)
            given = max(given, now.monotonic - ago)
            for name, packed in entries.items():
                self._put(name, _unpacked(packed), MonotonicTime(given))

    def tidy(self, now: MonotonicTime, at_most: int) -> int:
        """Forget up to *at_most* that are too old or too many; return how many."""
        # found in one go: looking for the first of a dict again and again takes ever longer
        oldest = islice(self._given.items(), at_most)
        too_many = len(self._given) - MOST
        old = [
            name
            for at, (name, given) in enumerate(oldest)
            if at < too_many or now >= given + KEPT_FOR
        ]
        for name in old:
            self._forget(name)
            self._changes.pop(name, None)
        return len(old)

    def _put(self, name: str, verdict: Verdict, given: MonotonicTime) -> None:
        if name in self._given:
            self._forget(name)  # the order is that of the times
        self._given[name] = given
        if verdict is not PASS:
            self._other_than_pass[name] = verdict

    def _forget(self, name: str) -> None:
        self._given.pop(name, None)
        self._other_than_pass.pop(name, None)

    def _check(self) -> None:
        """Assert the invariants."""
        assert set(self._other_than_pass) <= set(self._given)
        assert list(self._given.values()) == sorted(self._given.values())


def _packed(verdict: Verdict) -> bytes:
    """Return *verdict* as one line."""
    return _PASSED if verdict is PASS else json.dumps(verdict).encode() + b"\n"


def _unpacked(lines: int | bytes) -> Verdict:
    """Return the last of the verdicts in *lines*; raise ValueError if there is none."""
    if not isinstance(lines, bytes) or not lines:
        raise ValueError("this is no line with a verdict")
    line = lines.splitlines()[-1]
    if not line:
        return PASS
    words = json.loads(line)
    if not isinstance(words, list) or [type(word) for word in words] != [str, str, str]:
        raise ValueError(f"{line!r} is no verdict")
    verdict = Verdict(*words)
    reply(verdict)
    return verdict
