"""A daemon's metrics without a daemon: everything that is measured, put together in memory."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from aup.building import START, limit, policy, request
from service.log_lines import Lines
from twisted.internet.task import Clock

from policyd.aup.engine import Engine
from policyd.aup.event import Event
from policyd.aup.policy import Action, Count, Mode
from policyd.aup.transaction import Connection
from policyd.clock import Instant, MonotonicTime, WallTime
from policyd.counting.distinct import Hasher
from policyd.service.dialogue import Answering
from policyd.service.hooks import Hooks
from policyd.service.maillog import MailLog
from policyd.service.metrics import Metrics, Sources
from policyd.service.notice_queue import NoticeQueue, Outside
from policyd.service.persistence import Persistence
from policyd.service.policy_server import PolicyService
from policyd.service.reload import Reloader
from policyd.service.shown_content import ShownContent

RULES = policy(
    limit("two", "account", count=Count.RECIPIENTS, max=2),
    limit("later", "client_address", max=50, action=Action("DEFER", "4.7.1")),
    limit("watched", "account", count=Count.MESSAGES, max=1, mode=Mode.OBSERVE),
)


class Metered:
    """All that there are figures of."""

    def __init__(self, directory: Path, rules: Any = RULES) -> None:
        self.clock = Clock()
        self.lines = Lines()
        self.log = MailLog(self.lines)  # type: ignore[arg-type]
        self.engine = Engine(rules, Hasher(b"x"))
        self.persistence = Persistence(directory, self.log, self.now)
        answering = Answering(self.engine, self.log, self.now, self.happened)
        self.service = PolicyService(answering, self.clock)  # type: ignore[arg-type]
        self.contents = ShownContent(self.engine, b"x", self.log, self.now, self.happened)
        outside = Outside(self.log, self.now, self.clock, lambda _: None, lambda *_: None)  # type: ignore[arg-type, return-value]
        self.notices = NoticeQueue(lambda: None, outside, lambda _: None)
        self.hooks = Hooks(self.clock, lambda: rules, self.log, self.now, lambda *_: None)  # type: ignore[arg-type, return-value]
        loaded: Any = SimpleNamespace(watched={})
        self.reloader = Reloader(
            directory / "rules", loaded, lambda *_: None, lambda: None, self.log, now=self.now
        )
        sources = Sources(
            engine=self.engine,
            service=self.service,
            contents=self.contents,
            persistence=self.persistence,
            notices=self.notices,
            hooks=self.hooks,
            reloader=self.reloader,
            log=self.log,
        )
        self.metrics = Metrics(sources, self.now)
        self._connection = Connection("mx")

    def now(self) -> Instant:
        seconds = self.clock.seconds()
        return Instant(WallTime(START + seconds), MonotonicTime(seconds))

    def happened(self, events: Sequence[Event]) -> None:
        for event in events:
            self.log.happened(event)
            self.metrics.happened(event)

    def ask(self, stage: str = "RCPT", recipient: str = "r@away.example", **said: Any) -> str:
        """Ask; return the verb of the answer."""
        answer = self.service.answering.answer(request(stage, recipient, **said), self._connection)
        return answer.decode().removeprefix("action=").split()[0]

    def mail(self, number: int, **said: Any) -> str:
        """Send one message to one recipient; return the verb of the last answer."""
        name = {"instance": f"{number}.1.1.0", **said}
        if (verb := self.ask("RCPT", **name)) != "DUNNO":
            return verb
        return self.ask("END-OF-MESSAGE", recipient_count=1, queue_id=f"Q{number}", **name)

    def figures(self) -> dict[str, float]:
        """Return every sample of a scrape, by its name and labels."""
        return samples(self.metrics.text())


def samples(text: bytes) -> dict[str, float]:
    """Return the samples of *text* by name and labels as they stand there."""
    found: dict[str, float] = {}
    for line in text.decode().splitlines():
        if not line.startswith("#"):
            name, _, value = line.rpartition(" ")
            assert name not in found
            found[name] = float(value)
    return found
