"""What there is to see of the daemon at work: as a whole, by limit, and who is near a limit.

Nothing here is changed. What has to look at every key does so in many turns of the reactor.
"""

import heapq
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from policyd import __version__
from policyd.aup.address import fold_domain
from policyd.aup.engine import Engine
from policyd.aup.holders import key_part, maximum, values
from policyd.aup.policy import Limit
from policyd.clock import Instant
from policyd.compiled import core
from policyd.config.problem import quoted
from policyd.config.summary import sentence
from policyd.counting.counters import Counter
from policyd.service.admin_answers import moment_told
from policyd.service.admin_request import Answer, Code, Command, CommandError, Request
from policyd.service.metrics import Sources
from policyd.service.walking import Walks

NEAR: Final = 0.8
"""What part of its maximum makes a key near its limit."""

MOST_TOP: Final = 1000


class Overview:
    """The commands that show; *sources* are what of, *listening* where requests come from."""

    def __init__(
        self,
        sources: Sources,
        listening: Sequence[str],
        walks: Walks,
        now: Callable[[], Instant],
    ) -> None:
        self._sources = sources
        self._listening = listening
        self._walks = walks
        self._now = now
        self._begun = now().monotonic

    @property
    def commands(self) -> Mapping[str, Command]:
        """The commands by name."""
        return {
            "status": Command(self._status),
            "limits": Command(self._limits),
            "top": Command(self._top, takes=("limit", "domain", "number")),
        }

    @property
    def _engine(self) -> Engine:
        return self._sources.engine

    def _status(self, _: Request) -> Answer:
        now, engine = self._now(), self._engine
        policy, counts = engine.policy, engine.counts
        keys = sum(len(one) for _, one in counts.counters())
        held = sum(one.weight for _, one in counts.counters())
        held += sum(groups.weight for groups in counts.alike().values())
        figures = self._sources.service.answering.figures
        answers = {stage: dict(verbs) for stage, verbs in figures.by_stage().items()}
        ladder = engine.ladder
        fields = {
            "version": __version__,
            "core": core(),
            "uptime": now.monotonic - self._begun,
            "mode": policy.mode.value,
            "limits": len(policy.limits),
            "enforcing": sum(limit.answers for limit in policy.limits),
            "listening": list(self._listening),
            "connections": len(self._sources.service.servers),
            "requests": answers,
            "faults": figures.faults,
            "contents": self._contents(),
            "open_transactions": len(engine.transactions),
            "keys": keys,
            "counts_memory": held,
            "incidents_open": sum(one.closed is None for one in ladder.incidents.values()),
            "suspensions": sum(one.holds(now.wall) for one in ladder.suspensions.by_id.values()),
            "notices_waiting": len(self._sources.notices),
            "hooks_waiting": len(self._sources.hooks),
            "state": self._state(now),
            "reload": self._reload(),
        }
        return Answer(fields)

    def _contents(self) -> Mapping[str, Any] | None:
        contents = self._sources.contents
        if not self._engine.awaiting.watches:
            return None
        return {
            "connections": len(contents.service.servers),
            "kinds": dict(contents.figures.kinds),
            "answers": dict(contents.figures.answers),
            "faults": contents.faults,
            "waiting": len(self._engine.awaiting),
        }

    def _state(self, now: Instant) -> Mapping[str, Any]:
        persistence = self._sources.persistence
        return {
            "trouble": persistence.is_behind,
            "journal_age": persistence.lag(now),
            "snapshot_age": persistence.snapshot_age(now),
            "copy_age": persistence.copy_age(now),
        }

    def _reload(self) -> Mapping[str, Any] | None:
        last = self._sources.reloader.last
        if last is None:
            return None
        return {
            **moment_told("when", last.when, self._engine.policy.time_zone),
            "why": last.why,
            "good": last.is_good,
            "problems": list(last.problems),
        }

    async def _limits(self, _: Request) -> Answer:
        told = []
        for limit, counter in self._counted():
            found = _Near(self._engine, limit, counter, self._now)
            await self._walks.over(counter, found.look)
            told.append(
                {
                    "id": limit.id,
                    "title": limit.title,
                    "sentence": sentence(limit),
                    "mode": limit.mode.value,
                    "max": limit.max,
                    "window": limit.window,
                    "keys": len(counter),
                    "near": found.near,
                    "full": found.full,
                }
            )
        return Answer({}, "limits", told)

    async def _top(self, request: Request) -> Answer:
        number = _number(request["number"])
        domain = fold_domain(request["domain"])
        counted = self._counted()
        if request["limit"]:
            counted = [one for one in counted if one[0].id == request["limit"]]
            if not counted:
                message = f"there is no limit {quoted(request['limit'])}"
                raise CommandError(Code.NO_SUCH, message)
        top: list[_Place] = []
        keys = 0
        for limit, counter in counted:
            found = _Top(self._engine, limit, counter, self._now, (top, number, domain))
            keys += await self._walks.over(counter, found.look)
        told = [
            {
                "limit": limit,
                "key": list(values(key)),
                "used": used,
                "max": most,
                "share": round(share, 3),
            }
            for share, limit, key, used, most in sorted(top, reverse=True)
        ]
        return Answer({"keys": keys}, "top", told)

    def _counted(self) -> list[tuple[Limit, Counter]]:
        engine = self._engine
        return [(limit, engine.counts.counter(limit)) for limit in engine.policy.limits]


_Place = tuple[float, str, str, int, int]
"""Share of the maximum, limit, key, usage, maximum."""


class _Look:
    """Looks at keys of one *limit*, and passes on those that come to *least* of their maximum."""

    def __init__(
        self, engine: Engine, limit: Limit, counter: Counter, now: Callable[[], Instant]
    ) -> None:
        self._policy = engine.policy
        self._limit = limit
        self._counter = counter
        self._now = now
        self._lowest = engine.counts.lowest_max(limit)

    def _found(self, keys: Sequence[str], least: float) -> Iterator[tuple[str, int, int]]:
        """Yield keys, usages and maximums; *least* is how much of the lowest maximum is enough."""
        now = self._now().wall
        usage = self._counter.usage
        usage.advance(now)
        enough = least * self._lowest
        for key in keys:
            used = usage.sum(key)
            if used and used >= enough:
                most = maximum(self._limit, key, self._policy, now)
                if most is not None:
                    yield key, used, most


class _Near(_Look):
    """Counts the keys that are near their maximum, and those with no room left."""

    near = full = 0

    def look(self, keys: Sequence[str]) -> None:
        """Look at some *keys*."""
        for _, used, most in self._found(keys, NEAR):
            self.full += used >= most
            self.near += NEAR * most <= used < most


class _Top(_Look):
    """Keeps the keys that are nearest to their maximum: *top*, *number* of them, of a *domain*."""

    def __init__(
        self,
        engine: Engine,
        limit: Limit,
        counter: Counter,
        now: Callable[[], Instant],
        wanted: tuple[list[_Place], int, str],
    ) -> None:
        super().__init__(engine, limit, counter, now)
        self._top, self._number, self._domain = wanted
        account = key_part(limit, "account")
        self._places = [at for at in (account, key_part(limit, "domain")) if at is not None]

    def look(self, keys: Sequence[str]) -> None:
        """Look at some *keys*."""
        top = self._top
        least = top[0][0] if len(top) >= self._number else 0.0
        for key, used, most in self._found(keys, least):
            if self._domain and not self._is_of_domain(key):
                continue
            place = (used / most if most else float(used), self._limit.id, key, used, most)
            if len(top) < self._number:
                heapq.heappush(top, place)
            else:
                heapq.heappushpop(top, place)

    def _is_of_domain(self, key: str) -> bool:
        found = list(values(key))
        return any(found[at].rpartition("@")[2] == self._domain for at in self._places)


def _number(text: str) -> int:
    if not text:
        return 20
    if text.isascii() and text.isdecimal() and 0 < int(text[:9]) <= MOST_TOP:
        return int(text)
    raise CommandError(Code.USAGE, f"number is from 1 to {MOST_TOP}")
