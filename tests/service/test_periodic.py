"""Things done again and again."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from policyd.service.periodic import Periodic


class Diary:
    """Work that is told what to do each time, and who is told of its failures."""

    def __init__(self, work: Callable[[int], Deferred[Any] | None] = lambda _: None) -> None:
        self.clock = Clock()
        self.calls: list[float] = []
        self.failures: list[tuple[str, str]] = []
        self._work = work
        self.periodic = Periodic(self.clock, "snapshot", 10, self._call, self._report)

    def _call(self) -> Deferred[Any] | None:
        self.calls.append(self.clock.seconds())
        return self._work(len(self.calls))

    def _report(self, name: str, failure: Failure) -> None:
        self.failures.append((name, repr(failure.value)))

    def until(self, second: float) -> list[float]:
        """Let time pass in steps of a second; return when there were calls."""
        while self.clock.seconds() < second:
            self.clock.advance(1)
        return self.calls


def test_the_first_call_is_one_interval_from_now() -> None:
    diary = Diary()
    diary.periodic.start()
    assert diary.until(9) == []
    assert diary.until(10) == [10]
    assert diary.until(35) == [10, 20, 30]
    assert diary.failures == []


def failing(number: int) -> Deferred[Any] | None:
    if number == 1:
        raise ValueError("raised")
    if number == 2:
        return fail(ValueError("failed"))
    return succeed(None)


def test_it_goes_on_after_an_exception_and_after_a_failed_deferred() -> None:
    diary = Diary(failing)
    diary.periodic.start()
    assert diary.until(40) == [10, 20, 30, 40]
    assert diary.failures == [
        ("snapshot", "ValueError('raised')"),
        ("snapshot", "ValueError('failed')"),
    ]


def test_it_goes_on_after_a_deferred_that_fails_later() -> None:
    waiting: Deferred[None] = Deferred()
    diary = Diary(lambda number: waiting if number == 1 else None)
    diary.periodic.start()
    diary.until(15)
    waiting.errback(ValueError("late"))
    assert diary.until(35) == [10, 25, 35]
    assert diary.failures == [("snapshot", "ValueError('late')")]


def test_a_call_that_takes_longer_is_waited_for() -> None:
    waiting: Deferred[None] = Deferred()
    diary = Diary(lambda number: waiting if number == 1 else None)
    diary.periodic.start()
    assert diary.until(34) == [10]
    waiting.callback(None)
    # not once for each that was missed; the interval begins anew
    assert diary.until(60) == [10, 44, 54]


def test_a_changed_interval_counts_from_now() -> None:
    diary = Diary()
    diary.periodic.start()
    diary.until(15)
    diary.periodic.again_every(3)
    assert diary.until(25) == [10, 18, 21, 24]


def test_the_same_interval_changes_nothing() -> None:
    diary = Diary()
    diary.periodic.start()
    for second in (4, 8, 9):
        diary.until(second)
        diary.periodic.again_every(10)
    assert diary.until(20) == [10, 20]


@pytest.mark.parametrize("ends", [Deferred.callback, lambda d, _: d.errback(ValueError("late"))])
def test_an_interval_that_changes_during_a_call_leaves_one_rhythm(
    ends: Callable[[Deferred[None], None], None],
) -> None:
    # a reload while a snapshot is written
    waiting: Deferred[None] = Deferred()
    diary = Diary(lambda number: waiting if number == 1 else None)
    diary.periodic.start()
    diary.until(12)
    diary.periodic.again_every(20)
    diary.until(15)
    ends(waiting, None)
    calls = diary.until(200)[1:]
    steps = {after - before for before, after in pairwise(calls)}
    assert steps == {20}
    assert len(diary.clock.getDelayedCalls()) == 1


def test_an_interval_that_changes_during_a_call_never_makes_two_calls_at_once() -> None:
    under_way: list[Deferred[None]] = []

    def work(_: int) -> Deferred[None]:
        assert all(one.called for one in under_way)
        under_way.append(Deferred())
        return under_way[-1]

    diary = Diary(work)
    diary.periodic.start()
    diary.until(12)
    diary.periodic.again_every(3)
    diary.until(30)
    assert diary.calls == [10]
    assert diary.failures == []
    under_way[0].callback(None)
    diary.until(40)
    assert len(diary.calls) == 2
