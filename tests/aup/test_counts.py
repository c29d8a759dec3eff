"""The counts of all limits: what outlives a changed rule file, and a restart."""

from dataclasses import replace
from typing import Any

import pytest
from aup.building import DAY, HOUR, START, limit, policy

from policyd.aup.address import Accounts
from policyd.aup.counts import Counts
from policyd.aup.policy import (
    Action,
    Count,
    KeyPart,
    Likeness,
    LikenessBy,
    Limit,
    Mode,
    Policy,
    Recipients,
    Refuse,
)
from policyd.aup.series import Kept
from policyd.clock import WallTime
from policyd.counting.counters import Claim
from policyd.counting.distinct import Hasher

HASH = Hasher(b"a secret of the tests")
ALICE = Claim("alice", 2, [HASH("x"), HASH("y")])


def at(seconds: float) -> WallTime:
    return WallTime(START + seconds)


def used(counts: Counts, rule: Limit, seconds: float) -> int:
    return counts.counter(rule).figures(Claim("alice", 0), at(seconds)).used


def counted(*limits: Limit, **changes: Any) -> Counts:
    """Return the counts of *limits*, each of which has counted 2 at the start."""
    rules = policy(*limits, **changes)
    counts = Counts(rules)
    for rule in limits:
        counts.counter(rule).commit(ALICE, at(0))
    counts._check()
    return counts


SUM = limit("sum", "account", count=Count.RECIPIENTS, window=HOUR)
MEMBERS = limit("members", "account", window=HOUR)


@pytest.mark.parametrize("rule", [SUM, MEMBERS])
@pytest.mark.parametrize(
    "changes",
    [
        {"max": 1},
        {"max": 10**9},
        {"title": "Another"},
        {"mode": Mode.OBSERVE},
        {"action": Action("DEFER", "4.7.1")},
        {"refuse": Refuse.RECIPIENT},
        {"window": DAY},
        {"window": 1800},
    ],
)
def test_a_change_that_leaves_the_meaning_keeps_the_counts(
    rule: Limit, changes: dict[str, Any]
) -> None:
    counts = counted(rule)
    changed = replace(rule, **changes)
    assert counts.obey(policy(changed), at(60)) == []
    counts._check()
    assert used(counts, changed, 60) == 2


@pytest.mark.parametrize("rule", [SUM, MEMBERS])
@pytest.mark.parametrize(
    "changes",
    [
        {"per": (KeyPart("domain"),)},
        {"per": (KeyPart("account"), KeyPart("client_address"))},
        {"recipients": Recipients.ALL},
        {"count": Count.MESSAGES},
    ],
)
def test_a_change_of_what_is_counted_starts_empty_and_is_told(
    rule: Limit, changes: dict[str, Any]
) -> None:
    other = limit("other", "account", count=Count.MESSAGES)
    counts = counted(rule, other)
    changed = replace(rule, **changes)
    assert counts.obey(policy(changed, other), at(60)) == [rule.id]
    assert used(counts, changed, 60) == 0
    assert used(counts, other, 60) == 2


def test_another_prefix_is_another_key() -> None:
    rule = replace(SUM, per=(KeyPart("client_address", 24, 64),))
    counts = counted(rule)
    assert counts.obey(policy(replace(rule, per=(KeyPart("client_address", 24, 56),))), at(0)) == [
        "sum"
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {"accounts": Accounts(default_domain="local.example", strip_extension="+")},
        {"accounts": Accounts(("sasl_username", "sender"), default_domain="local.example")},
        {"recipient_extension": "+"},
    ],
)
def test_other_identities_start_all_limits_empty(changes: dict[str, Any]) -> None:
    counts = counted(SUM, MEMBERS)
    assert counts.obey(policy(SUM, MEMBERS, **changes), at(0)) == ["sum", "members"]
    assert used(counts, SUM, 0) == 0


def test_a_limit_that_goes_takes_its_counts_along_and_a_new_one_has_none() -> None:
    counts = counted(SUM)
    assert counts.obey(policy(MEMBERS), at(0)) == []
    assert [name for name, _ in counts.counters()] == ["members"]
    assert counts.obey(policy(SUM, MEMBERS), at(0)) == []
    assert used(counts, SUM, 0) == 0


def test_the_order_of_limits_does_not_matter() -> None:
    counts = counted(SUM, MEMBERS)
    assert counts.obey(policy(MEMBERS, SUM), at(0)) == []
    assert (used(counts, SUM, 0), used(counts, MEMBERS, 0)) == (2, 2)


@pytest.mark.parametrize("rule", [SUM, MEMBERS])
def test_what_is_forgotten_stays_forgotten_under_a_longer_window(rule: Limit) -> None:
    counts = counted(rule)
    counts.counter(rule).commit(Claim("alice", 2, [HASH("z")]), at(HOUR))
    longer = replace(rule, window=DAY)
    # nobody has looked since
    assert counts.obey(policy(longer), at(HOUR + 20)) == []
    assert used(counts, longer, HOUR + 20) == (2 if rule is SUM else 1)


def test_a_shorter_window_forgets_what_is_older() -> None:
    counts = counted(SUM)
    shorter = replace(SUM, window=600)
    counts.obey(policy(shorter), at(1800))
    assert used(counts, shorter, 1800) == 0


# restarts


def restored(kept: Kept, rules: Policy, seconds: float) -> tuple[Counts, list[str]]:
    counts = Counts(rules)
    emptied = counts.restore(kept, at(seconds))
    counts._check()
    return counts, emptied


def test_a_restart_keeps_the_counts() -> None:
    kept = counted(SUM, MEMBERS).whole(at(0))
    again, emptied = restored(kept, policy(SUM, MEMBERS), 60)
    assert emptied == []
    assert used(again, SUM, 60) == 2
    figures = again.counter(MEMBERS).figures(Claim("alice", 0, [HASH("x"), HASH("new")]), at(60))
    assert figures == (2, 0, 1)
    assert used(again, SUM, HOUR + 20) == 0


def test_a_restart_under_changed_rules_is_as_a_reload() -> None:
    kept = counted(SUM, MEMBERS).whole(at(0))
    changed = replace(SUM, window=DAY), replace(MEMBERS, recipients=Recipients.ALL)
    again, emptied = restored(kept, policy(*changed), 60)
    assert emptied == ["members"]
    assert used(again, changed[0], 60) == 2
    assert used(again, changed[1], 60) == 0


def test_a_restart_with_other_limits_leaves_what_is_not_known() -> None:
    again, emptied = restored(counted(SUM).whole(at(0)), policy(MEMBERS), 60)
    assert emptied == []
    assert used(again, MEMBERS, 60) == 0


# groups of similar mail


def test_groups_are_kept_within_accounts_and_within_domains() -> None:
    rules = policy(
        limit("a", "account likeness"), limit("d", "domain likeness"), likeness=Likeness()
    )
    counts = Counts(rules)
    account = counts.groups["account"].join("alice", 1000, at(0))
    domain = counts.groups["domain"].join("local.example", 2000, at(0))
    again, _ = restored(counts.whole(at(0)), rules, 60)
    assert again.groups["account"].find("alice", 1000, at(60)) == account
    assert again.groups["domain"].find("local.example", 2000, at(60)) == domain
    assert again.groups["account"].find("local.example", 2000, at(60)) is None


def test_a_group_lives_as_long_as_anything_counted_under_it() -> None:
    short = limit("short", "account likeness", window=HOUR)
    long = limit("long", "account likeness recipient", window=DAY)
    elsewhere = limit("domain", "domain likeness", window=7 * DAY)
    counts = Counts(policy(short, long, elsewhere))
    groups = counts.groups["account"]
    made = at(DAY + 299)  # at the end of a bucket of 300 seconds
    name = groups.join("alice", 1000, made)
    counts.counter(long).commit(Claim(f"alice\n{name}", 1), made)
    for seconds in (0, HOUR, DAY, DAY + 1):
        now = WallTime(made + seconds)
        used_now = counts.counter(long).figures(Claim(f"alice\n{name}", 0), now).used
        assert used_now == 0 or groups.find("alice", 1000, now) == name
    assert groups.find("alice", 1000, WallTime(made + DAY + 300)) is None
    # a reload that ends the long limit lets groups end sooner
    counts.obey(policy(short), made)
    assert groups.find("alice", 1000, WallTime(made + HOUR)) == name
    assert groups.find("alice", 1000, WallTime(made + HOUR + 10)) is None


def test_groups_obey_changed_rules() -> None:
    rules = policy(limit())
    counts = Counts(rules)
    counts.groups["account"].join("alice", 1000, at(0))
    counts.obey(replace(rules, likeness=Likeness(LikenessBy.ANY)), at(0))
    assert counts.groups["account"].find("bob", 5, at(0)) == "any"


def test_tidying_shares_its_steps_among_all() -> None:
    rules = policy(SUM, MEMBERS, limit("bulk", window=HOUR))
    counts = counted(*rules.limits)
    counts.groups["account"].join("alice", 1000, at(0))
    assert counts.tidy(at(HOUR + 20), 0) == 0
    done = [counts.tidy(at(2 * HOUR), 2) for _ in range(6)]
    # a sum, two keys with two members each, and a group
    assert done == [2, 2, 0, 0, 0, 0]
    assert [len(counter.usage) for _, counter in counts.counters()] == [0, 0, 0]
    counts._check()
