"""Distinct members per key in a sliding window."""

from collections.abc import Sequence

import pytest
from counting.moments import BOUNDS, FIRST_NUMBERS, MEMBERS, START, WINDOWS, Past, at, steps
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from policyd.clock import WallTime
from policyd.counting.bounds import USUAL, Bounds
from policyd.counting.distinct import Hasher, WindowMembers
from policyd.counting.runs import HASH_SIZE
from policyd.counting.usage import RUN

HASH = Hasher(b"a secret of the tests")


def members(window: float = 3600, bounds: Bounds = USUAL) -> WindowMembers:
    made = WindowMembers(window, bounds)
    made.advance(at(0))
    return made


def seen(counted: WindowMembers, seconds: float, key: str, *names: str) -> None:
    counted.advance(at(seconds))
    add(counted, key, [HASH(name) for name in names], seconds)
    counted._check()


def apart(run: bytes) -> list[bytes]:
    return [run[place : place + HASH_SIZE] for place in range(0, len(run), HASH_SIZE)]


def add(counted: WindowMembers, key: str, some: Sequence[bytes], seconds: float) -> bytes:
    return counted.add(counted.timeline.current(at(seconds)), key, some)


def unknown(counted: WindowMembers, key: str, *names: str) -> list[str]:
    found = counted.unknown(key, [HASH(name) for name in names])
    return [name for name in names if HASH(name) in found]


# hashes


def test_a_hash_depends_on_the_secret_and_on_every_character() -> None:
    assert HASH("a@b.example") == Hasher(b"a secret of the tests")("a@b.example")
    assert HASH("a@b.example") != Hasher(b"another")("a@b.example")
    assert HASH("a@b.example") != HASH("a@b.exampl")
    assert len(HASH("")) == HASH_SIZE == 8


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=())))
def test_any_text_has_a_hash(text: str) -> None:
    # what was no UTF-8 in a request is an escaped surrogate, and no others come out of one
    raw = text.encode("utf-8", "surrogatepass").decode("utf-8", "surrogateescape")
    assert len(HASH(raw)) == HASH_SIZE


def test_a_secret_may_be_as_long_as_it_says() -> None:
    assert Hasher(b"x" * 64)("a") != Hasher(b"x" * 63)("a")


# members


def test_a_member_counts_once_however_often_it_is_seen() -> None:
    counted = members()
    seen(counted, 0, "alice", "x", "y", "x")
    seen(counted, 1, "alice", "y")
    seen(counted, 100, "alice", "x", "z")
    assert counted.sum("alice") == 3
    assert unknown(counted, "alice", "x", "y", "z", "new") == ["new"]


def test_keys_have_members_of_their_own() -> None:
    counted = members()
    seen(counted, 0, "alice", "x", "y")
    seen(counted, 0, "bob", "y")
    assert (counted.sum("alice"), counted.sum("bob"), counted.sum("carol")) == (
        2,
        1,
        0,
    )
    assert unknown(counted, "bob", "x", "y") == ["x"]


def test_people_who_write_to_each_other_are_counted_for_both() -> None:
    counted = members()
    seen(counted, 0, "alice@a.example", "bob@b.example")
    assert unknown(counted, "bob@b.example", "alice@a.example") == ["alice@a.example"]
    seen(counted, 0, "bob@b.example", "alice@a.example")
    assert (counted.sum("alice@a.example"), counted.sum("bob@b.example")) == (1, 1)
    # and also when they do so in different buckets
    seen(counted, 60, "alice@a.example", "bob@b.example")
    assert (counted.sum("alice@a.example"), counted.sum("bob@b.example")) == (1, 1)


def test_people_who_write_to_themselves_are_counted_each() -> None:
    counted = members()
    for minute, name in enumerate(("alice@a.example", "bob@b.example", "carol@c.example")):
        assert unknown(counted, name, name) == [name]
        seen(counted, 60 * minute, name, name)
        assert counted.sum(name) == 1


def test_a_member_is_forgotten_one_window_after_it_was_last_seen() -> None:
    counted = members(3600)
    seen(counted, 0, "alice", "x", "y")
    seen(counted, 1800, "alice", "x")
    counted.advance(at(3609))
    assert counted.sum("alice") == 2
    counted.advance(at(3610))
    assert counted.sum("alice") == 1
    assert unknown(counted, "alice", "x", "y") == ["y"]
    counted.advance(at(1800 + 3609))
    assert counted.sum("alice") == 1
    counted.advance(at(1800 + 3610))
    assert counted.sum("alice") == 0
    assert unknown(counted, "alice", "x", "y") == ["x", "y"]


def test_what_was_forgotten_and_comes_again_counts_while_the_old_is_not_tidied() -> None:
    counted = members(3600)
    seen(counted, 0, "alice", "x", "y")
    counted.advance(at(4000))
    seen(counted, 4000, "alice", "x")
    assert counted.sum("alice") == 1
    while counted.tidy(at(4000), 1):
        counted._check()
        assert counted.sum("alice") == 1
        assert unknown(counted, "alice", "x", "y") == ["y"]


def test_tidying_does_no_more_than_it_may_and_frees_all() -> None:
    counted = members(60)
    for number in range(100):
        seen(counted, 0, f"key{number}", "x", "y")
    seen(counted, 0, "alice", *[f"r{number}" for number in range(100)])
    assert counted.tidy(at(0), 1000) == 0
    assert counted.tidy(at(100), 7) == 7
    counted._check()
    done = 7
    while step := counted.tidy(at(100), 10):
        assert step <= 10
        counted._check()
        done += step
    assert done == 101  # the members of a key in one go
    assert len(counted) == 0
    assert counted.weight == 0


def test_what_is_dropped_is_unknown_at_once_and_forgotten_in_slices() -> None:
    counted = members(3600)
    for second in (0, 1800):
        for key in ("alice", "bob"):
            seen(counted, second, key, "x", f"seen at {second}")
    counted.drop()
    assert unknown(counted, "alice", "x", "seen at 0") == ["x", "seen at 0"]
    seen(counted, 1800, "alice", "x")
    assert counted.sum("alice") == 1
    for _ in range(2):
        assert counted.tidy(at(1800), 1) == 1
        counted._check()
        assert unknown(counted, "alice", "x", "seen at 1800") == ["seen at 1800"]
        assert unknown(counted, "bob", "x") == ["x"]
    assert counted.tidy(at(1800), 1) == 0
    assert len(counted) == 1


# what was counted, and where


def test_what_is_added_is_told_once_and_also_what_was_there_in_an_older_bucket() -> None:
    counted = members()
    x, y, z = HASH("x"), HASH("y"), HASH("z")
    assert add(counted, "alice", [x, y, x], 0) == x + y
    assert add(counted, "alice", [y, z], 0) == z
    assert add(counted, "alice", [x, y], 0) == b""
    assert add(counted, "alice", [], 0) == b""
    counted.advance(at(10))
    assert add(counted, "alice", [y, y, HASH("new"), x], 10) == y + HASH("new") + x
    counted._check()
    assert dict(counted.whereabouts("alice", [x, x, y, z, HASH("other")])) == {0: 1, 1: 2}
    assert dict(counted.whereabouts("bob", [x])) == {}
    assert list(counted.members()) == [(0, {"alice": z}), (1, {"alice": y + HASH("new") + x})]


def test_nothing_added_opens_nothing_for_the_key() -> None:
    counted = members()
    seen(counted, 0, "alice")
    assert len(counted._runs) == 0
    assert counted.weight == 0


def test_a_key_can_be_forgotten() -> None:
    counted = members(3600)
    for second, names in ((0, "uvw"), (100, "xyv"), (200, "zw")):
        seen(counted, second, "alice", *names)
    seen(counted, 100, "bob", "x")
    counted.forget("alice")
    counted._check()
    assert unknown(counted, "alice", *"uvwxyz") == list("uvwxyz")
    assert counted.sum("alice") == 0
    assert unknown(counted, "bob", "x") == []
    assert list(counted.keys()) == ["bob"]


@pytest.mark.parametrize("many", [1, 31, 32, 33, 34, 100, 1000])
def test_many_members_are_counted_as_few_are(many: int) -> None:
    counted = members(3600)
    names = [f"r{number}" for number in range(many)]
    seen(counted, 0, "alice", *names)
    assert counted.sum("alice") == many
    assert unknown(counted, "alice", *names, "new") == ["new"]
    # half of them again, with as many others, and each of them twice
    again = [*names[::2], *[f"s{number}" for number in range(many)]]
    seen(counted, 100, "alice", *again, *again)
    assert counted.sum("alice") == 2 * many
    here = {0: many - len(names[::2]), 1: many + len(names[::2])}
    everybody = [HASH(name) for name in {*names, *again}]
    expected = {number: some for number, some in here.items() if some}
    assert dict(counted.whereabouts("alice", everybody)) == expected
    counted.advance(at(3610))
    assert unknown(counted, "alice", *names) == names[1::2]
    # what has left is not taken for what is there, as long as it is not tidied
    assert unknown(counted, "alice", *names[1::2], *again) == names[1::2]


# runs of bytes


@settings(deadline=None, max_examples=300)
@given(
    st.lists(st.sampled_from(MEMBERS), unique=True),
    st.lists(st.integers(0, 2), min_size=8, max_size=8),
    st.sampled_from([0, 32]),
    st.sampled_from([2, 1024]),
    st.sampled_from(FIRST_NUMBERS),
)
@example([MEMBERS[2], MEMBERS[0]], [0] * 8, 32, 1024, 0)
def test_a_member_is_not_found_across_the_edges_of_others(
    present: Sequence[bytes], seconds: list[int], few: int, many: int, first: int
) -> None:
    counted = members(288, Bounds(few=few, members=many, piece=2))
    counted.timeline._first = first
    for member, second in zip(present, sorted(seconds), strict=False):
        counted.advance(at(second))
        assert add(counted, "alice", [member], second) == member
        counted._check()
    absent = [member for member in MEMBERS if member not in present]
    assert list(counted.unknown("alice", MEMBERS)) == absent
    whereabouts = counted.whereabouts("alice", MEMBERS)
    assert sum(whereabouts.values()) == len(present)
    assert set(whereabouts) == set(counted.timeline.open_numbers())
    add(counted, "alice", MEMBERS, 2)
    counted._check()
    assert counted.sum("alice") == len(MEMBERS)


def test_members_are_found_where_the_edges_look_like_them() -> None:
    # of a run of zeros, and of ones that begin with the number before them
    counted = members()
    zeros, ones = bytes(8), b"\xff" * 8
    counted.timeline._first = 2**32 - 1
    for second, member in ((0, ones), (10, zeros), (20, zeros), (20, ones)):
        counted.advance(at(second))
        assert add(counted, "alice", [member], second) == member
        assert list(counted.unknown("alice", [member])) == []
        counted._check()
    assert counted.sum("alice") == 2


def test_numbers_of_buckets_may_need_more_than_32_bits() -> None:
    counted = members(3600)
    counted.timeline._first = 2**32 - 2
    for second in range(0, 50, 10):
        seen(counted, second, "alice", "always", f"at {second}")
    found = {number: len(apart(run["alice"])) for number, run in counted.members()}
    assert list(found.items()) == [(2**32 - 2 + n, 2 if n == 4 else 1) for n in range(5)]
    counted.advance(at(3630))
    assert unknown(counted, "alice", "always", "at 10", "at 20", "at 30") == ["at 10", "at 20"]
    while counted.tidy(at(3630), 1):
        counted._check()
        assert unknown(counted, "alice", "always", "at 20", "at 30", "at 40") == ["at 20"]
    assert [number for number, _ in counted.members()] == [2**32 + 1, 2**32 + 2]


def test_each_member_weighs_as_much_as_its_entry_and_each_key_a_little_more() -> None:
    counted = members()
    weights = []
    for names in ("", "u", "uv", "uvwxyz"):
        seen(counted, 0, "alice", *names)
        weights.append(counted.weight)
    key = RUN + len("alice")
    assert weights == [0, *[key + 12 * members for members in (1, 2, 6)]]
    # what moves weighs nothing more
    seen(counted, 10, "alice", "u")
    assert counted.weight == key + 12 * 6


# against a list of everything that ever happened

# names are keys and members at once, as accounts write to each other and to themselves
NAMES = ["a@x.example", "b@x.example", "c@y.example", "d@y.example"]
HASHES = [*map(HASH, NAMES), *MEMBERS]


class MembersAgainstAList(RuleBasedStateMachine):
    @initialize(
        window=WINDOWS,
        bounds=BOUNDS,
        first=st.sampled_from(FIRST_NUMBERS),
    )
    def begin(self, window: int, bounds: Bounds, first: int) -> None:
        self.bounds = bounds
        self.counted = WindowMembers(window, self.bounds)
        self.counted.timeline._first = first
        self.past = Past(window)
        self.now = START
        self.advance()

    def advance(self) -> None:
        self.counted.advance(self.now)
        self.past.advance(self.now)

    @rule(data=st.data())
    def step(self, data: st.DataObject) -> None:
        self.now = WallTime(self.now + data.draw(steps(self.past.window)))
        self.advance()

    @rule(window=WINDOWS)
    def obey(self, window: int) -> None:
        self.counted.timeline.obey(window)
        self.past.window = window
        self.advance()

    @rule(key=st.sampled_from(NAMES), some=st.lists(st.sampled_from(HASHES), max_size=6))
    def add(self, key: str, some: list[bytes]) -> None:
        known = self.past.of(key)
        assert list(self.counted.unknown(key, some)) == [one for one in some if one not in known]
        before = dict(self.counted.members())
        number = self.counted.timeline.current(self.now)
        added = self.counted.add(number, key, some)
        had = apart(before.get(number, {}).get(key, b""))
        assert apart(added) == [one for one in dict.fromkeys(some) if one not in had]
        assert number == self.counted.timeline.open_numbers()[-1]
        self.past.count(self.now, key, *some)

    @rule(at_most=st.integers(0, 4))
    def tidy(self, at_most: int) -> None:
        assert self.counted.tidy(self.now, at_most) <= at_most

    @rule(key=st.sampled_from(NAMES))
    def forget(self, key: str) -> None:
        self.counted.forget(key)
        self.past.records = [record for record in self.past.records if record[1] != key]

    @rule()
    def drop(self) -> None:
        self.counted.drop()
        self.past.records.clear()

    @rule(first=st.sampled_from(FIRST_NUMBERS))
    def save_and_load(self, first: int) -> None:
        again = WindowMembers(self.past.window, self.bounds)
        again.timeline._first = first
        for number, members in self.counted.members():
            place = again.timeline.restore(self.counted.timeline.end(number), self.now)
            assert place is not None
            for key, run in members.items():
                assert again.add(place, key, apart(run)) == run
        again.advance(self.now)
        self.counted = again

    @invariant()
    def both_agree(self) -> None:
        counted, found = self.counted, {}
        for number, members in counted.members():
            for key, run in members.items():
                where = counted.timeline.end(number), key
                found.setdefault(where, set()).update(apart(run))
        assert found == self.past.members()
        for key in NAMES:
            known = set(self.past.of(key))
            assert counted.sum(key) == len(known)
            unknown = [one for one in HASHES if one not in known]
            assert list(counted.unknown(key, HASHES)) == unknown
            assert sum(counted.whereabouts(key, HASHES).values()) == len(known)
        counted._check()


TestMembersAgainstAList = MembersAgainstAList.TestCase
TestMembersAgainstAList.settings = settings(deadline=None, max_examples=150, stateful_step_count=40)
