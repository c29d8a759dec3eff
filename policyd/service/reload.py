"""New rules while serving: read whole, checked whole, then obeyed whole, or not at all.

A SIGHUP asks for it, and so does a list file (local domains, accounts) that changes. The reading
is done in a thread.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from policyd.aup.policy import Policy
from policyd.config.load import Loaded, load
from policyd.service.maillog import MailLog

_Stamp = tuple[int, int, int] | None


class Reloader:
    """Load *path* again when asked, and hand what is right to *obey*.

    *settled* is called when no reload is under way any more, whatever came of it.
    """

    def __init__(
        self,
        path: Path,
        loaded: Loaded,
        obey: Callable[[Policy, str], None],
        settled: Callable[[], None],
        log: MailLog,
    ) -> None:
        self._path = path
        self._watched: Sequence[Path] = loaded.watched
        self._stamps = _stamps(self._watched)
        self._obey = obey
        self._settled = settled
        self._log = log
        self._busy = False
        self._asked: str | None = None

    def reload(self, why: str) -> None:
        """Load the rules, because of *why*; asked meanwhile, load them once more after that."""
        if self._busy:
            self._asked = why
            return
        self._busy = True
        done = deferToThread(_read, self._path).addCallback(self._read, why)
        done.addErrback(lambda failure: self._log.task_failed("reload", failure))
        done.addCallback(self._go_on)

    def watch(self) -> Deferred[None]:
        """Reload if a list file has changed since it was read."""
        return deferToThread(_stamps, self._watched).addCallback(self._compare)

    def _read(self, result: tuple[Loaded, list[_Stamp]], why: str) -> None:
        loaded, self._stamps = result
        self._watched = loaded.watched
        for problem in loaded.problems:
            self._log.rule_problem(problem)
        if loaded.policy is None:
            self._log.reload_failed(why)
        else:
            self._obey(loaded.policy, why)

    def _go_on(self, _: None) -> None:
        self._busy = False
        if self._asked is None:
            self._settled()
        else:
            why, self._asked = self._asked, None
            self.reload(why)

    def _compare(self, stamps: list[_Stamp]) -> None:
        if stamps != self._stamps and not self._busy:
            self._stamps = stamps  # said once, also if it cannot be read
            self.reload("a list file changed")


def _read(path: Path) -> tuple[Loaded, list[_Stamp]]:
    loaded = load(path)
    # looked at after the reading: what changes in between is seen as a change, or was read
    return loaded, _stamps(loaded.watched)


def _stamps(paths: Sequence[Path]) -> list[_Stamp]:
    """Return what tells a changed file from an unchanged one, for each of *paths*."""
    return [_stamp(path) for path in paths]


def _stamp(path: Path) -> _Stamp:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns
