"""What the requests tell of Postfix's wiring, for ``policyd doctor`` (the command ``wiring``)."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from policyd.aup.policy import Policy
from policyd.clock import Instant
from policyd.protocol.request import Stage
from policyd.service.admin_request import Answer, Command, Request
from policyd.service.request_figures import OTHER, RequestFigures


class Listening(NamedTuple):
    """The addresses of the daemon: where it answers *requests*, and where it is a *milter*."""

    requests: Sequence[str]
    milter: Sequence[str]


class WiringCommand:
    """The command, on *figures*; *listening* are the addresses of the daemon."""

    def __init__(
        self,
        figures: RequestFigures,
        listening: Listening,
        policy: Callable[[], Policy],
        now: Callable[[], Instant],
    ) -> None:
        self._figures = figures
        self._listening = listening
        self._policy = policy
        self._now = now
        self._begun = now().monotonic

    @property
    def commands(self) -> Mapping[str, Command]:
        """The command by its name."""
        return {"wiring": Command(self._wiring)}

    def _wiring(self, _: Request) -> Answer:
        requests = {
            stage: sum(answers.values()) for stage, answers in self._figures.by_stage().items()
        }
        notices = self._policy().aftermath.notices
        return Answer(
            {
                "up": round(self._now().monotonic - self._begun, 3),
                "connections": self._figures.connections,
                "rcpt": requests[Stage.RCPT.value],
                "end": requests[Stage.END_OF_MESSAGE.value],
                "other": requests[OTHER],
                "nameless": self._figures.without_login,
                "only_loopback": self._figures.only_loopback,
                "listening": list(self._listening.requests),
                "milters": list(self._listening.milter),
                "notices": list(notices.smtp) if notices else None,
            }
        )
