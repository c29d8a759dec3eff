"""How a hook is told something: a program that is run, or a web address that is posted to."""

from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.defer import Deferred

from policyd.aup.ladder_rules import Hook
from policyd.service.hook_command import Command
from policyd.service.hook_post import Post


class Running(Protocol):
    """A hook that is being told something."""

    @property
    def ended(self) -> Deferred[str]:
        """Fires with what went wrong, with "" if nothing did; never fails."""

    def end(self, grace: float) -> None:
        """End it, by force after *grace* seconds."""


Begin = Callable[[Hook, bytes], Running]


class Beginning:
    """Begins to tell a hook, with the processes and connections of *reactor*."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor

    def __call__(self, hook: Hook, data: bytes) -> Running:
        """Run the program of *hook*, or post to its address."""
        if hook.command:
            return Command(self._reactor, hook.command, data).begin()
        return Post(self._reactor, hook.url, data, hook.timeout).begin()
