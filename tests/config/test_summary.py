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
