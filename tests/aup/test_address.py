"""Addresses in the one form in which they are counted, and whose they are."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from policyd.aup.address import Accounts, LocalDomains, fold_address, fold_domain, split_address

# what addresses are made of, and what merely looks like it
CHARACTERS = st.one_of(
    st.sampled_from("aAbß.+@%!-_[]:0123456789 İΣς"),
    st.sampled_from("\u3002\uff0e\uff61\uff20\u200d\u00ad\u0130\u1e9e\u0430\U0001f4a9\udcff\x0b"),
    st.characters(exclude_categories=()),
)
TEXTS = st.one_of(
    st.text(CHARACTERS, max_size=30),
    st.tuples(st.text(CHARACTERS, max_size=9), st.text(CHARACTERS, max_size=20)).map("@".join),
    st.from_regex(r"[a-zäöü+]{1,5}@(xn--)?[a-zäß]{1,6}\.[a-zé]{2,4}\.?", fullmatch=True),
)


@pytest.mark.parametrize(
    ("written", "counted"),
    [
        ("a@b.example", "a@b.example"),
        ("A.B@Sender.EXAMPLE", "a.b@sender.example"),
        ("A@SENDER.Example.", "a@sender.example"),
        ("a@b.example...", "a@b.example"),
        ("info@bücher.example", "info@xn--bcher-kva.example"),
        ("info@BÜCHER.example.", "info@xn--bcher-kva.example"),
        ("info@XN--bcher-KVA.example", "info@xn--bcher-kva.example"),
        ("info@bu\u0308cher.example", "info@xn--bcher-kva.example"),
        ("用户@例え.test", "用户@xn--r8jz45g.test"),
        ("JÖRG@ext.example", "jörg@ext.example"),
        ("a+tag@b.example", "a+tag@b.example"),
        ("noat", "noat"),
        ("NoAt@", "noat"),
        ("", ""),
        ("@b.example", "@b.example"),
        ("a%b.example@c.example", "a%b.example@c.example"),
        ("one@two@C.example", "one@two@c.example"),
        ("r@[192.0.2.9]", "r@[192.0.2.9]"),
        ("R@[IPv6:2001:DB8::1]", "r@[ipv6:2001:db8::1]"),
        ("a b=c@x.example", "a b=c@x.example"),
        ("a@under_score.example", "a@under_score.example"),
        ("a@-dash-.example", "a@-dash-.example"),
    ],
)
def test_an_address_has_one_form(written: str, counted: str) -> None:
    assert fold_address(written) == counted
    assert fold_address(counted) == counted


@pytest.mark.parametrize(
    "domain",
    [
        "\U0001f4a9.Example",
        "ab--cé.Example",
        "xn--é.Example",
        "\u200d.Example",
        "é" * 70 + ".Example",
        "a..é.Example",
        "é\udcff.Example",
        "é\x0b.Example",
        ("é." * 150) + "Example",
    ],
)
def test_a_domain_that_is_no_valid_international_one_stays_in_lower_case(domain: str) -> None:
    assert fold_domain(domain) == domain.lower()
    assert fold_address(f"A@{domain}.") == f"a@{domain.lower()}"


@pytest.mark.parametrize("dot", ["\u3002", "\uff0e", "\uff61"])
def test_the_dots_of_other_scripts_are_dots(dot: str) -> None:
    assert fold_domain(f"bücher{dot}example") == "xn--bcher-kva.example"
    assert fold_domain(f"bücher.example{dot}") == "xn--bcher-kva.example"


@pytest.mark.parametrize(
    ("written", "counted"),
    [
        ("Alice+Shop@B.example", "alice@b.example"),
        ("alice+a+b@b.example", "alice@b.example"),
        ("alice+@b.example", "alice@b.example"),
        ("+alice@b.example", "+alice@b.example"),
        ("+alice+x@b.example", "+alice@b.example"),
        ("++@b.example", "+@b.example"),
        ("+@b.example", "+@b.example"),
        ("alice+shop", "alice"),
        ("alice-shop@b.example", "alice-shop@b.example"),
        ("alice@b+c.example", "alice@b+c.example"),
    ],
)
def test_an_extension_is_stripped_unless_nothing_would_remain(written: str, counted: str) -> None:
    assert fold_address(written, "+") == counted
    assert fold_address(counted, "+") == counted


@settings(deadline=None, max_examples=500)
@given(TEXTS, st.sampled_from(["", "+", "-", "--"]))
@example("a@exämple.example\u3002", "")
@example("a@b.@", "")
def test_folding_what_is_folded_changes_nothing(text: str, extension: str) -> None:
    folded = fold_address(text, extension)
    assert fold_address(folded, extension) == folded


@settings(deadline=None, max_examples=500)
@given(TEXTS)
def test_folding_a_domain_again_changes_nothing(text: str) -> None:
    assert fold_domain(fold_domain(text)) == fold_domain(text)


@settings(deadline=None)
@given(TEXTS)
def test_case_and_the_dot_at_the_end_do_not_matter(text: str) -> None:
    if text.isascii():
        assert fold_address(text.upper()) == fold_address(text)
    if "@" in text:
        assert fold_address(text + ".") == fold_address(text)


@pytest.mark.parametrize(
    ("address", "parts"),
    [
        ("a@b", ("a", "b")),
        ("a@b@c", ("a@b", "c")),
        ("a", ("a", "")),
        ("a@", ("a", "")),
        ("@b", ("", "b")),
        ("", ("", "")),
    ],
)
def test_the_last_at_sign_divides(address: str, parts: tuple[str, str]) -> None:
    assert split_address(address) == parts


# whose


def test_a_local_domain_is_that_domain_and_no_other() -> None:
    local = LocalDomains(["Mail.Example.", "bücher.example"])
    assert "mail.example" in local
    assert "xn--bcher-kva.example" in local
    for other in ("example", "x.mail.example", "notmail.example", "mail.example.net", ""):
        assert other not in local
    assert len(local) == 2


def test_a_leading_dot_is_the_domain_and_all_below_it() -> None:
    local = LocalDomains([".Customers.Example", "mail.example"])
    for inside in ("customers.example", "a.customers.example", "a.b.c.customers.example"):
        assert inside in local
    for outside in ("example", "xcustomers.example", "customers.example.net", "x.mail.example"):
        assert outside not in local


def test_without_local_domains_every_domain_is_external() -> None:
    nothing = LocalDomains()
    assert len(nothing) == 0
    assert nothing.is_external("a@mail.example")
    assert not nothing.is_external("a")


@pytest.mark.parametrize(
    ("address", "external"),
    [
        ("a@mail.example", False),
        ("A@MAIL.Example.", False),
        ("a@sub.customers.example", False),
        ("a@away.example", True),
        ("a@sub.mail.example", True),
        ("a@[192.0.2.9]", True),
        ("postmaster", False),
        ("", False),
        ("a@", False),
        # they can be routed on, whatever the domain
        ("a%away.example@mail.example", True),
        ("away.example!a@mail.example", True),
        ("a@away.example@mail.example", True),
        ("a%away.example", True),
        ("away.example!a", True),
        ("a+tag@mail.example", False),
    ],
)
def test_what_leaves_the_provider_is_external(address: str, external: bool) -> None:
    local = LocalDomains(["mail.example", ".customers.example"])
    assert local.is_external(fold_address(address)) is external


@pytest.mark.parametrize("address", ["a@mail.example@", "a@mail.example@."])
def test_an_at_sign_in_the_local_part_is_external_also_without_a_domain(address: str) -> None:
    # with the domain gone, what is left must not be taken for an address of our own
    assert LocalDomains(["mail.example"]).is_external(fold_address(address))


# accounts


@pytest.mark.parametrize(
    ("login", "account"),
    [
        ("alice", "alice@mail.example"),
        ("ALICE", "alice@mail.example"),
        ("alice@", "alice@mail.example"),
        ("Alice@Other.Example.", "alice@other.example"),
        ("alice+shop", "alice@mail.example"),
        ("alice+shop@other.example", "alice@other.example"),
        ("alice@bücher.example", "alice@xn--bcher-kva.example"),
    ],
)
def test_an_account_is_a_login_in_one_form(login: str, account: str) -> None:
    accounts = Accounts(default_domain="Mail.Example", strip_extension="+")
    assert accounts.normalise(login) == account
    assert accounts.normalise(account) == account


def test_without_a_default_domain_and_an_extension_a_login_is_as_it_is() -> None:
    accounts = Accounts()
    assert accounts.normalise("Alice+Shop") == "alice+shop"
    assert accounts.identity == ("sasl_username",)


def test_accounts_that_are_configured_alike_are_equal() -> None:
    assert Accounts(default_domain="a.example") == Accounts(default_domain="a.example")
    assert Accounts(default_domain="a.example") != Accounts(default_domain="b.example")


@settings(deadline=None)
@given(TEXTS)
def test_normalising_an_account_again_changes_nothing(login: str) -> None:
    accounts = Accounts(default_domain="mail.example", strip_extension="+")
    account = accounts.normalise(login)
    assert accounts.normalise(account) == account
