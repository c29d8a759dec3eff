"""Which requests a rule is about."""

import ipaddress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policyd.aup.address import Accounts
from policyd.aup.match import Condition, Matcher, client_network, condition, condition_in

ACCOUNTS = Accounts(default_domain="mail.example", strip_extension="+")


def holds(attribute: str, values: str | list[str], given_value: str) -> bool:
    """Tell whether a condition on *attribute* with these values holds for what a request says."""
    values = [values] if isinstance(values, str) else values
    return condition(attribute, values, ACCOUNTS).test(given_value)


# plain values


@pytest.mark.parametrize(
    ("attribute", "value", "matching", "others"),
    [
        (
            "helo_name",
            "Client.Example",
            ["client.example", "CLIENT.EXAMPLE"],
            ["example", "a.client.example", "client.example.", ""],
        ),
        ("policy_context", "submission", ["submission", "Submission"], ["submissions", ""]),
        ("policy_context", "a@B.example", ["A@b.example"], ["a@b.example."]),
        ("sasl_method", "", [""], ["plain"]),
        (
            "sender",
            "News@Bücher.Example",
            ["news@bücher.example", "NEWS@xn--bcher-kva.example."],
            ["news@example", "anews@bücher.example", ""],
        ),
        ("sender", "", [""], ["a@b.example"]),
        (
            "recipient",
            "Abuse@Partner.Example",
            ["abuse@partner.example", "abuse@PARTNER.example."],
            ["abuse@partner.example.net", "abuse+x@partner.example"],
        ),
        (
            "account",
            "CEO",
            ["ceo@mail.example", "ceo", "CEO@Mail.Example", "ceo+x"],
            ["ceo@other.example", "aceo@mail.example", ""],
        ),
        (
            "domain",
            "Big.Example",
            ["big.example", "BIG.example."],
            ["a.big.example", "bigger.example", "example", ""],
        ),
    ],
)
def test_a_plain_value_is_that_value_in_any_case_and_no_other(
    attribute: str, value: str, matching: list[str], others: list[str]
) -> None:
    assert [said for said in matching if not holds(attribute, value, said)] == []
    assert [said for said in others if holds(attribute, value, said)] == []


@pytest.mark.parametrize("attribute", ["domain", "recipient_domain"])
def test_a_domain_with_a_leading_dot_is_that_domain_and_all_below_it(attribute: str) -> None:
    for inside in ("customers.example", "A.Customers.Example", "a.b.customers.example."):
        assert holds(attribute, ".Customers.Example", inside)
    for outside in ("example", "xcustomers.example", "customers.example.net", ""):
        assert not holds(attribute, ".Customers.Example", outside)
    assert holds(attribute, ".bücher.example", "a.xn--bcher-kva.example")
    assert holds(attribute, ".xn--bcher-kva.example", "a.bücher.example")


@pytest.mark.parametrize("attribute", ["helo_name", "sender", "policy_context"])
def test_a_leading_dot_is_nothing_special_elsewhere(attribute: str) -> None:
    assert holds(attribute, ".Odd@x.example", ".odd@x.example")
    assert not holds(attribute, ".odd@x.example", "odd@x.example")


def test_of_several_values_one_is_enough() -> None:
    values = ["a.example", "/^b[0-9]+\\.example$/", ".c.example"]
    for said in ("a.example", "b12.example", "x.c.example"):
        assert holds("domain", values, said)
    assert not holds("domain", values, "bx.example")


def test_without_a_value_nothing_matches() -> None:
    assert not holds("sender", [], "a@b.example")
    assert not holds("sender", [], "")
    assert condition("sender", [], ACCOUNTS).source == "(none)"


# networks


@pytest.mark.parametrize(
    ("network", "inside", "outside"),
    [
        ("192.0.2.0/28", ["192.0.2.0", "192.0.2.15"], ["192.0.2.16", "192.0.1.255", ""]),
        ("192.0.2.7", ["192.0.2.7", "::ffff:192.0.2.7"], ["192.0.2.70", "192.0.2.8"]),
        ("192.0.2.0/24", ["::ffff:192.0.2.200", "::FFFF:c000:0201"], ["::ffff:192.0.3.1"]),
        ("2001:db8::/48", ["2001:db8::1", "2001:DB8:0:ffff::1"], ["2001:db8:1::1", "192.0.2.1"]),
        ("2001:db8::1", ["2001:db8:0:0:0:0:0:1"], ["2001:db8::2"]),
        ("0.0.0.0/0", ["203.0.113.9", "::ffff:203.0.113.9"], ["2001:db8::1", "unknown"]),
        ("::/0", ["2001:db8::1"], ["192.0.2.1", "unknown", ""]),
    ],
)
@pytest.mark.parametrize("attribute", ["client_address", "client", "server_address"])
def test_a_network_holds_its_addresses(
    attribute: str, network: str, inside: list[str], outside: list[str]
) -> None:
    assert [said for said in inside if not holds(attribute, network, said)] == []
    assert [said for said in outside if holds(attribute, network, said)] == []


def test_an_address_in_a_rule_may_be_written_as_an_ipv6_one() -> None:
    assert holds("client", "::ffff:192.0.2.7", "192.0.2.7")
    assert holds("client", "::ffff:192.0.2.7", "::ffff:192.0.2.7")


def test_networks_may_be_mixed_with_expressions() -> None:
    values = ["192.0.2.0/28", "2001:db8::/48", "/^198\\.51\\./"]
    for said in ("192.0.2.3", "2001:db8::3", "198.51.100.1"):
        assert holds("client_address", values, said)
    assert not holds("client_address", values, "203.0.113.1")


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("192.0.2.1/28", "192.0.2.0/28"),
        ("2001:db8::1/48", "2001:db8::/48"),
        ("192.0.2", "'192.0.2' is no IP address or network"),
        ("192.0.2.0/33", "'192.0.2.0/33' is no IP address or network"),
        ("mail.example", "'mail.example' is no IP address or network"),
        ("", "'' is no IP address or network"),
    ],
)
def test_a_bad_network_is_refused_with_the_cure(value: str, says: str) -> None:
    with pytest.raises(ValueError, match=r".") as error:
        condition("client_address", [value], ACCOUNTS)
    assert says in str(error.value)


# regular expressions


def test_an_expression_is_searched_without_regard_to_case() -> None:
    assert holds("helo_name", "/^web[0-9]+\\./", "WEB12.example")
    assert not holds("helo_name", "/^web[0-9]+\\./", "xweb12.example")
    assert holds("helo_name", "/eb1/", "web12.example")


def test_a_slash_at_one_end_makes_no_expression() -> None:
    assert holds("helo_name", "/", "/")
    assert not holds("helo_name", "/", "x")
    assert holds("helo_name", "//", "anything")
    assert holds("helo_name", "/x", "/x")
    assert not holds("helo_name", "/x", "axb")


def test_an_expression_sees_the_whole_value_however_odd() -> None:
    assert holds("sender", "/victim/", "x\x0bvictim\udcff@b.example")
    assert not holds("sender", "/^victim$/", "x\x0bvictim\udcff@b.example")


@pytest.mark.parametrize("source", ["(", "[a", "*", "(?P<a>x)(?P<a>y)"])
def test_an_expression_that_does_not_compile_is_refused(source: str) -> None:
    with pytest.raises(ValueError, match="does not compile") as error:
        condition("sender", [f"/{source}/"], ACCOUNTS)
    assert f"/{source}/" in str(error.value)


# lists


def test_a_list_holds_plain_values_in_any_form() -> None:
    listed = condition_in("account", ["CEO", "Bob+x@Other.Example."], ACCOUNTS, "premium-accounts")
    for account in ("ceo@mail.example", "bob@other.example"):
        assert listed.test(account)
    assert not listed.test("carol@mail.example")
    assert not listed.test("")
    assert listed.source == "listed in premium-accounts"
    assert listed.attribute == "account"


def test_a_list_of_domains_holds_domains() -> None:
    listed = condition_in("domain", ["Big.Example.", "bücher.example"], ACCOUNTS, "big")
    assert listed.test("big.example")
    assert listed.test("xn--bcher-kva.example")
    assert not listed.test("a.big.example")


# all, any, and what is about recipients


def matcher(**conditions: str) -> Matcher:
    return Matcher.of(condition(name, [value], ACCOUNTS) for name, value in conditions.items())


FACTS = {"account": "alice@mail.example", "client_address": "192.0.2.7", "helo_name": "pc"}


def test_to_match_all_must_hold_and_to_touch_one_is_enough() -> None:
    both = matcher(account="alice", client="192.0.2.0/24")
    one = matcher(account="alice", client="198.51.100.0/24")
    neither = matcher(account="bob", client="198.51.100.0/24")
    assert [m.matches(FACTS) for m in (both, one, neither)] == [True, False, False]
    assert [m.touches(FACTS) for m in (both, one, neither)] == [True, True, False]


def test_without_conditions_everything_matches_and_nothing_is_touched() -> None:
    empty = Matcher()
    assert not empty
    assert empty.matches(FACTS)
    assert not empty.touches(FACTS)
    assert empty.matches_recipient("a@b.example")
    assert not empty.touches_recipient("a@b.example")
    assert str(empty) == ""


def test_conditions_on_recipients_choose_among_them() -> None:
    rule = matcher(account="alice", recipient_domain=".partner.example", recipient="/^abuse@/")
    assert rule
    assert [c.attribute for c in rule.on_transaction] == ["account"]
    assert [c.attribute for c in rule.on_recipient] == ["recipient_domain", "recipient"]
    # they are no part of what the transaction is asked
    assert rule.matches(FACTS)
    assert rule.matches_recipient("abuse@partner.example")
    assert rule.matches_recipient("abuse@x.partner.example")
    assert not rule.matches_recipient("info@partner.example")
    assert rule.touches_recipient("info@partner.example")
    assert rule.touches_recipient("abuse@away.example")
    assert not rule.touches_recipient("info@away.example")
    assert not rule.touches_recipient("")


def test_a_rule_of_either_kind_has_conditions() -> None:
    assert matcher(account="alice")
    assert matcher(recipient="abuse@partner.example")


def test_an_attribute_that_no_request_has_is_empty() -> None:
    class Nothing:
        def __getitem__(self, name: str) -> str:
            return ""

    assert not matcher(tls_sni="x").matches(Nothing())


def test_a_rule_says_what_it_is_about() -> None:
    rule = Matcher.of(
        [
            condition("client", ["192.0.2.0/28", "2001:db8::/48"], ACCOUNTS),
            condition("recipient", ["Abuse@Partner.Example"], ACCOUNTS),
        ]
    )
    assert str(rule) == (
        "client_address 192.0.2.0/28 or 2001:db8::/48, recipient Abuse@Partner.Example"
    )


def test_a_condition_is_compiled_once_and_frozen() -> None:
    made = condition("account", ["alice"], ACCOUNTS)
    with pytest.raises(AttributeError):
        made.attribute = "sender"  # type: ignore[misc]
    assert isinstance(made, Condition)


@settings(deadline=None)
@given(
    st.sampled_from(["account", "domain", "sender", "recipient", "client_address", "helo_name"]),
    st.text(st.characters(exclude_categories=())),
)
def test_no_value_in_a_request_raises(attribute: str, said: str) -> None:
    value = "192.0.2.0/24" if attribute == "client_address" else "x.example"
    assert holds(attribute, [value, "/^nothing like this$/"], said) in (True, False)


# networks as parts of keys


@pytest.mark.parametrize(
    ("address", "prefix4", "prefix6", "network"),
    [
        ("192.0.2.7", 32, 128, "192.0.2.7"),
        ("192.0.2.7", 24, 64, "192.0.2.0/24"),
        ("192.0.2.7", 0, 64, "0.0.0.0/0"),
        ("::ffff:192.0.2.7", 24, 64, "192.0.2.0/24"),
        ("::ffff:192.0.2.7", 32, 128, "192.0.2.7"),
        ("2001:DB8:0:1:2:3:4:5", 24, 64, "2001:db8:0:1::/64"),
        ("2001:DB8:0:1:2:3:4:5", 24, 128, "2001:db8:0:1:2:3:4:5"),
        ("2001:db8:0:0::1", 32, 128, "2001:db8::1"),
        ("2001:db8:ffff::1", 32, 32, "2001:db8::/32"),
        ("unknown", 24, 64, "unknown"),
        ("", 24, 64, ""),
        ("192.0.2.7.example", 24, 64, "192.0.2.7.example"),
    ],
)
def test_an_address_is_cut_to_its_network(
    address: str, prefix4: int, prefix6: int, network: str
) -> None:
    assert client_network(address, prefix4, prefix6) == network


@settings(deadline=None)
@given(st.ip_addresses(v=4), st.integers(0, 31), st.integers(0, 32))
def test_ipv4_addresses_share_a_network_when_their_first_bits_are_the_same(
    address: ipaddress.IPv4Address, bit: int, prefix: int
) -> None:
    other = ipaddress.IPv4Address(int(address) ^ 1 << bit)
    networks = {client_network(str(one), prefix, 0) for one in (address, other)}
    networks.add(client_network(f"::ffff:{address}", prefix, 0))
    assert len(networks) == (1 if bit < 32 - prefix else 2)


@settings(deadline=None)
@given(st.ip_addresses(network="2000::/3"), st.integers(0, 127), st.integers(0, 128))
def test_ipv6_addresses_share_a_network_when_their_first_bits_are_the_same(
    address: ipaddress.IPv6Address, bit: int, prefix: int
) -> None:
    other = ipaddress.IPv6Address(int(address) ^ 1 << bit)
    networks = {client_network(str(one), 0, prefix) for one in (address, other)}
    assert len(networks) == (1 if bit < 128 - prefix else 2)


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=()), max_size=20), st.integers(0, 32))
def test_what_is_no_address_is_a_network_of_its_own(text: str, prefix: int) -> None:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        assert client_network(text, prefix, 4 * prefix) == text
