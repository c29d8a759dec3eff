"""New rules while serving: read whole, checked whole, then obeyed whole, or not at all.

A SIGHUP asks for it, and so does a list file (local domains, accounts) that changes. The reading
is done in a thread.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.python.failure import Failure

from policyd.aup.policy import Policy
from policyd.clock import Instant, WallTime
from policyd.config.load import Loaded, Stamp, load, stamp
from policyd.service.maillog import MailLog


class Reloaded(NamedTuple):
    """What came of a reload, *when*: whether the new rules are obeyed, what is to be said."""

    when: WallTime
    why: str
    is_good: bool
    problems: Sequence[str]


class Reloader:
    """Load *path* again when asked, and hand what is right to *obey*.

    *settled* is called when no reload is under way any more, whatever came of it. *is_good* tells
    whether the last one succeeded.
    """

    def __init__(
        self,
        path: Path,
        loaded: Loaded,
        obey: Callable[[Policy, str], None],
        settled: Callable[[], None],
        log: MailLog,
        *,
        now: Callable[[], Instant],
    ) -> None:
        self.is_good = True
        self._path = path
        self._watched = loaded.watched
        self._obey = obey
        self._settled = settled
        self._log = log
        self._now = now
        self._busy = False
        self._asked: str | None = None
        self._waiting: list[Deferred[Reloaded]] = []  # for what comes of the next reload
        self.last: Reloaded | None = None

    def reload(self, why: str) -> None:
        """Load the rules, because of *why*; asked meanwhile, load them once more after that."""
        if self._busy:
            self._asked = why
            return
        self._busy = True
        waiting, self._waiting = self._waiting, []
        done = deferToThread(_load, self._path, self._watched).addCallback(self._read, why)
        done.addErrback(self._failed, why)
        done.addCallback(self._tell, waiting)
        done.addCallback(self._go_on)

    def result(self, why: str) -> Deferred[Reloaded]:
        """Load the rules, because of *why*; fires with what came of it."""
        done: Deferred[Reloaded] = Deferred()
        self._waiting.append(done)
        self.reload(why)
        return done

    def watch(self) -> Deferred[None]:
        """Reload if a list file has changed since it was read."""
        return deferToThread(_stamps, self._watched).addCallback(self._compare)

    def _tell(self, result: Reloaded, waiting: Iterable[Deferred[Reloaded]]) -> None:
        self.last = result
        for one in waiting:
            one.callback(result)

    def _read(self, result: tuple[Loaded, Mapping[Path, Stamp]], why: str) -> Reloaded:
        loaded, stamps = result
        for problem in loaded.problems:
            self._log.rule_problem(problem)
        if loaded.policy is None:
            # the old rules stay, and so do their list files
            self._watched = {**stamps, **loaded.watched}
            self.is_good = False
            self._log.reload_failed(why)
        else:
            self._watched = loaded.watched
            self._obey(loaded.policy, why)
            self.is_good = True
        return self._came_of(why, [str(problem) for problem in loaded.problems])

    def _failed(self, failure: Failure, why: str = "") -> Reloaded:
        self.is_good = False
        self._log.task_failed("reload", failure)
        return self._came_of(why, ["policyd has a fault; its log says more"])

    def _came_of(self, why: str, problems: Sequence[str]) -> Reloaded:
        return Reloaded(self._now().wall, why, self.is_good, problems)

    def _go_on(self, _: object) -> None:
        self._busy = False
        if self._asked is None:
            self._settled()
        else:
            why, self._asked = self._asked, None
            self.reload(why)

    def _compare(self, stamps: Mapping[Path, Stamp]) -> None:
        if stamps != self._watched and not self._busy:
            self.reload("a list file changed")


def _load(path: Path, watched: Iterable[Path]) -> tuple[Loaded, Mapping[Path, Stamp]]:
    stamps = _stamps(watched)
    return load(path), stamps


def _stamps(paths: Iterable[Path]) -> dict[Path, Stamp]:
    return {path: stamp(path) for path in paths}
