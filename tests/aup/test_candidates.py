"""Which of many rules may match a sender."""

from collections.abc import Sequence

from aup.building import request
from hypothesis import given, settings
from hypothesis import strategies as st

from policyd.aup.address import Accounts
from policyd.aup.candidates import Candidates
from policyd.aup.facts import Facts
from policyd.aup.match import Matcher, condition, condition_in

ACCOUNTS = Accounts(default_domain="local.example")


def facts(**said: str) -> Facts:
    return Facts(request("RCPT", **said), ACCOUNTS)


def matcher(**conditions: str | Sequence[str]) -> Matcher:
    return Matcher.of(
        condition(name, [values] if isinstance(values, str) else values, ACCOUNTS)
        for name, values in conditions.items()
    )


def found(matchers: Sequence[Matcher], **said: str) -> list[int]:
    return list(Candidates(matchers, ACCOUNTS).of(facts(**said)))


ALICE = {"sasl_username": "Alice", "client_address": "192.0.2.7", "helo_name": "Laptop"}


def test_rules_are_found_by_the_value_that_they_name_in_their_order() -> None:
    rules = [
        matcher(account="bob"),
        matcher(sasl_username="alice"),
        matcher(client="192.0.2.0/28"),
        matcher(client="192.0.2.16/28"),
        matcher(helo_name="/^lap/"),
        matcher(helo_name="/^top/"),
        matcher(account=["bob", "ALICE@local.example"]),
        matcher(domain=".example"),
        matcher(domain=".test"),
        matcher(client=["2001:db8::/32", "192.0.2.7"]),
    ]
    assert found(rules, **ALICE) == [1, 2, 4, 6, 7, 9]
    assert found(rules, sasl_username="bob", client_address="2001:db8::1") == [0, 6, 7, 9]
    assert found(rules, sasl_username="", client_address="::ffff:192.0.2.17") == [3]
    assert found(rules, sasl_username="", client_address="unknown", helo_name="") == []


def test_what_cannot_be_found_by_a_value_is_always_tried() -> None:
    rules = [
        matcher(),
        matcher(recipient="x@y.example"),
        Matcher.of([condition_in("account", ["bob"], ACCOUNTS, "a file")]),
        matcher(account="carol"),
    ]
    assert found(rules, **ALICE) == [0, 1, 2]


def test_one_condition_is_enough_and_a_value_is_found_before_a_pattern_is_tried() -> None:
    both = matcher(helo_name="/x/", account="bob")
    assert found([both], sasl_username="alice", helo_name="x") == []
    assert found([both], sasl_username="bob", helo_name="y") == [0]


def test_two_hundred_rules_about_others_are_not_looked_at() -> None:
    rules = [
        matcher(**{name: value.format(n)})
        for n in range(200)
        for name, value in (
            ("sasl_username", "other{}@away.example"),
            ("client", "198.18.{}.0/24"),
            ("helo_name", "/^other-{}-/"),
            ("domain", "other{}.example"),
        )
    ]
    assert found(rules, **ALICE) == []


# whatever the rules are, those that match are among those that are found

NAMES = [
    "alice",
    "Alice@local.example",
    "bob@b.example",
    "bob@x.b.example",
    "",
    "a.b",
    ".b.example",
]
ADDRESSES = [
    "192.0.2.7",
    "192.0.2.0/28",
    "192.0.0.0/8",
    "2001:db8::/32",
    "2001:db8::7",
    "0.0.0.0/0",
]
PATTERNS = ["/a/", "/^b/", "/example$/", "/^$/", "/192/"]
VALUES = {
    "account": NAMES + PATTERNS,
    "sasl_username": NAMES + PATTERNS,
    "helo_name": NAMES + PATTERNS,
    "domain": ["local.example", ".example", ".b.example", "b.example", "", *PATTERNS],
    "client": ADDRESSES + PATTERNS,
    "recipient": ["x@y.example"],
}
CONDITIONS = st.sampled_from(list(VALUES)).flatmap(
    lambda name: st.tuples(
        st.just(name), st.lists(st.sampled_from(VALUES[name]), min_size=1, max_size=3)
    )
)
SAID = st.fixed_dictionaries(
    {
        "sasl_username": st.sampled_from(NAMES),
        "helo_name": st.sampled_from(NAMES),
        "client_address": st.sampled_from(
            ["192.0.2.7", "::ffff:192.0.2.9", "2001:db8::7", "", "x"]
        ),
    }
)


@settings(deadline=None, max_examples=300)
@given(st.lists(st.dictionaries(st.sampled_from("abc"), CONDITIONS, max_size=3)), st.lists(SAID))
def test_no_rule_that_matches_is_missed(
    rules: list[dict[str, tuple[str, list[str]]]], senders: list[dict[str, str]]
) -> None:
    matchers = [
        Matcher.of(condition(name, values, ACCOUNTS) for name, values in rule.values())
        for rule in rules
    ]
    candidates = Candidates(matchers, ACCOUNTS)
    for said in senders:
        sender = facts(**said)
        places = list(candidates.of(sender))
        assert places == sorted(set(places))
        matching = {place for place, one in enumerate(matchers) if one.matches(sender)}
        assert matching <= set(places)
        assert places == list(candidates.of(sender))  # what is remembered is the same
