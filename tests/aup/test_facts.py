"""Who is sending, from where."""

import pytest
from aup.building import request

from policyd.aup.address import Accounts
from policyd.aup.facts import REQUEST_ATTRIBUTES, VARYING_ATTRIBUTES, Facts

SENT_BY_POSTFIX = frozenset(
    """request protocol_state protocol_name client_address client_name client_port
    reverse_client_name server_address server_port helo_name sender recipient recipient_count
    queue_id instance size etrn_domain stress sasl_method sasl_username sasl_sender ccert_subject
    ccert_issuer ccert_fingerprint ccert_pubkey_fingerprint encryption_protocol encryption_cipher
    encryption_keysize tls_sni policy_context compatibility_level mail_version""".split()
)


def test_the_account_is_the_login_in_one_form() -> None:
    accounts = Accounts(default_domain="mail.example", strip_extension="+")
    facts = Facts(request(sasl_username="Alice+Shop"), accounts)
    assert facts.account == "alice@mail.example"
    assert facts.domain == "mail.example"
    assert facts["account"] == facts.account
    assert facts["domain"] == facts.domain


def test_the_domain_is_that_of_the_account_and_not_of_the_sender() -> None:
    facts = Facts(
        request(sasl_username="a@Other.Example", sender="x@sender.example"),
        Accounts(default_domain="mail.example"),
    )
    assert facts.domain == "other.example"


@pytest.mark.parametrize(
    ("said", "account"),
    [
        ({"sasl_username": "alice", "sender": "x@y.example"}, "alice"),
        ({"sasl_username": "", "ccert_subject": "CN=Web", "sender": "x@y.example"}, "cn=web"),
        ({"sasl_username": "", "sender": "X@Y.Example."}, "x@y.example"),
        ({"sasl_username": "", "sender": ""}, ""),
    ],
)
def test_the_first_identity_that_says_something_is_the_account(
    said: dict[str, str], account: str
) -> None:
    accounts = Accounts(identity=("sasl_username", "ccert_subject", "sender"))
    assert Facts(request(**said), accounts).account == account


def test_without_any_identity_there_is_no_account_and_no_domain() -> None:
    facts = Facts(request(sasl_username=""), Accounts(default_domain="mail.example"))
    assert (facts.account, facts.domain) == ("", "")


def test_an_account_without_domain_has_none() -> None:
    facts = Facts(request(sasl_username="alice"), Accounts())
    assert (facts.account, facts.domain) == ("alice", "")


def test_a_request_attribute_is_as_it_arrived_and_one_that_did_not_is_empty() -> None:
    said = request(sender="X@Y.Example.", client_address="2001:DB8::1")
    facts = Facts(said, Accounts())
    assert facts["sender"] == "X@Y.Example."
    assert facts["client_address"] == "2001:DB8::1"
    assert facts.client_address == "2001:DB8::1"
    assert facts["tls_sni"] == ""
    assert facts.request is said


def test_every_attribute_of_the_protocol_is_known_once() -> None:
    # the recipient changes too, and has a name under "per" and conditions of its own
    assert REQUEST_ATTRIBUTES | VARYING_ATTRIBUTES | {"recipient"} == SENT_BY_POSTFIX
    assert not REQUEST_ATTRIBUTES & VARYING_ATTRIBUTES
