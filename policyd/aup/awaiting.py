"""Messages that the policy service let pass, and whose content is still to be shown.

Postfix names each message by its queue id. The milter hears of a message before the policy service
is asked about its end, and is shown the content after that. In between the message waits here, and
is counted nowhere: if it is aborted, or the milter's connection is lost, it never was.

A message that was decided without its content is remembered for a while, so that content which is
shown all the same, as to a milter that came late, does not count it again.
"""

from collections.abc import Iterator
from itertools import islice
from typing import Final

from policyd.aup.decision import Asked
from policyd.aup.policy import LikenessBy, Policy
from policyd.clock import MonotonicTime
from policyd.protocol.request import Request

WAITS: Final = 600.0
"""Seconds; Postfix waits 300 for the milter, unless it is told otherwise."""

MOST: Final = 100_000
"""Messages that wait, and messages that are remembered; of more, the oldest are forgotten."""


class Awaiting:
    """What is known of messages by their queue ids; nothing as long as nobody *watches*."""

    __slots__ = ("_decided", "_expected", "_waiting", "most", "watches")

    def __init__(self) -> None:
        self.most = MOST
        self.watches = False
        self._expected: dict[str, None] = {}
        self._waiting: dict[str, tuple[Asked, MonotonicTime]] = {}
        self._decided: dict[str, MonotonicTime] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def expect(self, queue_id: str) -> None:
        """Note that the content of a message is going to be shown."""
        self._expected[queue_id] = None

    def drop(self, queue_id: str) -> None:
        """Note that the content of a message is not going to be shown."""
        self._expected.pop(queue_id, None)
        self._waiting.pop(queue_id, None)

    def is_awaited(self, asked: Asked) -> bool:
        """Tell whether the message *asked* about is to be decided when its content is known."""
        return (
            asked.request["queue_id"] in self._expected
            and _is_by_content(asked.transaction.policy)
            and any(applied.scope is not None for applied in asked.transaction.applied)
        )

    def keep(self, asked: Asked, now: MonotonicTime) -> None:
        """Let the message *asked* about wait for its content."""
        queue_id = asked.request["queue_id"]
        self._waiting.pop(queue_id, None)  # the order is that of the times
        self._waiting[queue_id] = asked, now

    def note_end(self, request: Request, now: MonotonicTime) -> None:
        """Note that *request*, at the end of a message, was answered."""
        if self.watches:
            queue_id = request["queue_id"]
            if queue_id and queue_id not in self._waiting:
                self.decided(queue_id, now)

    def decided(self, queue_id: str, now: MonotonicTime) -> None:
        """Remember that a message is decided."""
        self._decided.pop(queue_id, None)
        self._decided[queue_id] = now

    def is_decided(self, queue_id: str, now: MonotonicTime) -> bool:
        """Tell whether a message was decided a short while ago."""
        when = self._decided.get(queue_id)
        return when is not None and now < when + WAITS

    def take(self, queue_id: str) -> Asked | None:
        """Return what was asked about a message, whose content is known now; None if nothing was.

        It waits no longer.
        """
        self._expected.pop(queue_id, None)
        asked, _ = self._waiting.pop(queue_id, (None, None))
        return asked

    def tidy(self, now: MonotonicTime, at_most: int) -> int:
        """Forget up to *at_most* messages that are too old or too many; return how many."""
        waiting = ((queue_id, since) for queue_id, (_, since) in self._waiting.items())
        old = list(_old(waiting, len(self._waiting) - self.most, now, at_most))
        for queue_id in old:
            self.drop(queue_id)
        at_most -= len(old)
        past = list(_old(iter(self._decided.items()), len(self._decided) - self.most, now, at_most))
        for queue_id in past:
            del self._decided[queue_id]
        return len(old) + len(past)

    def _check(self) -> None:
        """Assert the invariants."""
        times = [since for _, since in self._waiting.values()]
        assert times == sorted(times)
        assert list(self._decided.values()) == sorted(self._decided.values())
        assert not set(self._waiting) & set(self._decided)


def _is_by_content(policy: Policy | None) -> bool:
    return policy is not None and policy.likeness.by is LikenessBy.CONTENT


def _old(
    oldest: Iterator[tuple[str, MonotonicTime]], too_many: int, now: MonotonicTime, at_most: int
) -> Iterator[str]:
    """Yield the names of the *oldest* that are to be forgotten."""
    for at, (queue_id, since) in enumerate(islice(oldest, max(at_most, 0))):
        if at >= too_many and now < since + WAITS:
            break
        yield queue_id
