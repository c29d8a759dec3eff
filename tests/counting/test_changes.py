"""What was counted and is yet to be kept."""

import pytest

from policyd.counting.changes import Bucket, Changes, Taken


def changes(*notes: tuple[str, int | bytes]) -> Changes:
    made = Changes()
    for key, value in notes:
        made.note(key, value)
    return made


@pytest.mark.parametrize(
    ("notes", "entries"),
    [
        ([], {}),
        ([("a", 1), ("b", 2)], {"a": 1, "b": 2}),
        ([("a", 1), ("b", 2), ("a", 3)], {"a": 4, "b": 2}),
        ([("a", b"x"), ("b", b"yz"), ("a", b"z")], {"a": b"xz", "b": b"yz"}),
        # what was forgotten, known or not, and counted again
        ([("a", 1), ("b", 2), ("a", 0)], {"b": 2}),
        ([("a", 0)], {}),
        ([("a", b"x"), ("a", 0), ("a", b"y")], {"a": b"y"}),
        ([("a", 5), ("a", 0), ("a", 1), ("a", 1)], {"a": 2}),
    ],
)
def test_values_of_a_key_are_added_up(
    notes: list[tuple[str, int | bytes]], entries: dict[str, int] | dict[str, bytes]
) -> None:
    assert changes(*notes).entries() == entries


def test_buckets_are_made_when_they_are_looked_at() -> None:
    late = changes(("a", 1))
    taken = Taken([(10.0, late), (20.0, Changes()), (30.0, changes(("b", 2)))])
    assert len(taken) == 2
    late.note("a", 1)
    assert list(taken) == [Bucket(10.0, {"a": 2}), Bucket(30.0, {"b": 2})]
    assert taken[-1:] == [Bucket(30.0, {"b": 2})]
    late.note("a", 1)
    assert taken[0].entries is taken[0].entries
    assert not Taken([(10.0, Changes())])
