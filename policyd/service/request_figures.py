"""What is counted of every policy request, as cheaply as it can be.

This is on the way of every answer: a few integers in dicts and lists, and nothing that the garbage
collector would have to know of.
"""

from bisect import bisect_left
from collections import defaultdict
from typing import Final

from policyd.protocol.request import Request, Stage

BOUNDS: Final = (5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2)
"""Seconds: what an answer usually takes is 10 to 50 us, and 10 ms are a fault."""

_LOOPBACK: Final = ("127.", "::1")

OTHER: Final = "other"
"""The stage of a request that counts nothing."""


class RequestFigures:
    """How many requests there were, how they were answered, and how long that took.

    *at_rcpt*, *at_end* and *elsewhere* are by the verb of the answer. *durations* has one number
    for each of *BOUNDS*, those above the bound before it, and one for what took longer.
    *connections* is how many were made; *only_loopback* says that all clients were this machine.
    """

    __slots__ = (
        "at_end",
        "at_rcpt",
        "bad",
        "connections",
        "durations",
        "elsewhere",
        "faults",
        "only_loopback",
        "seconds",
        "without_login",
    )

    def __init__(self) -> None:
        self.at_rcpt: dict[str, int] = defaultdict(int)
        self.at_end: dict[str, int] = defaultdict(int)
        self.elsewhere: dict[str, int] = defaultdict(int)
        self.durations = [0] * (len(BOUNDS) + 1)
        self.seconds = 0.0
        self.without_login = 0
        self.bad = 0
        self.faults = 0
        self.connections = 0
        self.only_loopback = True

    def answered(self, request: Request, verb: str, seconds: float) -> None:
        """Count *request*, which was answered by *verb* within *seconds*."""
        stage = request.stage
        if stage is Stage.RCPT:
            self.at_rcpt[verb] += 1
        elif stage is Stage.END_OF_MESSAGE:
            self.at_end[verb] += 1
        else:
            self.elsewhere[verb] += 1
        if not request["sasl_username"] and not request["ccert_subject"]:
            self.without_login += 1
        # after the first client from elsewhere there is nothing to look for
        if self.only_loopback and not request["client_address"].startswith(_LOOPBACK):
            self.only_loopback = False
        self.durations[bisect_left(BOUNDS, seconds)] += 1
        self.seconds += seconds

    def by_stage(self) -> dict[str, dict[str, int]]:
        """Return the answers of each stage."""
        return {
            Stage.RCPT.value: self.at_rcpt,
            Stage.END_OF_MESSAGE.value: self.at_end,
            OTHER: self.elsewhere,
        }
