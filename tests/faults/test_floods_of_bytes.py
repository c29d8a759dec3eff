"""Clients that send what is no request, too much of it, or more than they read the answers of."""

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import cycle
from typing import Final

import pytest
from e2e import policy

from policyd.protocol.parser import MAX_ATTRIBUTES, MAX_LINE, MAX_REQUEST

from .bystander import written
from .flooded import MB, Figure, Flooded, Others, crowd
from .strace import LONG, chosen

LASTS: Final = 20.0 if LONG else 1.5
"""Seconds of each flood."""

CLIENTS: Final = 4
DEAF: Final = 4 if LONG else 1
LEAST: Final = 5
"""Times that each flood has to come, on a machine however slow."""

_HEAD: Final = b"request=smtpd_access_policy\nprotocol_state=RCPT\n"
_LINE: Final = b"x=%s\n" % (b"y" * (MAX_LINE - 3))


def _sized(size: int) -> bytes:
    """Return a request of so many bytes, each line as long as may be."""
    lines = (size - len(_HEAD) - 1) // MAX_LINE
    rest = size - len(_HEAD) - 1 - lines * MAX_LINE
    return _HEAD + lines * _LINE + (b"z=%s\n" % (b"y" * (rest - 3))) + b"\n"


def _many(number: int) -> bytes:
    """Return a request of so many attributes."""
    return _HEAD + b"".join(b"a%d=\n" % at for at in range(number - 2)) + b"\n"


ANSWERED: Final = {
    "64 KiB at most": _sized(MAX_REQUEST),
    "a line of the most bytes": _HEAD + _LINE + b"\n",
    "the most attributes": _many(MAX_ATTRIBUTES),
}
CUT_OFF: Final = {
    "an endless line": b"endless=" + b"x" * 50 * MB,
    "endless lines": _HEAD + b"a=b\n" * (12 * MB),
    "a byte more than 64 KiB": _sized(MAX_REQUEST + 1),
    "1 MiB": _sized(1 << 20),
    "100,000 attributes": _many(100_000),
    "an attribute too many": _many(MAX_ATTRIBUTES + 1),
    "100,000 empty lines": b"\n" * 100_000,
    "no protocol at all": bytes(range(256)) * 4000,
}


class Flood:
    """Clients that do the same again and again while there is a `with`."""

    def __init__(self, client: Callable[[], None]) -> None:
        self.times = 0
        self._client = client
        self._begun = time.monotonic()
        self._failed: list[BaseException] = []
        self._threads = [threading.Thread(target=self._work) for _ in range(CLIENTS)]

    def run(self) -> None:
        """Go on for a while; raise what went wrong."""
        for thread in self._threads:
            thread.start()
        for thread in self._threads:
            thread.join()
        if self._failed:
            raise self._failed[0]

    def _work(self) -> None:
        try:
            while self.times < LEAST or time.monotonic() < self._begun + LASTS:
                self._client()
                self.times += 1
        except Exception as error:  # noqa: BLE001 - raised again
            self._failed.append(error)


def all_that_comes(connection: socket.socket) -> bytes:
    """Return what the daemon says until it closes the connection."""
    received = b""
    with suppress(ConnectionResetError):  # there was more that it did not want to read
        while data := connection.recv(65536):
            received += data
    return received


def test_the_largest_requests_that_there_may_be_are_answered(
    flooded: Flooded, figure: Figure
) -> None:
    kinds = cycle(ANSWERED.values())

    def client() -> None:
        with policy.connect(flooded.port) as connection:
            connection.sendall(next(kinds))
            assert connection.recv(4096) == b"action=DUNNO\n\n"

    held = flooded.memory
    with Others(flooded.port) as others:
        flood = Flood(client)
        flood.run()
        grown = flooded.memory - held
    others.were_served(figure, f" beside {flood.times / LASTS:.0f} large ones/s")
    assert grown < 50 * MB
    assert flooded.told("bad-request") == []


@pytest.mark.parametrize("what", chosen(list(CUT_OFF), 2))
def test_what_is_too_much_is_cut_off(flooded: Flooded, figure: Figure, what: str) -> None:
    data = CUT_OFF[what]

    def client() -> None:
        with policy.connect(flooded.port) as connection:
            with suppress(BrokenPipeError, ConnectionResetError):
                connection.sendall(data)
            assert all_that_comes(connection) == b""

    held = flooded.memory
    with Others(flooded.port) as others:
        flood = Flood(client)
        flood.run()
        grown = flooded.memory - held
    others.were_served(figure, f" beside {flood.times / LASTS:.0f} of them/s")
    assert grown < 50 * MB
    assert len(flooded.told("bad-request")) >= LEAST


def test_who_reads_no_answers_is_read_no_further(flooded: Flooded, figure: Figure) -> None:
    asked = written({"request": "smtpd_access_policy", "protocol_state": "VRFY"}) * 1000
    sent = 0
    held = flooded.memory
    with Others(flooded.port) as others, crowd(flooded.port, DEAF) as clients:
        for client in clients:
            client.settimeout(1.0)
            with suppress(TimeoutError):
                while sent < 1000 * MB:
                    sent += client.send(asked)
        grown = flooded.memory - held
        time.sleep(LASTS)
    others.were_served(figure, f" beside {sent / MB:.0f} MB of requests whose answers nobody reads")
    assert sent < 1000 * MB
    assert grown < 50 * MB
