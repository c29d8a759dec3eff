"""A dict that is never felt when it grows."""

from hypothesis import given, settings
from hypothesis import strategies as st

from policyd.counting.shards import Shards


@settings(deadline=None)
@given(st.lists(st.tuples(st.text(max_size=2), st.one_of(st.none(), st.integers()))))
def test_shards_hold_what_one_dict_would(changes: list[tuple[str, int | None]]) -> None:
    shards: Shards[int] = Shards()
    plain: dict[str, int] = {}
    for key, value in changes:
        for one in (shards.of(key), plain):
            if value is None:
                one.pop(key, None)
            else:
                one[key] = value
    assert dict(shards.items()) == plain
    assert len(list(shards.items())) == len(shards) == len(plain)
    assert all(key in shards.of(key) for key in plain)


def test_no_part_grows_so_big_that_it_would_be_felt() -> None:
    shards: Shards[int] = Shards()
    for number in range(50_000):
        key = f"user{number}@customer.example"
        shards.of(key)[key] = number
    parts = list(shards)
    assert sum(map(len, parts)) == len(shards) == 50_000
    # about 780 to each; a key falls anywhere, so this is far from any chance
    assert max(map(len, parts)) < 1000
