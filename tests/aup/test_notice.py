"""What administrators read: whom it goes to, every figure, and nothing that a stranger wrote."""

import email
import email.policy
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from aup.building import DAY, HOUR, START, limit, policy
from hypothesis import example, given, settings
from hypothesis import strategies as st

from policyd.aup.event import NearLimit
from policyd.aup.incident import Incident, Sample, Suspension, SuspensionKind
from policyd.aup.ladder_rules import (
    Aftermath,
    Do,
    Extreme,
    LadderRules,
    NoticeRules,
    Step,
    Template,
)
from policyd.aup.notice import MOST_LISTED, Notice, addresses, compose, digest, message
from policyd.aup.notice_template import (
    LONGEST_LINE,
    PLACEHOLDERS,
    TemplateError,
    filled_in,
    one_line,
    parse_template,
)
from policyd.aup.notice_words import DIGEST, TEMPLATES, Kind
from policyd.aup.policy import Count, Mode, Organization, Policy, Recipients
from policyd.clock import WallTime

NOW = WallTime(START + 50_105)
BULK = limit("bulk", title="Bulk mail", max=249)
REPEAT = limit("repeat", "account likeness recipient", title="Loops", count=Count.MESSAGES, max=250)
DAILY = limit("daily", "account", title="Daily ceiling", max=1000)
LADDER = LadderRules(
    steps=(
        Step(1, Do.NOTICE),
        Step(5, Do.SUSPEND_MAILBOX),
        Step(3, Do.SUSPEND_MAILBOX, DAY),
    ),
    extremes=(Extreme(DAY, recipients=5000), Extreme(7 * DAY, suspended_mailboxes=3)),
)
ORGANIZATION = Organization("Example Mail", "https://local.example/aup", "abuse@local.example")
NOTICES = NoticeRules(
    to=("postmaster@{domain}",), bcc=("abuse@local.example",), sender="notices@local.example"
)
BERLIN = ZoneInfo("Europe/Berlin")


def rules(notices: NoticeRules = NOTICES, ladder: LadderRules = LADDER, **changes: Any) -> Policy:
    given = {"time_zone": BERLIN, "organization": ORGANIZATION} | changes
    return policy(BULK, REPEAT, DAILY, aftermath=Aftermath(ladder, notices), **given)


def incident(**changes: Any) -> Incident:
    given = {
        "id": "7KX3PQ2",
        "account": "alice@local.example",
        "domain": "local.example",
        "limit": "bulk",
        "title": "Bulk mail",
        "opened": WallTime(START + 50_000),
        "last": WallTime(START + 50_100),
        "sample": Sample(
            "news@local.example", [f"r{n}@away.example" for n in range(10)], 3123, "Big sale"
        ),
        "strike": 3,
        "used": 826,
        "max": 249,
        "window": DAY,
        "attempts": 52,
        "messages": 2,
        "recipients": 1652,
        "clients": ["203.0.113.9", "2001:db8::9"],
    } | changes
    return Incident(**given)  # type: ignore[arg-type]


def suspension(kind: SuspensionKind, name: str, until: float | None, **changes: Any) -> Suspension:
    given = {"in_force": True, "incident": "7KX3PQ2"} | changes
    end = None if until is None else WallTime(until)
    return Suspension(kind, name, WallTime(START + 50_000), end, "ladder", "x", **given)


def near(**changes: Any) -> NearLimit:
    given = {
        "limit": DAILY,
        "most": 1000,
        "used": 800,
        "account": "alice@local.example",
        "domain": "local.example",
        "when": NOW,
    } | changes
    return NearLimit(**given)  # type: ignore[arg-type]


def mail(notice: Notice) -> EmailMessage:
    """Return *notice* as whoever gets it parses it."""
    date = datetime.fromtimestamp(NOW, BERLIN)
    data = message(notice, "<policyd.1@local.example>", date)
    assert data.isascii()
    assert all(len(line) <= LONGEST_LINE for line in data.split(b"\r\n"))
    assert data.count(b"\n") == data.count(b"\r") == data.count(b"\r\n")
    parsed = email.message_from_bytes(data, policy=email.policy.SMTP)
    assert isinstance(parsed, EmailMessage)
    assert not parsed.defects
    return parsed


def words(notice: Notice) -> str:
    """Return the text as one line."""
    return " ".join(notice.body.split())


def fields(body: str) -> dict[str, str]:
    """Return the figures of the indented lines."""
    lines = [line.strip() for line in body.splitlines() if line.startswith("    ")]
    pairs = [line.split(":", 1) for line in lines]
    assert len({name for name, _ in pairs}) == len(pairs)
    return {name: value.strip() for name, value in pairs}


# the notice of an incident, figure by figure


def test_the_mail_is_what_it_should_be() -> None:
    notice = compose(Kind.INCIDENT, incident(), rules(), NOW)
    parsed = mail(notice)
    assert dict(parsed.items()) == {
        "From": "Example Mail <notices@local.example>",
        "To": "postmaster@local.example",
        "Subject": "Mail from alice@local.example was blocked: Bulk mail (incident 7KX3PQ2)",
        "Date": "Fri, 15 Jan 2027 14:55:05 +0100",
        "Message-ID": "<policyd.1@local.example>",
        "Auto-Submitted": "auto-generated",
        "X-Policyd-Incident": "7KX3PQ2",
        "Content-Type": 'text/plain; charset="utf-8"',
        "Content-Transfer-Encoding": "7bit",
        "MIME-Version": "1.0",
    }
    assert parsed.get_content().replace("\r\n", "\n") == notice.body
    assert notice.recipients == ("postmaster@local.example", "abuse@local.example")


def test_every_figure_is_told() -> None:
    notice = compose(Kind.INCIDENT, incident(), rules(), NOW)
    assert fields(notice.body) == {
        "Account": "alice@local.example",
        "Domain": "local.example",
        "What": "2 message(s) sent to 1652 recipient(s)",
        "First": "2027-01-15 14:53:20 CET",
        "Last": "2027-01-15 14:55:00 CET",
        "Time zone": "Europe/Berlin",
        "Tried": "52 time(s), from 203.0.113.9, 2001:db8::9",
        "Incident": "7KX3PQ2",
        "Subject": "Big sale",
        "Sender": "news@local.example",
        "Recipients": "r0@away.example, r1@away.example, r2@away.example, ...",
        "Size": "3.1 kB",
    }
    assert all(len(line) <= 72 for line in notice.body.splitlines())


@pytest.mark.parametrize(
    "told",
    [
        "you are responsible for the mail accounts of local.example",
        "The mail was blocked and has not been delivered.",
        (
            'The rule is called "Bulk mail". It permits at most 249 different recipients outside '
            "our network, for the same or similar content, from one account in 24 hours."
        ),
        (
            "Breaking a mailing up into smaller batches, over hours, over days or over several "
            "mailboxes, is a violation as well."
        ),
        "Only this mail was blocked; other mail that the limits permit still passes.",
        "This is incident number 3 of this account within 30 days.",
        (
            "Repeated violations suspend the mailbox: within 30 days, the 3rd for 24 hours, the "
            "5th until an administrator lifts it."
        ),
        (
            "Extreme abuse ends sending for the whole domain: mail to 5000 recipients blocked in "
            "24 hours or 3 mailboxes suspended in 7 days."
        ),
        "make sure that he or she stops",
        "Change the password at once",
        "check for malware all devices",
        "If a web form or another program sends with this account",
        "You can read our acceptable-use policy at https://local.example/aup",
        "write to abuse@local.example and give the incident number 7KX3PQ2.",
        "-- Example Mail",
    ],
)
def test_what_the_policy_demands_is_said(told: str) -> None:
    assert told in words(compose(Kind.INCIDENT, incident(), rules(), NOW))


def test_what_is_not_known_or_not_configured_leaves_no_gap() -> None:
    bare = rules(
        NoticeRules(to=("postmaster@{domain}",)), LadderRules(), organization=Organization()
    )
    quiet = incident(sample=Sample("", [], 0), strike=0, clients=[])
    notice = compose(Kind.INCIDENT, quiet, bare, NOW)
    text = words(notice)
    assert "{" not in text
    assert "\n\n\n" not in notice.body
    assert set(fields(notice.body)) == {
        *("Account", "Domain", "What", "First", "Last", "Time zone", "Incident", "Sender")
    }
    assert fields(notice.body)["Sender"] == "<>"
    for absent in ("incident number", "Repeated", "Extreme", "acceptable-use policy at", "--"):
        assert absent not in text
    assert mail(notice)["From"] == "postmaster@local.example"


def test_a_suspended_mailbox_is_told_with_its_end() -> None:
    until = suspension(SuspensionKind.MAILBOX, "alice@local.example", START + 50_000 + DAY)
    text = words(compose(Kind.INCIDENT, incident(), rules(), NOW, [until]))
    assert (
        "The mailbox alice@local.example is suspended: it cannot send mail, until "
        "2027-01-16 14:53:20 CET."
    ) in text
    assert "Only this mail" not in text


def test_what_is_suspended_for_good_is_told() -> None:
    both = [
        suspension(SuspensionKind.MAILBOX, "alice@local.example", None),
        suspension(SuspensionKind.DOMAIN, "local.example", None),
    ]
    ladder = replace(LADDER, suspended_to_local=True)
    text = words(compose(Kind.INCIDENT, incident(), rules(ladder=ladder), NOW, both))
    assert (
        "The mailbox alice@local.example is suspended: it cannot send mail, except to our own "
        "users, until an administrator lifts this. Nobody of the whole domain local.example can "
        "send mail, except to our own users, until an administrator lifts this."
    ) in text


@pytest.mark.parametrize(
    "over",
    [
        suspension(SuspensionKind.MAILBOX, "alice@local.example", START + 50_001),
        suspension(SuspensionKind.MAILBOX, "alice@local.example", None, in_force=False),
        suspension(SuspensionKind.MAILBOX, "alice@local.example", None, lifted=WallTime(START)),
    ],
)
def test_what_is_not_in_force_is_not_told(over: Suspension) -> None:
    text = words(compose(Kind.INCIDENT, incident(), rules(), NOW, [over]))
    assert "Only this mail was blocked" in text


def test_a_domain_that_is_never_suspended_is_not_threatened() -> None:
    ladder = replace(LADDER, never_suspend=frozenset(["local.example"]))
    text = words(compose(Kind.INCIDENT, incident(), rules(ladder=ladder), NOW))
    assert "Repeated violations" in text
    assert "Extreme" not in text


def test_an_incident_of_a_domain_has_no_account() -> None:
    whole = incident(account="", strike=0)
    notice = compose(Kind.INCIDENT, whole, rules(), NOW)
    assert notice.subject.startswith("Mail from local.example was blocked")
    text = words(notice)
    assert "Accounts of local.example have together tried to send mail" in text
    assert "Repeated" not in text
    assert "Account" not in fields(notice.body)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            {"per": "account likeness recipient", "count": Count.MESSAGES, "max": 250},
            (
                "at most 250 messages to recipients outside our network to any one recipient, for "
                "the same or similar content, from one account in 24 hours"
            ),
        ),
        ({"per": "account", "max": 1}, "at most 1 different recipient outside our network from"),
        (
            {"per": "domain", "recipients": Recipients.ALL, "count": Count.RECIPIENTS},
            "at most 249 recipients from all accounts of a domain together in 24 hours",
        ),
        (
            {"per": "account", "count": Count.DISTINCT_CLIENTS, "window": HOUR},
            "at most 249 different client addresses from one account in 1 hour",
        ),
        (
            {"per": "account", "count": Count.FIRST_TIME_RECIPIENTS},
            "at most 249 new recipients outside our network from one account",
        ),
        (
            {"per": "client_address recipient_domain", "count": Count.BYTES},
            "at most 249 bytes to recipients outside our network to any one domain in 24 hours",
        ),
    ],
)
def test_a_limit_is_said_in_words(changes: dict[str, Any], told: str) -> None:
    one = limit("bulk", title="T", **({"max": 249} | changes))
    matter = incident(max=one.max, window=one.window)
    notice = compose(Kind.INCIDENT, matter, replace(rules(), limits=(one,)), NOW)
    assert f"It permits {told}" in words(notice)


def test_a_limit_that_the_rules_no_longer_have_is_told_with_its_figures() -> None:
    notice = compose(Kind.INCIDENT, incident(limit="gone"), rules(), NOW)
    assert "It permits at most 249 in 24 hours." in words(notice)


def test_many_figures_are_said_as_people_say_them() -> None:
    steps = tuple(Step(n, Do.SUSPEND_MAILBOX, HOUR) for n in (1, 2, 11, 12, 21, 22, 113))
    ladder = LadderRules(steps=steps)
    text = words(compose(Kind.INCIDENT, incident(), rules(ladder=ladder), NOW))
    for ordinal in ("1st", "2nd", "11th", "12th", "21st", "22nd", "113th"):
        assert f"the {ordinal} for 1 hour" in text


@pytest.mark.parametrize(
    ("size", "shown"),
    [(1, "1 bytes"), (999, "999 bytes"), (1000, "1.0 kB"), (25_400_000, "25.4 MB")],
)
def test_sizes(size: int, shown: str) -> None:
    notice = compose(Kind.INCIDENT, incident(sample=Sample("a@b", ["c@d"], size)), rules(), NOW)
    assert fields(notice.body)["Size"] == shown


# the other kinds


def test_a_summary_has_the_final_figures() -> None:
    notice = compose(Kind.SUMMARY, incident(messages=9, recipients=7000), rules(), NOW)
    assert fields(notice.body)["What"] == "9 message(s) sent to 7000 recipient(s)"
    assert "we have told you before" in words(notice)
    assert mail(notice)["X-Policyd-Incident"] == "7KX3PQ2"


def test_an_early_notice_says_that_nothing_was_blocked() -> None:
    notice = compose(Kind.WARNING, near(), rules(), NOW)
    assert notice.subject == "alice@local.example is about to reach a sending limit: Daily ceiling"
    assert fields(notice.body)["Used"] == "800 of 1000 in 24 hours (80 %)"
    assert "Nothing has been blocked yet." in words(notice)
    assert "X-Policyd-Incident" not in mail(notice)


def test_a_spared_domain_is_told_to_the_provider_alone() -> None:
    notice = compose(Kind.EXTREME, incident(), rules(), NOW)
    assert notice.recipients == ("abuse@local.example",)
    assert mail(notice)["To"] == "abuse@local.example"
    assert "local.example is one of those that are never suspended" in words(notice)


@pytest.mark.parametrize("kind", [Kind.INCIDENT, Kind.SUMMARY])
def test_what_is_only_observed_is_told_to_the_provider_alone(kind: Kind) -> None:
    own = Template("Blocked", "It was blocked.")
    notices = replace(NOTICES, templates={"incident": own, "summary": own}, observed=True)
    notice = compose(kind, incident(observed=True), rules(notices), NOW)
    assert notice.recipients == ("abuse@local.example",)
    assert "This was only observed." in notice.body
    assert notice.subject.startswith("Only observed: ")
    assert "blocked and" not in notice.body


def test_an_early_notice_of_an_observing_limit_goes_to_the_provider_alone() -> None:
    watching = replace(DAILY, mode=Mode.OBSERVE)
    notice = compose(Kind.WARNING, near(limit=watching), rules(), NOW)
    assert notice.recipients == ("abuse@local.example",)


def test_a_digest_has_a_line_for_each() -> None:
    several = [
        incident(id=f"ID{n}", account=f"u{n}@local.example", recipients=n) for n in range(1, 4)
    ]
    several[1].observed = True
    several[2].actions.append("mailbox u3@local.example suspended for 24 hours")
    notice = digest(["postmaster@local.example"], several, rules())
    assert notice.recipients == ("postmaster@local.example",)
    assert notice.subject == "Blocked mail of 3 incident(s)"
    assert [line.split("  ", 2)[1:] for line in notice.body.splitlines() if "ID" in line] == [
        [
            "2027-01-15 14:55:00 CET",
            "ID1  u1@local.example: 2 message(s) sent to 1 recipient(s), Bulk mail",
        ],
        [
            "2027-01-15 14:55:00 CET",
            "ID2  u2@local.example: 2 message(s) sent to 2 recipient(s), Bulk mail, only observed",
        ],
        [
            "2027-01-15 14:55:00 CET",
            (
                "ID3  u3@local.example: 2 message(s) sent to 3 recipient(s), Bulk mail, "
                "mailbox u3@local.example suspended for 24 hours"
            ),
        ],
    ]
    assert "more incident(s)" not in notice.body
    assert mail(notice).get_content().replace("\r\n", "\n") == notice.body


def test_a_digest_is_no_longer_than_people_read() -> None:
    several = [incident(id=f"ID{n}") for n in range(MOST_LISTED + 7)]
    notice = digest(["postmaster@local.example"], several, rules(), others=3)
    assert sum("message(s) sent" in line for line in notice.body.splitlines()) == MOST_LISTED
    assert "And 10 more incident(s)." in notice.body
    assert notice.subject == f"Blocked mail of {MOST_LISTED + 10} incident(s)"
    assert mail(notice).get_content().replace("\r\n", "\n") == notice.body


# whom it goes to


@pytest.mark.parametrize(
    ("notices", "domain", "expected"),
    [
        ({}, "local.example", (["postmaster@local.example"], ["abuse@local.example"])),
        # somebody else's postmaster is not written to, nor one of no domain
        ({}, "away.example", (["abuse@local.example"], [])),
        ({}, "", (["abuse@local.example"], [])),
        ({"to": ("boss@x.example",)}, "", (["boss@x.example"], ["abuse@local.example"])),
        (
            {"to": ("boss@x.example", "postmaster@{domain}")},
            "away.example",
            (["boss@x.example"], ["abuse@local.example"]),
        ),
        (
            {"by_domain": {"away.example": ("it@away.example", "it2@away.example")}},
            "away.example",
            (["it@away.example", "it2@away.example"], ["abuse@local.example"]),
        ),
        (
            {"by_domain": {"local.example": ("it@x.example",)}, "bcc": ()},
            "local.example",
            (["it@x.example"], []),
        ),
        ({"bcc": ()}, "away.example", ([], [])),
        # what is no address is not written to
        (
            {"to": ("a b@x.example", "a@x\n.example", "<a@x.example>")},
            "",
            (["abuse@local.example"], []),
        ),
        ({"to": ("a@x.example", "a@x.example")}, "", (["a@x.example"], ["abuse@local.example"])),
    ],
)
def test_addresses(
    notices: dict[str, Any], domain: str, expected: tuple[list[str], list[str]]
) -> None:
    to, bcc = addresses(rules(replace(NOTICES, **notices)), domain)
    assert (list(to), list(bcc)) == expected


def test_to_the_provider_alone() -> None:
    assert addresses(rules(), "local.example", provider=True) == (("abuse@local.example",), ())
    nobody = rules(replace(NOTICES, bcc=()))
    assert addresses(nobody, "local.example", provider=True) == ((), ())


def test_who_is_in_both_lists_gets_it_once() -> None:
    notices = replace(NOTICES, bcc=("postmaster@local.example", "b@local.example"))
    notice = compose(Kind.INCIDENT, incident(), rules(notices), NOW)
    assert notice.recipients == ("postmaster@local.example", "b@local.example")
    assert "b@local.example" not in str(mail(notice))


# templates

OWN = """\
Subject: {who}: {incident}

Hello {{admin}},
{contact} says so.

    {messages} to {recipients}
"""


def test_a_template_of_ones_own() -> None:
    template = parse_template(OWN, "incident")
    notices = replace(NOTICES, templates={"incident": template})
    notice = compose(Kind.INCIDENT, incident(), rules(notices), NOW)
    assert notice.subject == "alice@local.example: 7KX3PQ2"
    assert notice.body == "Hello {admin}, abuse@local.example says so.\n\n    2 to 1652\n"


def test_a_domain_may_have_words_of_its_own() -> None:
    general = parse_template("Subject: General\n\nText", "incident")
    special = parse_template("Subject: Besonders für {domain}\n\nGrüße, 例え", "incident")
    notices = replace(
        NOTICES,
        templates={"incident": general},
        domain_templates={"local.example": {"incident": special}},
    )
    notice = compose(Kind.INCIDENT, incident(), rules(notices), NOW)
    parsed = mail(notice)
    assert parsed["Subject"] == "Besonders für local.example"
    assert parsed.get_content() == "Grüße, 例え\r\n"
    other = compose(Kind.INCIDENT, incident(domain="away.example"), rules(notices), NOW)
    assert other.subject == "General"
    # of the kinds that it does not have, the built-in ones
    assert compose(Kind.SUMMARY, incident(), rules(notices), NOW).subject.startswith("There was")


def test_the_german_sample_is_right() -> None:
    text = Path(__file__).parents[2].joinpath("etc/policyd/notice-de.txt").read_text("utf-8")
    template = parse_template(text, "incident")
    notices = replace(NOTICES, domain_templates={"local.example": {"incident": template}})
    until = suspension(SuspensionKind.MAILBOX, "alice@local.example", START + 50_000 + DAY)
    notice = compose(Kind.INCIDENT, incident(), rules(notices), NOW, [until])
    assert fields(notice.body)["Umfang"] == "2 Nachricht(en) an 1652 Empfänger"
    told = words(notice)
    assert "bis 2027-01-16 14:53:20 CET keine E-Mails versenden" in told
    assert "höchstens 249 in 24 Stunden" in told
    assert "Sperre aufheben" not in told
    assert mail(notice).get_content().replace("\r\n", "\n") == notice.body
    for_good = suspension(SuspensionKind.DOMAIN, "local.example", None)
    told = words(compose(Kind.INCIDENT, incident(), rules(notices), NOW, [for_good]))
    assert "Aus der ganzen Domain local.example können keine E-Mails versandt werden" in told


@pytest.mark.parametrize("kind", sorted(PLACEHOLDERS))
def test_every_placeholder_stands_for_something(kind: str) -> None:
    names = sorted(PLACEHOLDERS[kind])
    text = "Subject: x\n\n" + "\n".join(f"    {name}={{{name}}}" for name in names)
    notices = replace(NOTICES, templates={kind: parse_template(text, kind)})
    held = [
        suspension(SuspensionKind.MAILBOX, "alice@local.example", NOW + HOUR),
        suspension(SuspensionKind.MAILBOX, "alice@local.example", None),
        suspension(SuspensionKind.DOMAIN, "local.example", None),
    ]
    matter = near() if kind == "warning" else incident()
    found = set()
    for account in ("alice@local.example", ""):
        one = replace(matter, account=account)
        body = compose(Kind(kind), one, rules(notices), NOW, held).body
        found |= {line.strip().partition("=")[0] for line in body.splitlines()}
    assert found == set(names)


@pytest.mark.parametrize("kind", list(Kind))
def test_the_built_in_words_name_nothing_that_there_is_not(kind: Kind) -> None:
    known = PLACEHOLDERS[kind if kind in PLACEHOLDERS else "incident"]
    template = TEMPLATES[kind]
    text = f"Subject: {template.subject}\n\n{template.body}"
    if kind in PLACEHOLDERS:
        assert parse_template(text, kind) == replace(template, body=template.body.strip("\n"))
    filled = filled_in(template, {name: f"<{name}>" for name in known})
    assert "{" not in "".join(filled)
    assert "{" not in filled_in(DIGEST, {})[1]


@pytest.mark.parametrize(
    ("text", "message", "place"),
    [
        ("", "a template begins with the mail's subject", (1, 1)),
        ("Hello\n\nText", "a template begins with the mail's subject", (1, 1)),
        ("Subject:  \n\nText", "a template begins with the mail's subject", (1, 1)),
        ("Subject: x", "the text begins in the third line", (2, 1)),
        ("Subject: x\nText", "the text begins in the third line", (2, 1)),
        ("Subject: x\n\n", "there is no text", (3, 1)),
        ("Subject: x\n\n \n\n", "there is no text", (3, 1)),
        ("Subject: x\n\nText {acount}", "unknown placeholder {acount}", (3, 6)),
        ("Subject: {usage}\n\nText", "unknown placeholder {usage}", (1, 10)),
        ("Subject: x\n\nText }", "} alone begins or ends no placeholder", (3, 6)),
        ("Subject: x\n\nA\n {", "{ alone begins or ends no placeholder", (4, 2)),
        ("Subject: x\n\n{a b}", "{ alone begins or ends no placeholder", (3, 1)),
        ("Subject: x\n\n{used!r}", "{ alone begins or ends no placeholder", (3, 1)),
        ("Subject: x\r\n\nText", "the control character U+000D cannot stand in a mail", (1, 11)),
        ("Subject: x\n\nA\x00", "the control character U+0000 cannot stand in a mail", (3, 2)),
        ("Subject: x\n\nA\u2028", "the control character U+2028 cannot stand in a mail", (3, 2)),
        ("Subject: x\n\n" + "ä" * 500, "the line has more than 998 bytes", (3, 1)),
        ("Subject: x\n\n" + "a\n" * 20_000, "the template is longer than 32768 bytes", (20_003, 1)),
    ],
)
def test_a_mistake_in_a_template_is_told_with_its_place(
    text: str, message: str, place: tuple[int, int]
) -> None:
    with pytest.raises(TemplateError) as caught:
        parse_template(text, "incident")
    error = caught.value
    assert (error.message, (error.line, error.column)) == (message, place)
    assert error.hint


def test_the_hint_names_what_was_meant() -> None:
    with pytest.raises(TemplateError) as caught:
        parse_template("Subject: x\n\n{acount}", "incident")
    assert caught.value.hint == "did you mean {account}?"
    with pytest.raises(TemplateError) as caught:
        parse_template("Subject: x\n\n{zzzzz}", "warning")
    assert caught.value.hint.startswith("there are {account}, {aup_url}, ")


def test_what_only_incidents_have_is_not_for_warnings() -> None:
    with pytest.raises(TemplateError, match="unknown placeholder"):
        parse_template("Subject: x\n\n{recipients}", "warning")


def test_a_tab_and_any_language_may_stand_in_a_template() -> None:
    template = parse_template("subject: Größe\n\n\tÄ 例 {{}}\n\n", "incident")
    assert template == Template("Größe", "\tÄ 例 {{}}")
    assert filled_in(template, {}) == ("Größe", "\tÄ 例 {}\n")


def test_paragraphs_are_broken_anew_and_indented_lines_stay() -> None:
    text = (
        "Subject: x\n\n" + "word " * 20 + "\nthe end.\n\n\n  indented   " + "x " * 50 + "\nmore\n"
    )
    _, body = filled_in(parse_template(text, "incident"), {})
    first, second = body.split("\n\n")
    assert first == ("word " * 14).strip() + "\n" + "word " * 6 + "the end."
    assert second == "  indented   " + ("x " * 50).strip() + "\nmore\n"


# what strangers write

NASTY = [
    "a\nBcc: x@evil.example",
    "a\r\nBcc: x@evil.example",
    "a\r\n\r\nforged text",
    "a\u2028b\u2029c\x85d\x0be\x0cf\x1cg",
    "\udcff\udc80",
    "{account}{{}}{",
    "}{0}{zzz}%s%(a)s\\n\\1\\g<0>",
    "x" * 10_000,
    "x " * 5_000,
    "\x00\x7f\x1b[2J",
    "\u202edrow\u200b\ufeff",
    "=?utf-8?q?forged=0ABcc:_x?=",
    "jörg@例え.example",
    "",
    " ",
    "\ue000\U0010ffff",
    ".\n.\n",
    "a@b,c@d;e@f <g@h>",
]
ANYTHING = st.one_of(
    st.sampled_from(NASTY),
    st.binary(max_size=40).map(lambda raw: raw.decode("utf-8", "surrogateescape")),
    st.text(max_size=30),
)
HEADERS = [
    *("From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted"),
    *("X-Policyd-Incident", "Content-Type", "Content-Transfer-Encoding", "MIME-Version"),
]


def harmless(notice: Notice, number_of_lines: int | None = None) -> None:
    parsed = mail(notice)
    assert [name for name in parsed if name != "X-Policyd-Incident"] == [
        name for name in HEADERS if name != "X-Policyd-Incident"
    ]
    assert set(notice.recipients) <= {"postmaster@local.example", "abuse@local.example"}
    assert parsed.get_content().replace("\r\n", "\n") == notice.body
    for line in (notice.subject, *notice.body.rstrip("\n").split("\n")):
        assert line.isprintable()
        assert len(line) <= LONGEST_LINE
    assert len(notice.subject) <= 200
    if number_of_lines is not None:
        assert notice.body.count("\n") == number_of_lines


@settings(deadline=None, max_examples=150)
@given(ANYTHING, ANYTHING, ANYTHING, ANYTHING, ANYTHING)
@example(*NASTY[:5])
@example(*["x" * 10_000] * 5)
def test_no_value_brings_a_header_or_a_line(
    account: str, domain: str, sender: str, recipient: str, subject: str
) -> None:
    hostile = incident(
        account=account,
        domain=domain,
        sample=Sample(sender, [recipient] * 10, 10**12, subject),
        clients=[recipient] * 20,
        actions=[subject, sender],
    )
    held = [suspension(SuspensionKind.MAILBOX, account, None)]
    for kind in (Kind.INCIDENT, Kind.SUMMARY, Kind.EXTREME, Kind.OBSERVED):
        harmless(compose(kind, hostile, rules(), NOW, held))
    harmless(compose(Kind.WARNING, near(account=account, domain=domain), rules(), NOW))
    lines = digest(["abuse@local.example"], [hostile] * 3, rules()).body.splitlines()
    assert sum(line.startswith("  2027-") for line in lines) == 3
    harmless(digest(["abuse@local.example"], [hostile] * 3, rules()))


@pytest.mark.parametrize("value", NASTY)
@pytest.mark.parametrize("kind", sorted(PLACEHOLDERS))
def test_every_placeholder_hostile(kind: str, value: str) -> None:
    names = sorted(PLACEHOLDERS[kind])
    text = "Subject: {who} {title} {account}\n\n" + "\n".join(f"    +{{{name}}}" for name in names)
    template = parse_template(text, kind)
    values: Mapping[str, str] = {name: one_line(value, 254) for name in names}
    subject, body = filled_in(template, values)
    harmless(
        Notice("a@local.example", value, ("postmaster@local.example",), (), subject, body, "7KX"),
        len(names) if values["who"] else 1,
    )
    assert (
        body.strip() == "\n".join(f"    +{values['who']}" for _ in names).strip()
        or not body.strip()
    )


def test_a_filled_in_value_is_not_filled_in_again() -> None:
    notice = compose(
        Kind.INCIDENT, incident(sample=Sample("{account}", ["{{x}}"], 1, "{zzz}")), rules(), NOW
    )
    assert fields(notice.body)["Sender"] == "{account}"
    assert fields(notice.body)["Recipients"] == "{{x}}, ..."
    assert fields(notice.body)["Subject"] == "{zzz}"


def test_a_hostile_domain_makes_no_address() -> None:
    for domain in NASTY:
        local = replace(rules(), local=policy(BULK).local)
        local.local._names.add(domain)
        to, _ = addresses(local, domain)
        assert to == ("abuse@local.example",) or to == (f"postmaster@{domain}",) == ()


@pytest.mark.parametrize(
    ("text", "longest", "shown"),
    [
        ("a\n b\t c", 10, "a b c"),
        ("  a  ", 10, "a"),
        ("a\u00a0b", 10, "a b"),
        ("\udcff", 10, "?"),
        ("abcdefghij", 10, "abcdefghij"),
        ("abcdefghijk", 10, "abcdefg..."),
        ("jörg", 10, "jörg"),
    ],
)
def test_one_line(text: str, longest: int, shown: str) -> None:
    assert one_line(text, longest) == shown


def test_the_sender_falls_back_to_what_makes_sense() -> None:
    for notices, organization, expected in (
        (NOTICES, ORGANIZATION, "notices@local.example"),
        (NoticeRules(), ORGANIZATION, "abuse@local.example"),
        (NoticeRules(), Organization(contact="+49 30 1234"), "postmaster@local.example"),
        (NoticeRules(sender="nobody"), Organization(), "postmaster@local.example"),
    ):
        given = rules(notices, organization=organization)
        assert compose(Kind.INCIDENT, incident(), given, NOW).sender == expected


def test_times_are_in_utc_where_nothing_else_is_said() -> None:
    notice = compose(Kind.INCIDENT, incident(), rules(time_zone=UTC), NOW)
    assert fields(notice.body)["First"] == "2027-01-15 13:53:20 UTC"
    assert fields(notice.body)["Time zone"] == "UTC"
