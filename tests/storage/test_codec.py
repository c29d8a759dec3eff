"""One bucket's counts as bytes: what comes back is what went in, or nothing does."""

from __future__ import annotations  # array[int] is no expression before Python 3.12

import json
import struct
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


@pytest.mark.parametrize("bit", range(32))
def test_a_wrong_length_of_the_counts_is_refused(bit: int) -> None:
    # 8 bytes of blanks more are JSON all the same
    encoded = bytearray(encode({"a": 1}, array("Q", [0x2020202020202020] * 20)))
    (length,) = struct.unpack_from("<I", encoded, 8)
    struct.pack_into("<I", encoded, 8, length ^ 1 << bit)
    assert accepted(bytes(encoded)) is None


@settings(deadline=None)
@given(st.binary(), st.booleans())
def test_anything_else_is_refused(data: bytes, with_version: bool) -> None:
    assert accepted(b"pd01" + data if with_version else data) is None


def test_more_than_was_encoded_is_refused() -> None:
    assert accepted(SOME + b"\x00") is None
    assert accepted(SOME + SOME) is None


def framed(plain: bytes, length: int, version: bytes = b"pd01") -> bytes:
    rest = zlib.compress(plain)
    return struct.pack("<4sII", version, zlib.crc32(rest), length) + rest


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
    ],
)
def test_what_are_no_counts_is_refused_also_with_the_right_checksum(counts: object) -> None:
    plain = json.dumps(counts).encode()
    assert accepted(framed(plain, len(plain))) is None


@pytest.mark.parametrize(
    "data",
    [
        framed(b'{"a":1}', 7, version=b"pd02"),
        framed(b'{"a":1}', 7, version=b"PD01"),
        framed(b'{"a":1}', 6),
        framed(b'{"a":1', 6),
        framed(b"\xff\xfe", 2),
        framed(b'{"a":1}' + b"1234567", 7),
        framed(b'{"a":1}' + b"123456789", 7),
        framed(b"", 0),
    ],
)
def test_a_frame_that_does_not_fit_is_refused(data: bytes) -> None:
    assert accepted(data) is None


def test_the_frame_of_these_tests_is_the_one() -> None:
    with pytest.raises(CodecError, match="checksum"):
        decode(framed(b"{}", 2)[:-1])
    with pytest.raises(CodecError, match="version b'pd02'"):
        decode(framed(b"{}", 2, version=b"pd02"))
