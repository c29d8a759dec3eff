"""Usage, reservations and commits; and counts that outlive a restart or a changed window."""

from collections import Counter as Tally
from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from counting.moments import (
    BEFORE,
    BOUNDS,
    DAY,
    FIRST_NUMBERS,
    MEMBERS,
    START,
    WINDOWS,
    Past,
    at,
    ends,
    forgotten,
    made,
    steps,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from policyd.clock import WallTime
from policyd.counting.bounds import Bounds
from policyd.counting.changes import Bucket
from policyd.counting.counters import Claim, Counter, DistinctCounter, SumCounter
from policyd.counting.distinct import Hasher
from policyd.counting.runs import ENTRY, HASH_SIZE
from policyd.counting.usage import RUN
from policyd.counting.window import bucket_width

HASH = Hasher(b"a secret of the tests")
KINDS = [SumCounter, DistinctCounter]
BY_KIND = pytest.mark.parametrize("make", KINDS)

Make = type[SumCounter] | type[DistinctCounter]


def people(key: str, *names: str) -> Claim:
    return Claim(key, 0, [HASH(name) for name in names])


def apart(run: bytes) -> list[bytes]:
    return [run[place : place + HASH_SIZE] for place in range(0, len(run), HASH_SIZE)]


# sums


def test_what_is_asked_is_neither_used_nor_reserved() -> None:
    counter = SumCounter(3600)
    assert counter.figures(Claim("alice", 5), at(0)) == (0, 0, 5)
    assert counter.figures(Claim("alice", 5), at(0)).total == 5
    assert counter.figures(Claim("alice", 5), at(0)) == (0, 0, 5)


def test_a_sum_is_reserved_released_and_committed() -> None:
    counter = SumCounter(3600)
    first, second = Claim("alice", 2), Claim("alice", 3)
    counter.reserve(first)
    counter.reserve(second)
    assert counter.figures(Claim("alice", 1), at(0)) == (0, 5, 1)
    assert counter.figures(Claim("bob", 1), at(0)) == (0, 0, 1)
    counter.release(first)
    counter.commit(first, at(0))
    assert counter.figures(Claim("alice", 1), at(0)) == (2, 3, 1)
    counter.release(second)
    assert counter.figures(Claim("alice", 1), at(0)) == (2, 0, 1)
    assert counter._held == {}
    counter._check()


def test_nothing_is_not_counted() -> None:
    counter = SumCounter(3600)
    nothing = Claim("alice", 0)
    counter.reserve(nothing)
    counter.commit(nothing, at(0))
    counter.release(nothing)
    assert counter.figures(nothing, at(0)) == (0, 0, 0)
    assert len(counter.usage) == 0
    assert counter._held == {}
    counter._check()


@BY_KIND
def test_time_passes_with_what_is_counted(make: Make) -> None:
    counter = make(3600)
    counter.commit(Claim("alice", 1, [HASH("x")]), at(0))
    counter.commit(Claim("alice", 1, [HASH("y")]), at(DAY))
    # and back again: the first one is gone
    assert counter.figures(Claim("alice", 0), at(0)).used == 1


@BY_KIND
def test_the_weight_is_that_of_sums_and_of_members(make: Make) -> None:
    counter = make(3600)
    assert counter.weight == 0
    counter.commit(Claim("alice", 2, [HASH("x"), HASH("y")]), at(0))
    entries = 2 if make is DistinctCounter else 1
    assert counter.weight == RUN + len("alice") + entries * ENTRY
    counter.tidy(at(DAY), 1)
    assert counter.weight == 0


# distinct members


def test_a_member_that_is_known_is_not_asked_for_again() -> None:
    counter = DistinctCounter(3600)
    counter.commit(people("alice", "x", "y"), at(0))
    assert counter.figures(people("alice", "y", "z", "z"), at(1)) == (2, 0, 1)
    assert counter.figures(people("bob", "y", "z"), at(1)) == (0, 0, 2)


def test_what_several_hold_is_their_union() -> None:
    counter = DistinctCounter(3600)
    counter.commit(people("alice", "known"), at(0))
    first, second = people("alice", "x", "y", "known"), people("alice", "y", "z")
    counter.reserve(first)
    counter.reserve(second)
    assert counter.figures(people("alice", "new"), at(0)) == (1, 3, 1)
    # held by somebody already: no further one
    assert counter.figures(people("alice", "x", "new"), at(0)) == (1, 3, 1)
    assert counter.figures(people("bob", "x"), at(0)) == (0, 0, 1)


def test_a_member_is_released_by_its_last_holder() -> None:
    counter = DistinctCounter(3600)
    first, second = people("alice", "x", "y"), people("alice", "y", "z")
    counter.reserve(first)
    counter.reserve(second)
    counter.release(first)
    assert counter.figures(people("alice", "y"), at(0)) == (0, 2, 0)
    assert counter.figures(people("alice", "x"), at(0)) == (0, 2, 1)
    counter.release(second)
    assert counter.figures(people("alice", "y"), at(0)) == (0, 0, 1)
    assert counter._held == {}
    counter._check()


def test_a_member_that_is_forgotten_is_reserved_again_while_it_is_held() -> None:
    counter = DistinctCounter(3600)
    held = people("alice", "x")
    counter.commit(held, at(0))
    counter.reserve(held)
    assert counter.figures(people("alice"), at(3609)) == (1, 0, 0)
    assert counter.figures(people("alice"), at(3610)) == (0, 1, 0)


# any order of reserving, committing, releasing and passing time, against a plain account of it

NAMES = ["a@x.example", "b@x.example", "c@y.example", "d@y.example"]


class AgainstAnAccount(RuleBasedStateMachine):
    """What is held is a list of claims, what is used a list of records with their times."""

    @initialize(window=st.sampled_from([60, 3600, DAY]))
    def begin(self, window: int) -> None:
        self.now = START
        self.sums = SumCounter(window)
        self.members = DistinctCounter(window)
        self.held: list[tuple[str, list[str]]] = []
        self.used = Past(window)

    def both(self, key: str, names: Sequence[str]) -> tuple[Claim, Claim]:
        return Claim(key, len(names)), people(key, *names)

    @rule(data=st.data())
    def step(self, data: st.DataObject) -> None:
        self.now = WallTime(self.now + data.draw(steps(self.used.window)))
        self.used.advance(self.now)
        for counter in (self.sums, self.members):
            counter.tidy(self.now, data.draw(st.integers(0, 5)))

    @rule(window=st.sampled_from([60, 3600, DAY]))
    def obey(self, window: int) -> None:
        self.used.window = window
        self.used.advance(self.now)
        for counter in (self.sums, self.members):
            counter.timeline.obey(window)
            counter.tidy(self.now, 0)

    @rule(key=st.sampled_from(NAMES[:2]), names=st.lists(st.sampled_from(NAMES), min_size=1))
    def reserve(self, key: str, names: list[str]) -> None:
        amount, some = self.both(key, names)
        self.sums.reserve(amount)
        self.members.reserve(some)
        self.held.append((key, names))

    @precondition(lambda self: self.held)
    @rule(data=st.data(), commit=st.booleans())
    def let_go(self, data: st.DataObject, commit: bool) -> None:
        key, names = self.held.pop(data.draw(st.integers(0, len(self.held) - 1)))
        amount, some = self.both(key, names)
        self.sums.release(amount)
        self.members.release(some)
        if commit:
            self.sums.commit(amount, self.now)
            self.members.commit(some, self.now)
            self.used.count(self.now, key, *names)

    @rule(key=st.sampled_from(NAMES[:2]), names=st.lists(st.sampled_from(NAMES)))
    def ask(self, key: str, names: list[str]) -> None:
        amount, some = self.both(key, names)
        used = self.used.of(key)
        held = [name for at, names in self.held if at == key for name in names]
        assert self.sums.figures(amount, self.now) == (len(used), len(held), len(names))
        reserved = set(held) - set(used)
        asked = set(names) - set(used) - set(held)
        figures = self.members.figures(some, self.now)
        assert figures == (len(set(used)), len(reserved), len(asked))
        assert figures.total == len({*used, *held, *names})

    @invariant()
    def is_sound(self) -> None:
        self.sums._check()
        self.members._check()


TestAgainstAnAccount = AgainstAnAccount.TestCase
TestAgainstAnAccount.settings = settings(deadline=None, max_examples=100, stateful_step_count=40)


# when there is room again

USES = st.lists(
    st.tuples(st.integers(0, 3599), st.lists(st.sampled_from("uvwxyz"), min_size=1, max_size=3)),
    min_size=1,
    max_size=8,
).map(sorted)


def told_in_time(counter: Counter, claim: Claim, amount: int, now: WallTime) -> None:
    """See that U + A falls by *amount* at the moment that is told, and not before."""

    def both(when: WallTime) -> int:
        figures = counter.figures(claim, when)
        return figures.used + figures.asked

    goal = both(now) - amount
    falls = counter.falls_by(claim, amount, now)
    never = WallTime(now + 2 * 3600)
    if falls is None:
        assert both(never) > goal
    else:
        assert both(WallTime(falls - BEFORE)) > goal
        assert both(falls) <= goal


@settings(deadline=None, max_examples=200)
@given(USES, st.integers(1, 8), st.integers(1, 20))
def test_a_sum_falls_when_it_says(
    uses: list[tuple[int, list[str]]], asked: int, amount: int
) -> None:
    counter = SumCounter(3600)
    for second, names in uses:
        counter.commit(Claim("alice", len(names)), at(second))
        counter.commit(Claim("bob", 1000), at(second))
    told_in_time(counter, Claim("alice", asked), amount, at(3600))


@settings(deadline=None, max_examples=200)
@given(USES, st.sets(st.sampled_from("uvwxyz123"), max_size=6), st.integers(1, 8))
def test_members_fall_when_it_says_also_those_that_are_asked_for_again(
    uses: list[tuple[int, list[str]]], asked: set[str], amount: int
) -> None:
    counter = DistinctCounter(3600)
    for second, names in uses:
        counter.commit(people("alice", *names), at(second))
        counter.commit(people("bob", *"uvwxyz"), at(second))
    told_in_time(counter, people("alice", *sorted(asked)), amount, at(3600))


@BY_KIND
def test_what_has_left_meanwhile_does_not_fall_again(make: Make) -> None:
    counter = make(3600)
    for second in (0, 1800):
        counter.commit(Claim("alice", 1, [HASH(f"{second}")]), at(second))
    # nobody has looked since the first one left
    assert counter.falls_by(Claim("alice", 0), 1, at(4000)) == at(1800 + 10 + 3600)
    assert counter.falls_by(Claim("alice", 0), 2, at(4000)) is None


def test_members_leave_with_the_last_mail_to_them() -> None:
    counter = DistinctCounter(3600)
    counter.commit(people("alice", "x", "y", "z"), at(0))
    counter.commit(people("alice", "x", "y"), at(600))
    counter.commit(people("alice", "x"), at(1200))
    leaves = [at(second + 10 + 3600) for second in (0, 600, 1200)]
    falls = [counter.falls_by(people("alice"), many, at(1800)) for many in (1, 2, 3, 4)]
    assert falls == [*leaves, None]
    # one that is asked for again makes no room by leaving
    falls = [counter.falls_by(people("alice", "y", "new"), n, at(1800)) for n in (1, 2, 3)]
    assert falls == [leaves[0], leaves[2], None]


# what was counted is taken, and restored


def usage(counter: Counter, key: str, when: float) -> int:
    return counter.figures(Claim(key, 0), WallTime(when)).used


def sorted_out(buckets: Iterable[Bucket]) -> dict[tuple[float, str], Any]:
    """Return how much or what *buckets* have, by their end and by key."""
    found: dict[tuple[float, str], Any] = {}
    for end, entries in buckets:
        for key, value in entries.items():
            if isinstance(value, int):
                found[end, key] = found.get((end, key), 0) + value
            else:
                found.setdefault((end, key), set()).update(apart(value))
    return found


def joined(buckets: Iterable[Bucket]) -> list[Bucket]:
    """Return *buckets* with one for each end, as they are on disk; entries are taken over."""
    found: dict[float, Any] = {}
    for end, entries in buckets:
        if (held := found.setdefault(end, entries)) is not entries:
            for key, value in entries.items():
                held[key] = held[key] + value if key in held else value
    return [Bucket(end, entries) for end, entries in found.items()]


@BY_KIND
def test_what_is_taken_was_counted_since_the_last_time(make: Make) -> None:
    counter = make(3600)
    assert list(counter.take()) == []
    x, y = HASH("x"), HASH("y")
    counter.commit(Claim("alice", 1, [x]), at(0))
    counter.commit(Claim("bob", 3, [x, y]), at(9))
    counter.commit(Claim("alice", 2, [y]), at(9))
    counter.commit(Claim("alice", 1, [y]), at(10))
    first: dict[str, Any] = {"alice": 3, "bob": 3}
    second: dict[str, Any] = {"alice": 1}
    if make is DistinctCounter:
        first, second = {"alice": x + y, "bob": x + y}, {"alice": y}
    assert list(counter.take()) == [(at(10), first), (at(20), second)]
    assert list(counter.take()) == []
    # what was taken before is no part of what is taken next, even of the same bucket
    counter.commit(Claim("alice", 4, [x]), at(19))
    assert list(counter.take()) == [(at(20), {"alice": x if make is DistinctCounter else 4})]


@BY_KIND
def test_nothing_that_was_not_counted_is_taken(make: Make) -> None:
    counter = make(3600)
    counter.commit(Claim("alice", 0), at(0))
    counter.reserve(Claim("alice", 1, [HASH("x")]))
    counter.figures(Claim("alice", 1, [HASH("x")]), at(0))
    assert (list(counter.take()), counter.whole()) == ([], [])


def test_a_member_of_a_bucket_is_not_taken_again_but_one_that_moves_is() -> None:
    counter = DistinctCounter(3600)
    counter.commit(people("alice", "x", "y"), at(0))
    counter.take()
    counter.commit(people("alice", "x", "y"), at(9))
    assert list(counter.take()) == []
    counter.commit(people("alice", "y", "y"), at(10))
    assert list(counter.take()) == [(at(20), {"alice": HASH("y")})]


@BY_KIND
def test_what_has_left_is_not_taken(make: Make) -> None:
    counter = make(3600)
    counter.commit(Claim("alice", 1, [HASH("x")]), at(0))
    counter.commit(Claim("alice", 1, [HASH("y")]), at(1800))
    assert usage(counter, "alice", at(3610)) == 1
    assert [end for end, _ in list(counter.take())] == [at(1810)]
    counter.commit(Claim("alice", 1, [HASH("y")]), at(3610))
    counter.tidy(at(3 * 3600), 0)
    # nor held for somebody who never comes
    assert counter._changes == {}
    assert list(counter.take()) == []


@BY_KIND
def test_what_is_taken_ends_when_its_bucket_does_by_then(make: Make) -> None:
    # the clock was stepped back meanwhile
    counter = make(3600)
    for second in (0, 60, 120):
        counter.commit(Claim("alice", 1, [HASH(f"{second}")]), at(second))
    counter.tidy(at(65), 0)
    assert [end for end, _ in list(counter.take())] == [at(10), at(70), at(70)]
    assert [end for end, _ in counter.whole()] == [at(10), at(70), at(70)]


@BY_KIND
def test_what_was_given_away_may_be_changed(make: Make) -> None:
    counter = make(3600)
    claim = Claim("alice", 1, [HASH("x")])
    counter.commit(claim, at(0))
    for give in (counter.take, counter.whole):
        ((_, entries),) = give()
        entries.clear()
        counter.commit(Claim("bob", 1, [HASH("x")]), at(0))
        assert "bob" not in entries
        assert usage(counter, "alice", at(0)) == 1
        counter._check()


@BY_KIND
def test_the_whole_is_what_the_window_holds(make: Make) -> None:
    counter = make(3600)
    counter.commit(Claim("bob", 1, [HASH("x")]), at(0))
    for second in (0, 9, 10, 1800):
        counter.commit(Claim("alice", 2, [HASH("x"), HASH(f"{second}")]), at(second))
    expected: dict[tuple[float, str], Any] = {
        (at(10), "alice"): 4,
        (at(10), "bob"): 1,
        (at(20), "alice"): 2,
        (at(1810), "alice"): 2,
    }
    if make is DistinctCounter:
        expected = {
            (at(10), "alice"): {HASH("0"), HASH("9")},
            (at(10), "bob"): {HASH("x")},
            (at(20), "alice"): {HASH("10")},
            (at(1810), "alice"): {HASH("x"), HASH("1800")},
        }
    assert sorted_out(counter.whole()) == expected
    assert [end for end, _ in counter.whole()] == [at(10), at(20), at(1810)]
    # what has left is none of it, tidied or not
    counter.tidy(at(3610), 0)
    assert [end for end, _ in counter.whole()] == [at(20), at(1810)]


@BY_KIND
def test_the_whole_is_in_the_order_of_time_whatever_the_keys(make: Make) -> None:
    counter = make(3600)
    for number in range(50):
        counter.commit(Claim(f"key{number}", 1, [HASH("x")]), at(10 * number))
    found = [(end, *entries) for end, entries in counter.whole()]
    assert found == [(at(10 * number + 10), f"key{number}") for number in range(50)]


@BY_KIND
def test_what_is_restored_is_the_same(make: Make) -> None:
    counter, again = make(3600), make(3600)
    members = {second: HASH(f"{second}") for second in (1, 2, 0, 9, 10, 1800)}
    for second in (0, 9, 10, 1800):
        counter.commit(Claim("alice", 2, [members[1], members[2], members[second]]), at(second))
        counter.commit(Claim("bob", 1, [members[1]]), at(second))
    counter.reserve(Claim("alice", 7, [HASH("7")]))
    again.restore(counter.whole(), at(1800))
    again._check()
    assert again.whole() == counter.whole()
    # there is nothing new to write
    assert list(again.take()) == []
    for second in (1800, 3609, 3610, 3619, 3620, 5409, 5410):
        for key, member in (("alice", 1), ("alice", 1800), ("bob", 1), ("carol", 1)):
            figures = again.figures(Claim(key, 2, [members[member]]), at(second))
            plain = counter.figures(Claim(key, 2, [members[member]]), at(second))
            # a reservation belongs to a connection, and that is gone
            assert figures == (plain.used, 0, plain.asked)


@BY_KIND
def test_the_order_of_what_is_restored_is_that_of_the_ends(make: Make) -> None:
    # takes come one after the other; a later one may have something for an older bucket
    counter = make(3600)
    x, y = HASH("x"), HASH("y")
    counter.commit(Claim("alice", 1, [x]), at(0))
    counter.commit(Claim("alice", 1, [y]), at(60))
    again = make(3600)
    again.restore(reversed(counter.whole()), at(60))
    again._check()
    assert again.whole() == counter.whole()


def test_counts_are_restored_from_any_kind_of_bytes() -> None:
    counter = DistinctCounter(3600)
    run: Any = memoryview(HASH("x") + HASH("y"))
    counter.restore([Bucket(at(10), {"alice": run})], at(0))
    counter._check()
    assert counter.figures(people("alice", "x", "z"), at(0)) == (2, 0, 1)


def test_a_bucket_of_the_future_is_restored_as_the_present() -> None:
    # the clock was ahead when the counts were written
    counter = SumCounter(3600)
    counter.restore([Bucket(at(7 * DAY), {"alice": 3})], at(0))
    assert usage(counter, "alice", at(0)) == 3
    assert [counter.timeline.end(n) for n in counter.timeline.open_numbers()] == [at(10)]
    assert usage(counter, "alice", at(3610)) == 0


@BY_KIND
def test_a_bucket_of_long_ago_is_not_restored(make: Make) -> None:
    counter = make(3600)
    entries: Any = {"alice": 1 if make is SumCounter else HASH("x")}
    counter.restore([Bucket(at(0), entries), Bucket(at(10), entries)], at(3600))
    assert usage(counter, "alice", at(3600)) == 1
    assert usage(counter, "alice", at(3610)) == 0
    late = make(3600)
    late.restore([Bucket(at(10), entries)], at(7 * DAY))
    assert len(late) == 0
    assert late.tidy(at(7 * DAY), 10) == 0


# any history, written and read again at any time, against a plain account of it


class OnDisk(RuleBasedStateMachine):
    """What is kept on disk is what was taken, less what is out of the window by then."""

    @initialize(
        window=WINDOWS,
        make=st.sampled_from(KINDS),
        bounds=BOUNDS,
        first=st.sampled_from(FIRST_NUMBERS),
    )
    def begin(self, window: int, make: Make, bounds: Bounds, first: int) -> None:
        self.make = make
        self.bounds = bounds
        self.counter = made(make, window, bounds)
        self.counter.timeline._first = first
        self.past = Past(window)
        self.kept: list[Bucket] = []
        self.now = START

    def advance(self, at_most: int = 0) -> None:
        assert self.counter.tidy(self.now, at_most) <= at_most
        self.past.advance(self.now)
        latest, oldest = ends(self.now, self.past.window), self.now - self.past.window
        aged = [Bucket(min(end, latest), entries) for end, entries in self.kept]
        self.kept = [bucket for bucket in aged if bucket.end > oldest]

    @rule(data=st.data(), at_most=st.integers(0, 3))
    def step(self, data: st.DataObject, at_most: int) -> None:
        self.now = WallTime(self.now + data.draw(steps(self.past.window)))
        self.advance(at_most)

    @rule(window=WINDOWS, at_most=st.integers(0, 3))
    def obey(self, window: int, at_most: int) -> None:
        self.counter.timeline.obey(window)
        self.past.window = window
        self.advance(at_most)

    @rule(key=st.sampled_from(NAMES), members=st.lists(st.sampled_from(MEMBERS), max_size=6))
    def commit(self, key: str, members: list[bytes]) -> None:
        self.counter.commit(Claim(key, len(members), members), self.now)
        self.past.count(self.now, key, *members)

    @rule(share=st.integers(0, 3), many=st.integers(33, 60))
    def commit_many(self, share: int, many: int) -> None:
        members = [HASH(f"{number}") for number in range(share * 10, share * 10 + many)]
        self.commit(NAMES[0], members)

    @rule(join=st.booleans())
    def take(self, join: bool) -> None:
        self.kept += list(self.counter.take())
        if join:
            self.kept = joined(self.kept)

    @rule(join=st.booleans())
    def write_anew(self, join: bool) -> None:
        self.counter.take()
        self.kept = joined(self.counter.whole()) if join else self.counter.whole()

    @rule(first=st.sampled_from(FIRST_NUMBERS), at_most=st.integers(0, 3))
    def restart(self, first: int, at_most: int) -> None:
        self.take(join=False)
        again = made(self.make, self.past.window, self.bounds)
        again.timeline._first = first
        again.restore(self.kept, self.now)
        again._check()
        assert sorted_out(again.whole()) == sorted_out(self.counter.whole())
        for key in NAMES:
            claim = Claim(key, 1, MEMBERS[::2])
            for amount in range(1, len(set(self.past.of(key))) + 3):
                falls = self.counter.falls_by(claim, amount, self.now)
                assert again.falls_by(claim, amount, self.now) == falls
        assert list(again.take()) == []
        self.counter = again
        self.advance(at_most)

    @invariant()
    def both_agree(self) -> None:
        of_sums = self.make is SumCounter
        for key in NAMES:
            used = self.past.of(key)
            known = set(used)
            figures = self.counter.figures(Claim(key, 0, MEMBERS), self.now)
            assert figures.used == len(used if of_sums else known)
            if not of_sums:
                asked = [self.counter.figures(Claim(key, 0, [one]), self.now) for one in MEMBERS]
                assert [one.asked for one in asked] == [int(one not in known) for one in MEMBERS]
                assert figures.asked == len(set(MEMBERS) - known)
        expected: Any = self.past.members()
        if of_sums:
            expected = Tally((end, key) for end, key, _ in self.past.records)
        whole = self.counter.whole()
        assert sorted_out(whole) == expected
        assert [end for end, _ in whole] == sorted(end for end, _ in whole)
        self.counter._check()


TestOnDisk = OnDisk.TestCase
TestOnDisk.settings = settings(deadline=None, max_examples=200, stateful_step_count=40)


# into another window

EVENTS = st.lists(
    st.tuples(st.floats(0, 1), st.sampled_from(NAMES[:2]), st.sampled_from(NAMES)),
    max_size=10,
).map(sorted)


def in_another_window(counter: Counter, window: float, now: WallTime, *, restart: bool) -> Counter:
    if not restart:
        counter.timeline.obey(window)
        counter.tidy(now, 0)
        return counter
    again = type(counter)(window)
    again.restore(counter.whole(), now)
    return again


@settings(deadline=None, max_examples=300)
@given(
    window=WINDOWS,
    other=WINDOWS,
    events=EVENTS,
    age=st.floats(0, 1.5),
    step=st.floats(-1, 1),
    make=st.sampled_from(KINDS),
    restart=st.booleans(),
)
def test_another_window_forgets_nothing_early_and_makes_no_bucket_of_the_future(
    *,
    window: int,
    other: int,
    events: list[tuple[float, str, str]],
    age: float,
    step: float,
    make: Make,
    restart: bool,
) -> None:
    old = make(window)
    made = [(at(share * window), key, name) for share, key, name in events]
    for when, key, name in made:
        old.commit(Claim(key, 1, [HASH(name)]), when)
    changed = WallTime(max([when for when, _, _ in made], default=START) + age * window)
    old.tidy(changed, 10**6)
    if make is DistinctCounter:  # the last mail to each counts
        made = [(when, *of) for of, when in {(key, name): when for when, key, name in made}.items()]
    now = WallTime(changed + step * window)  # the clock may have been stepped meanwhile
    held = sorted(min(when, now) for when, _, _ in made if not forgotten(when, window, changed))

    new = in_another_window(old, other, now, restart=restart)

    new._check()
    found = [new.timeline.end(number) for number in new.timeline.open_numbers()]
    assert all(now - other < end <= ends(now, other) for end in found)
    assert found == sorted(found)
    for number, when in enumerate(held):
        if (last := when + other - BEFORE) >= now:
            assert sum(usage(new, key, last) for key in NAMES) >= len(held) - number
    end = max([*held, now]) + other + bucket_width(window) + bucket_width(other)
    assert sum(usage(new, key, end) for key in NAMES) == 0


@settings(deadline=None)
@given(WINDOWS, WINDOWS, st.floats(0, 1), st.booleans())
def test_a_count_in_another_window_is_forgotten_at_most_one_old_bucket_late(
    window: int, other: int, share: float, restart: bool
) -> None:
    made = at(share * window)
    old = SumCounter(window)
    old.commit(Claim("alice", 1), made)
    new = in_another_window(old, other, made, restart=restart)
    assert usage(new, "alice", made + other - BEFORE) == 1
    assert usage(new, "alice", ends(made, window) + other) == 0


@BY_KIND
def test_what_another_window_forgot_is_not_taken_either(make: Make) -> None:
    counter = make(DAY)
    counter.commit(Claim("alice", 1, [HASH("x")]), at(0))
    counter.commit(Claim("alice", 1, [HASH("y")]), at(7200))
    counter.timeline.obey(3600)
    counter.tidy(at(7200), 0)
    counter.timeline.obey(DAY)
    counter.tidy(at(7200), 0)
    assert usage(counter, "alice", at(7200)) == 1
    assert list(counter.take()) == counter.whole()
    assert len(counter.whole()) == 1
