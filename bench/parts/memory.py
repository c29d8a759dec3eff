"""Memory per key, per recipient of a heavy sender, and per connection.

Two daemons are asked exactly the same. One counts every account by itself, the other all of them
under one key; what else a message leaves behind is in both, so the difference is that of the keys.
What waits for the next snapshot, a minute's worth at most, is not among it: there is one a bucket.
"""

import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from bench import measure, rules
from bench.context import Bench, Figures
from bench.subjects import Subject, ask, open_files

BUCKETS = 24
WIDTH = 2.0
"""Seconds of a bucket of a window of 10 minutes."""

SETTLED = 3.0
HEAVY = 20
PER_MESSAGE = 50


def run(bench: Bench) -> Figures:
    """Return bytes, each beyond what it is measured beside."""
    # too few would be lost in what memory is handed out by
    keys = max(bench.scale.million // 5, 20_000)
    few = max(bench.scale.million // 40, 5_000)
    recipients = max(bench.scale.million // 2, 50_000)
    return {
        "one_bucket": _per_key(bench, keys, 1, "24h"),
        "buckets": _per_key(bench, few, BUCKETS, "10m"),
        "recipient": _per_recipient(bench, recipients),
        "connection": _per_connection(bench, "policyd"),
        "connection_noop": _per_connection(bench, "noop"),
    }


def _per_key(bench: Bench, accounts: int, buckets: int, window: str) -> float:
    def fill(subject: Subject, number: int) -> None:
        measure.asked(
            subject,
            connections=10,
            accounts=accounts,
            messages=accounts,
            in_order=True,
            end_only=True,
            serial=number * accounts,
        )

    names = sum(
        len(f"user{n}@c{n % (accounts // 20 + 1)}.customers.example") for n in range(accounts)
    )
    per = "account", "policy_context"
    more = _more(bench, [rules.one("messages", by, window) for by in per], fill, buckets)
    return (more - names) / accounts


def _per_recipient(bench: Bench, recipients: int) -> float:
    def fill(subject: Subject, _: int) -> None:
        measure.asked(
            subject,
            connections=10,
            accounts=HEAVY,
            messages=recipients // PER_MESSAGE,
            in_order=True,
            recipients=PER_MESSAGE,
            external=1,
            invented=1,
        )

    counts = "distinct-recipients", "recipients"
    return _more(bench, [rules.one(count) for count in counts], fill, 1) / recipients


def _more(
    bench: Bench, limits: list[dict[str, Any]], fill: Callable[[Subject, int], None], times: int
) -> int:
    """Return by how many bytes the first of the daemons with *limits* grows more."""
    grown = []
    subjects = [
        bench.make.policyd(rules.only(limit), f"memory{n}") for n, limit in enumerate(limits)
    ]
    with bench.make.running(*subjects):
        before = [subject.resident() for subject in subjects]
        for number in range(times):
            begun = time.monotonic()
            for subject in subjects:
                fill(subject, number)
                words = bench.snapshot(subject)
                subprocess.run(words, check=True, timeout=300, capture_output=True)  # noqa: S603
            if times > 1:
                time.sleep(max(0.0, begun + 1.5 * WIDTH - time.monotonic()))
        time.sleep(SETTLED)
        grown = [one.resident() - was for one, was in zip(subjects, before, strict=True)]
    return grown[0] - grown[1]


def _per_connection(bench: Bench, name: str) -> float:
    number = 5_000 if open_files() > 6_000 else open_files() - 500
    subject = bench.make.noop() if name == "noop" else bench.make.policyd(rules.shipped())
    request = b"request=smtpd_access_policy\nprotocol_state=VRFY\n\n"
    with bench.make.running(subject), ExitStack() as leave:
        ask(subject.port, {"protocol_state": "VRFY"})
        time.sleep(SETTLED)
        before = subject.resident()
        for _ in range(number):
            address = ("127.0.0.1", subject.port)
            one = leave.enter_context(socket.create_connection(address, timeout=60.0))
            one.sendall(request)
            assert one.recv(100)
        return (subject.resident() - before) / number
