"""The command that shows the last events of the log, and follows those to come."""

from collections.abc import Mapping
from typing import Final

from policyd.aup.engine import Engine
from policyd.service.admin_request import Answer, Code, Command, CommandError, Request
from policyd.service.log_ring import MOST_KEPT, LogRing

_USUAL: Final = 20


class Tailing:
    """The command, on what the *ring* remembers; *engine* knows how accounts are named."""

    def __init__(self, ring: LogRing, engine: Engine) -> None:
        self._ring = ring
        self._engine = engine

    @property
    def commands(self) -> Mapping[str, Command]:
        """The command by its name."""
        return {"tail": Command(self._tail, takes=("account", "number"), flags=("follow",))}

    def _tail(self, request: Request) -> Answer:
        account = request["account"]
        name = account and self._engine.policy.accounts.normalise(account)
        found = self._ring.last(_number(request["number"]), name)
        follower = self._ring.follower(name) if request.has("follow") else None
        return Answer({}, "events", (one.told() for one in found), follower)


def _number(text: str) -> int:
    if not text:
        return _USUAL
    if text.isascii() and text.isdecimal() and len(text) < 10 and int(text) <= MOST_KEPT:
        return max(int(text), 1)
    raise CommandError(Code.USAGE, f"number is from 1 to {MOST_KEPT}")
