"""Lines to standard error, written by a thread of their own.

Whoever reads the log may be slow; mail must not wait for it. Lines queue up to a bound, and what
does not fit is counted and said once there is room again.
"""

import os
import queue
import threading
import time
from collections.abc import Mapping
from enum import IntEnum
from select import PIPE_BUF
from typing import Final

_MOST_WAITING: Final = 10_000

_PAUSE: Final = 0.01
"""Seconds in which lines gather: a thread that wakes for each one takes turns from who answers."""


class Priority(IntEnum):
    """Syslog's priorities, as far as they are used (sd-daemon(3))."""

    ERROR = 3
    WARNING = 4
    NOTICE = 5
    INFO = 6
    DEBUG = 7


class LogWriter:
    """Write lines to *descriptor* until *close*; *least* is the least urgent priority written.

    To the journal each line goes with its priority before it, elsewhere with the time and the name
    of the priority.
    """

    def __init__(self, descriptor: int, least: Priority, environ: Mapping[str, str]) -> None:
        self.least = least
        self._descriptor = descriptor
        self._journal = _is_journal(descriptor, environ)
        self._queue: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._dropped = 0
        self.lost = 0  # lines, in all
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def write(self, priority: Priority, line: str) -> None:
        """Write *line*, soon; it must not hold a newline."""
        if priority > self.least:
            return
        if self._queue.qsize() >= _MOST_WAITING:
            self._dropped += 1
            self.lost += 1
            return
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            self._put(Priority.WARNING, f"event=log-lines-lost count={dropped}")
        self._put(priority, line)

    def close(self) -> None:
        """Write what waits, for at most a second."""
        self._queue.put(None)
        self._thread.join(1.0)

    def _put(self, priority: Priority, line: str) -> None:
        if self._journal:
            text = f"<{priority:d}>{line}\n"
        else:
            stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime())
            text = f"{stamp}Z {priority.name.lower()} {line}\n"
        self._queue.put(text.encode("ascii", "backslashreplace"))

    def _run(self) -> None:
        gathered = b""
        while (line := self._queue.get()) is not None:
            # so much goes into a pipe whole or not at all, wherever the process may end (pipe(7))
            if gathered and len(gathered) + len(line) > PIPE_BUF:
                self._write_out(gathered)
                gathered = b""
            gathered += line
            if self._queue.empty():
                self._write_out(gathered)
                gathered = b""
                time.sleep(_PAUSE)
        self._write_out(gathered)

    def _write_out(self, lines: bytes) -> None:
        rest = memoryview(lines)
        while rest:
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except BlockingIOError:
                time.sleep(0.01)
            except OSError:
                break  # the reader is gone; there is nobody to tell


def _is_journal(descriptor: int, environ: Mapping[str, str]) -> bool:
    """Tell whether *descriptor* is what systemd connected to the journal."""
    try:
        status = os.fstat(descriptor)
    except OSError:
        return False
    return environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"
