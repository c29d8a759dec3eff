"""What one request says."""

import pytest

from policyd.protocol.request import Request, Stage


@pytest.mark.parametrize(
    ("state", "stage"),
    [
        ("RCPT", Stage.RCPT),
        ("END-OF-MESSAGE", Stage.END_OF_MESSAGE),
        *[(state, None) for state in "CONNECT EHLO HELO MAIL DATA VRFY ETRN rcpt BDAT".split()],
        ("", None),
        (" RCPT", None),
        ("END_OF_MESSAGE", None),
    ],
)
def test_two_stages_count_and_no_other(state: str, stage: Stage | None) -> None:
    assert Request({"protocol_state": state}).stage is stage


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0),
        ("250", 250),
        ("00250", 250),
        ("999999999999999999", 10**18 - 1),
        *[(bad, 0) for bad in ("", "-1", "+1", " 1", "1.5", "1e3", "0x10", "1_000", "many")],
        ("1000000000000000000", 0),
        ("9" * 5000, 0),
        ("٣", 0),
        ("²", 0),
        ("\udcff", 0),
    ],
)
def test_a_number_is_digits_and_anything_else_is_none(text: str, number: int) -> None:
    request = Request({"size": text, "recipient_count": text})
    assert request.size == number
    assert request.recipient_count == number


def test_the_protocol_is_known_by_its_first_attribute() -> None:
    assert Request({"request": "smtpd_access_policy"}).is_access_policy
    assert not Request({"request": "junk"}).is_access_policy
    assert not Request({}).is_access_policy


def test_what_was_not_sent_is_empty_and_what_was_is_as_it_arrived() -> None:
    request = Request({"sender": " A@B.Example. "})
    assert request["sender"] == " A@B.Example. "
    assert request["tls_sni"] == ""
