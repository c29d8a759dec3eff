"""Threads that leave the processor to the one that answers."""

import os
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from policyd.service.background import modestly, take_short_turns


def in_a_thread(work: Callable[[], Any]) -> Any:
    said: list[Any] = []
    thread = threading.Thread(target=lambda: said.append(modestly(work)))
    thread.start()
    thread.join()
    (answer,) = said
    return answer


def niceness() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


def test_a_thread_in_the_background_is_nicer_than_the_one_that_answers() -> None:
    before = niceness()
    assert in_a_thread(niceness) == 15 > before
    assert niceness() == before


def test_where_that_is_forbidden_the_work_is_done_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def forbidden(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "setpriority", forbidden)
    assert in_a_thread(niceness) == niceness()


def test_threads_take_short_turns() -> None:
    before = sys.getswitchinterval()
    try:
        take_short_turns()
        assert sys.getswitchinterval() < 0.001 < before
    finally:
        sys.setswitchinterval(before)
