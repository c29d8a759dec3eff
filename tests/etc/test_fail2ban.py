"""The filters and the jail that are shipped for fail2ban: whom they hold what against."""

from collections.abc import Callable
from configparser import ConfigParser
from pathlib import Path
from typing import Any

import pytest
from aup.building import Desk, external, limit, policy, request
from etc.stock_tools import ETC, fail2ban, there

from policyd.aup.event import Blocked, Event
from policyd.aup.incident import Suspension, SuspensionKind
from policyd.service.event_lines import said
from policyd.service.maillog import line

ALICE = "alice@local.example"
Held = Callable[..., list[str]]


@pytest.fixture
def held(tmp_path: Path) -> Held:
    """Return the addresses that a filter holds some lines against."""

    def held(*lines: str, name: str = "policyd-stolen") -> list[str]:
        log = tmp_path / "log"
        log.write_text("".join(f"{text}\n" for text in lines), encoding="utf-8")
        ours = ("policyd-stolen.conf", "postfix.local")
        found = fail2ban(log, name, *ours, directory=tmp_path / "fail2ban")
        return [text.split()[0] for text in found]

    return held


def by_syslog(event: Event) -> str:
    _, name, fields = said(event)
    return f"Nov 25 12:00:00 mx policyd[17]: {line(name, **fields)}"


def refused(reason: str, name: str = ALICE, **changes: Any) -> Event:
    """Return the refusal of mail of *name*, who is suspended for that *reason*."""
    desk = Desk(policy())
    account = desk.engine.policy.accounts.normalise(name)
    one = Suspension(SuspensionKind.MAILBOX, account, desk.now.wall, None, "anna", reason)
    desk.engine.ladder.suspensions.add(one)
    desk.engine.ladder.take_effect([one])
    asked = request("RCPT", "a@away.example", sasl_username=name, **changes)
    (event, *_) = desk.ask(asked).events
    assert isinstance(event, Blocked)
    return event


@pytest.mark.parametrize("reason", ["stolen", "stolen password", "stolen, says the customer"])
@pytest.mark.parametrize("address", ["198.51.100.7", "2001:db8::7"])
def test_who_uses_a_stolen_password_is_held(held: Held, reason: str, address: str) -> None:
    event = refused(reason, client_address=address)
    assert held(by_syslog(event)) == [address]


def test_lines_of_the_journal_are_read_as_well(held: Held) -> None:
    text = by_syslog(refused("stolen")).replace("Nov 25 12:00:00", "2026-11-25T12:00:00.123456")
    assert held(text) == ["192.0.2.7"]


@pytest.mark.parametrize("reason", ["three incidents", "not stolen", "stolenx", "see stolen list"])
def test_who_is_suspended_for_another_reason_is_not(held: Held, reason: str) -> None:
    assert held(by_syslog(refused(reason))) == []


def test_another_word_may_be_the_reason(held: Held) -> None:
    lines = [by_syslog(refused("hacked")), by_syslog(refused("stolen"))]
    assert len(held(*lines, name="policyd-stolen[reason=hacked]")) == 1


def test_customers_over_a_limit_are_never_held(held: Held) -> None:
    desk = Desk(policy(limit("few", "account", max=3, strike=True)))
    desk.next_message()
    for address in external(5):
        desk.rcpt(address)
    decision = desk.ask(
        request("END-OF-MESSAGE", recipient_count=5, instance="1.1.1.0", sender="stolen")
    )
    lines = [by_syslog(event) for event in decision.events]
    assert any("event=refused" in text for text in lines)
    assert held(*lines) == []


@pytest.mark.parametrize(
    "stranger",
    [
        'x" reason=stolen stage=RCPT client_address=203.0.113.9 @local.example',
        "x\\",
        "reason=stolen client_address=203.0.113.9 y",
    ],
)
@pytest.mark.parametrize("where", ["sender", "queue_id", "sasl_username"])
def test_nobody_writes_somebody_elses_address_into_a_line(
    held: Held, stranger: str, where: str
) -> None:
    name = stranger if where == "sasl_username" else ALICE
    other = {} if where == "sasl_username" else {where: stranger}
    assert held(by_syslog(refused("spam", name, **other))) == []
    assert held(by_syslog(refused("stolen", name, **other))) == ["192.0.2.7"]


GUESSING = (
    "Nov 25 12:00:00 mx postfix/submission/smtpd[9]: NOQUEUE: reject: RCPT from x[198.51.100.7]: "
    "550 5.1.1 <a@b.example>: Recipient address rejected: User unknown; from=<c@d.example>"
)
TOO_MANY = (
    "Nov 25 12:00:00 mx postfix/submission/smtpd[9]: too many errors after {} from x[198.51.100.7]"
)


@pytest.mark.parametrize("mode", ["more", "normal", "extra", "aggressive"])
def test_with_our_change_the_stock_filter_holds_all_but_one_thing(held: Held, mode: str) -> None:
    name = f"postfix[mode={mode}]"
    assert held(TOO_MANY.format("RCPT"), name=name) == []
    assert held(GUESSING, TOO_MANY.format("AUTH"), name=name) == ["198.51.100.7"] * 2


def test_without_it_it_would(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text(f"{TOO_MANY.format('RCPT')}\n{GUESSING}\n", encoding="utf-8")
    assert len(fail2ban(log, "postfix", directory=tmp_path / "fail2ban")) == 2


def test_the_jail_is_off_and_names_what_there_is() -> None:
    jail = ConfigParser(interpolation=None)
    jail.read(ETC / "fail2ban/jail.d/policyd.conf")
    (name,) = jail.sections()
    assert not jail.getboolean(name, "enabled")
    assert (ETC / f"fail2ban/filter.d/{jail[name]['filter']}.conf").exists()
    assert jail.getint(name, "maxretry") >= 50


def test_our_change_is_to_names_that_the_stock_filter_has() -> None:
    ours = ConfigParser(interpolation=None)
    ours.read(ETC / "fail2ban/filter.d/postfix.local")
    stock = (there() / "etc/fail2ban/filter.d/postfix.conf").read_text()
    for option in ours["Definition"]:
        assert f"\n{option}" in stock
