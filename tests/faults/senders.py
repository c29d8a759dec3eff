"""Clients that send mail through the daemon one after the other, and what is true of that mail."""

import threading
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from math import inf
from random import Random
from socket import socket
from typing import Final, Self

from e2e import policy
from e2e.rules import ALICE, NOTHING, counted
from e2e.waiting import wait_until

PEOPLE: Final = 4
_PAUSE: Final = 0.01  # seconds


@dataclass
class Sent:
    """A message that was begun; *answered* is when its end was, by time.monotonic()."""

    instance: str
    recipients: int
    size: int
    answered: float = inf
    verdict: str = ""


class Senders:
    """*people* of them, at work within a `with`; whatever happens to the daemon, they go on.

    Who gets no answer asks again, as Postfix does. With *paused* nobody begins another message.
    """

    def __init__(self, port: int, seed: int, people: int = PEOPLE) -> None:
        self.sent: dict[str, Sent] = {}
        self._port = port
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=self._work, args=(number, Random(f"{seed} {number}")))
            for number in range(people)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def answered(self) -> list[Sent]:
        return [one for one in list(self.sent.values()) if one.answered < inf]

    def wait_for_answers(self, number: int) -> None:
        """Wait until so many more messages were answered."""
        wanted = len(self.answered()) + number
        wait_until(lambda: len(self.answered()) >= wanted, f"{number} more answers")

    def _work(self, number: int, chance: Random) -> None:
        connection: socket | None = None
        serial = 0
        while not self._over.is_set():
            serial += 1
            message = Sent(f"{number}.{serial}", chance.randint(1, 3), chance.randint(1, 3000))
            try:
                connection = connection or policy.connect(self._port)
                for at in range(message.recipients):
                    policy.ask(connection, at_rcpt(message, at))
            except OSError:
                connection = self._gone(connection)
                continue  # Postfix asks again; but for the end, another message does as well
            self.sent[message.instance] = message
            while not message.verdict:
                try:
                    connection = connection or policy.connect(self._port)
                    message.verdict = policy.ask(connection, at_end(message))
                    message.answered = time.monotonic()
                except OSError:
                    connection = self._gone(connection)
                    if self._over.is_set():
                        return
            time.sleep(chance.uniform(0, 2 * _PAUSE))
        if connection:
            connection.close()

    def _gone(self, connection: socket | None) -> None:
        if connection:
            connection.close()
        time.sleep(_PAUSE)


def send(port: int, first: int, number: int) -> list[Sent]:
    """Send *number* messages, one after the other, and return them."""
    messages = [Sent(f"s.{first + at}", 1 + at % 3, 100 + at) for at in range(number)]
    with policy.connect(port) as connection:
        for message in messages:
            for at in range(message.recipients):
                policy.ask(connection, at_rcpt(message, at))
            message.verdict = policy.ask(connection, at_end(message))
            message.answered = time.monotonic()
    return messages


def total(messages: Iterable[Sent]) -> dict[str, int]:
    """Return what the limits of the ledger hold of the *messages*."""
    messages = list(messages)
    recipients = sum(one.recipients for one in messages)
    return counted(len(messages), recipients, sum(one.size for one in messages))


def nonzero(figures: dict[str, int]) -> dict[str, int]:
    """Return *figures* as a disk has them: what is nothing is not there."""
    return {name: figure for name, figure in figures.items() if figure}


def all_passed(messages: Collection[Sent]) -> bool:
    return {one.verdict for one in messages} == {"DUNNO"}


def at_rcpt(message: Sent, number: int) -> dict[str, str]:
    recipient = f"r{number}.{message.instance}@ext.example"
    at = {"protocol_state": "RCPT", "recipient_count": "0", "queue_id": "", "size": "0"}
    return {**_common(message), **at, "recipient": recipient}


def at_end(message: Sent) -> dict[str, str]:
    return {
        **_common(message),
        "protocol_state": "END-OF-MESSAGE",
        "recipient": f"r0.{message.instance}@ext.example" if message.recipients == 1 else "",
        "recipient_count": str(message.recipients),
        "queue_id": f"Q{message.instance}",
        "size": str(message.size),
    }


def _common(message: Sent) -> dict[str, str]:
    return {
        "protocol_name": "ESMTP",
        "client_address": "127.0.0.1",
        "sender": ALICE,
        "instance": message.instance,
        "sasl_method": "PLAIN",
        "sasl_username": ALICE,
    }


assert set(NOTHING) == set(total([]))
