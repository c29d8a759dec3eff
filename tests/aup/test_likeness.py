"""Which messages are alike, told by their size."""

from fractions import Fraction
from typing import NamedTuple, cast

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from policyd.aup.likeness import MOVED_AT_ONCE, Groups
from policyd.aup.likeness_grid import Group, unpack
from policyd.aup.policy import Likeness, LikenessBy
from policyd.clock import WallTime

LIFE = 1000.0
START = 1_800_000_000.0


def at(seconds: float) -> WallTime:
    return WallTime(START + seconds)


def groups(tolerance: float = 64, *, percent: bool = False, life: float = LIFE) -> Groups:
    return Groups(Likeness(tolerance=tolerance, percent=percent), life)


def tidied(known: Groups, seconds: float) -> None:
    """Let *known* be looked through, twice and more."""
    for _ in range(2 * len(known) + 2000):
        known.tidy(at(seconds), 10)


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
    done = [known.tidy(at(1004), 3) for _ in range(4)]
    assert max(done) <= 3
    assert sum(done) == 5
    assert [known.find("alice", size, at(999)) is None for size in range(10)] == [
        size < 5 for size in range(10)
    ]
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


def taken(known: Groups) -> dict[str, bytes]:
    return cast("dict[str, bytes]", known.take().entries())


def test_what_is_taken_and_restored_is_the_same() -> None:
    known = groups(64)
    names = {
        (scope, size): known.join(scope, size, at(size / 100))
        for scope in ("alice", "bob")
        for size in (5000, 1000, 3000)
    }
    kept = taken(known)
    assert kept.keys() == {"alice", "bob"}
    whole = {scope: sorted(unpack(packed)) for scope, packed in known.whole().items()}
    assert whole == {scope: sorted(unpack(packed)) for scope, packed in kept.items()}
    again = groups(64)
    again.restore(kept)
    again._check()
    for (scope, size), name in names.items():
        assert again.find(scope, size + 64, at(60)) == name
    # a new group has a name that no other had
    assert again.join("alice", 2000, at(60)) == "7"
    # the first to end is the first to go, whatever order they came in
    tidied(again, LIFE + 10)
    assert again.find("alice", 1000, at(60)) is None
    assert again.find("alice", 3000, at(60)) == names["alice", 3000]
    assert len(again) == 5


def test_only_what_changed_is_taken() -> None:
    known = groups(64)
    name = known.join("alice", 1000, at(0))
    known.join("bob", 5000, at(0))
    known.take()
    assert taken(known) == {}
    known.find("bob", 5000, at(1))
    assert known.join("alice", 1010, at(2)) == name
    assert {scope: list(unpack(packed)) for scope, packed in taken(known).items()} == {
        "alice": [Group(1000, int(name), at(2))]
    }


def test_the_latest_of_what_was_taken_counts() -> None:
    known = groups(64, life=1000)
    name = known.join("alice", 1000, at(0))
    first = taken(known)
    known.join("alice", 1000, at(500))
    again = groups(64, life=1000)
    again.restore(first)
    again.restore(taken(known))
    assert len(again) == 1
    assert again.find("alice", 1000, at(1499)) == name


def test_what_is_no_group_is_refused() -> None:
    with pytest.raises(ValueError, match="cut short"):
        groups().restore({"alice": b"0" * 23})


def test_after_a_step_back_no_group_lives_longer_than_it_may() -> None:
    known = groups(life=1000)
    known.join("alice", 1000, at(100_000))
    tidied(known, 0)
    assert known.find("alice", 1000, at(999)) is not None
    assert known.find("alice", 1000, at(1000)) is None


# a changed tolerance where there are many groups


def test_a_changed_tolerance_holds_when_all_groups_have_moved() -> None:
    known = groups(10)
    many = 3 * MOVED_AT_ONCE
    names = [known.join("alice", 100 * n, at(0)) for n in range(many)]
    known.obey(Likeness(tolerance=40), LIFE)
    known._check()
    # until then the old one does, for what comes in between as well
    assert known.find("alice", 30, at(0)) is None
    late = known.join("alice", 50, at(0))
    assert known.join("alice", 100, at(500)) == names[1]
    tidied(known, 500)
    known._check()
    assert len(known) == many + 1
    assert known.find("alice", 30, at(0)) == late
    assert known.find("alice", 15, at(0)) == names[0]
    assert known.find("alice", 100 * many - 70, at(0)) == names[-1]
    assert known.find("alice", 110, at(1499)) == names[1]
    assert known.find("alice", 210, at(1499)) is None


def test_a_tolerance_that_changes_again_and_again_ends_as_the_last_one() -> None:
    known = groups(10)
    for n in range(2 * MOVED_AT_ONCE):
        known.join("alice", 1000 * n, at(0))
    for tolerance, percent in ((20, False), (5, True), (10, False), (300, False), (100, True)):
        known.obey(Likeness(tolerance=tolerance, percent=percent), LIFE)
        known.tidy(at(0), 10)
    known.obey(Likeness(tolerance=30), LIFE)
    tidied(known, 0)
    known._check()
    assert len(known) == 2 * MOVED_AT_ONCE
    assert known.find("alice", 7030, at(0)) == "8"
    assert known.find("alice", 7031, at(0)) is None


# memory


def spared(scope: str, _name: str) -> bool:
    return scope == "near"


def test_what_was_prolonged_longest_ago_is_evicted_first() -> None:
    known = groups(0)
    for n in range(100):
        known.join("alice", n, at(n))
    before = known.weight
    evicted = 0
    while len(known) > 40:
        evicted += known.evict(10, spared)
        known._check()
    assert evicted == 100 - len(known)
    assert known.weight < before
    # first of all the older half, and of what is left again
    assert all(known.find("alice", n, at(100)) is None for n in range(50))
    assert all(known.find("alice", n, at(100)) is not None for n in range(75, 100))


def test_what_is_near_a_limit_is_evicted_last() -> None:
    known = groups(0)
    for n in range(50):
        known.join("near", n, at(n))
        known.join("far", n, at(1000 + n) if n % 2 else at(n))
    for _ in range(200):
        known.evict(10, spared)
        if len(known) <= 50:
            break
    assert all(known.find("near", n, at(100)) is not None for n in range(50))
    for _ in range(200):
        known.evict(10, spared)
    assert len(known) == 0
    assert known.weight == 0


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
        for _ in range(3):  # what came into a part that is just looked at waits for the next turn
            self.groups.tidy(WallTime(self.now), 100)
        live = [group for group in self.kept if group.last + LIFE > self.now]
        assert len(self.groups) == len(live)

    @rule()
    def save_and_load(self) -> None:
        kept = self.groups.whole()
        self.groups = self.fresh()
        self.groups.restore(kept)
        # the names of groups that are gone may be given again
        groups = [group for packed in kept.values() for group in unpack(packed)]
        self.serial = max([group.serial for group in groups], default=0)

    @invariant()
    def is_sound(self) -> None:
        self.groups._check()


TestAgainstAList = AgainstAList.TestCase
TestAgainstAList.settings = settings(deadline=None, max_examples=150, stateful_step_count=40)
