"""What the rules come to, in words."""

from pathlib import Path

import pytest

from policyd.config.load import load
from policyd.config.summary import sentence, summarise

HEAD = "version: 1\nlocal: {domains: [mail.example]}\nlimits:\n"


def sentence_of(directory: Path, keys: str) -> str:
    path = directory / "policy.yaml"
    path.write_text(f"{HEAD}  - {{id: x, window: 24h, {keys}}}\n")
    policy = load(path).policy
    assert policy is not None
    return sentence(policy.limits[0])


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        (
            "per: [account, likeness], count: distinct-recipients, recipients: external, max: 249",
            (
                "x: REJECT the message when one account sends similar mail to more than 249 "
                "distinct external recipients in 24 hours (observe)"
            ),
        ),
        (
            "per: [account, likeness, recipient], count: messages, recipients: external, max: 250",
            (
                "x: REJECT the message when one account sends more than 250 similar messages to "
                "one external recipient in 24 hours (observe)"
            ),
        ),
        (
            "per: [client_address/24, helo_name], count: bytes, max: 25MB, action: HOLD",
            (
                "x: HOLD the message when one client network (/24, IPv6 /64) with one helo name "
                "sends more than 25MB of mail to recipients in 24 hours (observe)"
            ),
        ),
        (
            (
                "per: account, count: recipients, max: 5, action: 452, refuse: recipient,"
                " mode: enforce"
            ),
            (
                "x: 452 each recipient too many when one account sends mail to more than 5 "
                "recipients in 24 hours (enforce)"
            ),
        ),
        (
            (
                "per: recipient_domain, count: recipients, max: 5, match: {sender: a@b.example}, "
                "unless: {client: 192.0.2.1}"
            ),
            (
                "x: REJECT the message when anybody sends mail to more than 5 recipients of one "
                "domain in 24 hours, where sender a@b.example, unless client_address 192.0.2.1 "
                "(observe)"
            ),
        ),
        (
            "per: recipient, count: recipients, max: 5, recipients: local",
            (
                "x: REJECT the message when anybody sends mail more than 5 times to one local "
                "recipient in 24 hours (observe)"
            ),
        ),
        (
            "per: account, count: distinct-clients, max: 5, strike: true",
            (
                "x: REJECT the message when one account sends mail to recipients from more than 5 "
                "client networks (/24, IPv6 /64) in 24 hours (observe, strike)"
            ),
        ),
        (
            "per: account, count: first-time-recipients, recipients: external, max: 50",
            (
                "x: REJECT the message when one account sends mail to more than 50 first-time "
                "external recipients (not mailed for 30 days) in 24 hours (observe)"
            ),
        ),
    ],
)
def test_a_limit_is_one_sentence(tmp_path: Path, keys: str, words: str) -> None:
    assert sentence_of(tmp_path, keys) == words


def test_a_rule_file_is_told_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(
        HEAD + "  - {id: daily, per: account, count: messages, max: 9, window: 1h}\n"
        "mode: enforce\ntime_zone: Europe/Berlin\n"
        "organization: {name: Example Mail, aup_url: https://mail.example/aup}\n"
        "accounts:\n  identity: [sasl_username, sender]\n  default_domain: mail.example\n"
        "  strip_extension: '+'\n"
        "recipients: {strip_extension: '+'}\nlikeness: {tolerance: 2%}\n"
        "overrides:\n"
        "  - {match: {account: ceo}, limits: {daily: 5, 'd*': unlimited}, until: 2030-01-31}\n"
        "exempt:\n  - {client: 192.0.2.0/28, reason: own web front ends}\n"
        "state: {directory: /var/lib/policyd, max_keys: 20000, max_memory: 300MB}\n"
    )
    policy = load(path).policy
    assert policy is not None
    assert summarise(policy) == [
        "mode: enforce: mail over a limit is refused",
        "organization: Example Mail, https://mail.example/aup",
        "local domains: 1, all others are external",
        (
            "accounts: the first that is set of sasl_username, sender; without a domain it is in "
            "mail.example; what follows + is stripped"
        ),
        "recipients: what follows + is stripped",
        "likeness: messages are similar when in size within 2 percent of the first",
        "time zone: Europe/Berlin",
        "limits: 1",
        (
            "  daily: REJECT the message when one account sends more than 9 messages to recipients "
            "in 1 hour (enforce)"
        ),
        "overrides: 1",
        "  account ceo: daily 5, d* unlimited, until the end of 2030-01-31",
        "exempt: 1",
        "  client_address 192.0.2.0/28 (own web front ends)",
        "ladder: none, incidents lead to nothing",
        "notices: none, nobody is written to",
        "hooks: none",
        "state: /var/lib/policyd, at most 20000 keys a limit and 300MB of memory",
    ]


def test_little_is_told_of_little(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(
        "version: 1\nlikeness: {by: any}\nlimits:\n"
        "  - {id: daily, per: account, count: messages, max: 9, window: 1h}\n"
    )
    policy = load(path).policy
    assert policy is not None
    told = "\n".join(summarise(policy))
    assert "organization: not named" in told
    assert "local domains: none, all are external" in told
    assert "likeness: all messages of a sender are similar" in told
    assert "exempt: none" in told
    assert "state: /var/lib/policyd" in told


def test_what_follows_a_refusal_is_told(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    (tmp_path / "notice.txt").write_text("Subject: Blocked\n\nMessages were refused.\n")
    (tmp_path / "addresses").write_text("".join(f"c{n}.example a@b.example\n" for n in range(9)))
    path.write_text(
        HEAD + "  - {id: x, per: account, count: messages, max: 9, window: 1h, strike: true}\n"
        "ladder:\n  quiet: 30m\n"
        "  steps:\n    - {strikes: 5, do: suspend-mailbox}\n"
        "    - {strikes: 3, do: suspend-mailbox, for: 24h}\n    - {strikes: 1, do: notice}\n"
        "  extreme:\n    - {recipients: 5000, in: 24h}\n    - {suspended_mailboxes: 3, in: 7d}\n"
        "  never_suspend: [b.example, a.example]\n  warn_at: 80%\n"
        "  suspended_recipients: external\n"
        "notices:\n  to_file: addresses\n  bcc: abuse@mail.example\n  smtp: '[::1]:10025'\n"
        "  sender: postmaster@mail.example\n  template: notice.txt\n  observed: true\n"
        "  domains:\n    - {domains: [kunde.example], template: notice.txt}\n"
        "hooks:\n  - {on: [suspended, lifted], run: [/bin/true, -x]}\n"
        "  - {on: incident-opened, url: 'http://127.0.0.1/', timeout: 1m}\n"
    )
    policy = load(path).policy
    assert policy is not None
    told = summarise(policy)
    begin = next(number for number, line in enumerate(told) if line.startswith("ladder"))
    until_lifted = "until an administrator lifts it"
    assert told[begin:-1] == [
        "ladder: a strike is held for 30 days, an incident ends after 30 minutes of quiet",
        "  strike 1 and every later one: a notice",
        "  strike 3: the mailbox is suspended for 24 hours",
        f"  strike 5: the mailbox is suspended {until_lifted}",
        (
            "  5000 external recipients refused to one account in 24 hours, and the domain is "
            f"suspended {until_lifted}"
        ),
        (
            "  3 mailboxes of one domain suspended in 7 days, and the domain is suspended "
            f"{until_lifted}"
        ),
        "  never suspended whole: a.example, b.example",
        "  who is suspended may still write to local recipients",
        "  an early notice at 80% of a limit, once a window",
        "notices: to nobody but the copies, from postmaster@mail.example, by [::1]:10025",
        "  to others for c0.example, c1.example, c2.example and 6 more",
        "  copies: abuse@mail.example",
        "  in your own words: incident",
        "  in other words for kunde.example",
        "  copies also of what is only observed",
        "  at most 100 an hour, more become digests; given up after 5 days",
        "hooks: 2",
        "  lifted, suspended: run /bin/true -x, for at most 10 seconds",
        "  incident-opened: post to http://127.0.0.1/, for at most 1 minute",
    ]


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        (
            "",
            (
                "messages are similar when they say much the same; those whose content is not "
                "shown when in size within 64 bytes of the first"
            ),
        ),
        (
            ", fallback: any, boilerplate: x.txt, subjects: false",
            (
                "messages are similar when they say much the same, but for the boilerplate; those "
                "whose content is not shown all of a sender; subjects are not kept"
            ),
        ),
    ],
)
def test_likeness_by_content(tmp_path: Path, keys: str, words: str) -> None:
    (tmp_path / "x.txt").write_text("Think of the environment.")
    path = tmp_path / "policy.yaml"
    path.write_text(
        f"version: 1\nlikeness: {{by: content{keys}}}\nlimits:\n"
        "  - {id: daily, per: account, count: messages, max: 9, window: 1h}\n"
    )
    policy = load(path).policy
    assert policy is not None
    assert f"likeness: {words}" in list(summarise(policy))
