"""An engine and its persistence in this process, through restarts, under a clock that is set."""

import itertools
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest
from service.log_lines import Lines
from twisted.internet.defer import Deferred, maybeDeferred

from policyd.aup.engine import Engine
from policyd.aup.policy import Policy
from policyd.aup.transaction import Connection
from policyd.clock import Instant, MonotonicTime, WallTime
from policyd.config.load import load
from policyd.counting.counters import Claim
from policyd.protocol.request import Request
from policyd.service import persistence
from policyd.service.maillog import MailLog
from policyd.service.persistence import Persistence
from policyd.storage import contents
from policyd.storage.files import DATABASE, connect_to_read

ALICE: Final = "alice@sender.example"
BEGINNING: Final = 1_800_000_000.0
_SERIAL = itertools.count()


class Life:
    """All that happens to the state in *directory*, under the *rules*."""

    def __init__(self, directory: Path, rules: str) -> None:
        directory.mkdir()
        path = directory / "policy.yaml"
        path.write_text(rules, encoding="utf-8")
        policy = load(path).policy
        assert policy is not None, load(path).problems
        self.policy: Policy = policy
        self.wall = BEGINNING
        self.monotonic = 1000.0
        self.lines = Lines()
        self.state = directory / "state"
        self._begin()

    def now(self) -> Instant:
        return Instant(WallTime(self.wall), MonotonicTime(self.monotonic))

    def let_pass(self, seconds: float) -> None:
        self.wall += seconds
        self.monotonic += seconds

    def mail(self, account: str = ALICE) -> str:
        """Send one message to somebody who never got one; return the verb that it ended with."""
        name = f"m{next(_SERIAL)}"
        request = {
            "sasl_username": account,
            "instance": name,
            "recipient": f"{name}@away.example",
            "size": "1000",
        }
        connection = Connection("192.0.2.1")
        for at in (
            {"protocol_state": "RCPT", "recipient_count": "0"},
            {"protocol_state": "END-OF-MESSAGE", "recipient_count": "1", "queue_id": name},
        ):
            verdict = self.engine.decide(Request({**request, **at}), connection, self.now()).verdict
            if verdict.verb != "DUNNO":
                break  # as Postfix does
        self.engine.disconnect(connection, self.now())
        return verdict.verb

    def flush(self) -> None:
        """Write what changed, as the daemon does from time to time."""
        self.let_pass(1.0)
        self.engine.tidy(self.now(), 10_000)
        at_once(self.persistence.flush(self.engine))

    def restart(self, how: str) -> None:
        """Go on in another engine, having been stopped or killed; or in the same one."""
        if how == "stopped":
            at_once(self.persistence.stop(self.engine))
            self._begin()
        elif how == "killed":
            self.persistence._store.close()  # as the system does
            self._begin()
        else:
            assert how == "running"

    def used(self, account: str = ALICE) -> dict[str, int]:
        """Return what each limit holds."""
        return {
            name: counter.figures(Claim(account, 0), self.now().wall).used
            for name, counter in self.engine.counts.counters()
        }

    def on_disk(self) -> Iterator[tuple[str, float, int]]:
        """Yield limit, end and sum of every bucket that is kept."""
        with closing(connect_to_read(self.state / DATABASE)) as database:
            kept = contents.read(database).kept
        for name, series in kept.items():
            kind, *which = name.split()
            if kind == "limit":
                for end, entries in series.buckets:
                    for value in entries.values():
                        yield which[0], end, value if isinstance(value, int) else len(value) // 8

    def told(self) -> Counter[str]:
        """Return how often each event was logged."""
        return Counter(self.lines.events)

    def end(self) -> None:
        self.persistence._store.close()

    def _begin(self) -> None:
        self.persistence = Persistence(self.state, MailLog(self.lines), self.now)
        self.engine: Engine = self.persistence.load(self.policy)


def at_once(done: Deferred[None]) -> None:
    results: list[object] = []
    done.addBoth(results.append)
    assert results == [None]


@pytest.fixture
def without_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what is for a thread be done when it is asked for."""
    monkeypatch.setattr(persistence, "in_background", maybeDeferred)
