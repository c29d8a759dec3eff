"""What a real Postfix asked, played back: how the bytes arrive makes no difference.

The recordings in data/sessions/ were made by record.py there, which says what the client did.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from aup.building import Desk, limit, policy
from protocol.streams import chunked

from policyd.aup.address import Accounts, LocalDomains
from policyd.aup.policy import Count, EndSession, Limit, Recipients, Refuse
from policyd.aup.transaction import Connection
from policyd.counting.counters import Claim
from policyd.protocol.parser import RequestParser
from policyd.protocol.request import Request

SESSIONS = Path(__file__).parents[1] / "data" / "sessions"
RECORDED = {path.stem: path for path in SESSIONS.glob("*.txt")}
CHUNKS = (1, 2, 7, 1000, 4096, 10**9)

ALICE = "alice@sender.example"

# one of every kind, none of them in the way
LEDGER = (
    limit("messages", "account", count=Count.MESSAGES, recipients=Recipients.ALL, max=10**4),
    limit("recipients", "account", count=Count.RECIPIENTS, max=10**4),
    limit("distinct", "account", max=10**4),
    limit("everyone", "account", recipients=Recipients.ALL, max=10**4),
    limit("bytes", "account", count=Count.BYTES, recipients=Recipients.ALL, max=10**9),
    limit("held", "account", count=Count.RECIPIENTS, max=10**4, refuse=Refuse.RECIPIENT),
)
TWO_A_MESSAGE = limit("two", "account likeness", count=Count.RECIPIENTS, max=2)
TWO_RECIPIENTS = limit("each", "account", max=2, refuse=Refuse.RECIPIENT)


class Usage(NamedTuple):
    """What the LEDGER holds after a session."""

    messages: int
    recipients: int
    distinct: int
    everyone: int
    bytes: int
    held: int


class Case(NamedTuple):
    """The answers to one session, under a limit besides the LEDGER, and what is counted after."""

    verbs: str
    usage: Usage
    besides: tuple[Limit, ...] = ()


D = "DUNNO"
NOTHING = Usage(0, 0, 0, 0, 0, 0)
CASES = {
    "single-recipient": Case(f"{D} {D}", Usage(1, 1, 1, 1, 300, 1)),
    "three-recipients": Case(" ".join([D] * 4), Usage(1, 2, 2, 3, 300, 2)),
    "submission": Case(" ".join([D] * 4), Usage(1, 2, 2, 3, 300, 2)),
    "reset": Case(" ".join([D] * 4), Usage(1, 1, 1, 1, 300, 1)),
    "two-messages": Case(" ".join([D] * 5), Usage(2, 3, 2, 2, 700, 3)),
    "duplicates": Case(" ".join([D] * 6), Usage(1, 2, 2, 2, 300, 2)),
    "bdat": Case(" ".join([D] * 3), Usage(1, 2, 2, 2, 300, 2)),
    "smtputf8": Case(" ".join([D] * 4), Usage(1, 2, 2, 2, 300, 2)),
    "null-sender": Case(" ".join([D] * 2), Usage(1, 1, 1, 1, 300, 1)),
    "postmaster": Case(" ".join([D] * 2), Usage(1, 1, 1, 1, 300, 1)),
    "refused-and-going-on": Case(
        f"{D} {D} {D} REJECT {D} {D}", Usage(1, 1, 1, 1, 450, 1), (TWO_A_MESSAGE,)
    ),
    "refused-and-reset": Case(
        f"{D} {D} {D} REJECT {D} {D} {D}", Usage(1, 2, 2, 2, 300, 2), (TWO_A_MESSAGE,)
    ),
    "refused-recipient": Case(f"{D} {D} REJECT {D}", Usage(1, 2, 2, 2, 300, 2), (TWO_RECIPIENTS,)),
    "vrfy": Case(" ".join([D] * 4), Usage(1, 1, 1, 1, 300, 1)),
    "dropped": Case(" ".join([D] * 2), NOTHING),
    "listed-everywhere": Case(" ".join([D] * 9), Usage(1, 1, 1, 2, 300, 1)),
    "listed-several-times": Case(" ".join([D] * 9), Usage(1, 1, 1, 2, 300, 1)),
    "refused-by-a-later-check": Case(" ".join([D] * 5), Usage(1, 2, 2, 2, 300, 2)),
    "proxy": Case(" ".join([D] * 5), Usage(2, 3, 2, 2, 700, 3)),
    "forged-attributes": Case(" ".join([D] * 8), Usage(4, 4, 4, 4, 1200, 4)),
}


def requests(data: bytes, size: int) -> Iterator[Request]:
    parser = RequestParser()
    for chunk in chunked(data, size):
        yield from parser.feed(chunk)
    assert parser.error is None
    assert len(parser._buffer) == 0


def desk(*besides: Limit) -> Desk:
    return Desk(
        policy(
            *besides,
            *LEDGER,
            local=LocalDomains(["local.test"]),
            accounts=Accounts(default_domain="sender.example"),
            end_session=EndSession.NO,
        )
    )


def leave(played: Desk) -> None:
    """Close the connection, as smtpd does when it ends."""
    played.engine.disconnect(played.connection, played.now)
    played.later(6)


def usage(played: Desk) -> Usage:
    """Return what the LEDGER holds for the one account of the recordings, with nothing reserved."""
    counts = {}
    for rule in LEDGER:
        counter = played.engine.counts.counter(rule)
        figures = counter.figures(Claim(ALICE, 0), played.now.wall)
        assert figures.reserved == 0
        assert (
            sum(sum(held.values()) for _, held in counter.usage.buckets().items()) == figures.used
        )
        counts[rule.id] = figures.used
    return Usage(**counts)


def test_there_is_a_case_for_every_recording_and_the_other_way_round() -> None:
    assert set(CASES) == set(RECORDED)


@pytest.mark.parametrize("size", CHUNKS)
@pytest.mark.parametrize("name", sorted(RECORDED))
def test_a_recorded_session_gets_its_answers_and_leaves_its_counts(name: str, size: int) -> None:
    case = CASES[name]
    played = desk(*case.besides)
    verbs = [
        played.ask(request).verdict.verb for request in requests(RECORDED[name].read_bytes(), size)
    ]
    leave(played)
    assert verbs == case.verbs.split()
    assert usage(played) == case.usage
    assert len(played.engine.transactions) == 0


@pytest.mark.parametrize("name", sorted(RECORDED))
def test_a_session_whose_requests_are_all_retried_counts_once(name: str) -> None:
    case = CASES[name]
    played = desk(*case.besides)
    for request in requests(RECORDED[name].read_bytes(), 4096):
        verbs = [played.ask(request).verdict.verb for _ in range(2)]
        assert verbs[0] == verbs[1]
    leave(played)
    assert usage(played) == case.usage


@pytest.mark.parametrize("name", sorted(RECORDED))
def test_a_session_asked_on_a_new_connection_each_time_counts_once(name: str) -> None:
    case = CASES[name]
    played = desk(*case.besides)
    for request in requests(RECORDED[name].read_bytes(), 4096):
        connection = Connection("mx")
        played.ask(request, connection)
        played.engine.disconnect(connection, played.now)
    played.later(6)
    assert usage(played) == case.usage


def test_postfix_sends_all_attributes_of_its_version_in_every_request() -> None:
    names = """request protocol_state protocol_name client_address client_name client_port
    reverse_client_name server_address server_port helo_name sender recipient recipient_count
    queue_id instance size etrn_domain stress sasl_method sasl_username sasl_sender ccert_subject
    ccert_issuer ccert_fingerprint ccert_pubkey_fingerprint encryption_protocol encryption_cipher
    encryption_keysize policy_context""".split()
    assert len(names) == 29
    for path in RECORDED.values():
        for raw in path.read_bytes().split(b"\n\n")[:-1]:
            lines = raw.split(b"\n")
            assert [line.split(b"=", 1)[0].decode() for line in lines] == names


def test_forged_attributes_are_part_of_the_addresses() -> None:
    played = list(requests(RECORDED["forged-attributes"].read_bytes(), 1))
    assert {request["sasl_username"] for request in played} == {ALICE}
    assert [request["protocol_state"] for request in played] == ["RCPT", "END-OF-MESSAGE"] * 4
    for request, separator in zip(played[::2], "\x0b\x1c\x85\u2028", strict=True):
        assert request["sender"] == (
            f"x{separator}sasl_username=victim{separator}recipient_count=0@sender.example"
        )
        assert request["recipient"] == f"y{separator}protocol_state=VRFY@ext.example"


def test_a_transaction_that_goes_on_is_one_for_postfix() -> None:
    # what the counts above rest upon: one instance, and sizes and numbers that add up
    played = list(requests(RECORDED["refused-and-going-on"].read_bytes(), 4096))
    assert len({request["instance"] for request in played}) == 1
    ends = [request for request in played if request["protocol_state"] == "END-OF-MESSAGE"]
    assert [(request.recipient_count, request.size) for request in ends] == [(3, 300), (4, 750)]
