"""The answers given at END-OF-MESSAGE, for requests that are repeated (rule 8).

Postfix asks again when it lost the reply; a server that then counts again counts twice. Nearly all
answers are passes, so what is kept of each is a text and a time; only another answer is an object.
"""

from itertools import islice
from typing import Final

from policyd.clock import MonotonicTime
from policyd.protocol.reply import PASS, Verdict
from policyd.protocol.request import Request

KEPT_FOR: Final = 300.0
"""Seconds."""


class KeptVerdicts:
    """The verdicts of the last *KEPT_FOR* seconds, oldest first."""

    __slots__ = ("_given", "_other_than_pass")

    def __init__(self) -> None:
        self._given: dict[str, MonotonicTime] = {}
        self._other_than_pass: dict[str, Verdict] = {}

    def __len__(self) -> int:
        return len(self._given)

    @staticmethod
    def name(request: Request, host: str) -> str:
        """Return what tells *request* of *host* from all that are not repetitions of it."""
        return "\n".join(
            (
                host,
                request["instance"],
                request["queue_id"],
                request["recipient_count"],
                request["size"],
            )
        )

    def find(self, name: str, now: MonotonicTime) -> Verdict | None:
        """Return the verdict that was given; None for a request that is no repetition."""
        given = self._given.get(name)
        if given is None or now >= given + KEPT_FOR:
            return None
        return self._other_than_pass.get(name, PASS)

    def keep(self, name: str, verdict: Verdict, now: MonotonicTime) -> None:
        """Remember *verdict*."""
        self._forget(name)
        self._given[name] = now
        if verdict is not PASS:
            self._other_than_pass[name] = verdict

    def tidy(self, now: MonotonicTime, at_most: int) -> int:
        """Forget up to *at_most* that are too old; return how many."""
        # found in one go: looking for the first of a dict again and again takes ever longer
        oldest = islice(self._given.items(), at_most)
        old = [name for name, given in oldest if now >= given + KEPT_FOR]
        for name in old:
            self._forget(name)
        return len(old)

    def _forget(self, name: str) -> None:
        self._given.pop(name, None)
        self._other_than_pass.pop(name, None)

    def _check(self) -> None:
        """Assert the invariants."""
        assert set(self._other_than_pass) <= set(self._given)
        assert list(self._given.values()) == sorted(self._given.values())
