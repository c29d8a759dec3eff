"""What the daemon's own counts tell of the wiring."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from policyd.doctor.fault import Fault, Place, Weight

ENOUGH: Final = 5
"""Requests of a kind without which nothing is said: a message may be under way."""

MANY: Final = 20
"""Requests after which somebody from elsewhere should have been among the clients."""

LONG: Final = 3600.0
"""Seconds after which it is odd that nothing was asked."""


@dataclass(frozen=True)
class Counts:
    """What has been asked since the daemon started, *up* seconds ago.

    *rcpt*, *end* and *other* are requests by stage, *nameless* those of them without a login.
    """

    up: float
    connections: int
    rcpt: int
    end: int
    other: int
    nameless: int
    only_loopback: bool

    @property
    def requests(self) -> int:
        """All requests."""
        return self.rcpt + self.end + self.other


def faults_of(counts: Counts) -> Iterator[Fault]:
    """Yield what is wrong by the *counts*."""
    if not counts.requests:
        yield _nothing_asked(counts)
    if counts.rcpt >= ENOUGH and not counts.end:
        yield _counted(
            "rcpt-without-end",
            f"{counts.rcpt} recipients were asked about, and not one end of a message",
            "Messages are counted at their end, so nothing is ever counted.",
            "smtpd_end_of_data_restrictions = $policyd_end_of_data_restrictions",
        )
    if counts.end >= ENOUGH and not counts.rcpt:
        yield _counted(
            "end-without-rcpt",
            f"{counts.end} ends of messages were asked about, and not one recipient",
            "Who the recipients are is learnt at RCPT only: the same ones count again and again, "
            "and your own users as external.",
            "smtpd_recipient_restrictions = $policyd_recipient_restrictions",
        )
    if counts.requests >= ENOUGH and counts.nameless == counts.requests:
        yield _counted(
            "never-a-login",
            f"none of {counts.requests} requests had a sasl_username",
            "Limits per account, domain or likeness hold to nobody.",
            "smtpd_sasl_auth_enable = yes",
        )
    if counts.requests >= MANY and counts.only_loopback:
        yield Fault(
            "loopback-only",
            (),
            f"all clients of {counts.requests} requests were this machine itself",
            "A proxy, a webmail or a content filter hands mail on without saying for whom: limits "
            "per client_address see one single client. All is well if nobody sends from elsewhere.",
            Place.MAIN,
            (
                "# and let the proxy send XCLIENT: reverse_proxy of nginx, submission_relay_* of",
                "# dovecot; or let the webmail log in as its user",
                "smtpd_authorized_xclient_hosts = 127.0.0.1, [::1]",
            ),
            Weight.HINT,  # a site that has a webmail and nothing else is well
        )


def _nothing_asked(counts: Counts) -> Fault:
    number = counts.connections
    who = f"{number or 'no'} {'connection' if number < 2 else 'connections'}"
    return Fault(
        "nothing-asked",
        (),
        f"policyd has been asked nothing since it started {told(counts.up)} ago ({who})",
        "Where nothing is asked nothing is limited; on a quiet system it may be too early to say.",
        Place.SHELL,
        ("# send a mail through the submission port, and run this again",),
        Weight.FAULT if counts.up >= LONG else Weight.HINT,
    )


def _counted(code: str, what: str, why: str, line: str) -> Fault:
    since = "since policyd started (restart it after a change, to count afresh)"
    return Fault(code, (), f"{what} {since}", why, Place.MASTER, (_option(line),))


def _option(line: str) -> str:
    return f"-o {line.replace(' = ', '=')}"


def told(seconds: float) -> str:
    """Return a span of time as people say it."""
    for unit, size in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} seconds"
