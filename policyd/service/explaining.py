"""The command that explains: what the live rules and counts would make of a request."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from itertools import groupby
from typing import Any, Final

from policyd.aup.engine import Engine
from policyd.aup.explain import Explained, Said, explain, suspension_spares
from policyd.aup.holders import values
from policyd.aup.rehearsal import MOST_KEYS, Measured
from policyd.clock import Instant
from policyd.protocol.reply import reply
from policyd.protocol.request import Request as PolicyRequest
from policyd.protocol.request import Stage
from policyd.service.admin_answers import moment_told, suspension_told
from policyd.service.admin_names import size
from policyd.service.admin_request import Answer, Code, Command, CommandError, Request

MOST_REQUESTS: Final = 1001
"""Each takes some 50 us of everybody's time."""

USUAL_SIZE: Final = 3000
"""Bytes of a message of which nothing else is said."""

_INSTANCE: Final = "explain"
"""Stands for an instance where none is given; none of Postfix's is like it."""


class Explaining:
    """The command, on *engine*; *hosts* tells who asks the daemon at present."""

    def __init__(
        self, engine: Engine, hosts: Callable[[], Iterable[str]], now: Callable[[], Instant]
    ) -> None:
        self._engine = engine
        self._hosts = hosts
        self._now = now

    @property
    def commands(self) -> Mapping[str, Command]:
        """The command by its name."""
        takes = ("account", "size")
        flags = ("buckets",)
        return {"explain": Command(self._explain, (), takes, flags, tables=("requests",))}

    def _explain(self, request: Request) -> Answer:
        """Explain requests; each has the attributes of the one before it, but for its own."""
        asked = list(self._asked(request))
        if not asked:
            raise CommandError(Code.USAGE, "requests are missing")
        if len({one["instance"] for one in asked}) > 1:
            raise CommandError(Code.USAGE, "the requests are not all of one instance")
        hosts = dict.fromkeys(self._hosts())
        found = _asked_about(explain(self._engine, asked, hosts, self._now()))
        telling = _Telling(self._engine, self._now(), request.has("buckets"))
        last = found[-1]
        fields = {
            "account": last.facts.account,
            "domain": last.facts.domain,
            "logged_in": last.facts.authenticated,
            "client_address": last.facts.client_address,
            **telling.suspension(found),
            "exemptions": [f"{one.match}: {one.reason}" for one in last.exemptions],
            "answer": telling.words(last),
        }
        return Answer(fields, "steps", map(telling.step, _runs(found)))

    def _asked(self, request: Request) -> Iterator[PolicyRequest]:
        rows = request.table("requests")
        if len(rows) > MOST_REQUESTS:
            raise CommandError(Code.USAGE, f"at most {MOST_REQUESTS} requests are explained")
        attributes: dict[str, str] = {"instance": _INSTANCE}
        identity = self._engine.policy.accounts.identity
        if request["account"]:
            attributes[identity[0]] = request["account"]
        bytes_ = size(request["size"]) if request["size"] else USUAL_SIZE
        for row in rows:
            attributes = {**attributes, **row}
            one = PolicyRequest(attributes)
            if one.stage is Stage.END_OF_MESSAGE and not one["size"]:
                one = PolicyRequest({**attributes, "size": str(bytes_)})
            yield one


def _asked_about(found: Sequence[Explained]) -> Sequence[Explained]:
    """Return what Postfix gets to: there is no message where each recipient was refused."""
    at_rcpt = [one for one in found if one.request.stage is Stage.RCPT]
    if at_rcpt and all(one.is_refusal for one in at_rcpt):
        return at_rcpt
    return found


def _runs(found: Iterable[Explained]) -> Iterator[tuple[Explained, int]]:
    """Yield the first of each run of requests with the same answer, and how many they are."""
    for _, run in groupby(found, key=lambda one: (one.request.stage, one.verdict[:2], one.speaks)):
        first, *others = run
        yield first, 1 + len(others)


@dataclass(frozen=True, slots=True)
class _Telling:
    """Makes plain values of what is explained."""

    engine: Engine
    now: Instant
    buckets: bool

    @property
    def zone(self) -> tzinfo:
        """The time zone of the rules."""
        return self.engine.policy.time_zone

    def words(self, one: Explained) -> str:
        """Return the answer as Postfix gets it."""
        said = reply(one.verdict, one.request.stage or Stage.END_OF_MESSAGE)
        return said.decode("ascii").strip().removeprefix("action=")

    def suspension(self, found: Sequence[Explained]) -> Mapping[str, Any]:
        """Return what there is to tell of the suspension of the sender."""
        suspension = found[-1].suspension
        if suspension is None:
            return {"suspension": None}
        told = suspension_told(suspension, self.now.wall, self.zone)
        blocks = any(one.why.endswith("is suspended") for one in found)
        spares = "" if blocks else suspension_spares(suspension, self.engine.policy)
        return {"suspension": {**told, "refuses": blocks, "spares": spares}}

    def step(self, run: tuple[Explained, int]) -> Mapping[str, Any]:
        """Return what there is to tell of a run of requests."""
        one, number = run
        return {
            "stage": one.request["protocol_state"],
            "recipient": one.request["recipient"],
            "requests": number,
            "recipients": one.recipients,
            "size": one.size,
            "answer": self.words(one),
            "limit": one.speaks,
            "why": one.why,
            "limits": [self._limit(said) for said in one.limits],
        }

    def _limit(self, said: Said) -> Mapping[str, Any]:
        limit = said.limit
        measured = said.test.measured[:MOST_KEYS] if said.test else []
        return {
            "id": limit.id,
            "state": said.state.value,
            "why": said.why,
            "mode": limit.mode.value,
            "action": limit.action.verb,
            "max": said.max,
            "window": limit.window,
            "override": str(said.override.match) if said.override else "",
            "keys": [self._key(one, said.max or 0) for one in measured],
            "more": said.test.more if said.test else 0,
        }

    def _key(self, one: Measured, most: int) -> Mapping[str, Any]:
        used, reserved, asked = one.figures
        told = {
            "key": list(values(one.claim.key)),
            "used": used,
            "reserved": reserved,
            "added": asked,
            "total": one.figures.total,
            "exceeded": one.figures.total > most,
            **moment_told("room", one.room, self.zone),
        }
        return {**told, "buckets": self._buckets(one)} if self.buckets else told

    def _buckets(self, one: Measured) -> Sequence[Mapping[str, Any]]:
        return [
            {
                **moment_told("until", part.end, self.zone),
                "amount": part.amount,
                **moment_told("leaves", part.leaves, self.zone),
            }
            for part in one.parts
        ]
