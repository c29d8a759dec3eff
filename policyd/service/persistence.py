"""The engine and the disk: loaded at start, written as it counts, and at stop.

The reactor takes the changes from the engine, which costs next to nothing, and a thread writes
them. Trouble with the disk is told once when it begins and once when it ends; meanwhile counting
goes on in memory, and writing is tried again, less and less often.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from twisted.internet.defer import Deferred, DeferredLock, succeed
from twisted.python.failure import Failure

from policyd.aup.engine import Engine
from policyd.aup.incident import Entry, Row
from policyd.aup.policy import Policy
from policyd.aup.series import Forget
from policyd.clock import Instant, MonotonicTime
from policyd.counting.distinct import Hasher
from policyd.service.background import in_background
from policyd.service.maillog import MailLog
from policyd.storage.files import COPY
from policyd.storage.store import LostError, Store

JOURNAL_EVERY: Final = 0.75
"""Seconds: a second passes at most until what was counted is on the disk, if that is not slow."""

_LONGEST_WAIT: Final = 60.0
"""Seconds between two tries while the disk does not take anything."""


class Persistence:
    """Keeps what an engine counts in *directory*; *now* tells the time.

    *snapshot_took* is how many seconds the last snapshot was written, None before the first.
    """

    def __init__(self, directory: Path, log: MailLog, now: Callable[[], Instant]) -> None:
        self._directory = directory
        self._log = log
        self._now = now
        self.rows: Mapping[str, Sequence[Row]] = {}  # of ledgers, as they were at the start
        self.secret = b""  # the key of all hashes
        self._store = Store(directory)
        self._noted: dict[tuple[str, str], Entry] = {}
        self._others: list[Callable[[], Iterable[Entry]]] = []
        self._one_at_a_time = DeferredLock()
        self._lost = False  # everything has to be written anew
        self._wait = 0.0  # seconds, longer with each failure
        self._not_before = self._last_snapshot = MonotonicTime(0.0)
        self._saved = self._snapshot_of = MonotonicTime(0.0)  # what was counted until then
        self._copied: MonotonicTime | None = None
        self.snapshot_took: float | None = None

    def load(self, policy: Policy) -> Engine:
        """Return an engine that goes on where the last one ended.

        Raise StateInUseError if another process uses the directory. Nothing else is a reason not
        to start.
        """
        now = self._now()
        contents, problems = self._store.open(now.wall)
        for problem in problems:
            self._log.state_problem(problem)
        self.secret = contents.secret
        engine = Engine(policy, Hasher(contents.secret))
        try:
            emptied = engine.restore(contents.kept, contents.transactions, contents.ledgers, now)
            self.rows = contents.ledgers
        except Exception as error:  # noqa: BLE001 - whatever is kept is no reason not to start
            kept_as = self._store.reject(now.wall)
            said = f"what was kept makes no sense: {error!r}; kept as {kept_as}"
            self._log.state_problem(said)
            engine = Engine(policy, Hasher(contents.secret))
        else:
            if contents.kept:
                self._log.state_loaded(str(self._directory), emptied)
        self._last_snapshot = self._saved = self._snapshot_of = now.monotonic
        with suppress(OSError):
            made = (self._directory / COPY).stat().st_mtime
            self._copied = MonotonicTime(now.monotonic - max(now.wall - made, 0.0))
        return engine

    def keeps(self, rows: Callable[[], Iterable[Entry]]) -> None:
        """Let *rows* give what there is beside the engine's when everything is written anew."""
        self._others.append(rows)

    def note(self, entries: Iterable[Entry]) -> None:
        """Write *entries* of ledgers with what is written next."""
        self._noted.update({(entry.table, entry.id): entry for entry in entries})

    def flush(self, engine: Engine) -> Deferred[None]:
        """Write what changed; fires when that is done, or has failed and been logged.

        Suspensions that waited for it are in force then: while the disk takes nothing, at once.
        """
        if self._now().monotonic < self._not_before:
            engine.ladder.take_effect(engine.ladder.suspensions.waiting)
            return succeed(None)
        return self._one_at_a_time.run(self._write, engine)

    def forget(self, engine: Engine, now_gone: Callable[[], Forget]) -> Deferred[None]:
        """Forget on the disk what *now_gone* forgets in memory, and tells of.

        It is called when everything before it has been written. What is counted from then on stays.
        """
        return self._one_at_a_time.run(self._forget, engine, now_gone)

    def snapshot(self, engine: Engine) -> Deferred[None]:
        """Write a snapshot now; fires as *flush* does, and tries though the disk has failed."""
        return self._one_at_a_time.run(self._write, engine, last=True)

    @property
    def is_behind(self) -> bool:
        """Whether the disk takes nothing at present."""
        return bool(self._wait)

    def lag(self, now: Instant) -> float:
        """Return for how many seconds what was counted may not be on the disk."""
        return now.monotonic - self._saved

    def snapshot_age(self, now: Instant) -> float:
        """Return how many seconds ago there was a snapshot, or the start."""
        return now.monotonic - self._snapshot_of

    def copy_age(self, now: Instant) -> float | None:
        """Return how many seconds ago the copy was made, None without one."""
        return None if self._copied is None else now.monotonic - self._copied

    def copy(self) -> Deferred[None]:
        """Make the hot copy; fires when that is done, or has failed and been logged."""
        if self._wait:
            return succeed(None)
        return in_background(self._store.copy).addCallbacks(
            self._has_copied, lambda failure: self._log.state_not_copied(failure.value)
        )

    def stop(self, engine: Engine) -> Deferred[None]:
        """Write everything and let another process have the directory."""
        return self._one_at_a_time.run(self._last_write, engine)

    def _write(self, engine: Engine, *, last: bool = False) -> Deferred[None]:
        now = self._now()
        whole, self._lost = self._lost, False
        kept = engine.whole(now) if whole else engine.take(now)
        waiting = engine.ladder.suspensions.waiting
        entries = self._entries(engine, whole=whole)
        due = self._last_snapshot + engine.policy.state.snapshot_every <= now.monotonic
        snapshot = whole or last or due
        if snapshot:
            self._last_snapshot = now.monotonic
        done = in_background(
            self._store.write, kept, now.wall, entries, snapshot=snapshot, whole=whole
        )
        done.addCallbacks(
            self._written, self._failed, callbackArgs=(now, snapshot), errbackArgs=(engine,)
        )
        return done.addCallback(lambda _: engine.ladder.take_effect(waiting))

    def _forget(self, engine: Engine, now_gone: Callable[[], Forget]) -> Deferred[None]:
        done = in_background(self._store.forget, now_gone())
        return done.addCallback(lambda _: self._write(engine))

    def _entries(self, engine: Engine, *, whole: bool) -> list[Entry]:
        """Return the rows to be written."""
        noted, self._noted = self._noted, {}
        if not whole:
            return [*noted.values(), *engine.take_entries()]
        others = [entry for rows in self._others for entry in rows()]
        return [*noted.values(), *others, *engine.whole_entries()]

    def _last_write(self, engine: Engine) -> Deferred[None]:
        transactions = engine.open_transactions(self._now())
        done = self._write(engine, last=True)
        done.addCallback(lambda _: in_background(self._store.keep, transactions))
        done.addErrback(lambda failure: self._log.state_trouble(failure.value))
        return done.addCallback(lambda _: self._store.close())

    def _has_copied(self, _: None) -> None:
        self._copied = self._now().monotonic

    def _written(self, _: None, begun: Instant, snapshot: bool) -> None:
        if self._wait:
            self._log.state_saved_again()
        self._wait = 0.0
        self._saved = begun.monotonic
        if snapshot:
            self._snapshot_of = begun.monotonic
            self.snapshot_took = self._now().monotonic - begun.monotonic

    def _failed(self, failure: Failure, engine: Engine) -> Deferred[None] | None:
        if isinstance(failure.value, LostError):
            self._log.state_problem(f"{failure.value}; it is written anew")
            self._lost = True
            return self._write(engine)
        if not self._wait:
            self._log.state_trouble(failure.value)
        self._wait = min(self._wait * 2 or 1.0, _LONGEST_WAIT)
        self._not_before = MonotonicTime(self._now().monotonic + self._wait)
        return None
