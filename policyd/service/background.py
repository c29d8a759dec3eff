"""Work beside the mail: in threads that leave the processor to the one that answers.

Where both are on one processor, whoever asks would wait for as long as the scheduler lets a thread
go on, some milliseconds; and by its own default Python lets a thread go on for 5 ms before another
one has its turn.
"""

import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final, ParamSpec, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

_NICENESS: Final = 15
"""Beside a thread of niceness 0 that is busy, this one gets some 3 % of a processor."""

_TURN: Final = 0.0005
"""Seconds for which a thread may keep Python to itself while another waits."""

P = ParamSpec("P")
T = TypeVar("T")


def take_short_turns() -> None:
    """Let no thread of this process keep the one that answers waiting for long."""
    sys.setswitchinterval(_TURN)


def in_background(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Deferred[T]:
    """Do *work* in a thread; fires with what it returns or raises."""
    done: Deferred[T] = deferToThread(modestly, partial(work, *args, **kwargs))
    return done


def modestly(work: Callable[[], T]) -> T:
    """Do *work* in this thread, which takes the back seat from here on, where that is allowed."""
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)  # Linux: the thread's
    return work()
