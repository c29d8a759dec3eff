"""Random transactions, retries, aborts, clock steps and reloads: the engine against the model."""

from dataclasses import replace
from typing import Any

from aup.building import DAY, HOUR, Desk, limit, policy, request
from aup.model import Model, usages
from fuzz.form import times
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from policyd.aup.event import Exceeded
from policyd.aup.policy import Count, EndSession, Likeness, Mode, Policy, Recipients, Refuse
from policyd.aup.transaction import Connection

LIMITS = (
    limit("bulk", "account likeness", max=6),
    limit("domain", "domain likeness", max=9, window=7 * DAY, mode=Mode.OBSERVE),
    limit("repeat", "account likeness recipient", count=Count.MESSAGES, max=3),
    limit("each", "account", max=8, refuse=Refuse.RECIPIENT, window=HOUR),
    limit("held", "account", max=9, refuse=Refuse.RECIPIENT, count=Count.RECIPIENTS, window=600),
    limit("mails", "account", max=6, refuse=Refuse.RECIPIENT, count=Count.MESSAGES),
    limit("seen", "account", max=4, refuse=Refuse.RECIPIENT, window=HOUR, mode=Mode.OBSERVE),
    limit("daily", "account", max=12, recipients=Recipients.ALL),
    limit("burst", "client_address", max=7, count=Count.RECIPIENTS, window=90),
    limit("volume", "account", max=40_000, count=Count.BYTES, window=10_001),
)
ADDRESSES = [f"{name}{n}@away.example" for name in ("r", "R") for n in range(9)] + [
    "u1@local.example",
    "u2@LOCAL.example.",
    "bare",
]
# in a cluster all are alike, and no two clusters are: it does not matter which size came first
SIZES = [1000, 1020, 1060, 5000, 5064, 20_000]


class Played(RuleBasedStateMachine):
    @initialize(names=st.sets(st.sampled_from([limit.id for limit in LIMITS]), min_size=1))
    def begin(self, names: set[str]) -> None:
        self.limits = [limit for limit in LIMITS if limit.id in names]
        self.desk = Desk(self.built())
        self.model = Model(self.built())
        self.connections = [Connection("mx") for _ in range(3)]
        self.serial = 0
        self.sessions = [self.fresh(number) for number in range(3)]
        self.tell_time()

    def built(self) -> Policy:
        return policy(*self.limits, likeness=Likeness(tolerance=64), end_session=EndSession.NO)

    def fresh(self, user: int) -> dict[str, Any]:
        self.serial += 1
        return {
            "instance": f"{self.serial:x}",
            "sasl_username": ("alice", "alice", "bob")[user],
            "accepted": 0,
            "size": 0,
            "last": None,
        }

    def tell_time(self) -> None:
        self.model.at(self.desk.wall, self.desk.ticks)

    def play(self, user: int, stage: str, attributes: dict[str, Any]) -> str:
        session = self.sessions[user]
        asked = request(
            stage,
            **{n: session[n] for n in ("instance", "sasl_username")},
            **{"queue_id": f"Q{session['instance']}"} | attributes,
        )
        session["last"] = asked
        return self.compare(user, asked)

    def compare(self, user: int, asked: Any) -> str:
        self.tell_time()
        at_rcpt = asked["protocol_state"] == "RCPT"
        expected = (self.model.rcpt if at_rcpt else self.model.end)(user, asked)
        decision = self.desk.ask(asked, self.connections[user])
        exceeded = [event for event in decision.events if isinstance(event, Exceeded)]
        verb = "PASS" if decision.verdict.verb == "DUNNO" else "REFUSED"
        assert verb == expected[0]
        if exceeded:
            assert exceeded[0].limit.id == expected[1]
            assert exceeded[0].figures.total > exceeded[0].most
        self.same_usage()
        return verb

    def same_usage(self) -> None:
        counted = {}
        for name, counter in self.desk.engine.counts.counters():
            counter.tidy(self.desk.now.wall, 0)
            keys = {key for _, counts in counter.usage.buckets().items() for key in counts}
            counted[name] = sorted(n for key in keys if (n := counter.usage.sum(key)))
        assert counted == usages(self.model)

    @rule(user=st.integers(0, 2), address=st.sampled_from(ADDRESSES))
    def rcpt(self, user: int, address: str) -> None:
        if self.play(user, "RCPT", {"recipient": address, "size": 0}) == "PASS":
            self.sessions[user]["accepted"] += 1

    @rule(user=st.integers(0, 2), addresses=st.lists(st.sampled_from(ADDRESSES), max_size=8))
    def many(self, user: int, addresses: list[str]) -> None:
        for address in addresses:
            self.rcpt(user, address)

    @rule(
        user=st.integers(0, 2),
        size=st.sampled_from(SIZES),
        others=st.sampled_from([0, 0, 0, 1, -1, -2]),
        only=st.sampled_from(ADDRESSES),
    )
    def end(self, user: int, size: int, others: int, only: str) -> None:
        session = self.sessions[user]
        count = max(1, session["accepted"] + others)
        total = session["size"] + size
        verb = self.play(
            user,
            "END-OF-MESSAGE",
            {
                "recipient_count": count,
                "recipient": only if count == 1 else "",
                "size": total,
                "queue_id": f"Q{session['instance']}-{total}",
            },
        )
        if verb == "PASS":
            self.sessions[user] = self.fresh(user) | {"last": session["last"]}
        else:  # Postfix goes on, and adds up
            session["accepted"], session["size"] = count, total

    @rule(user=st.integers(0, 2), count=st.integers(1, 12), size=st.sampled_from(SIZES))
    def end_without_a_set(self, user: int, count: int, size: int) -> None:
        if not self.sessions[user]["accepted"]:
            self.sessions[user]["accepted"] = count
            self.end(user, size, 0, ADDRESSES[0])

    @precondition(lambda self: any(session["last"] for session in self.sessions))
    @rule(user=st.integers(0, 2), other=st.booleans())
    def retry(self, user: int, other: bool) -> None:
        asked = self.sessions[user]["last"]
        current = self.sessions[user]["instance"]
        if asked is None or (asked["protocol_state"] == "RCPT" and asked["instance"] != current):
            return
        if other:
            self.disconnect(user)
        self.compare(user, asked)

    @rule(user=st.integers(0, 2))
    def abort(self, user: int) -> None:
        self.sessions[user] = self.fresh(user)

    @rule(user=st.integers(0, 2))
    def disconnect(self, user: int) -> None:
        self.desk.engine.disconnect(self.connections[user], self.desk.now)
        self.model.leave(user)
        self.connections[user] = Connection("mx")

    @rule(seconds=st.sampled_from([1, 4, 6, 61, 299, 301, 1801, 3600, 20_000, DAY, 8 * DAY]))
    def later(self, seconds: float) -> None:
        self.desk.later(seconds)
        self.tell_time()
        self.same_usage()
        self.journal()  # as the daemon does every moment

    @rule(seconds=st.sampled_from([-1, -300, -4000, -DAY, 1, 400, HOUR, DAY / 2, 400 * DAY]))
    def step(self, seconds: float) -> None:
        self.desk.step(seconds)
        self.tell_time()
        self.same_usage()
        self.journal()

    @rule(
        index=st.integers(0, 20),
        most=st.integers(1, 12),
        window=st.sampled_from([90, 600, HOUR, DAY]),
        mode=st.sampled_from(Mode),
    )
    def reload(self, index: int, most: int, window: int, mode: Mode) -> None:
        at = index % len(self.limits)
        self.limits[at] = replace(self.limits[at], max=most, window=window, mode=mode)
        self.tell_time()
        assert self.desk.engine.obey(self.built(), self.desk.now) == []
        self.model.reload(self.built())
        self.desk.later(0)
        self.tell_time()
        self.same_usage()
        self.journal()

    @rule(kill=st.booleans())
    def restart(self, kill: bool) -> None:
        self.tell_time()
        self.journal()
        assert self.desk.restart(kill=kill) == []
        (self.model.crash if kill else self.model.restart)()
        self.connections = [Connection("mx") for _ in range(3)]
        self.tell_time()
        self.same_usage()

    @rule()
    def journal(self) -> None:
        self.desk.journal()
        self.model.journal()

    def teardown(self) -> None:
        if hasattr(self, "desk"):
            self.desk.engine._check()


Played.TestCase.settings = settings(
    max_examples=times(100, 3000), stateful_step_count=40, deadline=None
)
TestPlayed = Played.TestCase
