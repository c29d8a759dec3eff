"""Keys with so many members that one run of bytes would be too long."""

import pytest
from counting.moments import at
from hypothesis import given, settings
from hypothesis import strategies as st

from policyd.counting.bounds import USUAL, Bounds
from policyd.counting.distinct import Hasher, WindowMembers
from policyd.counting.pieces import Pieces
from policyd.counting.runs import ENTRY

HASH = Hasher(b"a secret of the tests")
SMALL = Bounds(few=8, members=20, piece=16)


def names(first: int, after: int) -> list[bytes]:
    return [HASH(f"r{number}@away.example") for number in range(first, after)]


def heavy(many: int, window: float = 3600) -> WindowMembers:
    counted = WindowMembers(window, SMALL)
    members = names(0, many)
    for begin in range(0, many, 7):
        add(counted, members[begin : begin + 7], 0)
    return counted


def add(counted: WindowMembers, members: list[bytes], seconds: float) -> bytes:
    number = counted.timeline.current(at(seconds))
    return counted.add(number, "big.example", members)


def longest(counted: WindowMembers) -> int:
    pieces = counted._pieces["big.example"]
    return max(map(len, pieces.runs)) // ENTRY


def test_no_run_of_a_heavy_key_grows_long() -> None:
    counted = heavy(3000)
    assert counted.sum("big.example") == 3000
    counted._check()
    # no more than the bound on average; those whose turn to be divided comes last have twice it
    assert longest(counted) < 4 * SMALL.piece
    assert len(counted._pieces["big.example"].runs) >= 3000 // SMALL.piece
    assert USUAL.piece <= 1024


def test_a_heavy_key_takes_12_bytes_a_member_and_little_else() -> None:
    counted = heavy(3000)
    pieces = counted._pieces["big.example"]
    assert sum(map(len, pieces.runs)) == pieces.size == 12 * 3000
    assert counted.weight - pieces.size < 200


def test_all_members_are_found_again_and_count_once() -> None:
    counted = heavy(1000)
    members = names(0, 1000)
    for some in (members[:5], members[::3], members):
        assert counted.unknown("big.example", some) == []
        assert add(counted, some, 1) == b""
    strangers = names(1000, 1020)
    mixed = [members[7], *strangers, members[3]]
    assert counted.unknown("big.example", mixed) == strangers
    # in the order in which they are given, and each once
    assert add(counted, [*mixed, *mixed], 2) == b"".join(strangers)
    assert counted.sum("big.example") == 1020
    # seen again later, they move
    assert add(counted, mixed, 10) == b"".join(mixed)
    counted._check()
    assert dict(counted.whereabouts("big.example", names(0, 1020))) == {0: 998, 1: 22}
    held = dict(counted.members())
    assert len(held[0]["big.example"]) == 998 * 8
    assert len(held[1]["big.example"]) == 22 * 8


def test_what_has_left_the_window_is_forgotten() -> None:
    counted = heavy(1000)
    add(counted, names(900, 1100), 1800)
    counted.advance(at(3700))
    assert counted.sum("big.example") == 200
    assert counted.unknown("big.example", names(0, 1100)) == names(0, 900)
    before = counted.weight
    done = 0
    while step := counted.tidy(at(3700), 10):
        assert step <= 10
        counted._check()
        done += step
    assert done >= 1 + len(counted._pieces["big.example"].runs)
    assert before - counted.weight > 12 * 900 - 1
    assert counted.unknown("big.example", names(0, 1100)) == names(0, 900)
    counted.advance(at(6000))
    assert counted.tidy(at(6000), 1000) > 1
    counted._check()
    assert counted.weight == 0


@pytest.mark.parametrize("many", [5, 100])
def test_a_key_that_begins_anew_keeps_what_is_new_of_it(many: int) -> None:
    counted = heavy(many)
    add(counted, names(many, 2 * many), 10)
    counted.advance(at(3700))  # both buckets have left
    assert counted.tidy(at(3700), 1) == 1
    add(counted, names(0, 5), 3700)
    while counted.tidy(at(3700), 1):
        counted._check()
        assert counted.sum("big.example") == 5
        assert counted.unknown("big.example", names(0, 7)) == names(5, 7)
    assert counted.weight < 300


def test_a_heavy_key_can_be_forgotten() -> None:
    counted = heavy(500)
    counted.tidy(at(4000), 2)  # while it is walked through
    counted.forget("big.example")
    counted._check()
    assert counted.unknown("big.example", names(0, 600)) == names(0, 600)
    assert counted.weight == 0
    assert counted.tidy(at(4000), 10) == 0


def test_the_members_of_each_bucket_are_counted_without_looking_at_them() -> None:
    counted = heavy(500)
    add(counted, names(450, 600), 10)
    add(counted, names(590, 610), 20)
    assert counted.parts("big.example") == [(0, 450), (1, 140), (2, 20)]
    assert [counted.sum_from("big.example", number) for number in range(4)] == [610, 160, 20, 0]
    assert counted.last("big.example") == 2
    counted.advance(at(3615))
    assert counted.parts("big.example") == [(1, 140), (2, 20)]
    counted.advance(at(7200))
    assert counted.last("big.example") is None


def test_other_keys_stay_as_they_are() -> None:
    counted = heavy(100)
    counted.add(counted.timeline.current(at(0)), "small.example", names(0, 3))
    assert list(counted._pieces) == ["big.example"]
    assert counted.unknown("small.example", names(0, 5)) == names(3, 5)
    counted._check()


@settings(deadline=None)
@given(st.lists(st.binary(min_size=8, max_size=8), unique=True), st.integers(1, 5))
def test_every_member_has_its_piece_however_many_there_are(members: list[bytes], most: int) -> None:
    pieces = Pieces(b"", ())
    for member in members:
        at_ = pieces.of(member)
        pieces.keep(at_, pieces.runs[at_] + member + bytes(4))
        pieces.divide(most)
        pieces._check()
    assert pieces.size == ENTRY * len(members)
    assert len(pieces.runs) * most >= len(members)
