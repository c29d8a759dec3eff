"""What is forgotten when memory is short."""

from typing import Any

import pytest
from counting.moments import BOUNDS, MEMBERS, START, WINDOWS, at, ends, made, steps
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from policyd.clock import WallTime
from policyd.counting.bounds import Bounds
from policyd.counting.counters import Claim, Counter, DistinctCounter, SumCounter
from policyd.counting.distinct import Hasher
from policyd.counting.runs import HASH_SIZE

HASH = Hasher(b"a secret of the tests")
KINDS = [SumCounter, DistinctCounter]
BY_KIND = pytest.mark.parametrize("make", KINDS)
FAR = 1000.0
"""More than anybody comes to."""

Make = type[SumCounter] | type[DistinctCounter]
Held = dict[tuple[int, str], int]


def apart(run: bytes) -> list[bytes]:
    return [run[place : place + HASH_SIZE] for place in range(0, len(run), HASH_SIZE)]


def claim(key: str, amount: int, of: object = "") -> Claim:
    """Return a claim to *amount*, or to as many members, which are others for each *of*."""
    return Claim(key, amount, [HASH(f"{of} {number}") for number in range(amount)])


def count(counter: Counter, second: float, *keys: str, amount: int = 1) -> None:
    for key in keys:
        counter.commit(claim(key, amount, of=second), at(second))


def held(counter: Counter) -> Held:
    buckets = counter.usage.buckets().items()
    return {(n, key): some for n, held in buckets for key, some in held.items()}


def left(counter: Counter) -> set[str]:
    return {key for _, key in held(counter)}


def evicted(counter: Counter, at_most: int, spare: float) -> set[str]:
    """Evict; return whose keys went, having seen that all others are as they were."""
    before = held(counter)
    evicted = counter.evict(at_most, spare)
    counter._check()
    after = held(counter)
    gone = {key for _, key in before} - {key for _, key in after}
    assert after == {place: some for place, some in before.items() if place[1] not in gone}
    assert evicted == len(gone) <= at_most
    return gone


def in_order(counter: Counter, at_most: int, spare: float) -> list[str]:
    """Evict everything; return it in the order in which it went."""
    order: list[str] = []
    idle = 0
    while held(counter):
        some = evicted(counter, at_most, spare)
        order += sorted(some)
        idle = 0 if some else idle + 1
        assert idle < 1000
    return order


@BY_KIND
def test_what_was_counted_longest_ago_is_forgotten_first(make: Make) -> None:
    counter = make(3600)
    for second, key in enumerate("dbecafgh"):
        count(counter, 10 * second, key)
    order = "".join(in_order(counter, 1, FAR))
    # the older half, and then half of what is left
    assert set(order[:4]) == set("dbec")
    assert set(order[4:6]) == set("af")
    assert len(counter) == 0
    assert counter.weight == 0


@BY_KIND
def test_whoever_is_near_the_limit_is_spared(make: Make) -> None:
    counter = make(3600)
    count(counter, 0, "near", amount=5)
    count(counter, 0, "below", amount=4)
    count(counter, 10, "later", "much later")
    assert in_order(counter, 1, spare=5)[-1] == "near"


@BY_KIND
def test_what_counts_as_near_is_the_sum_of_all_buckets(make: Make) -> None:
    counter = make(3600)
    for second in (0, 10, 20):
        count(counter, second, "near", amount=2)
        count(counter, second, "below", amount=1)
    count(counter, 30, "later")
    assert in_order(counter, 1, spare=6) == ["below", "later", "near"]


@BY_KIND
def test_what_has_left_the_window_makes_nobody_near(make: Make) -> None:
    counter = make(3600)
    count(counter, 0, "gone", amount=9)
    count(counter, 100, "old", "near", amount=2)
    count(counter, 3609, "gone")
    count(counter, 3609, "near", amount=2)
    counter.tidy(at(3610), 0)  # not tidied
    assert in_order(counter, 1, spare=4) == ["old", "gone", "near"]


@BY_KIND
def test_a_key_that_was_counted_since_is_spared(make: Make) -> None:
    counter = make(3600)
    count(counter, 0, "active", "passive")
    count(counter, 10, "active", "late")
    assert in_order(counter, 1, FAR)[0] == "passive"


@BY_KIND
def test_a_key_that_becomes_near_while_others_are_looked_at_is_spared(make: Make) -> None:
    counter = make(3600)
    count(counter, 0, "a", "b", "c")
    while not (first := evicted(counter, 1, 3)):
        pass
    becomes, other = sorted(left(counter))
    counter.commit(claim(becomes, 2, "more"), at(0))
    assert [*first, other, becomes] == [*first, *in_order(counter, 2, 3)]


@BY_KIND
def test_there_is_mercy_again_when_there_is_something_else_to_forget(make: Make) -> None:
    counter = make(3600)
    count(counter, 0, "near", "nearer", amount=5)
    assert sorted(in_order(counter, 1, spare=5)) == ["near", "nearer"]  # nothing else was found
    count(counter, 10, "near", amount=5)
    count(counter, 20, "passive", "another")
    assert in_order(counter, 1, spare=5)[-1] == "near"


@BY_KIND
def test_nothing_to_forget_is_no_reason_to_forget_anybody(make: Make) -> None:
    # everything has left, and waits to be tidied
    counter = make(3600)
    count(counter, 0, "a", "b")
    counter.tidy(at(4000), 0)
    for _ in range(10):
        assert evicted(counter, 100, FAR) == set()
    count(counter, 4000, "near", amount=5)
    count(counter, 4010, "passive")
    assert in_order(counter, 1, spare=5) == ["passive", "near"]


@BY_KIND
def test_no_more_is_looked_at_than_may_be(make: Make) -> None:
    counter = make(3600)
    count(counter, 0, *map(str, range(100)))
    for _ in range(101):
        assert evicted(counter, 1, FAR) == set()  # a walk to see how old they are
    counter.evict(1, FAR)
    assert [len(evicted(counter, many, FAR)) for many in (0, 20, 20, 30, 40)] == [0, 20, 20, 30, 30]
    assert len(counter) == 0


@BY_KIND
def test_what_leaves_the_window_while_it_is_looked_at_is_not_forgotten_twice(make: Make) -> None:
    counter = make(3600)
    count(counter, 0, "a", "b")
    count(counter, 10, "b", "c")
    while not evicted(counter, 1, FAR):
        pass
    counter.tidy(at(3610), 10)
    counter._check()
    assert set(in_order(counter, 10, FAR)) == {"b", "c"}
    assert len(counter) == 0


@BY_KIND
def test_what_was_forgotten_is_counted_afresh(make: Make) -> None:
    counter = make(3600)
    again = claim("alice", 3)
    counter.commit(again, at(0))
    counter.commit(claim("bob", 3), at(0))
    counter.reserve(again)
    in_order(counter, 10, FAR)
    # what is reserved is nobody's memory to spare
    asked = 3 if make is SumCounter else 0
    assert counter.figures(again, at(0)) == (0, 3, asked)
    counter.release(again)
    assert counter.figures(again, at(0)) == (0, 0, 3)
    counter.commit(again, at(0))
    counter._check()
    assert counter.figures(again, at(0)).used == 3


@BY_KIND
def test_a_restart_brings_back_what_was_taken_and_no_more(make: Make) -> None:
    # the disk is not short of memory
    counter, again = make(3600), make(3600)
    counter.commit(claim("alice", 3), at(0))
    counter.commit(claim("bob", 2), at(0))
    kept = list(counter.take())
    in_order(counter, 10, FAR)
    counter.commit(claim("alice", 3), at(10))
    kept += list(counter.take())
    again.restore(kept, at(10))
    again._check()
    alice = {SumCounter: 6, DistinctCounter: 3}[type(again)]
    assert again.figures(Claim("alice", 0), at(10)).used == alice
    assert again.figures(Claim("bob", 0), at(10)).used == 2
    # while the whole is what there is
    assert [list(entries) for _, entries in counter.whole()] == [["alice"]]


# in any order of things

COUNTED = st.lists(
    st.tuples(st.integers(0, 9), st.sampled_from("abcdef"), st.integers(1, 3)),
    min_size=1,
    max_size=20,
)


@settings(deadline=None, max_examples=200)
@given(
    counted=COUNTED,
    spare=st.integers(1, 8),
    at_most=st.integers(1, 5),
    make=st.sampled_from(KINDS),
)
def test_first_goes_who_is_not_near_and_the_older_half_before_the_others(
    counted: list[tuple[int, str, int]], spare: int, at_most: int, make: Make
) -> None:
    counter = make(3600)
    for turn, (second, key, amount) in enumerate(sorted(counted)):
        counter.commit(claim(key, amount, of=turn), at(10 * second))
    sums = {key: counter.usage.sum(key) for _, key in held(counter)}
    last = {key: counter.usage.last(key) or 0 for key in sums}
    order = in_order(counter, at_most, spare)
    assert sorted(order) == sorted(sums)
    near = [sums[key] >= spare for key in order]
    assert near == sorted(near)
    others = [key for key in order if sums[key] < spare]
    mean = sum(last.values()) / len(last)
    older = [last[key] <= mean for key in others]
    assert older == sorted(older, reverse=True)


class Evicting(RuleBasedStateMachine):
    """What was forgotten is gone; everything else is as if nothing had been."""

    @initialize(window=WINDOWS, make=st.sampled_from(KINDS), bounds=BOUNDS)
    def begin(self, window: int, make: Make, bounds: Bounds) -> None:
        self.window = window
        self.counter = made(make, window, bounds)
        self.held: dict[tuple[int, str], Any] = {}  # an amount, or members
        self.ends: dict[int, float] = {}
        self.now = START

    @rule(data=st.data(), at_most=st.integers(0, 3))
    def step(self, data: st.DataObject, at_most: int) -> None:
        self.now = WallTime(self.now + data.draw(steps(self.window)))
        self.counter.tidy(self.now, at_most)
        latest = ends(self.now, self.window)
        aged = {number: min(end, latest) for number, end in self.ends.items()}
        self.ends = {n: end for n, end in aged.items() if end > self.now - self.window}
        self.held = {place: some for place, some in self.held.items() if place[0] in self.ends}

    @rule(key=st.sampled_from("abc"), members=st.lists(st.sampled_from(MEMBERS), min_size=1))
    def commit(self, key: str, members: list[bytes]) -> None:
        self.counter.commit(Claim(key, len(members), members), self.now)
        number = self.counter.timeline.open_numbers()[-1]
        self.ends[number] = ends(self.now, self.window)
        if isinstance(self.counter, SumCounter):
            self.held[number, key] = self.held.get((number, key), 0) + len(members)
        else:
            others = {
                place: some - set(members) if place[1] == key else some
                for place, some in self.held.items()
            }
            here = others.get((number, key), set()) | set(members)
            self.held = {**others, (number, key): here}
            self.held = {place: some for place, some in self.held.items() if some}

    @rule(at_most=st.integers(0, 6), spare=st.integers(1, 8))
    def evict(self, at_most: int, spare: int) -> None:
        gone = evicted(self.counter, at_most, spare)
        self.held = {place: some for place, some in self.held.items() if place[1] not in gone}

    @invariant()
    def both_agree(self) -> None:
        counter, found = self.counter, {}
        if isinstance(counter, SumCounter):
            found = held(counter)
        else:
            for number, members in counter._members.members():
                found.update({(number, key): set(apart(run)) for key, run in members.items()})
        assert found == self.held
        for key in "abc":
            mine = [some for (_, name), some in self.held.items() if name == key]
            figures = counter.figures(Claim(key, 0, MEMBERS), self.now)
            if isinstance(counter, SumCounter):
                assert figures.used == sum(mine)
            else:
                known: set[bytes] = set().union(*mine)
                assert figures.used == len(known)
                assert figures.asked == len(set(MEMBERS) - known)
        assert {n: counter.timeline.end(n) for n in self.ends} == self.ends
        counter._check()


TestEvicting = Evicting.TestCase
TestEvicting.settings = settings(deadline=None, max_examples=150, stateful_step_count=40)
