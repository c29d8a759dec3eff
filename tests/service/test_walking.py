"""Walks over all keys: in many turns, and one at a time."""

from collections.abc import Coroutine, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from policyd.clock import WallTime
from policyd.counting.counters import Claim, SumCounter
from policyd.service.walking import AT_ONCE, Walks

NOW = WallTime(1_000_000.0)


def counter(keys: int) -> SumCounter:
    made = SumCounter(600)
    for number in range(keys):
        made.commit(Claim(f"key {number}", 1), NOW)
    return made


def begun(work: Coroutine[Any, Any, Any]) -> list[Any]:
    results: list[Any] = []
    Deferred.fromCoroutine(work).addBoth(results.append)
    return results


class Turns(Clock):
    """Notes how many keys were seen in each turn."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = 0
        self.turns: list[int] = []

    def callLater(self, *args: Any, **kwargs: Any) -> Any:  # noqa: N802
        self.turns.append(self.seen)
        self.seen = 0
        return super().callLater(*args, **kwargs)  # type: ignore[no-untyped-call]

    def see(self, keys: Sequence[str]) -> None:
        self.seen += len(keys)


def test_a_turn_sees_no_more_than_it_can() -> None:
    clock = Turns()
    done = begun(Walks(clock).over(counter(10_000), clock.see))
    clock.advance(0)
    assert done == [10_000]
    assert sum(clock.turns) + clock.seen == 10_000
    assert max(*clock.turns, clock.seen) <= AT_ONCE
    assert min(clock.turns) > AT_ONCE / 2


def test_one_walk_at_a_time() -> None:
    clock = Clock()
    walks = Walks(clock)
    first = begun(walks.find(counter(3 * AT_ONCE), lambda key: key.endswith(" 7")))
    second = begun(walks.find(counter(3), lambda _: True))
    assert (first, second) == ([], [])
    clock.advance(0)
    assert first == [["key 7"]]
    assert [sorted(found) for found in second] == [["key 0", "key 1", "key 2"]]


def test_a_fault_lets_the_next_one_walk() -> None:
    walks = Walks(Clock())
    failed = begun(walks.find(counter(1), lambda _: 1 / 0))  # type: ignore[arg-type, return-value]
    assert failed[0].check(ZeroDivisionError)
    assert begun(walks.find(counter(1), lambda _: True)) == [["key 0"]]
