"""The policy once more, as naively as possible: everything is recounted from a full history.

It shares the rule file's model and the conditions with the engine, and nothing of how the engine
counts, reserves, joins requests to transactions, or lets time pass.
"""

from dataclasses import dataclass, field
from typing import Any

from policyd.aup.facts import Facts
from policyd.aup.policy import Count, Limit, Mode, Policy, Refuse
from policyd.counting.window import bucket_width
from policyd.protocol.request import Request

Key = tuple[str, ...]


@dataclass
class Charge:
    limit: str
    key: Key
    member: str
    amount: int
    end: float  # of its bucket
    gone: bool = False


@dataclass
class Group:
    scope: tuple[str, str]
    size: int
    serial: int
    last: float


@dataclass
class Mail:
    """A transaction."""

    request: Request
    opened: float
    recipients: list[str] = field(default_factory=list)
    holds: bool = True
    asked_at_rcpt: bool = False
    refused_by: str | None = None
    noted: set[str] = field(default_factory=set)
    base: tuple[int, int] = (0, 0)
    users: set[int] = field(default_factory=set)
    left: float | None = None
    cut_off: bool = False


class Model:
    def __init__(self, rules: Policy) -> None:
        self.rules = rules
        self.charges: list[Charge] = []
        self.groups: list[Group] = []
        self.serial = 0
        self.mails: dict[str, Mail] = {}
        self.current: dict[int, str] = {}
        self.answers: dict[tuple[str, ...], tuple[float, tuple[str, str | None]]] = {}
        self.journaled: dict[tuple[str, ...], float] = {}  # answers, by the end of their bucket
        self.unwritten: set[tuple[str, ...]] = set()
        self.wall = self.ticks = 0.0

    # time

    def at(self, wall: float, ticks: float) -> None:
        self.wall, self.ticks = wall, ticks
        windows = {limit.id: limit.window for limit in self.rules.limits}
        for charge in self.charges:
            window = windows[charge.limit]
            charge.end = min(charge.end, self.bucket_end(window))
            if charge.end <= wall - window:
                charge.gone = True
        self.groups = [group for group in self.groups if group.last + self.life(group) > wall]
        for instance, mail in list(self.mails.items()):
            patience = 3600 if mail.cut_off else 5
            if mail.left is not None and mail.left + patience <= ticks:
                del self.mails[instance]
            elif mail.opened + 3600 <= ticks or (mail.left is not None and mail.left + 5 <= ticks):
                mail.holds = False

    def bucket_end(self, window: int) -> float:
        """When the bucket of now ends."""
        width = bucket_width(window)
        return self.wall // width * width + width

    # counting

    def live(self, limit: Limit) -> list[Charge]:
        return [c for c in self.charges if c.limit == limit.id and not c.gone]

    def used(self, limit: Limit, key: Key) -> int:
        charges = [c for c in self.live(limit) if c.key == key]
        if limit.count is Count.DISTINCT_RECIPIENTS:
            return len({c.member for c in charges})
        return sum(c.amount for c in charges)

    def usage(self, limit: Limit) -> dict[Key, int]:
        found = {key: self.used(limit, key) for key in {c.key for c in self.live(limit)}}
        return {key: used for key, used in found.items() if used}

    def held(self, limit: Limit, key: Key, without: Mail | None) -> tuple[int, set[str]]:
        """R: what open transactions hold, and the members."""
        known = {c.member for c in self.live(limit) if c.key == key}
        total, members = 0, set()
        if limit.refuse is Refuse.RECIPIENT:
            for mail in self.mails.values():
                if mail is without or not mail.holds or limit.id in mail.noted:
                    continue
                for at, what in self.asks(limit, mail, mail.recipients, 0):
                    if at == key:
                        members |= set(what)
                        total += 1 if limit.count is Count.MESSAGES else len(what)
        if limit.count is Count.DISTINCT_RECIPIENTS:
            return len(members - known), members
        return total, members

    def asks(
        self, limit: Limit, mail: Mail, recipients: list[str], size: int
    ) -> list[tuple[Key, list[str]]]:
        """What the limit would count, by key."""
        facts = Facts(mail.request, self.rules.accounts)
        by_key: dict[Key, list[str]] = {}
        for recipient in recipients:
            external = recipient.startswith("?") or self.rules.local.is_external(recipient)
            if limit.external in (None, external) and limit.chooses(recipient):
                key = tuple(
                    recipient
                    if part.name == "recipient"
                    else self.group_name(limit, facts, size)
                    if part.name == "likeness"
                    else facts[part.name].lower()
                    for part in limit.per
                )
                by_key.setdefault(key, []).append(recipient)
        return list(by_key.items())

    def total(self, limit: Limit, mail: Mail, recipients: list[str], size: int, own: bool) -> int:
        """The most that U + R + A comes to over the keys, or -1 if nothing is asked."""
        worst = -1
        for key, members in self.asks(limit, mail, recipients, size):
            reserved, held = self.held(limit, key, None if own else mail)
            if limit.count is Count.DISTINCT_RECIPIENTS:
                known = {c.member for c in self.live(limit) if c.key == key}
                asked = len(set(members) - known - held)
            elif limit.count is Count.RECIPIENTS:
                asked = len(members)
            elif limit.count is Count.MESSAGES:
                holds_already = own and mail.holds and limit.refuse is Refuse.RECIPIENT
                mine = [at for at, _ in self.asks(limit, mail, mail.recipients, size)]
                if holds_already and key in mine:
                    continue
                asked = 1
            else:
                asked = size
            worst = max(worst, self.used(limit, key) + reserved + asked)
        return worst

    # likeness

    def life(self, group: Group) -> float:
        return max(
            (
                limit.window + bucket_width(limit.window)
                for limit in self.rules.limits
                if limit.likeness_scope == group.scope[0]
            ),
            default=0,
        )

    def nearest(self, limit: Limit, facts: Facts, size: int) -> Group | None:
        kind = limit.likeness_scope
        assert kind is not None
        near = [
            (abs(group.size - size), group.serial, group)
            for group in self.groups
            if group.scope == (kind, facts[kind])
            and abs(group.size - size) <= self.rules.likeness.tolerance
        ]
        return min(near)[2] if near else None

    def group_name(self, limit: Limit, facts: Facts, size: int) -> str:
        group = self.nearest(limit, facts, size)
        return "new" if group is None else str(group.serial)

    def join(self, limit: Limit, facts: Facts, size: int) -> None:
        group = self.nearest(limit, facts, size)
        kind = limit.likeness_scope
        if group is None:
            assert kind is not None
            self.serial += 1
            self.groups.append(Group((kind, facts[kind]), size, self.serial, self.wall))
        else:
            group.last = self.wall

    # deciding

    def rcpt(self, user: int, request: Request) -> tuple[str, str | None]:
        mail = self.mail(user, request)
        mail.asked_at_rcpt = True
        recipient = request["recipient"].lower().rstrip(".")
        if mail.refused_by is not None:
            return "REFUSED", mail.refused_by
        if recipient in mail.recipients:
            return "PASS", None
        limits = self.limits(mail)
        if not mail.recipients:
            for limit in limits:
                known = limit.likeness_scope is None
                answers = limit.refuse is Refuse.MESSAGE and limit.mode is Mode.ENFORCE
                if not (known and answers):
                    continue
                if self.total(limit, mail, [recipient], 1, own=True) > limit.max:
                    mail.refused_by = limit.id
                    return "REFUSED", limit.id
        each = [n for n in limits if n.refuse is Refuse.RECIPIENT and n.id not in mail.noted]
        over = [n for n in each if self.total(n, mail, [recipient], 1, own=True) > n.max]
        for limit in over:
            if limit.mode is Mode.ENFORCE:
                return "REFUSED", limit.id
        mail.noted |= {limit.id for limit in over}
        mail.recipients.append(recipient)
        return "PASS", over[0].id if over else None

    def end(self, user: int, request: Request) -> tuple[str, str | None]:
        name = tuple(request[n] for n in ("instance", "queue_id", "recipient_count", "size"))
        if name in self.answers and self.ticks < self.answers[name][0] + 300:
            if request["instance"] in self.mails:
                self.mail(user, request)
            elif user in self.current:
                self.close(self.current[user])
            return self.answers[name][1]
        answer = self.settle(user, request)
        self.answers.pop(name, None)
        self.answers[name] = (self.ticks, answer)
        self.journaled.pop(name, None)
        self.unwritten.add(name)
        return answer

    def settle(self, user: int, request: Request) -> tuple[str, str | None]:
        mail = self.mail(user, request)
        count = request.recipient_count - mail.base[0]
        size = request.size - mail.base[1]
        only = [request["recipient"].lower().rstrip(".")] if request["recipient"] else []
        if not mail.asked_at_rcpt:
            recipients = only or [f"? {number} {request['queue_id']}" for number in range(count)]
        elif only and mail.recipients:
            recipients = only
        else:
            recipients = mail.recipients[:count]
        tested = [limit for limit in self.limits(mail) if limit.id not in mail.noted]
        over = [n for n in tested if self.total(n, mail, recipients, size, own=False) > n.max]
        for limit in over:
            if limit.mode is Mode.ENFORCE:
                mail.recipients, mail.noted = [], set()
                mail.base = (request.recipient_count, request.size)
                return "REFUSED", limit.id
        facts = Facts(mail.request, self.rules.accounts)
        for limit in tested:
            if limit in over or not self.asks(limit, mail, recipients, size):
                continue
            if limit.likeness_scope is not None:
                self.join(limit, facts, size)
            end = self.bucket_end(limit.window)
            for key, members in self.asks(limit, mail, recipients, size):
                amount = {Count.MESSAGES: 1, Count.BYTES: size}.get(limit.count, len(members))
                if limit.count is Count.DISTINCT_RECIPIENTS:
                    self.charges += [Charge(limit.id, key, m, 1, end) for m in members]
                else:
                    self.charges.append(Charge(limit.id, key, "", amount, end))
        self.close(request["instance"])
        return "PASS", over[0].id if over else None

    def limits(self, mail: Mail) -> list[Limit]:
        facts = Facts(mail.request, self.rules.accounts)
        return [
            limit
            for limit in self.rules.limits
            if (facts.account or not limit.counts_per("account"))
            and (facts.domain or not limit.counts_per("domain"))
            and limit.match.matches(facts)
            and not limit.unless.touches(facts)
        ]

    # transactions

    def mail(self, user: int, request: Request) -> Mail:
        instance = request["instance"]
        before = self.current.get(user)
        if before is not None and before != instance:
            self.close(before)
        mail = self.mails.setdefault(instance, Mail(request, self.ticks))
        mail.users.add(user)
        mail.left = None
        mail.cut_off = False
        self.current[user] = instance
        return mail

    def close(self, instance: str) -> None:
        self.mails.pop(instance, None)
        self.current = {user: at for user, at in self.current.items() if at != instance}

    def leave(self, user: int) -> None:
        instance = self.current.pop(user, None)
        mail = self.mails.get(instance or "")
        if mail is not None:
            mail.users.discard(user)
            if not mail.users:
                mail.left = self.ticks

    def journal(self) -> None:
        latest = self.wall // 10 * 10 + 10
        self.journaled = {
            name: min(end, latest) for name, end in self.journaled.items() if end > self.wall - 300
        }
        for name in self.unwritten:
            if self.ticks < self.answers[name][0] + 300:
                self.journaled[name] = latest
        self.unwritten.clear()

    def restart(self) -> None:
        """Everything was journaled; of answers only the bucket is known then."""
        self.current.clear()
        self.answers = {name: self.answers[name] for name in self.answers if name in self.journaled}
        given = self.ticks - 300
        for name in sorted(self.answers, key=lambda name: self.journaled[name]):
            given = max(given, self.ticks - min(max(self.wall - self.journaled[name], 0), 300))
            self.answers[name] = (given, self.answers[name][1])
        for mail in self.mails.values():
            mail.users.clear()
            mail.left, mail.cut_off = self.ticks, True
            mail.refused_by = None
            mail.holds = mail.opened + 3600 > self.ticks

    def crash(self) -> None:
        """Everything but open transactions was journaled."""
        self.mails.clear()
        self.restart()

    def reload(self, rules: Policy) -> None:
        """Only max, mode and window may differ, and whether a limit is there."""
        names = {limit.id for limit in rules.limits}
        self.charges = [c for c in self.charges if c.limit in names]
        self.rules = rules
        for mail in self.mails.values():
            mail.refused_by = None


def usages(model: Model) -> dict[str, Any]:
    """Return the usage of every limit by number of keys and by figure, as names of keys differ."""
    return {limit.id: sorted(model.usage(limit).values()) for limit in model.rules.limits}
