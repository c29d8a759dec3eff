"""One bucket's counts as bytes: what comes back is what went in, or nothing does."""

from __future__ import annotations  # array[int] is no expression before Python 3.12

import struct
import sys
import zlib
from array import array

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from policyd.storage.codec import CodecError, decode, encode

KEYS = st.text(st.characters(exclude_categories=()))
COUNTS = st.dictionaries(KEYS, st.integers(1, 2**70), max_size=8)
PAIRS = st.lists(
    st.one_of(
        st.integers(0, 2**64 - 1),
        # bytes that mean something at the end of JSON
        st.sampled_from([0x2020202020202020, 0x0A0A0A0A0A0A0A0A, 0, 0x7D7D7D7D7D7D7D7D]),
    ),
    max_size=8,
).map(lambda numbers: array("Q", numbers))
SOME = encode({"alice\n7": 3, "bob\udcff": 1}, array("Q", [1, 2**64 - 1, 0x2020202020202020, 7]))


@settings(deadline=None)
@given(COUNTS, PAIRS)
@example({}, array("Q"))
@example({"a\udcff\x00\n\u2028": 1, "": 10**30}, array("Q", [0, 2**64 - 1]))
def test_what_is_encoded_is_decoded(counts: dict[str, int], pairs: array[int]) -> None:
    again, members = decode(encode(counts, pairs))
    assert again == counts
    assert members == pairs
    assert members.typecode == "Q"


def test_what_is_encoded_is_versioned_and_has_no_code_in_it() -> None:
    data = encode({"alice": 3}, array("Q", [258]))
    assert data[:4] == b"pd01"
    plain = zlib.decompress(data[12:])
    assert plain == b'{"alice":3}' + struct.pack("<Q", 258)


def accepted(data: bytes) -> object:
    """Return what *data* is taken for, None if it is refused; anything but a CodecError raises."""
    try:
        return decode(data)
    except CodecError:
        return None


def test_every_truncation_is_refused() -> None:
    assert [length for length in range(len(SOME)) if accepted(SOME[:length]) is not None] == []


def test_every_flipped_bit_is_refused() -> None:
    plain = accepted(SOME)
    different = []
    for bit in range(8 * len(SOME)):
        data = bytearray(SOME)
        data[bit // 8] ^= 1 << bit % 8
        if accepted(bytes(data)) not in (None, plain):
            different.append(bit)
    assert different == []


@settings(deadline=None)
@given(COUNTS, PAIRS, st.data())
def test_no_flipped_bit_makes_other_counts(
    counts: dict[str, int], pairs: array[int], data: st.DataObject
) -> None:
    encoded = bytearray(encode(counts, pairs))
    bit = data.draw(st.integers(0, 8 * len(encoded) - 1))
    encoded[bit // 8] ^= 1 << bit % 8
    assert accepted(bytes(encoded)) in (None, (counts, pairs))


def test_a_wrong_length_of_the_counts_is_refused() -> None:
    # 8 bytes of blanks more are JSON all the same
    good = encode({"a": 1}, array("Q", [0x2020202020202020] * 20))
    (length,) = struct.unpack_from("<I", good, 8)
    assert length == len('{"a":1}')
    wrong = []
    for other in (*range(200), *(length ^ 1 << bit for bit in range(32))):
        changed = good[:8] + struct.pack("<I", other) + good[12:]
        if other != length and accepted(changed) is not None:
            wrong.append(other)
    assert wrong == []


@settings(deadline=None)
@given(st.binary(), st.booleans())
def test_anything_else_is_refused(data: bytes, with_version: bool) -> None:
    assert accepted(b"pd01" + data if with_version else data) is None


def test_more_than_was_encoded_is_refused() -> None:
    assert accepted(SOME + b"\x00") is None
    assert accepted(SOME + SOME) is None


@pytest.mark.parametrize(
    "counts",
    [
        [],
        ["a"],
        3,
        None,
        {"a": "3"},
        {"a": 0},
        {"a": -1},
        {"a": 1.5},
        {"a": True},
        {"a": None},
        {"a": [1]},
        {"a": 1, "b": 0},
    ],
)
def test_what_are_no_counts_is_refused_also_with_the_right_checksum(counts: object) -> None:
    assert accepted(encode({"a": 1}, array("Q"))) == ({"a": 1}, array("Q"))
    assert accepted(encode(counts, array("Q"))) is None  # type: ignore[arg-type]


@pytest.mark.parametrize("length", [1, 7, 9, 15])
def test_members_that_are_no_whole_numbers_are_refused(length: int) -> None:
    assert accepted(encode({"a": 1}, array("B", b"x" * 8))) is not None
    assert accepted(encode({"a": 1}, array("B", b"x" * length))) is None


@pytest.mark.parametrize("version", [b"pd00", b"pd02", b"PD01", b"\0\0\0\0"])
def test_another_version_is_refused_by_its_name(version: bytes) -> None:
    with pytest.raises(CodecError, match="is not known"):
        decode(version + SOME[4:])


def test_on_a_machine_of_the_other_byte_order_members_are_turned_and_turned_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here = encode({"a": 1}, array("Q", [258]))
    turned = struct.unpack(">Q", struct.pack("<Q", 258))[0]
    monkeypatch.setattr(sys, "byteorder", "big" if sys.byteorder == "little" else "little")
    pairs = array("Q", [turned])  # as that machine has 258 in its memory
    assert encode({"a": 1}, pairs) == here
    assert pairs == array("Q", [turned])  # they are in use, and stay as they are
    assert decode(here) == ({"a": 1}, pairs)
