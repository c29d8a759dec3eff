"""Time in buckets, and sums in a sliding window."""

import math
from collections import Counter

import pytest
from counting.moments import (
    BEFORE,
    DAY,
    FIRST_NUMBERS,
    START,
    WINDOWS,
    Past,
    at,
    bucket,
    ends,
    forgotten,
    steps,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from policyd.clock import WallTime
from policyd.counting.runs import ENTRY
from policyd.counting.sums import WindowSums
from policyd.counting.usage import RUN
from policyd.counting.window import Timeline, bucket_width


@settings(deadline=None, max_examples=400)
@given(st.integers(1, 400 * DAY))
def test_a_window_has_at_least_60_buckets_with_edges_in_whole_parts(window: int) -> None:
    width = bucket_width(window)
    assert 60 * width <= window
    assert window / width < 1000  # and not so many that a step of the clock would be felt
    # edges are exact: a width is a whole number of seconds, or one of 2, 4, 8, … parts of a second
    assert width == int(width) or math.frexp(width)[0] == 0.5


def test_a_short_window_has_as_many() -> None:
    assert [window for window in range(1, 4000) if 60 * bucket_width(window) > window] == []


@pytest.mark.parametrize(
    ("window", "width"),
    [(1, 1 / 64), (60, 1 / 8), (600, 2), (3600, 10), (DAY, 300), (7 * DAY, 1800), (400 * DAY, DAY)],
)
def test_the_widths_are_ones_that_people_know(window: int, width: float) -> None:
    assert bucket_width(window) == width


@pytest.mark.parametrize("width", [1 / 2, 1, 5, 10, 30, 60, 300, 600, 1800, 3600, 21600, 86400])
def test_wider_buckets_begin_where_a_window_has_288_of_them(width: float) -> None:
    assert bucket_width(288 * width) == width
    assert bucket_width(288 * width - 1) < width
    # and their edges are those of the day, or of the hour
    assert DAY % width == 0


@settings(deadline=None)
@given(WINDOWS, st.floats(0, 400 * DAY))
def test_a_count_is_forgotten_between_a_window_and_one_bucket_more(
    window: int, offset: float
) -> None:
    made, width = at(offset), bucket_width(window)
    sums = WindowSums(window)
    sums.advance(made)
    sums.add(sums.timeline.current(made), "key", 5)
    sums.advance(WallTime(made + window - BEFORE))
    assert sums.sum("key") == 5
    sums.advance(WallTime(made + window))
    # only what stands on the last moment of its bucket may go exactly then
    assert sums.sum("key") == 5 or forgotten(made, window, made + window)
    sums.advance(WallTime(made + window + width))
    assert sums.sum("key") == 0
    sums._check()


@settings(deadline=None)
@given(WINDOWS, st.floats(0, 400 * DAY))
def test_a_bucket_leaves_at_its_end_plus_the_window(window: int, offset: float) -> None:
    made, width = at(offset), bucket_width(window)
    timeline = Timeline(window)
    timeline.advance(made)
    number = timeline.current(made)
    leaves = bucket(made, width) + width + window
    assert timeline.leaves(number) == leaves
    assert timeline.end(number) == bucket(made, width) + width
    timeline.advance(WallTime(leaves - width / 4))
    assert timeline.first == number
    timeline.advance(leaves)
    assert timeline.first == number + 1


def test_looking_often_and_looking_seldom_see_the_same() -> None:
    often, seldom = WindowSums(600), WindowSums(600)
    for sums in (often, seldom):
        for second in (0, 1, 1.9, 2, 7, 300):
            sums.advance(at(second))
            sums.add(sums.timeline.current(at(second)), "key", 1)
    seen = []
    for half_second in range(601, 2000):
        now = at(half_second / 2)
        often.advance(now)
        if half_second % 7 == 0:
            seldom.advance(now)
            assert seldom.sum("key") == often.sum("key")
            seen.append(seldom.sum("key"))
    assert sorted(set(seen), reverse=True) == [6, 3, 2, 1, 0]


def test_moments_of_one_bucket_share_it_and_the_next_has_its_own() -> None:
    timeline = Timeline(600)
    numbers = []
    for second in (0, 1.99, 2, 3, 4, 100):
        timeline.advance(at(second))
        numbers.append(timeline.current(at(second)))
    assert numbers == [0, 0, 1, 1, 2, 3]
    timeline._check()


# steps of the clock


def test_a_step_back_makes_no_bucket_of_the_future() -> None:
    sums = WindowSums(DAY)
    for hour in range(12):
        sums.advance(at(hour * 3600))
        sums.add(sums.timeline.current(at(hour * 3600)), "key", 1)
    now = at(-7 * DAY)
    sums.advance(now)
    assert sums.sum("key") == 12
    assert {sums.timeline.end(n) for n in sums.timeline.open_numbers()} == {at(-7 * DAY + 300)}
    assert sums.timeline.current(now) == 11
    sums._check()
    # nobody is locked out for longer than the window
    sums.advance(WallTime(now + DAY - 1))
    assert sums.sum("key") == 12
    sums.advance(WallTime(now + DAY + 300))
    assert sums.sum("key") == 0


def test_what_a_step_back_does_not_reach_keeps_its_time() -> None:
    sums = WindowSums(3600)
    for minute in (0, 30):
        sums.advance(at(minute * 60))
        sums.add(sums.timeline.current(at(minute * 60)), "key", 1)
    sums.advance(at(10 * 60))
    sums.advance(at(60 * 60 + 10))
    assert sums.sum("key") == 1
    sums.advance(at(70 * 60))
    assert sums.sum("key") == 1
    sums.advance(at(70 * 60 + 10))
    assert sums.sum("key") == 0


def test_a_step_forward_of_less_than_the_window_does_not_forget_everything() -> None:
    sums = WindowSums(DAY)
    for hour in (0, 12):
        sums.advance(at(hour * 3600))
        sums.add(sums.timeline.current(at(hour * 3600)), "key", 1)
    sums.advance(at(12 * 3600 + DAY - 1))
    assert sums.sum("key") == 1
    # and back: what was forgotten stays forgotten, the rest is as it was
    sums.advance(at(12 * 3600))
    assert sums.sum("key") == 1


def test_a_step_forward_of_more_than_the_window_forgets_and_counting_goes_on() -> None:
    sums = WindowSums(60)
    sums.advance(at(0))
    sums.add(sums.timeline.current(at(0)), "key", 1)
    for now in (at(10 * DAY), at(0)):
        sums.advance(now)
        assert sums.sum("key") == 0
        sums.add(sums.timeline.current(now), "key", 3)
        assert sums.sum("key") == 3
        sums.tidy(now, 10)
        sums._check()
        sums.advance(WallTime(now + 61))


# tidying up


def keys_counted(*seconds: float, many: int = 1000, window: float = 600) -> WindowSums:
    """Return sums of so *many* keys, each counted at those *seconds*."""
    sums = WindowSums(window)
    for second in seconds:
        for number in range(many):
            sums.add(sums.timeline.current(at(second)), f"key{number}", 1)
    return sums


def test_a_sum_is_exact_while_what_has_left_is_looked_for() -> None:
    sums = keys_counted(0, 590)
    keys = list(sums.keys())
    light = keys_counted(590).weight
    for turn in range(10):
        assert {sums.sum(key) for key in keys} == {2 if turn == 0 else 1}
        assert sums.tidy(at(602), 100) == 100
        sums._check()
        if turn == 4:
            sums.advance(at(1192))
            assert {sums.sum(key) for key in keys} == {0}
            sums._check()
            break
    assert len(sums) == 1000
    while sums.tidy(at(1192), 77):
        assert {sums.sum(key) for key in keys} == {0}
        sums._check()
    # another walk, as this one began before all had left
    while sums.tidy(at(1300), 77):
        sums._check()
    assert len(sums) == 0
    assert sums.weight == 0 < light


def test_of_what_is_older_no_more_is_left_than_what_the_rest_began_from() -> None:
    sums = keys_counted(*range(0, 300, 2), many=3)
    while sums.tidy(at(600 + 200), 1):
        sums._check()
    assert [sums.sum(f"key{number}") for number in range(3)] == [50] * 3
    assert sums.weight - keys_counted(*range(200, 300, 2), many=3).weight == 3 * ENTRY


def test_tidying_does_no_more_than_it_may() -> None:
    sums = keys_counted(0, many=10, window=1)
    assert sums.tidy(at(0), 100) == 0
    assert [sums.tidy(at(5), many) for many in (0, 4, 100, 100)] == [0, 4, 6, 0]
    assert len(sums) == 0


def test_keys_are_walked_through_now_and_then_when_anything_has_left() -> None:
    sums = keys_counted(0, 10, 20, many=10)
    walks = [second for second in range(20, 1200) if sums.tidy(at(second), 100)]
    assert walks == [602, 640]
    assert len(sums) == 0


def test_a_clock_that_is_stepped_back_does_not_put_off_the_next_walk() -> None:
    sums = keys_counted(0, many=10)
    assert sums.tidy(at(DAY), 100) == 10
    sums.add(sums.timeline.current(at(-DAY)), "key", 1)
    assert sums.tidy(at(602 - DAY), 100) == 1
    assert len(sums) == 0


def test_what_is_forgotten_leaves_nothing() -> None:
    sums = keys_counted(0, 10, many=2)
    sums.forget("key0")
    sums.forget("nobody")
    assert [sums.sum("key0"), sums.sum("key1"), len(sums)] == [0, 2, 1]
    sums._check()
    sums.forget("key1")
    assert sums.weight == 0


def test_what_is_dropped_counts_no_more_and_is_forgotten_in_slices() -> None:
    sums = keys_counted(0, 300, 601.9, many=3)
    sums.advance(at(602))  # the first bucket has left already
    sums.drop()
    assert sums.sum("key0") == 0
    assert sums.buckets() == {}
    sums._check()
    # and counting may go on meanwhile
    sums.add(sums.timeline.current(at(602)), "key0", 5)
    assert [sums.tidy(at(602), 2), sums.tidy(at(602), 2), sums.tidy(at(602), 2)] == [2, 1, 0]
    assert (sums.sum("key0"), sums.sum("key1")) == (5, 0)
    sums._check()
    assert len(sums) == 1


# how big it is


def test_the_weight_is_that_of_the_keys_and_of_their_buckets() -> None:
    sums = WindowSums(3600)
    assert sums.weight == 0
    weights = []
    for second, key in ((0, "key"), (1, "key"), (10, "key"), (10, "a longer key")):
        sums.add(sums.timeline.current(at(second)), key, 10**6)
        weights.append(sums.weight)
    one, long = RUN + len("key") + ENTRY, RUN + len("a longer key") + ENTRY
    assert weights == [one, one, one + ENTRY, one + ENTRY + long]


def test_a_key_in_24_buckets_takes_little_more_than_in_one() -> None:
    assert keys_counted(*range(24), many=1).weight < 1000


def test_a_sum_may_be_larger_than_any_amount() -> None:
    sums = WindowSums(60)
    for second in range(3):
        for _ in range(2):
            sums.add(sums.timeline.current(at(second)), "key", 2**61)
    assert sums.sum("key") == 6 * 2**61
    assert sums.parts("key") == [(0, 2**62), (1, 2**62), (2, 2**62)]
    # and what is no size of anything does no harm
    sums.add(sums.timeline.current(at(3)), "key", 2**70 + 5)
    sums.add(sums.timeline.current(at(3)), "other", 2**70 + 5)
    sums._check()


def test_parts_and_sums_are_told_from_a_bucket_on() -> None:
    sums = keys_counted(0, 4, 4, 8, many=1)
    assert sums.parts("key0") == [(0, 1), (1, 2), (2, 1)]
    assert [sums.sum_from("key0", number) for number in range(4)] == [4, 3, 1, 0]
    assert sums.buckets() == {0: {"key0": 1}, 1: {"key0": 2}, 2: {"key0": 1}}
    assert sums.last("key0") == 2
    sums.advance(at(603))
    assert sums.parts("key0") == [(1, 2), (2, 1)]
    sums.advance(at(700))
    assert [sums.parts("key0"), sums.last("key0"), sums.last("nobody")] == [[], None, None]


def test_buckets_are_found_by_their_ends() -> None:
    timeline = Timeline(600)
    for second in (0, 4, 8):
        timeline.current(at(second))
    found = [timeline.number_after(at(second)) for second in (-5, 1.9, 2, 6, 9.9, 10, 99)]
    assert found == [0, 0, 1, 2, 2, 3, 3]


# other windows


@pytest.mark.parametrize("window", [60, 1800, 3599, 3601, 7 * DAY])
def test_another_window_leaves_the_buckets_their_ends(window: int) -> None:
    sums = WindowSums(3600)
    for second in (0, 45):
        sums.advance(at(second))
        sums.add(sums.timeline.current(at(second)), "key", 1)
    sums.timeline.obey(window)
    assert sums.timeline.width == bucket_width(window)
    for end, left in ((10, 1), (50, 0)):
        sums.advance(at(end + window - BEFORE))
        assert sums.sum("key") == left + 1
        sums.advance(at(end + window))
        assert sums.sum("key") == left


def test_a_narrower_window_forgets_at_the_next_look() -> None:
    sums = WindowSums(3600)
    sums.advance(at(0))
    sums.add(sums.timeline.current(at(0)), "key", 1)
    sums.advance(at(5))
    sums.timeline.obey(1)
    sums.advance(at(9))
    # the bucket ends with the present one: an end in the future is none
    assert sums.timeline.end(0) == at(9 + 1 / 64)
    assert sums.sum("key") == 1
    sums.advance(at(11))
    assert sums.sum("key") == 0


def test_a_wider_window_does_not_bring_back_what_was_forgotten() -> None:
    sums = WindowSums(60)
    for second in (0, 30):
        sums.advance(at(second))
        sums.add(sums.timeline.current(at(second)), "key", 1)
    sums.advance(at(70))
    sums.timeline.obey(DAY)
    sums.advance(at(70))
    assert sums.sum("key") == 1
    sums.advance(at(DAY + 30))
    assert sums.sum("key") == 1
    sums.advance(at(DAY + 31))
    assert sums.sum("key") == 0


# what is restored


@settings(deadline=None, max_examples=200)
@given(WINDOWS, st.data())
def test_a_bucket_is_restored_with_its_end_unless_that_is_gone_or_yet_to_come(
    window: int, data: st.DataObject
) -> None:
    now = at(window / 3)
    offsets = st.lists(st.floats(-1.5 * window, 1.5 * window), max_size=10)
    timeline = Timeline(window)
    numbers = []
    for offset in sorted(data.draw(offsets)):
        end = now + offset
        number = timeline.restore(end, now)
        timeline._check()
        if end <= now - window:
            assert number is None
            continue
        assert number is not None
        assert timeline.end(number) == min(end, ends(now, window))
        assert number == timeline.open_numbers()[-1]
        numbers.append(number)
    assert numbers == sorted(numbers)
    # and time goes on
    for number in dict.fromkeys(numbers):
        leaves = timeline.leaves(number)
        timeline.advance(WallTime(leaves - BEFORE))
        assert timeline.first <= number
        timeline.advance(leaves)
        assert timeline.first > number


def test_a_bucket_that_ends_where_the_window_begins_has_left() -> None:
    timeline = Timeline(60)
    assert timeline.restore(at(-60), at(0)) is None
    assert timeline.restore(at(BEFORE - 60), at(0)) == 0


def test_what_is_restored_may_leave_before_the_present_bucket_ends() -> None:
    # it was counted in narrower buckets
    timeline = Timeline(3600)
    number = timeline.restore(at(7 - 3600), at(5))
    timeline.advance(at(7 - BEFORE))
    assert timeline.first == number
    timeline.advance(at(7))
    assert timeline.first == number + 1


def test_buckets_that_end_together_are_restored_as_one() -> None:
    timeline = Timeline(60)
    numbers = [timeline.restore(end, at(0)) for end in (at(-5), at(-5), at(-4), at(9), at(99))]
    assert numbers == [0, 0, 1, 2, 2]


# against a list of everything that ever happened


class TimelineAgainstAList(RuleBasedStateMachine):
    @initialize(window=WINDOWS)
    def begin(self, window: int) -> None:
        self.window = window
        self.timeline = Timeline(window)
        self.now = START
        self.ends: dict[int, float] = {}
        self.opened = 0
        self.advance()

    def advance(self) -> None:
        self.timeline.advance(self.now)
        latest = ends(self.now, self.window)
        aged = {number: min(end, latest) for number, end in self.ends.items()}
        self.ends = {n: end for n, end in aged.items() if end > self.now - self.window}

    @rule(data=st.data())
    def step(self, data: st.DataObject) -> None:
        self.now = WallTime(self.now + data.draw(steps(self.window)))
        self.advance()

    @rule(window=WINDOWS)
    def obey(self, window: int) -> None:
        self.window = window
        self.timeline.obey(window)
        self.advance()

    @rule()
    def count(self) -> None:
        end = ends(self.now, self.window)
        if end not in self.ends.values():
            self.ends[self.opened] = end
            self.opened += 1
        assert self.timeline.current(self.now) == self.opened - 1

    @invariant()
    def both_agree(self) -> None:
        timeline = self.timeline
        assert list(timeline.open_numbers()) == list(self.ends)
        assert timeline.first == min(self.ends, default=self.opened)
        for number, end in self.ends.items():
            assert timeline.end(number) == end
            assert timeline.leaves(number) == end + self.window
        assert timeline.latest(self.now) == ends(self.now, self.window)
        assert timeline.oldest(self.now) == self.now - self.window
        timeline._check()


TestTimelineAgainstAList = TimelineAgainstAList.TestCase
TestTimelineAgainstAList.settings = settings(
    deadline=None, max_examples=100, stateful_step_count=40
)

KEYS = ["a", "b", "c"]


class SumsAgainstAList(RuleBasedStateMachine):
    @initialize(window=WINDOWS, first=st.sampled_from(FIRST_NUMBERS))
    def begin(self, window: int, first: int) -> None:
        self.sums = WindowSums(window)
        self.sums.timeline._first = first
        self.past = Past(window)
        self.now = START
        self.advance()

    def advance(self) -> None:
        self.sums.advance(self.now)
        self.past.advance(self.now)

    @rule(data=st.data())
    def step(self, data: st.DataObject) -> None:
        self.now = WallTime(self.now + data.draw(steps(self.past.window)))
        self.advance()

    @rule(window=WINDOWS)
    def obey(self, window: int) -> None:
        self.sums.timeline.obey(window)
        self.past.window = window
        self.advance()

    @rule(key=st.sampled_from(KEYS), amount=st.integers(1, 10**6))
    def add(self, key: str, amount: int) -> None:
        self.sums.add(self.sums.timeline.current(self.now), key, amount)
        self.past.count(self.now, key, amount)

    @rule(key=st.sampled_from(KEYS))
    def forget(self, key: str) -> None:
        self.sums.forget(key)
        self.past.records = [record for record in self.past.records if record[1] != key]

    @rule(at_most=st.integers(0, 5))
    def tidy(self, at_most: int) -> None:
        assert self.sums.tidy(self.now, at_most) <= at_most

    @rule()
    def drop(self) -> None:
        self.sums.drop()
        self.past.records.clear()

    @invariant()
    def both_agree(self) -> None:
        for key in KEYS:
            assert self.sums.sum(key) == sum(self.past.of(key))
        found: Counter[tuple[float, str]] = Counter()
        for number, held in self.sums.buckets().items():
            end = self.sums.timeline.end(number)
            found.update({(end, key): amount for key, amount in held.items()})
        assert found == self.past.sums()
        for key in KEYS:
            parts = self.sums.parts(key)
            assert self.sums.last(key) == (parts[-1][0] if parts else None)
            for number in self.sums.timeline.open_numbers():
                later = sum(amount for bucket, amount in parts if bucket >= number)
                assert self.sums.sum_from(key, number) == later
        self.sums._check()


TestSumsAgainstAList = SumsAgainstAList.TestCase
TestSumsAgainstAList.settings = settings(deadline=None, max_examples=150, stateful_step_count=40)
