"""The load generator says what Postfix says, and the daemon counts exactly what it sent."""

import itertools
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from excuse import need

from bench import building, measure, rules
from bench.subjects import Subject, Subjects
from policyd.protocol.parser import RequestParser

# the order of Postfix 3.7: policyd/protocol/CONTRACT.md
ATTRIBUTES = """
    request protocol_state protocol_name client_address client_name client_port reverse_client_name
    server_address server_port helo_name sender recipient recipient_count queue_id instance size
    etrn_domain stress sasl_method sasl_username sasl_sender ccert_subject ccert_issuer
    ccert_fingerprint ccert_pubkey_fingerprint encryption_protocol encryption_cipher
    encryption_keysize policy_context
""".split()


@pytest.fixture
def make() -> Iterator[Subjects]:
    need(os.environ.get("CC", "cc"), "gcc libc6-dev")
    with Subjects() as subjects:
        yield subjects


def shown(*options: str) -> list[dict[str, str]]:
    """Return what the load generator would ask first."""
    words = [str(building.load()), "--accounts", "1000", *options]
    said = subprocess.run(words, capture_output=True, check=True, timeout=60).stdout
    parser = RequestParser()
    assert len(parser.feed(said)) == said.count(b"\n\n")
    assert parser.error is None
    texts = said.decode("ascii").removesuffix("\n\n").split("\n\n")
    return [dict(line.split("=", 1) for line in text.split("\n")) for text in texts]


def transactions(*options: str) -> list[list[dict[str, str]]]:
    """Return the requests of all transactions but the last, which may be cut short."""
    requests = shown("--show", "400", *options)
    found = itertools.groupby(requests, key=lambda request: request["instance"])
    return [list(group) for _, group in found][:-1]


def test_a_request_has_the_attributes_of_postfix_in_their_order() -> None:
    for request in shown("--show", "100"):
        assert list(request) == ATTRIBUTES


def test_a_transaction_is_its_recipients_and_its_end() -> None:
    sizes = Counter[int]()
    for *recipients, end in transactions("--recipients", "1", "--spread", "4"):
        number = len(recipients)
        sizes[number] += 1
        assert [one["protocol_state"] for one in recipients] == ["RCPT"] * number
        assert end["protocol_state"] == "END-OF-MESSAGE"
        assert end["recipient_count"] == str(number)
        assert bool(end["recipient"]) == (number == 1)
        assert [bool(one["queue_id"]) for one in recipients] == [False] + [True] * (number - 1)
        for name in ("sender", "sasl_username", "client_address"):
            assert {one[name] for one in recipients} == {end[name]}
    assert set(sizes) == {1, 2, 3, 4, 5}


def test_the_mix_is_the_one_asked_for() -> None:
    def sent(*options: str) -> list[dict[str, str]]:
        found = transactions("--recipients", "3", *options)
        return [request for one in found for request in one[:-1]]

    invented = [one["recipient"] for one in sent("--external", "1", "--invented", "1")]
    assert len(set(invented)) == len(invented)
    local = {one["recipient"].rpartition(".customers.")[2] for one in sent("--external", "0")}
    assert local == {"example"}
    known = Counter(one["recipient"] for one in sent("--accounts", "1", "--invented", "0"))
    assert known.most_common(1)[0][1] > 1
    accounts = [one["sasl_username"] for one in sent("--in-order", "--first", "5")]
    assert accounts[:4] == ["user5@c5.customers.example"] * 3 + ["user6@c6.customers.example"]
    assert {one["size"] for one in sent("--size", "777")} == {"777"}
    assert shown("--show", "50", "--seed", "1") != shown("--show", "50", "--seed", "2")
    assert shown("--show", "50", "--seed", "1") == shown("--show", "50", "--seed", "1")


def test_the_daemon_counts_exactly_what_was_sent(make: Subjects) -> None:
    counts = ("messages", "recipients", "distinct-recipients", "bytes")
    limits = [rules.one(count, "policy_context") | {"id": count} for count in counts]
    subject = make.policyd(rules.only(*limits), state="exact")
    with make.running(subject):
        sample = measure.asked(
            subject,
            connections=20,
            messages=150,
            spread=5,
            accounts=10,
            size=1000,
            external=1,
            invented=1,
        )
    assert sample["messages"] == 150
    assert sample["requests"] == sample["passed"] == sample["recipients"] + 150
    assert kept(subject) == {
        "messages": 150,
        "recipients": sample["recipients"],
        "distinct-recipients": sample["recipients"],
        "bytes": 150 * 1300,
    }


def kept(subject: Subject) -> dict[str, int]:
    """Return what each limit has counted, once the daemon has stopped."""
    state = subject.command[subject.command.index("--state") + 1]
    words = [sys.executable, "-m", "policyd", "state", "dump", "--state", state]
    said = subprocess.run(words, capture_output=True, check=True, timeout=60).stdout
    sums = Counter[str]()
    for line in map(json.loads, said.splitlines()):
        if "key" in line and line["series"].startswith("limit "):
            name = line["series"].split()[1]
            sums[name] += line["sum"] if "sum" in line else len(line["members"])
    return dict(sums)


def test_it_goes_on_as_postfix_does_after_a_refusal(make: Subjects) -> None:
    limit = rules.one("recipients") | {"max": 4, "refuse": "recipient"}
    subject = make.policyd(rules.only(limit))
    with make.running(subject):
        sample = measure.asked(subject, messages=4, recipients=3, accounts=1, external=1)
    # three of the first message, one of the second, none of the others, which then have no end
    assert sample["recipients"] == 4
    assert sample["refused"] == 2 + 3 + 3
    assert sample["messages"] == 2


def test_an_open_loop_accounts_for_every_request_that_was_due(make: Subjects) -> None:
    subject = make.responder()
    with make.running(subject):
        sample = measure.asked(subject, connections=5, rate=100, seconds=0.5)
    assert sample["requests"] + sample["unasked"] == 50


def test_what_is_measured_uses_cpu(make: Subjects) -> None:
    subject = make.noop()
    with make.running(subject):
        sample: dict[str, Any] = measure.asked(subject, connections=5, requests=5000)
    assert sample["requests"] >= 5000
    assert sample["refused"] == 0
    assert sample["cpu_seconds"] > 0
    assert 0 < sample["p50"] <= sample["p99"] <= sample["p999"] <= sample["max"]
