"""Forgetting one key: as if it had never been counted, and the others as they were."""

from hypothesis import given
from hypothesis import strategies as st

from policyd.clock import WallTime
from policyd.counting.counters import Claim, Counter, DistinctCounter, SumCounter
from policyd.counting.first_time import FirstTimeCounter

WINDOW = 600.0
MADE = {
    "sum": lambda: SumCounter(WINDOW),
    "distinct": lambda: DistinctCounter(WINDOW),
    "first": lambda: FirstTimeCounter(WINDOW, 2 * WINDOW),
}
moves = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(0, 5), st.sampled_from([0, 1, 100, 700])),
    max_size=40,
)


def count(counter: Counter, given: list[tuple[str, int, float]], but: str = "") -> WallTime:
    now = 1_000_000.0
    for key, number, passed in given:
        now += passed
        if key != but:
            counter.commit(Claim(key, number, [bytes([number]) * 8]), WallTime(now))
        counter.tidy(WallTime(now), 1)
    return WallTime(now)


@given(kind=st.sampled_from(["sum", "distinct"]), counted=moves, taken=st.booleans())
def test_one_key_goes_and_nothing_else(
    kind: str, counted: list[tuple[str, int, float]], taken: bool
) -> None:
    counter, other = MADE[kind](), MADE[kind]()
    now = count(counter, counted)
    count(other, counted, "a")
    if taken:
        counter.take()
        other.take()
    counter.forget("a")
    counter._check()
    for key in "abc":
        claim = Claim(key, 1, [b"new-here"])
        assert counter.figures(claim, now) == other.figures(claim, now)
    for mine, theirs in ((counter.take(), other.take()), (counter.whole(), other.whole())):
        assert not any("a" in bucket.entries for bucket in mine)
        assert [b for b in mine if b.entries] == [b for b in theirs if b.entries]
    while counter.tidy(WallTime(now + 3 * WINDOW), 7):
        counter._check()
    assert len(counter) == 0


def test_whom_it_knows_it_goes_on_knowing() -> None:
    counter = FirstTimeCounter(WINDOW, 2 * WINDOW)
    now = WallTime(1_000_000.0)
    claim = Claim("a", 0, [b"01234567"])
    counter.commit(claim, now)
    counter.forget("a")
    assert counter.figures(claim, now) == (0, 0, 0)
    counter._check()


def test_what_is_reserved_stays() -> None:
    for kind in ("sum", "distinct"):
        counter = MADE[kind]()
        now = WallTime(1_000_000.0)
        claim = Claim("a", 1, [b"01234567"])
        counter.reserve(claim)
        counter.commit(claim, now)
        counter.forget("a")
        assert counter.figures(Claim("a", 0), now).reserved == 1
        counter.release(claim)
        counter._check()


def test_slices_are_all_keys() -> None:
    counter = SumCounter(WINDOW)
    now = WallTime(1_000_000.0)
    names = [f"key {number}" for number in range(2000)]
    for name in names:
        counter.commit(Claim(name, 1), now)
    slices = list(counter.usage.slices(3))
    assert max(map(len, slices)) == 3
    assert sorted(key for some in slices for key in some) == sorted(names)
