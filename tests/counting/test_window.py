"""Time in buckets, and sums in a sliding window."""

import math

import pytest
from counting.moments import DAY, START, WINDOWS, at, bucket, forgotten, steps
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from policyd.clock import WallTime
from policyd.counting.window import Timeline, WindowSums, bucket_width

BEFORE = 1 / 1024  # seconds; a moment that a float of today's time still shows


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
    assert timeline.start(number) == bucket(made, width)
    assert list(timeline.advance(WallTime(leaves - width / 4))) == []
    assert list(timeline.advance(WallTime(leaves))) == [number]
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
    assert all(sums.timeline.start(n) <= now for n in sums.timeline.open_numbers())
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
        sums.tidy(10)
        sums._check()
        sums.advance(WallTime(now + 61))


# tidying up


def test_a_sum_is_exact_while_a_gone_bucket_is_taken_apart() -> None:
    sums = WindowSums(600)
    keys = [f"key{number}" for number in range(1000)]
    for second in (0, 590):
        sums.advance(at(second))
        for key in keys:
            sums.add(sums.timeline.current(at(second)), key, 1)
    sums.advance(at(602))
    assert len(sums) == 1000
    for slices in range(1, 11):
        assert {sums.sum(key) for key in keys} == {1}
        assert sums.tidy(100) == 100
        sums._check()
        if slices == 5:
            sums.advance(at(1192))
            assert {sums.sum(key) for key in keys} == {0}
            sums._check()
            sums.advance(at(602))
            break
    while sums.tidy(77):
        assert {sums.sum(key) for key in keys} == {0}
        sums._check()
    assert len(sums) == 0


def test_tidying_does_no_more_than_it_may() -> None:
    sums = WindowSums(1)
    sums.advance(at(0))
    for number in range(10):
        sums.add(sums.timeline.current(at(0)), str(number), 1)
    assert sums.tidy(100) == 0
    sums.advance(at(5))
    assert [sums.tidy(0), sums.tidy(4), sums.tidy(100), sums.tidy(100)] == [0, 4, 6, 0]
    assert len(sums) == 0


def test_what_is_taken_back_leaves_nothing() -> None:
    sums = WindowSums(60)
    sums.advance(at(0))
    number = sums.timeline.current(at(0))
    sums.add(number, "key", 3)
    sums.subtract(number, "key", 1)
    assert sums.sum("key") == 2
    sums.subtract(number, "key", 2)
    assert sums.sum("key") == 0
    assert len(sums) == 0
    sums._check()


# against a list of everything that ever happened

KEYS = ["a", "b", "c"]


class SumsAgainstAList(RuleBasedStateMachine):
    """Every record keeps its time; a step back makes it the present, and what is gone is gone."""

    @initialize(window=WINDOWS)
    def begin(self, window: int) -> None:
        self.window = window
        self.sums = WindowSums(window)
        self.now = START
        self.records: list[tuple[float, str, int]] = []
        self.sums.advance(self.now)

    @rule(data=st.data())
    def step(self, data: st.DataObject) -> None:
        self.now = WallTime(self.now + data.draw(steps(self.window)))
        self.sums.advance(self.now)
        relabelled = [(min(when, self.now), key, amount) for when, key, amount in self.records]
        self.records = [
            record for record in relabelled if not forgotten(record[0], self.window, self.now)
        ]

    @rule(key=st.sampled_from(KEYS), amount=st.integers(1, 10**6))
    def add(self, key: str, amount: int) -> None:
        self.sums.add(self.sums.timeline.current(self.now), key, amount)
        self.records.append((self.now, key, amount))

    @rule(at_most=st.integers(0, 5))
    def tidy(self, at_most: int) -> None:
        assert self.sums.tidy(at_most) <= at_most

    def left(self, key: str, when: float) -> int:
        return sum(
            amount
            for made, name, amount in self.records
            if name == key and not forgotten(made, self.window, when)
        )

    @invariant()
    def both_agree(self) -> None:
        for key in KEYS:
            assert self.sums.sum(key) == self.left(key, self.now)
        live = sum(sum(counts.values()) for _, counts in self.sums.buckets())
        assert live == sum(amount for _, _, amount in self.records)
        timeline = self.sums.timeline
        assert all(timeline.start(number) <= self.now for number in timeline.open_numbers())
        self.sums._check()


TestSumsAgainstAList = SumsAgainstAList.TestCase
TestSumsAgainstAList.settings = settings(deadline=None, max_examples=150, stateful_step_count=40)
