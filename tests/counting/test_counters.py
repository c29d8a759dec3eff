"""Usage, reservations and commits; and counts that outlive a restart or a changed window."""

from array import array
from collections.abc import Sequence

import pytest
from counting.moments import DAY, START, WINDOWS, at, bucket, forgotten, steps
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from policyd.clock import WallTime
from policyd.counting.counters import BucketState, Claim, Counter, DistinctCounter, SumCounter
from policyd.counting.distinct import Hasher
from policyd.counting.window import bucket_width

HASH = Hasher(b"a secret of the tests")
BEFORE = 1 / 1024


def people(key: str, *names: str) -> Claim:
    return Claim(key, 0, [HASH(name) for name in names])


def distinct(window: float = 3600) -> DistinctCounter:
    return DistinctCounter(window, HASH)


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
    assert len(counter.sums) == 0
    assert counter._held == {}
    counter._check()


# distinct members


def test_a_member_that_is_known_is_not_asked_for_again() -> None:
    counter = distinct()
    counter.commit(people("alice", "x", "y"), at(0))
    assert counter.figures(people("alice", "y", "z", "z"), at(1)) == (2, 0, 1)
    assert counter.figures(people("bob", "y", "z"), at(1)) == (0, 0, 2)


def test_what_several_hold_is_their_union() -> None:
    counter = distinct()
    counter.commit(people("alice", "known"), at(0))
    first, second = people("alice", "x", "y", "known"), people("alice", "y", "z")
    counter.reserve(first)
    counter.reserve(second)
    assert counter.figures(people("alice", "new"), at(0)) == (1, 3, 1)
    # held by somebody already: no further one
    assert counter.figures(people("alice", "x", "new"), at(0)) == (1, 3, 1)
    assert counter.figures(people("bob", "x"), at(0)) == (0, 0, 1)


def test_a_member_is_released_by_its_last_holder() -> None:
    counter = distinct()
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
    counter = distinct(3600)
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
        self.window = window
        self.now = START
        self.sums = SumCounter(window)
        self.members = distinct(window)
        self.held: list[tuple[str, list[str]]] = []
        self.used: list[tuple[float, str, list[str]]] = []

    def both(self, key: str, names: Sequence[str]) -> tuple[Claim, Claim]:
        return Claim(key, len(names)), people(key, *names)

    @rule(data=st.data())
    def step(self, data: st.DataObject) -> None:
        self.now = WallTime(self.now + data.draw(steps(self.window)))
        for counter in (self.sums, self.members):
            counter.tidy(self.now, data.draw(st.integers(0, 5)))
        relabelled = [(min(when, self.now), key, names) for when, key, names in self.used]
        self.used = [use for use in relabelled if not forgotten(use[0], self.window, self.now)]

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
            self.used.append((self.now, key, names))

    @rule(key=st.sampled_from(NAMES[:2]), names=st.lists(st.sampled_from(NAMES)))
    def ask(self, key: str, names: list[str]) -> None:
        amount, some = self.both(key, names)
        used = [use for _, at, names in self.used if at == key for use in names]
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
    counter = distinct(3600)
    for second, names in uses:
        counter.commit(people("alice", *names), at(second))
        counter.commit(people("bob", *"uvwxyz"), at(second))
    told_in_time(counter, people("alice", *sorted(asked)), amount, at(3600))


@pytest.mark.parametrize("make", [SumCounter, distinct])
def test_what_has_left_meanwhile_does_not_fall_again(make: type[SumCounter]) -> None:
    counter = make(3600)
    for second, member in ((0, 1), (1800, 2)):
        counter.commit(Claim("alice", 1, [member]), at(second))
    # nobody has looked since the first one left
    assert counter.falls_by(Claim("alice", 0), 1, at(4000)) == at(1800 + 10 + 3600)
    assert counter.falls_by(Claim("alice", 0), 2, at(4000)) is None


def test_members_leave_with_the_last_mail_to_them() -> None:
    counter = distinct(3600)
    counter.commit(people("alice", "x", "y", "z"), at(0))
    counter.commit(people("alice", "x", "y"), at(600))
    counter.commit(people("alice", "x"), at(1200))
    leaves = [at(second + 10 + 3600) for second in (0, 600, 1200)]
    falls = [counter.falls_by(people("alice"), many, at(1800)) for many in (1, 2, 3, 4)]
    assert falls == [*leaves, None]
    # one that is asked for again makes no room by leaving
    falls = [counter.falls_by(people("alice", "y", "new"), n, at(1800)) for n in (1, 2, 3)]
    assert falls == [leaves[0], leaves[2], None]


# on disk, and into another window


def copied(counter: Counter) -> list[BucketState]:
    """Return what *counter* gives, so that it shares nothing with it."""
    return [
        BucketState(state.start, dict(state.counts), array("Q", state.pairs))
        for state in counter.dump()
    ]


def usage(counter: Counter, key: str, when: float) -> int:
    return counter.figures(Claim(key, 0), WallTime(when)).used


@pytest.mark.parametrize("make", [SumCounter, distinct])
def test_what_is_dumped_and_restored_is_the_same(make: type[SumCounter]) -> None:
    counter, again = make(3600), make(3600)
    for second in (0, 9, 10, 1800):
        counter.commit(Claim("alice", 2, [1, 2, second]), at(second))
        counter.commit(Claim("bob", 1, [1]), at(second))
    counter.reserve(Claim("alice", 7, [7]))
    states = copied(counter)
    assert [state.start for state in states] == [at(0), at(10), at(1800)]
    again.restore(states, 10, at(1800))
    again._check()
    assert copied(again) == states
    for second in (1800, 3609, 3610, 3619, 3620, 5409, 5410):
        for key, member in (("alice", 1), ("alice", 1800), ("bob", 1), ("carol", 1)):
            figures = again.figures(Claim(key, 2, [member]), at(second))
            plain = counter.figures(Claim(key, 2, [member]), at(second))
            # a reservation belongs to a connection, and that is gone
            assert (figures.used, figures.reserved) == (plain.used, 0)


def test_a_bucket_of_the_future_is_restored_as_the_present() -> None:
    # the clock was ahead when the counts were written
    counter = SumCounter(3600)
    counter.restore([BucketState(at(7 * DAY), {"alice": 3}, array("Q"))], 10, at(0))
    assert usage(counter, "alice", at(0)) == 3
    assert all(counter.timeline.start(n) <= at(0) for n in counter.timeline.open_numbers())
    assert usage(counter, "alice", at(3610)) == 0


def test_a_bucket_of_long_ago_is_not_counted() -> None:
    counter = SumCounter(3600)
    counter.restore([BucketState(at(0), {"alice": 3}, array("Q"))], 10, at(7 * DAY))
    assert usage(counter, "alice", at(7 * DAY)) == 0
    assert counter.tidy(at(7 * DAY), 10) == 1
    assert len(counter.sums) == 0


EVENTS = st.lists(
    st.tuples(st.floats(0, 1), st.sampled_from(NAMES[:2]), st.sampled_from(NAMES)),
    max_size=10,
).map(sorted)


@settings(deadline=None, max_examples=300)
@given(
    window=WINDOWS,
    other=WINDOWS,
    events=EVENTS,
    age=st.floats(0, 1.5),
    step=st.floats(-1, 1),
    by_member=st.booleans(),
)
def test_another_window_forgets_nothing_early_and_makes_no_bucket_of_the_future(
    *,
    window: int,
    other: int,
    events: list[tuple[float, str, str]],
    age: float,
    step: float,
    by_member: bool,
) -> None:
    old: Counter = distinct(window) if by_member else SumCounter(window)
    new: Counter = distinct(other) if by_member else SumCounter(other)
    made = [(at(share * window), key, name) for share, key, name in events]
    for when, key, name in made:
        old.commit(Claim(key, 1, [HASH(name)]), when)
    dumped = WallTime(max([when for when, _, _ in made], default=START) + age * window)
    old.tidy(dumped, 10**6)
    if by_member:  # the last mail to each counts
        made = [(when, *of) for of, when in {(key, name): when for when, key, name in made}.items()]
    now = WallTime(dumped + step * window)  # the clock may have been stepped meanwhile
    held = sorted(min(when, now) for when, _, _ in made if not forgotten(when, window, dumped))

    new.restore(copied(old), bucket_width(window), now)

    new._check()
    starts = [new.timeline.start(number) for number in new.timeline.open_numbers()]
    assert all(start <= now for start in starts)
    assert starts == sorted(set(starts))
    assert sum(sum(state.counts.values()) for state in new.dump()) == len(held)
    for number, when in enumerate(held):
        if (last := when + other - BEFORE) >= now:
            assert sum(usage(new, key, last) for key in NAMES) >= len(held) - number
    end = max([*held, now]) + other + bucket_width(window) + bucket_width(other)
    assert sum(usage(new, key, end) for key in NAMES) == 0


@settings(deadline=None)
@given(WINDOWS, WINDOWS, st.floats(0, 1))
def test_a_count_in_another_window_is_forgotten_at_most_one_old_bucket_late(
    window: int, other: int, share: float
) -> None:
    made = at(share * window)
    old, new = SumCounter(window), SumCounter(other)
    old.commit(Claim("alice", 1), made)
    new.restore(copied(old), bucket_width(window), made)
    ends = bucket(made, bucket_width(window)) + bucket_width(window)
    assert usage(new, "alice", made + other - BEFORE) == 1
    assert usage(new, "alice", ends + other + bucket_width(other)) == 0
