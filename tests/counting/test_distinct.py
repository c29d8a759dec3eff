"""Distinct members per key in a sliding window."""

from counting.moments import START, WINDOWS, at, forgotten, steps
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from policyd.clock import WallTime
from policyd.counting.distinct import Hasher, WindowMembers

HASH = Hasher(b"a secret of the tests")


def members(window: float = 3600) -> WindowMembers:
    made = WindowMembers(window, HASH)
    made.advance(at(0))
    return made


def seen(counted: WindowMembers, seconds: float, key: str, *names: str) -> None:
    counted.advance(at(seconds))
    counted.add(key, [HASH(name) for name in names], at(seconds))
    counted._check()


def unknown(counted: WindowMembers, key: str, *names: str) -> list[str]:
    found = counted.unknown(key, [HASH(name) for name in names])
    return [name for name in names if HASH(name) in found]


# hashes


def test_a_hash_depends_on_the_secret_and_on_every_character() -> None:
    assert HASH("a@b.example") == Hasher(b"a secret of the tests")("a@b.example")
    assert HASH("a@b.example") != Hasher(b"another")("a@b.example")
    assert HASH("a@b.example") != HASH("a@b.exampl")
    assert 0 <= HASH("") < 2**64


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=())))
def test_any_text_has_a_hash(text: str) -> None:
    # what was no UTF-8 in a request is an escaped surrogate, and no others come out of one
    raw = text.encode("utf-8", "surrogatepass").decode("utf-8", "surrogateescape")
    assert 0 <= HASH(raw) < 2**64


def test_a_secret_may_be_as_long_as_it_says() -> None:
    assert Hasher(b"x" * 64)("a") != Hasher(b"x" * 63)("a")


# members


def test_a_member_counts_once_however_often_it_is_seen() -> None:
    counted = members()
    seen(counted, 0, "alice", "x", "y", "x")
    seen(counted, 1, "alice", "y")
    seen(counted, 100, "alice", "x", "z")
    assert counted.count("alice") == 3
    assert unknown(counted, "alice", "x", "y", "z", "new") == ["new"]


def test_keys_have_members_of_their_own() -> None:
    counted = members()
    seen(counted, 0, "alice", "x", "y")
    seen(counted, 0, "bob", "y")
    assert (counted.count("alice"), counted.count("bob"), counted.count("carol")) == (2, 1, 0)
    assert unknown(counted, "bob", "x", "y") == ["x"]


def test_people_who_write_to_each_other_are_counted_for_both() -> None:
    counted = members()
    seen(counted, 0, "alice@a.example", "bob@b.example")
    assert unknown(counted, "bob@b.example", "alice@a.example") == ["alice@a.example"]
    seen(counted, 0, "bob@b.example", "alice@a.example")
    assert (counted.count("alice@a.example"), counted.count("bob@b.example")) == (1, 1)
    # and also when they do so in different buckets
    seen(counted, 60, "alice@a.example", "bob@b.example")
    assert (counted.count("alice@a.example"), counted.count("bob@b.example")) == (1, 1)


def test_people_who_write_to_themselves_are_counted_each() -> None:
    counted = members()
    for minute, name in enumerate(("alice@a.example", "bob@b.example", "carol@c.example")):
        assert unknown(counted, name, name) == [name]
        seen(counted, 60 * minute, name, name)
        assert counted.count(name) == 1


def test_a_member_is_forgotten_one_window_after_it_was_last_seen() -> None:
    counted = members(3600)
    seen(counted, 0, "alice", "x", "y")
    seen(counted, 1800, "alice", "x")
    counted.advance(at(3609))
    assert counted.count("alice") == 2
    counted.advance(at(3610))
    assert counted.count("alice") == 1
    assert unknown(counted, "alice", "x", "y") == ["y"]
    counted.advance(at(1800 + 3609))
    assert counted.count("alice") == 1
    counted.advance(at(1800 + 3610))
    assert counted.count("alice") == 0
    assert unknown(counted, "alice", "x", "y") == ["x", "y"]


def test_what_was_forgotten_and_comes_again_counts_while_the_old_is_not_tidied() -> None:
    counted = members(3600)
    seen(counted, 0, "alice", "x", "y")
    counted.advance(at(4000))
    seen(counted, 4000, "alice", "x")
    assert counted.count("alice") == 1
    while counted.tidy(1):
        counted._check()
        assert counted.count("alice") == 1
        assert unknown(counted, "alice", "x", "y") == ["y"]


def test_tidying_does_no_more_than_it_may_and_frees_all() -> None:
    counted = members(60)
    seen(counted, 0, "alice", *[f"r{number}" for number in range(100)])
    assert counted.tidy(1000) == 0
    counted.advance(at(100))
    assert counted.tidy(7) == 7
    counted._check()
    done = 7
    while step := counted.tidy(10):
        assert step <= 10
        done += step
    assert done == 101  # the sum of one key, and each of its members
    assert len(counted.sums) == 0
    assert counted._last == {}
    assert counted._seen == {}


# against a list of everything that ever happened

# names are keys and members at once, as accounts write to each other and to themselves
NAMES = ["a@x.example", "b@x.example", "c@y.example", "d@y.example"]


class MembersAgainstAList(RuleBasedStateMachine):
    """Every record keeps its time; a step back makes it the present, and what is gone is gone."""

    @initialize(window=WINDOWS)
    def begin(self, window: int) -> None:
        self.window = window
        self.counted = WindowMembers(window, HASH)
        self.now = START
        self.records: list[tuple[float, str, str]] = []
        self.counted.advance(self.now)

    @rule(data=st.data())
    def step(self, data: st.DataObject) -> None:
        self.now = WallTime(self.now + data.draw(steps(self.window)))
        self.counted.advance(self.now)
        relabelled = [(min(when, self.now), key, name) for when, key, name in self.records]
        self.records = [
            record for record in relabelled if not forgotten(record[0], self.window, self.now)
        ]

    @rule(key=st.sampled_from(NAMES), names=st.lists(st.sampled_from(NAMES), max_size=6))
    def add(self, key: str, names: list[str]) -> None:
        known = {name for _, at, name in self.records if at == key}
        assert unknown(self.counted, key, *names) == [n for n in names if n not in known]
        self.counted.add(key, [HASH(name) for name in names], self.now)
        self.records += [(self.now, key, name) for name in names]

    @rule(at_most=st.integers(0, 4))
    def tidy(self, at_most: int) -> None:
        assert self.counted.tidy(at_most) <= at_most

    @rule()
    def save_and_load(self) -> None:
        kept = list(self.counted.buckets())
        again = WindowMembers(self.window, HASH)
        for number, counts, pairs in kept:
            start = self.counted.timeline.start(number)
            again.restore(again.timeline.current(start), counts, pairs)
        again.advance(self.now)
        self.counted = again

    @invariant()
    def both_agree(self) -> None:
        for key in NAMES:
            known = {name for _, at, name in self.records if at == key}
            assert self.counted.count(key) == len(known)
            assert unknown(self.counted, key, *NAMES) == [n for n in NAMES if n not in known]
        timeline = self.counted.timeline
        assert all(timeline.start(number) <= self.now for number in timeline.open_numbers())
        self.counted._check()


TestMembersAgainstAList = MembersAgainstAList.TestCase
TestMembersAgainstAList.settings = settings(deadline=None, max_examples=150, stateful_step_count=40)
