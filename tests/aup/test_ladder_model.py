"""Random refusals, time, administrators and restarts: the ladder against a plain model.

The model keeps a list of all refusals and works everything out of it anew.
"""

from dataclasses import dataclass, field

from aup.building import DAY, HOUR
from aup.test_ladder import Site, ladder
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from policyd.aup.event import Suspended
from policyd.aup.incident import Suspension, SuspensionKind
from policyd.aup.ladder_rules import Do, Extreme, LadderRules, Step

RULES = LadderRules(
    strikes_expire=10 * DAY,
    quiet=HOUR,
    steps=(
        Step(1, Do.NOTICE),
        Step(2, Do.SUSPEND_MAILBOX, 6 * HOUR),
        Step(4, Do.SUSPEND_MAILBOX),
    ),
    extremes=(Extreme(DAY, recipients=12), Extreme(7 * DAY, suspended_mailboxes=2)),
    never_suspend=frozenset(("shared.example",)),
)
ACCOUNTS = ["a@one.example", "b@one.example", "c@two.example", "d@shared.example"]


@dataclass
class Run:
    """An incident."""

    account: str
    opened: float
    last: float
    strike: int
    messages: set[int] = field(default_factory=set)
    recipients: set[str] = field(default_factory=set)
    extreme: bool = False


@dataclass
class Sentence:
    """A suspension."""

    kind: str
    name: str
    since: float
    until: float | None
    lifted: float | None = None


class Model:
    def __init__(self) -> None:
        self.now = 0.0
        self.runs: list[Run] = []
        self.sentences: list[Sentence] = []
        self.refused: list[tuple[float, str, str]] = []  # when, account, recipient
        self.forgiven: dict[str, float] = {}

    def domain(self, account: str) -> str:
        return account.partition("@")[2]

    def holding(self, kind: str, name: str) -> list[Sentence]:
        return [
            one
            for one in self.sentences
            if (one.kind, one.name) == (kind, name)
            and one.lifted is None
            and (one.until is None or self.now < one.until)
        ]

    def names(self) -> list[str]:
        """Who is suspended."""
        held = {one.name for one in self.sentences if self.holding(one.kind, one.name)}
        return sorted(held)

    def is_suspended(self, account: str) -> bool:
        domain = self.domain(account)
        return bool(self.holding("mailbox", account) or self.holding("domain", domain))

    def strikes(self, account: str) -> int:
        since = max(self.now - RULES.strikes_expire, self.forgiven.get(account, -1.0))
        return sum(run.account == account and run.opened > since for run in self.runs)

    def open_run(self, account: str) -> Run | None:
        runs = [run for run in self.runs if run.account == account]
        if not runs:
            return None
        run = runs[-1]
        is_over = (
            self.now >= run.last + HOUR
            or self.now >= run.opened + DAY
            or run.opened <= self.forgiven.get(account, -1.0)
        )
        return None if is_over else run

    def offend(self, account: str, message: int, recipients: list[str]) -> None:
        run = self.open_run(account)
        is_new = run is None
        if run is None:
            run = Run(account, self.now, self.now, self.strikes(account) + 1)
            self.runs.append(run)
        run.last = self.now
        run.messages.add(message)
        run.recipients |= set(recipients)
        self.refused += [(self.now, account, one) for one in recipients]
        if is_new:
            self.climb(run)
        self.check_recipients(run)

    def climb(self, run: Run) -> None:
        lasts = {2: 6 * HOUR, 4: None}
        if run.strike not in lasts:
            return
        length = lasts[run.strike]
        until = None if length is None else self.now + length
        self.sentences.append(Sentence("mailbox", run.account, self.now, until))
        domain = self.domain(run.account)
        since = max(self.now - 7 * DAY, self.forgiven.get(domain, 0.0))
        mailboxes = {
            one.name
            for one in self.sentences
            if one.kind == "mailbox"
            and self.domain(one.name) == domain
            and one.since > since
            and one.lifted is None
        }
        if len(mailboxes) >= 2:
            self.end_domain(run)

    def check_recipients(self, run: Run) -> None:
        domain = self.domain(run.account)
        forgiven = max(self.forgiven.get(run.account, -1.0), self.forgiven.get(domain, -1.0))
        lately = {
            one
            for when, account, one in self.refused
            if account == run.account
            and when >= forgiven
            and when // 300 * 300 + 300 > self.now - DAY
        }
        if len(lately) >= 12:
            self.end_domain(run)

    def end_domain(self, run: Run) -> None:
        if run.extreme:
            return
        run.extreme = True
        if self.domain(run.account) not in RULES.never_suspend:
            self.sentences.append(Sentence("domain", self.domain(run.account), self.now, None))

    def lift(self, kind: str, name: str) -> int:
        lifted = self.holding(kind, name)
        for one in lifted:
            one.lifted = self.now
        if lifted:
            self.forgiven[name] = self.now
        return len(lifted)


class Played(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.site = Site(ladder(rules=RULES))
        self.model = Model()
        self.serial = 0
        self.tell_time()

    def tell_time(self) -> None:
        self.model.now = self.site.wall

    def moment(self) -> None:
        """No two things happen at the same time."""
        self.site.pass_time(0.5)
        self.tell_time()

    @rule(
        account=st.sampled_from(ACCOUNTS),
        message=st.integers(1, 4),
        recipients=st.integers(3, 7),
    )
    def offend(self, account: str, message: int, recipients: int) -> None:
        self.moment()
        to = [f"r{message}.{n}@away.example" for n in range(recipients)]
        verb = self.site.mail(*to, sasl_username=account, size=message * 10_000 + recipients)
        if self.model.is_suspended(account):
            assert verb == "REJECT"
            return
        assert verb == "521"
        self.model.offend(account, message * 100 + recipients, to)
        self.site.written()

    @rule(account=st.sampled_from(ACCOUNTS))
    def be_good(self, account: str) -> None:
        self.moment()
        verb = self.site.mail("u@local.example", sasl_username=account)
        assert verb == ("REJECT" if self.model.is_suspended(account) else "DUNNO")

    @rule(seconds=st.sampled_from([60, HOUR - 1, HOUR, 6 * HOUR, DAY, 3 * DAY, 11 * DAY]))
    def later(self, seconds: float) -> None:
        self.site.pass_time(seconds)
        self.tell_time()

    @precondition(lambda self: self.model.names())
    @rule(index=st.integers(0, 9), again=st.booleans())
    def lift(self, index: int, again: bool) -> None:
        """Lift one that holds, and see what comes of the next refusal."""
        names = self.model.names()
        name = names[index % len(names)]
        self.moment()
        self.lift_one(name)
        if again:
            account = name if "@" in name else f"a@{name}"
            self.offend(account, 1 + index % 4, 3 + index % 5)

    def lift_one(self, name: str) -> None:
        kind = SuspensionKind.MAILBOX if "@" in name else SuspensionKind.DOMAIN
        now = self.site.now.wall
        lifted = self.site.engine.ladder.lift(kind, name, now, by="root", why="")
        assert len(lifted) == self.model.lift(kind.value, name)

    @rule(name=st.sampled_from(ACCOUNTS), lasts=st.sampled_from([None, HOUR, 8 * HOUR]))
    def suspend(self, name: str, lasts: float | None) -> None:
        self.moment()
        now = self.site.now.wall
        until = None if lasts is None else type(now)(now + lasts)
        one = Suspension(SuspensionKind.MAILBOX, name, now, until, "root", "")
        self.site.engine.ladder.suspensions.add(one)
        self.site.written()
        self.model.sentences.append(Sentence("mailbox", name, now, until))

    @rule(kill=st.booleans())
    def restart(self, kill: bool) -> None:
        self.site.written()
        self.site.restart(kill=kill)
        self.site.happened += self.site.engine.ladder.events()

    @invariant()
    def agree(self) -> None:
        if not hasattr(self, "site"):
            return
        now = self.site.now.wall
        suspensions = self.site.engine.ladder.suspensions
        for account in ACCOUNTS:
            domain = self.model.domain(account)
            is_suspended = suspensions.of(account, domain, now) is not None
            assert is_suspended == self.model.is_suspended(account)
            assert self.site.strikes(account) == self.model.strikes(account)
        kept = [run for run in self.model.runs if run.opened >= now - 30 * DAY]
        found = [one for one in self.site.incidents if one.opened >= now - 30 * DAY]
        assert [(one.account, one.strike, one.opened) for one in found] == [
            (run.account, run.strike, run.opened) for run in kept
        ]
        assert [(one.messages, one.recipients) for one in found] == [
            (len(run.messages), len(run.recipients)) for run in kept
        ]
        self.site.engine.ladder._check()

    def teardown(self) -> None:
        if hasattr(self, "site"):
            decided = self.site.all(Suspended)
            assert len(decided) == len(self.model.sentences)


Played.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestPlayed = Played.TestCase
