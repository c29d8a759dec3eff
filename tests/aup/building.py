"""Policies, requests and a clock for the tests, each with what a test does not care about."""

from dataclasses import replace
from datetime import UTC
from typing import Any

from policyd.aup.address import Accounts, LocalDomains
from policyd.aup.decision import Decision
from policyd.aup.engine import Engine
from policyd.aup.incident import Row
from policyd.aup.policy import (
    Action,
    Count,
    KeyPart,
    Limit,
    Mode,
    Policy,
    Recipients,
    Refuse,
)
from policyd.aup.transaction import Connection
from policyd.aup.wording import for_deferral, for_rejection
from policyd.clock import Instant, MonotonicTime, WallTime
from policyd.counting.distinct import Hasher
from policyd.protocol.request import Request
from policyd.storage.pending import Pending

HOUR = 3600
DAY = 24 * HOUR
START = 1_800_000_000.0 - 1_800_000_000.0 % DAY


def limit(name: str = "bulk", per: str = "account likeness", **changes: Any) -> Limit:
    text = changes.pop("text", "Too much mail; {used} of {max}")
    action = changes.pop("action", Action("REJECT", "5.7.1"))
    return replace(
        Limit(
            id=name,
            title=name,
            per=tuple(KeyPart(part) for part in per.split()),
            count=Count.DISTINCT_RECIPIENTS,
            recipients=Recipients.EXTERNAL,
            max=3,
            window=DAY,
            refuse=Refuse.MESSAGE,
            action=action,
            text=for_deferral(text) if action.status.startswith("4") else for_rejection(text),
            permanent_text=for_rejection(text),
            mode=Mode.ENFORCE,
        ),
        **changes,
    )


def policy(*limits: Limit, **changes: Any) -> Policy:
    return replace(
        Policy(
            mode=Mode.ENFORCE,
            limits=limits,
            local=LocalDomains(["local.example"]),
            accounts=Accounts(default_domain="local.example"),
            time_zone=UTC,
        ),
        **changes,
    )


def request(stage: str = "RCPT", recipient: str = "", **attributes: Any) -> Request:
    given = {
        "request": "smtpd_access_policy",
        "protocol_state": stage,
        "client_address": "192.0.2.7",
        "sender": "alice@local.example",
        "recipient": recipient,
        "recipient_count": 0,
        "instance": "1.1.1.0",
        "size": 1000 if stage != "RCPT" else 0,
        "sasl_username": "alice",
    } | attributes
    return Request({name: str(value) for name, value in given.items()})


class Desk:
    """An engine, a clock, and a connection to ask on."""

    def __init__(self, rules: Policy, *, trace: bool = True) -> None:
        self.engine = Engine(rules, Hasher(b"test"))
        self.engine.trace = self._trace = trace
        self.wall = START
        self.ticks = 1000.0
        self.connection = Connection("mx")
        self._messages = 0
        self._disk = Pending()
        self._ledgers: dict[tuple[str, str], Row] = {}

    @property
    def now(self) -> Instant:
        return Instant(WallTime(self.wall), MonotonicTime(self.ticks))

    def later(self, seconds: float) -> None:
        """Let time pass on both clocks."""
        self.wall += seconds
        self.ticks += seconds
        self.engine.tidy(self.now, 10_000)

    def step(self, seconds: float) -> None:
        """Step the wall clock."""
        self.wall += seconds
        self.engine.tidy(self.now, 10_000)

    def journal(self) -> None:
        """Write what changed."""
        self._disk.add(self.engine.take(self.now))
        for table, name, row in self.engine.take_entries():
            if row is None:
                self._ledgers.pop((table, name), None)
            else:
                self._ledgers[table, name] = {"id": name, **row}

    def restart(self, rules: Policy | None = None, *, kill: bool = False) -> list[str]:
        """Let another engine go on, after a clean stop or a *kill*; return what starts empty."""
        if not kill:
            self.journal()
        transactions = () if kill else self.engine.open_transactions(self.now)
        self.engine = Engine(rules or self.engine.policy, Hasher(b"test"))
        self.engine.trace = self._trace
        emptied = self.engine.restore(self._disk.series(), transactions, self._rows(), self.now)
        self.connection = Connection("mx")
        self.engine.tidy(self.now, 10_000)
        self.engine._check()
        return emptied

    def _rows(self) -> dict[str, list[Row]]:
        found: dict[str, list[Row]] = {}
        for (table, _), row in self._ledgers.items():
            found.setdefault(table, []).append(row)
        return found

    def ask(self, asked: Request, connection: Connection | None = None) -> Decision:
        decision = self.engine.decide(asked, connection or self.connection, self.now)
        self.engine._check()
        return decision

    def rcpt(self, recipient: str, **attributes: Any) -> str:
        """Ask about one recipient of the present message; return the verb of the answer."""
        return self.ask(request("RCPT", recipient, **self._here(attributes))).verdict.verb

    def end(self, count: int, **attributes: Any) -> str:
        """Ask at the end of the present message; return the verb of the answer."""
        return self.ask(
            request("END-OF-MESSAGE", recipient_count=count, **self._here(attributes))
        ).verdict.verb

    def next_message(self) -> None:
        self._messages += 1

    def mail(self, *recipients: str, **attributes: Any) -> str:
        """Send a whole message; return the verb of the first refusal, or of the end."""
        self.next_message()
        for recipient in recipients:
            if (verb := self.rcpt(recipient, **attributes)) not in ("DUNNO", "WARN"):
                return verb
        only = recipients[0] if len(recipients) == 1 else ""
        return self.end(len(recipients), recipient=only, **attributes)

    def usage(self, name: str) -> int:
        """Return what *name* holds, over all keys."""
        counter = next(c for n, c in self.engine.counts.counters() if n == name)
        counter.tidy(self.now.wall, 0)
        return sum(sum(counts.values()) for _, counts in counter.usage.buckets().items())

    def _here(self, attributes: dict[str, Any]) -> dict[str, Any]:
        return {
            "instance": f"1.{self._messages}.1.0",
            "queue_id": f"Q{self._messages}",
        } | attributes


def external(count: int, start: int = 0) -> list[str]:
    return [f"r{number}@away.example" for number in range(start, start + count)]
