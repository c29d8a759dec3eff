"""Sketches, and what they tell of what two texts have in common."""

from random import Random

import pytest

from policyd.content.fingerprint import SKETCH, are_alike, share, votes_needed
from policyd.content.sketch import Sketcher

SKETCHER = Sketcher(b"secret")
PINNED = (735497121, 1390097520, 1576114553, 2082325504, 2982092089, 3112067933, 3940264998)
PINNED_EXACT = (3561285604, 63160861)


def drawn(random: Random, number: int) -> list[str]:
    return [f"w{random.randrange(10**6)}" for _ in range(number)]


def sketch(words: list[str]) -> tuple[int, ...]:
    return SKETCHER.sketch(SKETCHER.shingles(words))


def test_a_sketch_is_the_smallest_hashes() -> None:
    shingles = SKETCHER.shingles(drawn(Random(1), 500))
    assert len(shingles) == 498
    assert SKETCHER.sketch(shingles) == tuple(sorted(shingles)[:SKETCH])
    assert all(0 <= one < 2**32 for one in shingles)


def test_few_words() -> None:
    assert SKETCHER.shingles(["a", "b"]) == set()
    assert len(SKETCHER.shingles(["a", "b", "c"])) == 1


def test_the_order_of_words_matters() -> None:
    orders = ("a b c", "a c b", "b a c", "b c a", "c a b", "c b a", "a a b", "a b b")
    assert len({one for order in orders for one in SKETCHER.shingles(order.split())}) == len(orders)


def test_the_secret_matters() -> None:
    words = drawn(Random(2), 300)
    other = Sketcher(b"another")
    assert not SKETCHER.shingles(words) & other.shingles(words)
    assert SKETCHER.exact([b"a"]) != other.exact([b"a"])


def test_the_secret_alone_matters() -> None:
    # what is on the disk has to mean the same after a restart and in the next version
    assert sketch("the quick brown fox jumps over the lazy dog".split()) == PINNED
    assert SKETCHER.exact([b"a", b"bc"]) == PINNED_EXACT


def test_exact_hashes_keep_the_parts_apart() -> None:
    found = {SKETCHER.exact(parts) for parts in ([b"ab"], [b"a", b"b"], [b"a", b"b", b""], [])}
    assert len(found) == 4
    assert all(len(one) == 2 for one in found)


def test_hashes_are_spread_evenly() -> None:
    shingles = SKETCHER.shingles(drawn(Random(3), 20_000))
    assert len(shingles) > 19_990
    for bit in (0, 7, 16, 24, 31):
        ones = sum(one >> bit & 1 for one in shingles) / len(shingles)
        assert 0.48 < ones < 0.52


@pytest.mark.parametrize("common", [0.25, 0.5, 0.75])
def test_what_is_shared_is_estimated(common: float) -> None:
    random = Random(4)
    found = []
    for _ in range(50):
        one = drawn(random, 400)
        other = one[: round(400 * common)] + drawn(random, round(400 * (1 - common)))
        found.append(share(sketch(one), sketch(other)))
    assert abs(sum(found) / len(found) - common) < 0.05


def test_many_words_are_forgotten_and_hashed_again() -> None:
    words = [f"w{number}" for number in range(60_000)]
    assert SKETCHER.shingles(words) == SKETCHER.shingles(words)


def test_when_messages_are_alike() -> None:
    one = tuple(range(64))
    assert votes_needed(64, 64) == 22
    assert are_alike(one, (*range(22), *range(100, 142)))
    assert not are_alike(one, (*range(21), *range(100, 143)))
    assert not are_alike(one, tuple(range(12)))  # all of a short one, but little of the long one
    assert are_alike((5, 3), (5, 3))
    assert not are_alike((5, 3), (5, 4))
    assert not are_alike((), ())
    assert share((), ()) == 0
