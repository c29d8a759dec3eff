"""A daemon under a flood, and the others who send mail meanwhile."""

import json
import resource
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

from e2e import policy
from e2e.waiting import PATIENCE
from excuse import unable

from .victim import RULES, Victim

BOUND: Final = 30.0
"""Seconds in which everybody has an answer, whatever the flood and however busy the machine is.

A bound for a broken daemon; how good a whole one is, is reported.
"""

MB: Final = 1_000_000

Figure = Callable[[str], None]
"""Notes something measured."""


class Flooded(Victim):
    """A daemon that is watched from outside; *prefix* are the words before its command."""

    def __init__(
        self, place: Path, rules: str = RULES, prefix: Sequence[str] = (), level: str = "info"
    ) -> None:
        super().__init__(place)
        self.write_rules(rules)
        self._prefix = prefix
        self._level = level

    def _run(self, words: list[str], **options: Any) -> "subprocess.Popen[str]":
        _descriptors()  # the daemon inherits them
        words = [self._level if word == "debug" else word for word in words]
        return super()._run([*self._prefix, *words], **options)

    @property
    def memory(self) -> int:
        """The bytes that it has in memory."""
        status = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii")
        (resident,) = (line for line in status.splitlines() if line.startswith("VmRSS"))
        return 1024 * int(resident.split()[1])

    @property
    def descriptors(self) -> int:
        """How many descriptors it has."""
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))

    def status(self) -> dict[str, Any]:
        """Return what it says of itself."""
        return self.administer("status")

    @contextmanager
    def unheard(self) -> Iterator[None]:
        """Let nobody read the log. Nothing may wait for a line meanwhile."""
        with self._news:  # the reader needs it for each line
            yield


class Seen(NamedTuple):
    """What the others saw: how many answers, which ones, and how long they took, in seconds."""

    answered: int
    median: float
    p99: float
    worst: float
    actions: list[str]

    def __str__(self) -> str:
        times = f"{self.median * 1e3:.1f}/{self.p99 * 1e3:.1f}/{self.worst * 1e3:.1f} ms"
        return f"others' {self.answered} requests took {times} (median/p99/worst)"


class Others:
    """Somebody who sends mail, within a `with`, to the daemon on *port*.

    Unless *fresh*, always on one connection, made at the beginning.
    """

    seen: Seen

    def __init__(self, port: int, *, fresh: bool = True) -> None:
        self._words = ["-m", "faults.bystander", str(port), "fresh" if fresh else ""]

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, *self._words],
            cwd=Path(__file__).parents[1],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout.readline() == "sends\n"
        return self

    def __exit__(self, *_: object) -> None:
        try:
            said, _ = self._process.communicate("\n", timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise
        self.seen = Seen(**json.loads(said))

    def were_served(self, figure: Figure, more: str = "") -> None:
        """See that all had their answers in time; note how long they took."""
        figure(f"{self.seen}{more}")
        assert self.seen.answered >= 4  # the first two were before the flood
        assert self.seen.actions == ["DUNNO"]
        assert self.seen.worst < BOUND


def connections(wanted: int) -> int:
    """Return how many of the connections that are *wanted* this process and a daemon may have."""
    room = _descriptors() - 500
    if room < 500:
        unable(f"only {room + 500} files may be open")
    return min(wanted, room)


def _descriptors() -> int:
    """Return how many descriptors this process and what it starts may have: all that are let."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


@contextmanager
def crowd(port: int, number: int) -> Iterator[list[socket.socket]]:
    """Open so many connections."""
    with ExitStack() as opened:
        yield [opened.enter_context(policy.connect(port)) for _ in range(number)]


def invent(flooded: Flooded, first: int, number: int) -> list[int]:
    """Send a message of each of *number* invented senders, to as many recipients.

    Return how much memory the daemon had meanwhile.
    """
    held = [flooded.memory]
    words = [sys.executable, "-m", "faults.inventor", *map(str, (flooded.port, first, number))]
    with subprocess.Popen(
        words, cwd=Path(__file__).parents[1], stdout=subprocess.PIPE, text=True
    ) as process:
        said = ""
        for said in process.stdout:  # noqa: B007 - the last line is the result
            held.append(flooded.memory)
    assert json.loads(said) == {"action=DUNNO": number}
    return held


def limited(descriptors: int) -> list[str]:
    """Return the words before a command that may have only so many descriptors."""
    return ["prlimit", f"--nofile={descriptors}:{descriptors}", "--"]
