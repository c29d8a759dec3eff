"""Programs and web addresses that are told what has happened, apart from the answering of mail.

What a hook is to be told waits in memory: up to a bound, beyond which the oldest is dropped, and
not beyond the end of this process. A hook that fails is told again, three times. Of one mailbox,
and of one domain, a hook is told in order: what is over never arrives before what has begun. What
a hook that has gone from the rules was to be told is given up.
"""

import math
from bisect import insort
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from policyd.aup.event import Event
from policyd.aup.ladder_rules import Hook
from policyd.aup.policy import Policy
from policyd.clock import Instant
from policyd.service.alarm import Alarm
from policyd.service.hook_facts import Told, told
from policyd.service.hook_post import shown
from policyd.service.hook_running import Begin, Running
from policyd.service.maillog import MailLog

MOST_WAITING: Final = 1000
MOST_AT_ONCE: Final = 4

RETRIES: Final = (10.0, 60.0, 600.0)
"""Seconds until a hook that has failed is told again; after the last it is given up."""

GRACE: Final = 2.0
"""Seconds from SIGTERM to SIGKILL."""

PATIENCE: Final = 2.0
"""Seconds that a stop may take."""

SAY_EVERY: Final = 60.0
"""Seconds between two lines about what is dropped."""

_NEARLY: Final = 0.001
"""Seconds by which a timer may be early, as sums of seconds are not exact."""


@dataclass(slots=True, eq=False)
class _Call:
    """Something that a hook is to be told; not before the clock is *due*."""

    number: int
    hook: Hook
    told: Told
    due: float
    failures: int = 0
    timer: IDelayedCall | None = None
    running: Running | None = None
    is_late: bool = False

    @property
    def whom(self) -> str:
        """Who is told."""
        return self.hook.url or " ".join(self.hook.command)

    @property
    def said(self) -> tuple[str, str, str]:
        """What the log calls it."""
        hook = self.hook
        whom = shown(hook.url) if hook.url else self.whom
        return whom, self.told.on.value, self.told.about


class Hooks:
    """Tells the hooks of the *policy* of the moment what has happened."""

    def __init__(
        self,
        clock: IReactorTime,
        policy: Callable[[], Policy],
        log: MailLog,
        now: Callable[[], Instant],
        begin: Begin,
    ) -> None:
        self.done = 0
        self.failed = 0  # tries
        self.given_up = 0
        self._clock = clock
        self._policy = policy
        self._log = log
        self._now = now
        self._begin = begin
        self._waiting: list[_Call] = []  # the oldest first
        self._running: set[_Call] = set()
        self._alarm = Alarm(clock, self._start_one)
        self._calls = 0
        self._dropped = 0  # and not said yet
        self._lost = 0  # at the stop
        self._pause: IDelayedCall | None = None  # until the next line about what is dropped
        self._stopped: Deferred[None] | None = None
        self._limit: IDelayedCall | None = None

    def __len__(self) -> int:
        """Return how much hooks are yet to be told, or just being told."""
        return len(self._waiting) + len(self._running)

    def happened(self, event: Event) -> None:
        """Have all hooks told that want to know of *event*; nothing is begun in this call."""
        if self._stopped is not None:
            return
        try:
            self._queue(event)
        except Exception:  # noqa: BLE001 - who tells us has more to do
            self._log.task_failed("hooks", Failure())  # type: ignore[no-untyped-call]

    def stop(self) -> Deferred[None]:
        """End what runs and begin nothing more; fires within PATIENCE."""
        self._stopped = stopped = Deferred[None]()
        self._alarm.off()
        if self._pause is not None:
            self._pause.cancel()
        self._lost = self._dropped + len(self._waiting)
        self._waiting.clear()
        self._limit = self._clock.callLater(PATIENCE, self._all_ended)
        for call in list(self._running):
            if call.running is not None:
                call.running.end(PATIENCE * 0.75)
        if not self._running:
            self._all_ended()
        return stopped

    def _queue(self, event: Event) -> None:
        hooks = self._policy().aftermath.hooks
        if not hooks or (news := told(event, self._now().wall)) is None:
            return
        for hook in hooks:
            if news.on not in hook.on:
                continue
            self._calls += 1
            call = _Call(self._calls, hook, news, self._clock.seconds())
            self._waiting.append(call)
            self._bound()
            self._alarm.within(0)

    def _say_dropped(self) -> None:
        self._pause = None
        if self._dropped:
            self._log.hook_dropped(self._dropped, f"{MOST_WAITING} are waiting already")
            self._dropped = 0
            self._pause = self._clock.callLater(SAY_EVERY, self._say_dropped)

    def _start_one(self) -> None:
        """Begin one call, so that mail is answered between two."""
        if len(self._running) >= MOST_AT_ONCE or (call := self._next()) is None:
            return
        self._waiting.remove(call)
        self._alarm.within(0)
        hook = self._in_force(call)
        if hook is None:
            self.given_up += 1
            self._log.hook_given_up(*call.said, "the hook has gone from the rules")
            return
        call.hook = hook
        self._running.add(call)
        try:
            call.running = self._begin(hook, call.told.data)
        except Exception as error:  # noqa: BLE001 - such as no process or no descriptor left
            self._ended(repr(error), call)
            return
        call.timer = self._clock.callLater(hook.timeout, self._late, call)
        call.running.ended.addErrback(repr).addCallback(self._ended, call)

    def _next(self) -> _Call | None:
        """Return the call that is to begin; if there is none yet, wait for the first.

        It is the oldest, but for a hook that hangs on others: who is told least goes first.
        """
        now = self._clock.seconds()
        load = Counter(call.whom for call in self._running)
        busy = {(call.whom, call.told.about) for call in self._running}
        found: _Call | None = None
        wait = math.inf
        for call in self._waiting:
            whom = call.whom
            if (order := (whom, call.told.about)) in busy:
                continue
            busy.add(order)
            if call.due > now + _NEARLY:
                wait = min(wait, call.due - now)
            elif found is None or load[whom] < load[found.whom]:
                found = call
                if not load[whom]:
                    break
        if found is None and wait < math.inf:
            self._alarm.within(wait)
        return found

    def _in_force(self, call: _Call) -> Hook | None:
        """Return the hook that the rules have now for *call*; it may have another timeout."""
        was = call.hook
        for hook in self._policy().aftermath.hooks:
            if (hook.command, hook.url) == (was.command, was.url) and call.told.on in hook.on:
                return hook
        return None

    def _late(self, call: _Call) -> None:
        call.is_late = True
        if call.running is not None:
            call.running.end(GRACE)

    def _ended(self, why: str, call: _Call) -> None:
        self._running.discard(call)
        if call.timer is not None and call.timer.active():
            call.timer.cancel()
        if self._stopped is not None:
            self._lost += bool(why)
            if not self._running:
                self._all_ended()
            return
        if why and call.is_late:
            why = f"it took longer than {call.hook.timeout:g}s: {why}"
        self.failed += bool(why)
        if not why:
            self.done += 1
            self._log.hook_done(*call.said)
        elif call.failures < len(RETRIES):
            self._retry(call, why, RETRIES[call.failures])
        else:
            self.given_up += 1
            self._log.hook_given_up(*call.said, why)
        self._alarm.within(0)

    def _retry(self, call: _Call, why: str, wait: float) -> None:
        self._log.hook_failed(*call.said, why, wait)
        due = self._clock.seconds() + wait
        again = _Call(call.number, call.hook, call.told, due, call.failures + 1)
        insort(self._waiting, again, key=lambda call: call.number)
        self._bound()

    def _bound(self) -> None:
        """Drop the oldest when too many are waiting."""
        if len(self._waiting) <= MOST_WAITING:
            return
        del self._waiting[0]
        self._dropped += 1
        self.given_up += 1
        if self._pause is None:
            self._say_dropped()

    def _all_ended(self) -> None:
        """Let the stop be over, once, even if something has not ended."""
        stopped = self._stopped
        if stopped is None or stopped.called:
            return
        if self._limit is not None and self._limit.active():
            self._limit.cancel()
        if lost := self._lost + len(self._running):
            self._log.hook_dropped(lost, "the daemon stops")
        stopped.callback(None)
