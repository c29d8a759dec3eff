"""Many clients at once: busy ones, slow ones, silent ones, and more than there are descriptors."""

import socket
import time
from pathlib import Path
from typing import Final

from e2e.waiting import wait_until

from .bystander import written
from .flooded import MB, Figure, Flooded, Others, connections, crowd, limited
from .senders import all_passed, nonzero, send, total
from .strace import LONG

LASTS: Final = 20.0 if LONG else 1.5  # seconds
CROWD: Final = 10_000 if LONG else 2000
SLOW: Final = 1000 if LONG else 200
A_BYTE_EVERY: Final = 1.0 if LONG else 0.01
"""Seconds. A request is some 200 bytes."""

FEW: Final = 100
"""Descriptors; the daemon needs some 30 for itself."""


def request(client: int, turn: int = 0) -> bytes:
    """Return a whole message of a client in one request, as after a restart of the daemon."""
    name = f"{client}.{turn}"
    return written(
        {
            "request": "smtpd_access_policy",
            "protocol_state": "END-OF-MESSAGE",
            "client_address": "127.0.0.1",
            "sasl_username": f"u{client}@sender.example",
            "recipient": f"r{name}@ext.example",
            "recipient_count": "1",
            "instance": name,
            "queue_id": f"Q{name}",
            "size": "1000",
        }
    )


def answer(connection: socket.socket) -> bytes:
    """Return what comes until an answer is whole."""
    received = b""
    while not received.endswith(b"\n\n"):
        data = connection.recv(4096)
        assert data, received
        received += data
    return received


def test_thousands_of_connections_that_ask_have_their_answers(
    flooded: Flooded, figure: Figure
) -> None:
    number = connections(CROWD)
    idle, held = flooded.descriptors, flooded.memory
    with Others(flooded.port) as others, crowd(flooded.port, number) as clients:
        begun = time.monotonic()
        turns = 0
        while (took := time.monotonic() - begun) < LASTS:
            for at, client in enumerate(clients):
                client.sendall(request(at, turns))
            assert {answer(client) for client in clients} == {b"action=DUNNO\n\n"}
            turns += 1
        grown = flooded.memory - held
    others.were_served(figure, f" beside {number} that asked {number * turns / took:.0f}/s")
    assert grown < 50 * MB + number * 20_000 + number * turns * 2000
    wait_until(lambda: flooded.descriptors <= idle, "all descriptors are free again")
    used = {row["limit"]: row["used"] for row in flooded.administer("show", "u7")["usage"]}
    assert used["messages"] == used["recipients"] == used["distinct"] == turns


def test_slow_and_silent_clients_keep_nobody_waiting(flooded: Flooded, figure: Figure) -> None:
    number = connections(2 * SLOW) // 2
    held = flooded.memory
    with (
        Others(flooded.port) as others,
        crowd(flooded.port, number) as silent,
        crowd(flooded.port, number) as slow,
    ):
        requests = [request(at) for at in range(number)]
        begun = time.monotonic()
        for at in range(max(map(len, requests))):
            for client, its in zip(slow, requests, strict=True):
                client.sendall(its[at : at + 1])
            time.sleep(max(0.0, begun + (at + 1) * A_BYTE_EVERY - time.monotonic()))
        assert {answer(client) for client in slow} == {b"action=DUNNO\n\n"}
        for at, client in enumerate(silent):  # they were not given up
            client.sendall(request(at, 1))
        assert {answer(client) for client in silent} == {b"action=DUNNO\n\n"}
        grown = flooded.memory - held
    others.were_served(figure, f" beside {number} slow and {number} silent ones")
    assert grown < 50 * MB + 2 * number * 20_000


def test_without_descriptors_who_is_connected_is_served_and_afterwards_everybody(
    tmp_path: Path, figure: Figure
) -> None:
    flooded = Flooded(tmp_path, prefix=limited(FEW))
    flooded.start()
    try:
        with Others(flooded.port, fresh=False) as others:
            before = flooded.descriptors
            with crowd(flooded.port, 3 * FEW) as clients:
                wait_until(lambda: flooded.descriptors >= FEW - 2, "all descriptors are taken")
                assert all(map(_asks, clients[: (FEW - before) // 2]))
                # that takes a descriptor, of which one may be free for a moment
                wait_until(lambda: _reload_fails(flooded), "a reload fails", every=0.3)
                time.sleep(3.0)  # the journal is written all the while
        others.were_served(figure, f" while the {FEW} descriptors were taken")
        assert not flooded.told("state-problem") + flooded.told("state-trouble")
        wait_until(lambda: flooded.descriptors < FEW // 2, "descriptors are free again")
        sent = send(flooded.port, 0, 20)
        assert all_passed(sent)
        since = flooded.mark()
        flooded.reload()
        flooded.wait_until_told("reloaded", since)
        assert flooded.status()["faults"] == 0
        assert flooded.stop() == 0
        sums = flooded.on_disk().sums
        mine = nonzero(total(sent))
        assert sums["messages"] > mine["messages"]
        assert sums["bytes"] == mine["bytes"] + 1000 * (sums["messages"] - mine["messages"])
    finally:
        flooded.close()


def _asks(client: socket.socket) -> bool:
    """Tell whether *client* has an answer."""
    client.sendall(written({"request": "smtpd_access_policy", "protocol_state": "VRFY"}))
    return answer(client) == b"action=DUNNO\n\n"


def _reload_fails(flooded: Flooded) -> bool:
    """Let the rules be read again; tell whether that has failed, this time or before."""
    flooded.reload()
    return bool(flooded.told("reload-failed"))
