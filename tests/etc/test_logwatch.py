"""What logwatch says of our log, by the service that is shipped for it."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from aup.building import DAY, Desk, external, limit, policy
from etc.stock_tools import ETC, logwatch

from policyd.aup.event import Event
from policyd.aup.ladder_rules import Aftermath, Do, LadderRules, Step
from policyd.aup.policy import Count, EndSession, Mode
from policyd.service.event_lines import said
from policyd.service.maillog import line

SCRIPT = ETC / "logwatch/scripts/services/policyd"


def happened() -> list[str]:
    """Return the lines that a day leaves."""
    desk = Desk(
        policy(
            limit("few", "account", max=3, strike=True),
            limit("watched", "account", count=Count.MESSAGES, max=1, mode=Mode.OBSERVE),
            end_session=EndSession.NO,
            aftermath=Aftermath(LadderRules(steps=(Step(1, Do.SUSPEND_MAILBOX, DAY),))),
        )
    )
    desk.engine.trace = False
    events: list[Event] = []
    decide = desk.engine.decide

    def note(*args: object) -> object:
        decision = decide(*args)  # type: ignore[arg-type]
        events.extend(decision.events)
        return decision

    desk.engine.decide = note  # type: ignore[method-assign, assignment]
    desk.mail(*external(5))
    ladder = desk.engine.ladder
    ladder.take_effect(ladder.suspensions.waiting)
    events.extend(ladder.events())
    desk.next_message()
    for address in external(7):
        desk.rcpt(address)
    desk.mail("a@away.example", sasl_username="bob")
    desk.mail("a@away.example", "b@away.example", sasl_username="bob")
    lines = [line(name, **fields) for _, name, fields in map(said, events)]
    incident = next(iter(ladder.incidents))
    return [text.replace(incident, "K7M4XQ2") for text in lines] + [
        line("administered", by="anna", action="exempt", subject="client 192.0.2.1", reason="a b"),
        line("state-trouble", error="disk full", counts="go on"),
        line("state-trouble", error="disk full", counts="go on"),
        line("started", version="1"),
    ]


SAID = """\

Refused:
   few              alice@local.example: 1 message(s) to 5 recipient(s)
   suspended        alice@local.example: 1 message(s) to 7 recipient(s)

Would have been refused:
   watched          bob@local.example: 1 message(s) to 2 recipient(s)

By anna: exempt client 192.0.2.1: a b
Incident K7M4XQ2, few: alice@local.example
Suspended: mailbox alice@local.example, by ladder: repeated violations, 1 incident in 30 days

What went wrong (see the log):
   state-trouble        2 time(s)
"""


@pytest.mark.parametrize("whose", ["policyd[17]", "postfix/smtpd[17]"])
def test_logwatch_reports_what_is_ours_of_the_mail_log(tmp_path: Path, whose: str) -> None:
    stamp = datetime.now(UTC).astimezone().strftime("%b %e %H:%M:%S")
    logs = tmp_path / "logs"
    logs.mkdir()
    log = "".join(f"{stamp} mx {whose}: {text}\n" for text in happened())
    (logs / "mail.log").write_text(log, encoding="utf-8")
    report = logwatch(logs, "policyd", directory=tmp_path / "logwatch")
    lines = [text.removeprefix(" ").rstrip() for text in report.splitlines()]
    begins = [at for at, text in enumerate(lines) if " policyd Begin " in text]
    if whose != "policyd[17]":
        assert begins == []
        return
    (begin,) = begins
    said = SAID.splitlines()
    assert lines[begin + 1 :][: len(said)] == said


def test_mishaps_are_events_that_there_are() -> None:
    words = "".join(
        path.read_text(encoding="utf-8") for path in (ETC.parent / "policyd/service").glob("*.py")
    )
    listed = SCRIPT.read_text().partition("qw(")[2].partition(")")[0].split()
    assert len(listed) > 10
    assert [name for name in listed if f'"{name}"' not in words and f"={name} " not in words] == []
