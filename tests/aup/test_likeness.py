"""Which messages are alike, told by their size."""

from fractions import Fraction
from typing import NamedTuple

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from policyd.aup.likeness import Group, Groups
from policyd.aup.policy import Likeness, LikenessBy
from policyd.clock import WallTime

LIFE = 1000.0
START = 1_800_000_000.0


def at(seconds: float) -> WallTime:
    return WallTime(START + seconds)


def groups(tolerance: float = 64, *, percent: bool = False, life: float = LIFE) -> Groups:
    return Groups(Likeness(tolerance=tolerance, percent=percent), life)


def test_without_a_message_nothing_is_like_anything() -> None:
    assert groups().find("alice", 1000, at(0)) is None


def test_looking_opens_no_group() -> None:
    known = groups()
    known.find("alice", 1000, at(0))
    assert len(known) == 0


def test_a_message_is_like_one_whose_size_differs_by_at_most_the_tolerance() -> None:
    known = groups(64)
    name = known.join("alice", 1000, at(0))
    for size in (936, 999, 1000, 1064):
        assert known.find("alice", size, at(1)) == name
        assert known.join("alice", size, at(1)) == name
    for size in (0, 935, 1065, 10**9):
        assert known.find("alice", size, at(1)) is None
    assert len(known) == 1


def test_the_first_size_is_what_counts_however_far_others_lead() -> None:
    known = groups(64)
    name = known.join("alice", 1000, at(0))
    assert known.join("alice", 1064, at(1)) == name
    assert known.join("alice", 1065, at(2)) != name


def test_a_tolerance_of_nothing_wants_the_same_size() -> None:
    known = groups(0)
    name = known.join("alice", 1000, at(0))
    assert known.find("alice", 1000, at(0)) == name
    assert known.find("alice", 1001, at(0)) is None
    assert known.find("alice", 999, at(0)) is None


def test_a_percentage_is_one_of_the_first_size() -> None:
    known = groups(10, percent=True)
    name = known.join("alice", 1000, at(0))
    for size in (900, 1000, 1100):
        assert known.find("alice", size, at(1)) == name
    for size in (899, 1101):
        assert known.find("alice", size, at(1)) is None


def test_the_nearest_group_is_joined() -> None:
    known = groups(64)
    small, large = known.join("alice", 1000, at(0)), known.join("alice", 1100, at(0))
    assert small != large
    assert known.find("alice", 1049, at(1)) == small
    assert known.find("alice", 1051, at(1)) == large


@pytest.mark.parametrize(("first", "second"), [(1000, 1100), (1100, 1000)])
def test_of_two_groups_that_are_equally_near_the_older_is_joined(first: int, second: int) -> None:
    known = groups(64)
    older = known.join("alice", first, at(0))
    known.join("alice", second, at(1))
    assert known.find("alice", 1050, at(2)) == older
    # also when the younger one was prolonged last
    known.join("alice", second, at(3))
    assert known.find("alice", 1050, at(4)) == older


def test_scopes_have_groups_of_their_own() -> None:
    known = groups(64)
    alice, bob = known.join("alice", 1000, at(0)), known.join("bob", 1000, at(0))
    assert alice != bob
    assert known.find("alice", 1010, at(0)) == alice
    assert known.find("bob", 1010, at(0)) == bob
    for other in ("", "al", "alicf", "bo", "carol"):
        assert known.find(other, 1000, at(0)) is None


def test_a_group_lives_as_long_as_it_was_told_after_the_last_message() -> None:
    known = groups(life=1000)
    name = known.join("alice", 1000, at(0))
    assert known.find("alice", 1000, at(999.99)) == name
    assert known.find("alice", 1000, at(1000)) is None
    assert known.join("alice", 1000, at(900)) == name
    assert known.find("alice", 1000, at(1899)) == name
    assert known.find("alice", 1000, at(1900)) is None


def test_looking_prolongs_no_group() -> None:
    known = groups(life=1000)
    known.join("alice", 1000, at(0))
    known.find("alice", 1000, at(900))
    assert known.find("alice", 1000, at(1000)) is None


def test_a_group_that_has_ended_stands_in_nobodys_way() -> None:
    known = groups(64, life=1000)
    live = known.join("alice", 1040, at(0))
    known.join("alice", 1000, at(0))
    known.join("alice", 1040, at(500))
    # the one at 1000 is nearer, but has ended
    assert known.find("alice", 990, at(1200)) == live
    assert known.find("alice", 1010, at(1200)) == live
    again = known.join("alice", 900, at(1200))
    assert again not in (live, None)
    known._check()


def test_a_new_group_in_the_place_of_one_that_has_ended_is_another_one() -> None:
    known = groups(life=1000)
    old = known.join("alice", 1000, at(0))
    new = known.join("alice", 1000, at(1500))
    assert new != old
    known._check()
    # and it is not forgotten with the old one
    known.tidy(at(1500), 100)
    assert known.find("alice", 1000, at(2499)) == new
    known.tidy(at(2500), 100)
    assert len(known) == 0


def test_a_step_of_the_clock_back_ends_no_group() -> None:
    known = groups(life=1000)
    name = known.join("alice", 1000, at(0))
    assert known.join("alice", 1000, at(-5000)) == name
    assert known.find("alice", 1000, at(-4001)) == name
    assert known.find("alice", 1000, at(-4000)) is None


def test_where_everything_is_alike_it_is() -> None:
    known = Groups(Likeness(by=LikenessBy.ANY), LIFE)
    assert known.find("alice", 1, at(0)) == "any"
    assert known.join("bob", 10**9, at(0)) == "any"
    assert known.find("", 0, at(10**9)) == "any"
    assert len(known) == 0


def test_rules_may_change() -> None:
    known = groups(64, life=1000)
    name = known.join("alice", 1000, at(0))
    known.obey(Likeness(tolerance=100), 2000)
    assert known.find("alice", 1100, at(1999)) == name
    known.obey(Likeness(by=LikenessBy.ANY), 2000)
    assert known.find("alice", 1000, at(0)) == "any"
    known.obey(Likeness(tolerance=0), 500)
    assert known.find("alice", 1000, at(499)) == name
    assert known.find("alice", 1001, at(0)) is None
    assert known.find("alice", 1000, at(500)) is None


# tidying up, and the disk


def test_tidying_does_no_more_than_it_may_and_forgets_only_what_has_ended() -> None:
    known = groups(0, life=1000)
    for size in range(10):
        known.join("alice", size, at(size))
    assert known.tidy(at(999), 100) == 0
    assert known.tidy(at(1004), 3) == 3
    assert len(known) == 7
    assert known.tidy(at(1004), 100) == 2
    assert len(known) == 5
    known._check()


def test_a_group_that_was_prolonged_is_looked_at_again_in_time() -> None:
    known = groups(0, life=1000)
    known.join("alice", 1, at(0))
    known.join("alice", 2, at(10))
    known.join("alice", 1, at(500))
    for second, left in ((1009, 2), (1010, 1), (1499, 1), (1500, 0)):
        known.tidy(at(second), 100)
        assert len(known) == left


def test_every_group_is_looked_at_in_turn() -> None:
    known = groups(0, life=1000)
    for size in range(20):
        known.join("alice", size, at(0))
    for size in range(0, 20, 2):
        known.join("alice", size, at(900))
    for _ in range(10):  # half of them end, in steps of two
        known.tidy(at(1000), 2)
        known._check()
    assert len(known) == 10
    assert [known.find("alice", size, at(1000)) is None for size in range(4)] == [
        False,
        True,
        False,
        True,
    ]


def test_what_is_dumped_and_restored_is_the_same() -> None:
    known = groups(64)
    names = {
        (scope, size): known.join(scope, size, at(size / 100))
        for scope in ("alice", "bob")
        for size in (5000, 1000, 3000)
    }
    kept = list(known.dump())
    assert [group.serial for group in kept] == [1, 2, 3, 4, 5, 6]
    again = groups(64)
    again.restore(kept)
    again._check()
    for (scope, size), name in names.items():
        assert again.find(scope, size + 64, at(60)) == name
    # a new group has a name that no other had
    assert again.join("alice", 2000, at(60)) == "7"
    # the first to end is the first to go, whatever order they came in
    again.tidy(at(LIFE + 10), 100)
    assert again.find("alice", 1000, at(60)) is None
    assert again.find("alice", 3000, at(60)) == names["alice", 3000]
    assert len(again) == 5


# against a list of all groups


class Kept(NamedTuple):
    scope: str
    first: int
    serial: int
    last: float


class AgainstAList(RuleBasedStateMachine):
    """Every group is looked at for every message."""

    @initialize(tolerance=st.sampled_from([0, 1, 7, 64, 0.5, 110]), percent=st.booleans())
    def begin(self, tolerance: float, percent: bool) -> None:
        self.tolerance, self.percent = tolerance, percent
        self.groups = self.fresh()
        self.now = START
        self.kept: list[Kept] = []
        self.serial = 0

    def fresh(self) -> Groups:
        return groups(self.tolerance, percent=self.percent)

    def nearest(self, scope: str, size: int) -> Kept | None:
        near = []
        for group in self.kept:
            difference = abs(group.first - size)
            allowed = Fraction(self.tolerance)
            if self.percent:
                allowed = allowed * group.first / 100
            alike = group.scope == scope and difference <= allowed
            if alike and group.last + LIFE > self.now:
                near.append((difference, group.serial, group))
        return min(near)[2] if near else None

    @rule(seconds=st.sampled_from([0, 1, 100, 400, LIFE - 1, LIFE, 3 * LIFE]))
    def later(self, seconds: float) -> None:
        self.now += seconds

    @rule(scope=st.sampled_from("abc"), size=st.integers(0, 40) | st.integers(990, 1010))
    def join(self, scope: str, size: int) -> None:
        group = self.nearest(scope, size)
        found = self.groups.find(scope, size, WallTime(self.now))
        assert found == (None if group is None else str(group.serial))
        if group is None:
            self.serial += 1
            group = Kept(scope, size, self.serial, self.now)
        else:
            self.kept.remove(group)
        self.kept.append(group._replace(last=self.now))
        assert self.groups.join(scope, size, WallTime(self.now)) == str(group.serial)

    @rule(at_most=st.integers(0, 5))
    def tidy(self, at_most: int) -> None:
        assert self.groups.tidy(WallTime(self.now), at_most) <= at_most

    @rule()
    def tidy_all(self) -> None:
        while self.groups.tidy(WallTime(self.now), 100):
            pass
        live = [group for group in self.kept if group.last + LIFE > self.now]
        assert len(self.groups) == len(live)

    @rule()
    def save_and_load(self) -> None:
        kept = [Group(*group) for group in self.groups.dump()]
        self.groups = self.fresh()
        self.groups.restore(kept)
        # the names of groups that are gone may be given again
        self.serial = max([group.serial for group in kept], default=0)

    @invariant()
    def is_sound(self) -> None:
        self.groups._check()


TestAgainstAList = AgainstAList.TestCase
TestAgainstAList.settings = settings(deadline=None, max_examples=150, stateful_step_count=40)
