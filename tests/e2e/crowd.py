"""People who send mail at the same time, each one message after the other, until told to stop."""

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple, Self

from .rules import ALICE, LOCAL_DOMAIN
from .smtp import Reply, Session, message
from .waiting import wait_until

LONGEST_THOUGHT = 0.2  # seconds between two commands: time for a daemon to go away in


class Sent(NamedTuple):
    """One message; *refused* is what was wrong. The times are time.monotonic()'s."""

    began: float
    ended: float
    external: int
    local: int
    size: int
    refused: str


class Crowd:
    """*people* of them, at work from the start to the end of a `with`.

    *connect* opens a session. Half of them send everything in one session, which a daemon that is
    restarted cuts off from it; the others begin a new one for every few messages. With *local* a
    message has users of the provider among its recipients. No two messages share a recipient.
    """

    def __init__(self, connect: Callable[[], Session], people: int, *, local: bool) -> None:
        self.sent: list[Sent] = []
        self.broken: list[str] = []  # sessions that could not be opened or ended
        self._connect = connect
        self._local = local
        self._over = threading.Event()
        self._may_go_on = threading.Event()
        self._may_go_on.set()
        self._busy = [False] * people
        self._latest = [0.0] * people  # when the latest message that passed was begun
        self._threads = [
            threading.Thread(target=self._work, args=(number,)) for number in range(people)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._may_go_on.set()
        for thread in self._threads:
            thread.join()

    def wait_until_all_have_sent(self) -> None:
        """Return when everybody has begun and sent a message from now on."""
        now = time.monotonic()
        wait_until(lambda: min(self._latest) > now, "everybody has sent a message")

    @contextmanager
    def at_rest(self) -> Iterator[None]:
        """Let everybody finish the message at hand and wait with the next one."""
        self._may_go_on.clear()
        wait_until(lambda: not any(self._busy), "everybody is at rest")
        yield
        self._may_go_on.set()

    def accepted(self) -> list[Sent]:
        return [one for one in self.sent if not one.refused]

    def refused(self) -> list[str]:
        """Return what was said to all that was not accepted."""
        return [*(one.refused for one in self.sent if one.refused), *self.broken]

    def _work(self, number: int) -> None:
        chance = random.Random(number)
        while not self._over.is_set():
            try:
                with self._connect() as session:
                    left = chance.randint(1, 5) if number % 2 else -1
                    while left and not session.over and not self._over.is_set():
                        self._busy[number] = True
                        if self._may_go_on.is_set():
                            self._send(session, number, chance)
                            left -= 1
                        self._busy[number] = False
                        self._may_go_on.wait()
                    if not session.over:
                        session.quit()
            except (OSError, AssertionError) as error:
                self.broken.append(repr(error))

    def _send(self, session: Session, number: int, chance: random.Random) -> None:
        serial = f"{number}{len(self.sent):07}"
        external, local = chance.randint(1, 3), chance.randint(0, 2) if self._local else 0
        recipients = [f"r{serial}{at}@ext.example" for at in range(external)]
        recipients += [f"user{serial}{at}@{LOCAL_DOMAIN}" for at in range(local)]
        chance.shuffle(recipients)
        size = chance.randint(300, 3000)
        began = time.monotonic()
        refused = self._refused(session, recipients, message(size), chance)
        self.sent.append(Sent(began, time.monotonic(), external, local, size, refused))
        if not refused:
            self._latest[number] = began

    def _refused(
        self, session: Session, recipients: list[str], content: bytes, chance: random.Random
    ) -> str:
        """Send a message step by step; return what was said against it, "" for nothing."""
        steps: list[Callable[[], Reply]] = [
            lambda: session.command(f"MAIL FROM:<{ALICE}>"),
            *(lambda to=to: session.command(f"RCPT TO:<{to}>") for to in recipients),
            lambda: session.data(content),
        ]
        try:
            for step in steps:
                reply = step()
                if not reply.passed:
                    return str(reply)
                time.sleep(chance.uniform(0, LONGEST_THOUGHT) / len(steps))
        except OSError as error:
            session.over = True
            return repr(error)
        return ""
