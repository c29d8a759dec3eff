"""What waits to be written: the sum of what was given, which takes over what was given."""

from math import inf

from storage.samples import NOW, flat, series

from policyd.aup.series import Series
from policyd.storage.pending import Pending


def waiting(pending: Pending) -> object:
    return flat(pending.series())


def test_at_first_nothing_waits() -> None:
    assert Pending().series() == {}


def test_what_is_given_is_added_up_by_bucket_and_key() -> None:
    pending = Pending()
    pending.add({"a": series((60, {"x": 1, "y": 2}))})
    pending.add({"a": series((60, {"x": 10}), (120, {"x": 100}))})
    assert waiting(pending) == {"a": ("messages", {(60, "x"): 11, (60, "y"): 2, (120, "x"): 100})}
    assert [(s.oldest, s.latest) for s in pending.series().values()] == [(-inf, inf)]


def test_bytes_are_put_one_after_the_other() -> None:
    pending = Pending()
    pending.add({"a": series((60, {"x": b"12345678"}))})
    pending.add({"a": series((60, {"x": b"abcdefgh"}))})
    assert waiting(pending) == {"a": ("messages", {(60, "x"): b"12345678abcdefgh"})}


def test_what_is_out_of_the_window_is_forgotten() -> None:
    pending = Pending()
    pending.add({"a": series((60, {"x": 1}), (120, {"x": 2}), (180, {"x": 4}))})
    pending.add({"a": series(oldest=120)})
    assert waiting(pending) == {"a": ("messages", {(180, "x"): 4})}


def test_what_was_in_the_future_ends_with_the_latest() -> None:
    pending = Pending()
    pending.add({"a": series((60, {"x": 1}), (120, {"x": 2}), (180, {"x": 4, "y": 8}))})
    pending.add({"a": series((90, {"x": 16}), latest=90)})
    assert waiting(pending) == {"a": ("messages", {(60, "x"): 1, (90, "x"): 22, (90, "y"): 8})}


def test_a_series_of_another_meaning_starts_empty() -> None:
    pending = Pending()
    pending.add({"a": series((60, {"x": 1})), "b": series((60, {"x": 1}))})
    pending.add({"a": series((60, {"x": 2}), meaning="bytes"), "b": series()})
    assert waiting(pending) == {
        "a": ("bytes", {(60, "x"): 2}),
        "b": ("messages", {(60, "x"): 1}),
    }


def test_a_series_that_is_not_named_is_over() -> None:
    pending = Pending()
    pending.add({"a": series((60, {"x": 1})), "b": series((60, {"x": 1}))})
    pending.add({"b": series()})
    pending.add({"a": series(), "b": series()})
    assert waiting(pending) == {"a": ("messages", {}), "b": ("messages", {(60, "x"): 1})}


def test_what_is_given_is_taken_over() -> None:
    pending = Pending()
    given = series((60, {"x": 1}), (90, {"x": 2}))
    pending.add({"a": given})
    waits = pending.series()["a"].buckets
    assert [id(held.entries) for held in waits] == [id(one.entries) for one in given.buckets]


def test_what_is_given_stays_as_it_is_until_the_next_call() -> None:
    """It is yet to be written: of two buckets that end together the first must not grow."""
    pending = Pending()
    given = {"a": series((60, {"x": 1}), (60, {"x": 2, "y": 4}), (90, {"x": 8}), latest=60)}
    before = repr(given)
    pending.add(given)
    assert repr(given) == before
    pending.add({"a": series((60, {"x": 16}))})
    assert waiting(pending) == {"a": ("messages", {(60, "x"): 27, (60, "y"): 4})}


def test_when_it_is_cleared_nothing_waits() -> None:
    pending = Pending()
    pending.add({"a": series((60, {"x": 1}))})
    pending.clear()
    pending.add({"a": Series("messages", NOW, NOW, [])})
    assert waiting(pending) == {"a": ("messages", {})}


def test_of_too_much_the_oldest_is_forgotten() -> None:
    pending = Pending(most=5)
    pending.add({"a": series((60, {"x": 1, "y": 1})), "b": series((60, {"x": 1}))})
    pending.add({"a": series((120, {"x": 1, "y": 1})), "b": series()})
    assert sum(len(entries) for _, entries in flat(pending.series()).values()) == 5
    pending.add({"a": series((120, {"z": 1})), "b": series()})
    assert flat(pending.series()) == {
        "a": ("messages", {(120, "x"): 1, (120, "y"): 1, (120, "z"): 1}),
        "b": ("messages", {(60, "x"): 1}),
    }
