"""One bucket's entries as bytes: what comes back is what went in, or nothing does."""

import json
import struct
import zlib

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from policyd.counting.counters import Entries
from policyd.storage.codec import CodecError, decode, encode

# what is no UTF-8 in a request is a lone surrogate of these
KEYS = st.text(
    st.one_of(
        st.characters(exclude_categories=["Cs"]),
        st.integers(0xDC80, 0xDCFF).map(chr),
    )
)
SUMS = st.dictionaries(KEYS, st.integers(1, 2**70), max_size=8)
BYTES = st.dictionaries(
    KEYS,
    # among them what means something at the end of JSON
    st.one_of(st.binary(min_size=1), st.sampled_from([b" " * 8, b"\n" * 8, b"}" * 8, b"\0" * 8])),
    max_size=8,
)
ENTRIES = st.one_of(SUMS, BYTES)
SOME = (
    encode({"alice\n7": 3, "bob\udcff": 1}),
    encode({"alice\n7": b"12345678        ", "bob\udcff": b"x"}),
)


def framed(version: bytes, text: bytes, tail: bytes = b"", length: int | None = None) -> bytes:
    """Return what says this, with the right checksum."""
    rest = struct.pack("<I", len(text) if length is None else length) + zlib.compress(text + tail)
    return version + struct.pack("<I", zlib.crc32(rest)) + rest


@settings(deadline=None)
@given(ENTRIES)
@example({})
@example({"a\udcff\x00\n\u2028": 1, "": 10**30})
@example({"a\udcff": b"\x00", "": b"{}"})
def test_what_is_encoded_is_decoded(entries: Entries) -> None:
    again = decode(encode(entries))
    assert again == entries
    assert list(again) == list(entries)


def test_what_is_encoded_is_versioned_and_has_no_code_in_it() -> None:
    sums, members = encode({"alice": 3}), encode({"alice": b"12345678"})
    assert (sums[:4], members[:4]) == (b"pdS2", b"pdB2")
    assert zlib.decompress(sums[12:]) == b'{"alice":3}'
    assert zlib.decompress(members[12:]) == b'{"alice":8}12345678'
    assert framed(b"pdS2", b'{"alice":3}')[:4] == sums[:4]


def accepted(data: bytes) -> object:
    """Return what *data* is taken for, None if it is refused; anything but a CodecError raises."""
    try:
        return decode(data)
    except CodecError:
        return None


@pytest.mark.parametrize("data", SOME)
def test_every_truncation_is_refused(data: bytes) -> None:
    assert [length for length in range(len(data)) if accepted(data[:length]) is not None] == []


@pytest.mark.parametrize("data", SOME)
def test_every_flipped_bit_is_refused(data: bytes) -> None:
    plain = accepted(data)
    different = []
    for bit in range(8 * len(data)):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        if accepted(bytes(changed)) not in (None, plain):
            different.append(bit)
    assert different == []


@settings(deadline=None)
@given(ENTRIES, st.data())
def test_no_flipped_bit_makes_other_entries(entries: Entries, data: st.DataObject) -> None:
    encoded = bytearray(encode(entries))
    bit = data.draw(st.integers(0, 8 * len(encoded) - 1))
    encoded[bit // 8] ^= 1 << bit % 8
    assert accepted(bytes(encoded)) in (None, entries)


def test_a_wrong_length_of_the_keys_part_is_refused_also_with_the_right_checksum() -> None:
    text, tail = b'{"a":160}', b" " * 160  # blanks more are JSON all the same
    assert accepted(framed(b"pdB2", text, tail)) == {"a": tail}
    wrong = [
        length
        for length in (*range(200), *(len(text) ^ 1 << bit for bit in range(32)))
        if length != len(text) and accepted(framed(b"pdB2", text, tail, length)) is not None
    ]
    assert wrong == []


@settings(deadline=None)
@given(st.binary(), st.sampled_from([b"", b"pdS2", b"pdB2"]))
def test_anything_else_is_refused(data: bytes, version: bytes) -> None:
    assert accepted(version + data) is None


@pytest.mark.parametrize("data", SOME)
def test_more_than_was_encoded_is_refused(data: bytes) -> None:
    assert accepted(data + b"\x00") is None
    assert accepted(data + data) is None


@pytest.mark.parametrize(
    "sums",
    [
        *([], ["a"], 3, None, {"a": "3"}, {"a": 0}, {"a": -1}, {"a": 1.5}, {"a": True}),
        *({"a": None}, {"a": [1]}, {"a": 1, "b": 0}),
    ],
)
@pytest.mark.parametrize(("version", "tail"), [(b"pdS2", b""), (b"pdB2", b"x")])
def test_what_are_no_sums_is_refused_also_with_the_right_checksum(
    sums: object, version: bytes, tail: bytes
) -> None:
    assert accepted(framed(version, b'{"a":1}', tail)) is not None
    assert accepted(framed(version, json.dumps(sums).encode(), tail)) is None


def test_a_depth_that_nobody_meant_is_refused() -> None:
    assert accepted(framed(b"pdS2", b"[" * 100_000)) is None


@pytest.mark.parametrize("tail", [b"", b"1234567", b"123456789"])
def test_more_or_fewer_bytes_than_the_keys_have_are_refused(tail: bytes) -> None:
    assert accepted(framed(b"pdB2", b'{"a":8}', b"12345678")) is not None
    assert accepted(framed(b"pdB2", b'{"a":8}', tail)) is None


def test_sums_have_no_bytes() -> None:
    assert accepted(framed(b"pdS2", b'{"a":1}', b"x")) is None


@pytest.mark.parametrize("version", [b"pd01", b"pdS1", b"pdS3", b"PDS2", b"\0\0\0\0"])
def test_another_version_is_refused_by_its_name(version: bytes) -> None:
    with pytest.raises(CodecError, match="is not known"):
        decode(version + SOME[0][4:])
