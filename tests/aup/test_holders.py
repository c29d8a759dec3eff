"""Whose a key is, and what it may come to."""

from aup.building import START, limit, policy

from policyd.aup.address import Accounts
from policyd.aup.holders import is_client, key_of, maximum
from policyd.aup.match import Matcher, condition
from policyd.aup.policy import KeyPart, Override
from policyd.clock import WallTime

ALICE = "alice@local.example"
NOW = WallTime(START)


def test_keys_of_an_account() -> None:
    is_his = key_of(limit("a", "account likeness"), "account", ALICE, policy())
    assert is_his is not None
    assert [is_his(key) for key in (ALICE, f"{ALICE}\n7", f"{ALICE}x", f"b\n{ALICE}")] == [
        *(True, True, False, False),
    ]
    second = key_of(limit("b", "client_address account"), "account", ALICE, policy())
    assert second is not None
    assert second(f"192.0.2.7\n{ALICE}\nrest")
    assert not second(f"{ALICE}\n192.0.2.7")
    assert key_of(limit("c", "domain"), "account", ALICE, policy()) is None


def test_an_identity_is_an_account_too() -> None:
    rules = policy(accounts=Accounts(("sasl_username",), "local.example"))
    is_his = key_of(limit("a", "sasl_username"), "account", ALICE, rules)
    assert is_his is not None
    assert is_his("alice")
    assert not is_his("bob")


def test_keys_of_a_client() -> None:
    by_network = limit("a", per="sender")
    object.__setattr__(by_network, "shared_parts", (KeyPart("client_address", 24, 64),))
    is_its = key_of(by_network, "client", "192.0.2.7", policy())
    assert is_its is not None
    assert is_its("192.0.2.0/24")
    wide = key_of(by_network, "client", "192.0.0.0/16", policy())
    assert wide is not None
    assert [wide(key) for key in ("192.0.2.0/24", "198.51.100.0/24", "2001:db8::/64", "")] == [
        *(True, False, False, False),
    ]
    assert is_client("2001:db8::/48")
    assert not is_client("mail.example")


def test_the_maximum_of_a_key() -> None:
    few = limit("few", "account", max=3)
    accounts = policy().accounts
    on = {
        "account": Matcher.of([condition("account", ["alice"], accounts)]),
        "domain": Matcher.of([condition("domain", ["big.example"], accounts)]),
    }
    rules = policy(
        few,
        overrides=(Override(on["account"], {"few": 9}), Override(on["domain"], {"*": None})),
    )
    assert maximum(few, ALICE, policy(few), NOW) == 3
    assert maximum(few, f"{ALICE}\n1", rules, NOW) == 9
    assert maximum(few, "x@big.example", rules, NOW) is None
    assert maximum(limit("few", "domain", max=3), "big.example", rules, NOW) is None
    assert maximum(few, "bob@local.example", rules, NOW) == 3
