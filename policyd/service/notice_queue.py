"""Mail that waits to be sent: one connection at a time, tried again until it is given up.

Every mail has a row of a ledger from when it is queued until it is sent, so that it survives a
restart. It is sent once, or once more when the process is killed between the mail server's reply
and the writing of it.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from policyd.aup.incident import Entry, Row
from policyd.aup.ladder_rules import NoticeRules
from policyd.clock import Instant, MonotonicTime, WallTime
from policyd.service.alarm import Alarm
from policyd.service.maillog import MailLog
from policyd.service.smtp_reply import Refused, RefusedError

NOTICES: Final = "notices"
"""The ledger."""

MOST_WAITING: Final = 10_000
"""Mails; who adds more looks first whether the queue is full."""

FIRST_RETRY: Final = 60.0
LONGEST_RETRY: Final = 4 * 3600.0
"""Seconds from one try to the next, which double."""

PATIENCE: Final = 10.0
"""Seconds that a stop waits for a mail that is under way."""

Keep = Callable[[Sequence[Entry]], None]
Send = Callable[[Sequence[str], bytes, tuple[str, int]], Deferred[Sequence[Refused]]]


@dataclass(slots=True)
class Mail:
    """A mail that waits; *made* when, *since* then waiting, *due* to be tried.

    It is *unheard* when the last try ended without a reply: that tells nothing about the mail.
    """

    id: str
    recipients: tuple[str, ...]
    message: bytes
    made: WallTime
    since: MonotonicTime
    due: MonotonicTime
    tries: int = 0
    unheard: bool = False


@dataclass(frozen=True, slots=True)
class Outside:
    """What lies around the notices: the *log*, the time of day, a *clock*, the disk, the mail.

    *keep* is handed rows of ledgers that are to be written with what is written next.
    """

    log: MailLog
    now: Callable[[], Instant]
    clock: IReactorTime
    keep: Keep
    send: Send


class NoticeQueue:
    """Sends what is added, by the *rules* of the moment.

    *remains* tells what is to stay in the ledger of a mail that was sent, if anything.
    """

    def __init__(
        self,
        rules: Callable[[], NoticeRules | None],
        outside: Outside,
        remains: Callable[[Mail], Row | None],
    ) -> None:
        self.queued = 0
        self.sent = 0
        self.failed = 0
        self.given_up = 0
        self._rules = rules
        self._outside = outside
        self._remains = remains
        self._waiting: dict[str, Mail] = {}
        self._alarm = Alarm(outside.clock, self._send)
        self._sending: Deferred[None] | None = None
        self._stopped: Deferred[None] | None = None
        self._unheard = 0  # tries in a row that ended without a reply
        self._not_before = MonotonicTime(0.0)

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, name: str) -> bool:
        return name in self._waiting

    def __iter__(self) -> Iterator[Mail]:
        return iter(self._waiting.values())

    @property
    def is_full(self) -> bool:
        """Whether no more should be added."""
        return len(self._waiting) >= MOST_WAITING

    def add(self, name: str, recipients: Sequence[str], message: bytes, made: WallTime) -> None:
        """Queue *message*, known as *name*, that was made then."""
        now = self._outside.now()
        mail = Mail(name, tuple(recipients), message, made, now.monotonic, now.monotonic)
        self._waiting[name] = mail
        self.queued += 1
        self._outside.log.notice_queued(name, recipients)
        self._keep(mail)
        self._wake()

    def restore(self, name: str, row: Mapping[str, Any]) -> None:
        """Go on with the mail of *row*, which must be right."""
        now = self._outside.now()
        recipients = tuple(json.loads(row["recipients"]))
        age = max(now.wall - row["made"], 0.0)
        wait = min(max(row["due"] - now.wall, 0.0), LONGEST_RETRY)
        self._waiting[name] = Mail(
            id=name,
            recipients=recipients,
            message=row["message"],
            made=WallTime(row["made"]),
            since=MonotonicTime(now.monotonic - age),
            due=MonotonicTime(now.monotonic + wait),
            tries=row["tries"],
        )
        self._wake()

    def entries(self) -> Sequence[Entry]:
        """Return the rows of all that waits."""
        return [self._entry(mail) for mail in self._waiting.values()]

    def stop(self) -> Deferred[None]:
        """Begin no more; fires when what is under way is over, or was given some time for it."""
        self._alarm.off()
        self._stopped = Deferred()
        if self._sending is None:
            return succeed(None)
        patience = self._outside.clock.callLater(PATIENCE, self._sending.cancel)
        self._stopped.addCallback(lambda _: patience.cancel() if patience.active() else None)
        return self._stopped

    def _wake(self) -> None:
        """Send when something is due."""
        if self._sending is not None or self._stopped is not None or not self._waiting:
            return
        at = max(min(mail.due for mail in self._waiting.values()), self._not_before)
        self._alarm.within(at - self._outside.now().monotonic)

    def _send(self) -> None:
        now = self._outside.now().monotonic
        mail = min(self._waiting.values(), key=lambda mail: mail.due, default=None)
        if mail is None or max(mail.due, self._not_before) > now:
            self._wake()
            return
        rules = self._rules()
        if rules is None:
            self._give_up(mail, "the rules have no notices any more")
            self._wake()
            return
        done = maybeDeferred(self._outside.send, mail.recipients, mail.message, rules.smtp)
        self._sending = done.addCallbacks(
            self._taken, self._not_taken, callbackArgs=(mail,), errbackArgs=(mail, rules)
        )
        done.addErrback(lambda failure: self._outside.log.task_failed("notices", failure))
        done.addCallback(lambda _: self._over())

    def _over(self) -> None:
        self._sending = None
        if self._stopped is not None:
            self._stopped.callback(None)
        self._wake()

    def _taken(self, refused: Sequence[Refused], mail: Mail) -> None:
        """Note that the server has *mail* for all recipients but those *refused*."""
        self._is_heard()
        self.sent += 1
        reached = set(mail.recipients) - {one.recipient for one in refused}
        self._outside.log.notice_sent(mail.id, sorted(reached))
        for one in refused:
            if not one.for_now:
                why = f"{one.code} {one.words}"
                self._outside.log.notice_refused(mail.id, one.recipient, why)
        later = [one for one in refused if one.for_now]
        rules = self._rules()
        if later and rules is not None:
            mail.recipients = tuple(one.recipient for one in later)
            self._again(mail, rules, f"{later[0].code} {later[0].words}")
            return
        del self._waiting[mail.id]
        self._outside.keep([Entry(NOTICES, mail.id, self._remains(mail))])

    def _not_taken(self, failure: Failure, mail: Mail, rules: NoticeRules) -> None:
        if isinstance(failure.value, RefusedError):
            self._is_heard()
        else:
            mail.unheard = True
            self._unheard += 1
            now = self._outside.now().monotonic
            self._not_before = MonotonicTime(now + _patience(self._unheard))
        self.failed += 1
        self._again(mail, rules, failure.getErrorMessage())

    def _is_heard(self) -> None:
        """Let those that had no reply be tried again: the server is there."""
        self._unheard = 0
        now = self._not_before = self._outside.now().monotonic
        for mail in self._waiting.values():
            if mail.unheard:
                mail.unheard = False
                mail.due = now

    def _again(self, mail: Mail, rules: NoticeRules, why: str) -> None:
        """Try *mail* later, if it is not too old."""
        now = self._outside.now().monotonic
        mail.tries += 1
        if now - mail.since >= rules.give_up:
            self._give_up(mail, why)
            return
        mail.due = MonotonicTime(now + _patience(mail.tries))
        self._keep(mail)
        self._outside.log.notice_failed(mail.id, why, max(mail.due, self._not_before) - now)

    def _give_up(self, mail: Mail, why: str) -> None:
        del self._waiting[mail.id]
        self.given_up += 1
        self._outside.keep([Entry(NOTICES, mail.id, None)])
        self._outside.log.notice_given_up(mail.id, why)

    def _keep(self, mail: Mail) -> None:
        self._outside.keep([self._entry(mail)])

    def _entry(self, mail: Mail) -> Entry:
        now = self._outside.now()
        due = now.wall + (mail.due - now.monotonic)
        return entry(mail.id, mail.recipients, mail.message, mail.made, due, tries=mail.tries)


def entry(
    name: str,
    recipients: Sequence[object],
    message: bytes,
    made: float,
    due: float,
    *,
    tries: int = 0,
    sent: float | None = None,
) -> Entry:
    """Return the row of a notice."""
    row: Row = {
        "recipients": json.dumps(recipients),
        "message": message,
        "made": made,
        "due": due,
        "tries": tries,
        "sent": sent,
    }
    return Entry(NOTICES, name, row)


def _patience(tries: int) -> float:
    """Return how many seconds to wait after so many *tries*."""
    return min(FIRST_RETRY * 2.0 ** min(tries - 1, 20), LONGEST_RETRY)
