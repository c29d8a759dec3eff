"""A limit as it applies to one transaction: its keys, and what it would count."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from aup.building import START, limit, policy, request

from policyd.aup.address import Accounts, LocalDomains, fold_address
from policyd.aup.applied import Applied, Message, Recipient
from policyd.aup.counts import Counts
from policyd.aup.facts import Facts
from policyd.aup.holding import Holding
from policyd.aup.match import Matcher, condition
from policyd.aup.policy import Count, KeyPart, Limit, Recipients
from policyd.clock import WallTime
from policyd.counting.counters import Claim
from policyd.counting.distinct import Hasher

ACCOUNTS = Accounts(default_domain="local.example")
LOCAL = LocalDomains(["local.example"])
HASH = Hasher(b"a secret of the tests")
NOW = WallTime(START)


def recipients(*addresses: str, exempt: Sequence[str] = ()) -> list[Recipient]:
    return [
        Recipient(folded, HASH(folded), external=LOCAL.is_external(folded), exempt=folded in exempt)
        for folded in map(fold_address, addresses)
    ]


def applied(rule: Limit, **said: Any) -> Applied:
    rules = policy(rule)
    (found,) = Holding(rules, Counts(rules), HASH).to(Facts(request(**said), ACCOUNTS), NOW)
    return found


def claims(
    rule: Limit, addresses: Sequence[str], exempt: Sequence[str] = (), **said: Any
) -> list[Claim]:
    """Return what a message of 1000 bytes to *addresses* would add; it is like number 7."""
    asked = applied(rule, **said)
    message = Message(recipients(*addresses, exempt=exempt), 1000)
    if asked.scope is not None:
        message.likeness[asked.scope] = "7"
    return list(asked.claims(message))


def key(per: str | KeyPart, **said: Any) -> str:
    """Return the key of a message to one recipient."""
    rule = limit(per=per) if isinstance(per, str) else replace(limit(), per=(per,))
    (claim,) = claims(rule, ["r@away.example"], **said)
    return claim.key


# keys


def test_a_key_is_the_values_under_per_in_their_order() -> None:
    assert key("account") == "alice@local.example"
    assert key("domain") == "local.example"
    assert key("account client_address") == "alice@local.example\n192.0.2.7"
    assert key("client_address account") == "192.0.2.7\nalice@local.example"
    assert key("policy_context", policy_context="Submission") == "submission"
    assert key("account", sasl_username="ALICE@Local.Example.") == "alice@local.example"


def test_likeness_and_recipient_stand_at_the_end() -> None:
    assert key("likeness account recipient") == "alice@local.example\n7\nr@away.example"
    assert key("recipient account") == "alice@local.example\nr@away.example"
    assert key("recipient_domain account likeness") == "alice@local.example\n7\naway.example"


@pytest.mark.parametrize(
    ("sender", "counted"),
    [
        ("News@Local.Example", "news@local.example"),
        ("news@LOCAL.example.", "news@local.example"),
        ("news@bücher.example", "news@xn--bcher-kva.example"),
        ("news+tag@local.example", "news+tag@local.example"),
        ("", ""),
    ],
)
def test_a_sender_has_one_count_however_it_is_written(sender: str, counted: str) -> None:
    assert key("sender", sender=sender) == counted


@pytest.mark.parametrize(
    ("prefix4", "prefix6", "address", "network"),
    [
        (24, 64, "192.0.2.7", "192.0.2.0/24"),
        (24, 64, "::ffff:192.0.2.200", "192.0.2.0/24"),
        (24, 64, "2001:DB8:0:1:2:3:4:5", "2001:db8:0:1::/64"),
        (32, 128, "::ffff:192.0.2.7", "192.0.2.7"),
        (32, 128, "2001:DB8:0::1", "2001:db8::1"),
        (24, 64, "unknown", "unknown"),
        (24, 64, "", ""),
    ],
)
@pytest.mark.parametrize("name", ["client_address", "server_address"])
def test_an_address_is_cut_to_its_network(
    name: str, prefix4: int, prefix6: int, address: str, network: str
) -> None:
    part = KeyPart(name, prefix4, prefix6)
    assert key(part, **{name: address}) == network


def test_values_that_run_together_are_different_keys() -> None:
    one = key("sender helo_name", sender="ab", helo_name="c")
    other = key("sender helo_name", sender="a", helo_name="bc")
    assert one != other


def test_the_scope_of_a_likeness_is_the_narrower_of_account_and_domain() -> None:
    assert limit(per="account likeness").likeness_scope == "account"
    assert limit(per="domain likeness account").likeness_scope == "account"
    assert limit(per="domain likeness").likeness_scope == "domain"
    assert limit(per="account domain").likeness_scope is None
    assert applied(limit(per="domain likeness")).scope == ("domain", "local.example")
    assert applied(limit(per="account likeness")).scope == ("account", "alice@local.example")
    assert applied(limit(per="account")).scope is None


# what is counted

MIXED = ("a@away.example", "b@away.example", "c@other.example", "u@local.example", "postmaster")


@pytest.mark.parametrize(
    ("count", "amount"), [(Count.MESSAGES, 1), (Count.RECIPIENTS, 3), (Count.BYTES, 1000)]
)
def test_a_sum_counts_what_it_is_about(count: Count, amount: int) -> None:
    asked = claims(limit(per="account", count=count), MIXED)
    assert asked == [Claim("alice@local.example", amount)]


@pytest.mark.parametrize(
    ("kind", "which"),
    [(Recipients.EXTERNAL, MIXED[:3]), (Recipients.LOCAL, MIXED[3:]), (Recipients.ALL, MIXED)],
)
def test_recipients_of_the_other_kind_do_not_count(kind: Recipients, which: list[str]) -> None:
    (asked,) = claims(limit(per="account", recipients=kind), MIXED)
    assert asked == Claim("alice@local.example", 0, [HASH(address) for address in which])


@pytest.mark.parametrize("count", Count)
def test_a_message_without_a_recipient_that_counts_asks_for_nothing(count: Count) -> None:
    for per in ("account likeness recipient", "account"):
        rule = limit(per=per, count=count)
        assert claims(rule, ["u@local.example"]) == []
        assert claims(rule, []) == []
        assert claims(rule, ["a@away.example"], exempt=["a@away.example"]) == []


def test_an_exempt_recipient_counts_nowhere_and_the_others_do() -> None:
    rule = limit(per="account", count=Count.RECIPIENTS)
    (asked,) = claims(rule, MIXED, exempt=["b@away.example"])
    assert asked.amount == 2


@pytest.mark.parametrize(
    ("count", "amount"), [(Count.MESSAGES, 1), (Count.RECIPIENTS, 1), (Count.BYTES, 1000)]
)
def test_with_the_recipient_in_the_key_each_counts_for_itself(count: Count, amount: int) -> None:
    asked = claims(limit(per="account recipient", count=count), MIXED)
    assert asked == [Claim(f"alice@local.example\n{name}", amount) for name in MIXED[:3]]


@pytest.mark.parametrize(
    ("count", "amounts"),
    [(Count.MESSAGES, [1, 1]), (Count.RECIPIENTS, [2, 1]), (Count.BYTES, [1000, 1000])],
)
def test_with_the_domain_in_the_key_each_domain_counts_once(
    count: Count, amounts: list[int]
) -> None:
    asked = claims(limit(per="recipient_domain", count=count), MIXED)
    assert [claim.key.split("\n")[-1] for claim in asked] == ["away.example", "other.example"]
    assert [claim.amount for claim in asked] == amounts


def test_distinct_recipients_of_a_domain_are_members_of_its_key() -> None:
    asked = claims(limit(per="recipient_domain"), MIXED)
    assert [list(claim.members) for claim in asked] == [
        [HASH("a@away.example"), HASH("b@away.example")],
        [HASH("c@other.example")],
    ]


def test_a_condition_on_the_recipient_chooses_among_them() -> None:
    only = Matcher.of([condition("recipient_domain", ["away.example"], ACCOUNTS)])
    rule = limit(per="account", count=Count.RECIPIENTS)
    amounts = [
        claims(made, MIXED)[0].amount
        for made in (rule, replace(rule, match=only), replace(rule, unless=only))
    ]
    assert amounts == [3, 2, 1]


def test_one_message_is_seen_by_each_limit_in_its_own_way() -> None:
    message = Message(recipients(*MIXED), 1000)
    kinds = (Recipients.EXTERNAL, Recipients.LOCAL, Recipients.ALL, Recipients.EXTERNAL)
    amounts = []
    for kind in kinds:
        rule = limit(per="account", count=Count.RECIPIENTS, recipients=kind)
        amounts += [claim.amount for claim in applied(rule).claims(message)]
    assert amounts == [3, 2, 5, 3]
