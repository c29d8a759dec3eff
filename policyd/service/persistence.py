"""The counts and the disk: loaded at start, written again and again, and at stop.

The reactor makes rows of the counts, a thread writes them. Trouble with the disk is said once, not
every minute; counting goes on in memory.
"""

from pathlib import Path

from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.threads import deferToThread
from twisted.python.failure import Failure

from policyd.aup.counts import Counts
from policyd.clock import WallTime
from policyd.service.maillog import MailLog
from policyd.storage.snapshot import Kept, Snapshots, encoded


class Persistence:
    """Keep counts in *directory*.

    Raise StateInUseError if another process has it, OSError if it cannot be used.
    """

    def __init__(self, directory: Path, log: MailLog) -> None:
        self._log = log
        self._snapshots = Snapshots(directory)
        self._one_at_a_time = DeferredLock()
        self._troubled = False

    def load(self, now: WallTime) -> Kept:
        """Return what was kept."""
        kept = self._snapshots.load(now)
        if kept.set_aside:
            self._log.state_set_aside(kept.set_aside)
        return kept

    def save(self, counts: Counts) -> Deferred[None]:
        """Write *counts*; fires when that is done, or has failed and been logged."""
        return self._one_at_a_time.run(self._save, counts)

    def _save(self, counts: Counts) -> Deferred[None]:
        done = deferToThread(self._snapshots.save, encoded(counts.dump()))
        return done.addCallbacks(self._saved, self._failed)

    def _saved(self, _: None) -> None:
        if self._troubled:
            self._log.state_saved_again()
        self._troubled = False

    def _failed(self, failure: Failure) -> None:
        if not self._troubled:
            self._log.state_trouble(failure.value)
        self._troubled = True
