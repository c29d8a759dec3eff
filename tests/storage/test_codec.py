"""One bucket's entries as bytes: what comes back is what went in, or nothing does."""

import json
import struct
import zlib
from collections.abc import Sequence

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from policyd.counting.changes import Entries
from policyd.storage import codec
from policyd.storage.codec import CodecError, decode

# what is no UTF-8 in a request is a lone surrogate of these
LETTERS = st.one_of(st.characters(exclude_categories=["Cs"]), st.integers(0xDC80, 0xDCFF).map(chr))
KEYS = st.text(LETTERS)
SUMS = st.dictionaries(KEYS, st.integers(1, 2**70), max_size=8)
BYTES = st.dictionaries(
    KEYS,
    # among them what means something at the end of JSON
    st.one_of(st.binary(min_size=1), st.sampled_from([b" " * 8, b"\n" * 8, b"}" * 8, b"\0" * 8])),
    max_size=8,
)
ENTRIES = st.one_of(SUMS, BYTES)


def encode(entries: Entries, *, compressed: bool = True) -> bytes:
    return codec.encode(entries.keys(), entries.values(), compressed=compressed)


SOME = (
    encode({"alice\n7": 3, "bob\udcff": 1}),
    encode({"alice\n7": b"12345678        ", "bob\udcff": b"x"}),
    encode({"alice\n7": 3, "bob\udcff": 1}, compressed=False),
    # in the form of version 2
    encode({"alice\n7": 2**64, "bob\0": 1}),
    encode({"alice\0007": b"12345678        ", "bob\udcff": b"x"}),
)


def framed(version: bytes, text: bytes, tail: bytes = b"", length: int | None = None) -> bytes:
    """Return what says this in the form of version 2, with the right checksum."""
    return _checked(version, [len(text) if length is None else length], text + tail)


def packed(
    keys: bytes,
    amounts: Sequence[int],
    tail: bytes | None = None,
    *,
    count: int | None = None,
    length: int | None = None,
) -> bytes:
    """Return what says this, with the right checksum; sums if there is no *tail*."""
    sizes = [len(amounts) if count is None else count, len(keys) if length is None else length]
    numbers = struct.pack(f"<{len(amounts)}Q", *amounts)
    return _checked(b"pdS3" if tail is None else b"pdB3", sizes, keys + numbers + (tail or b""))


def _checked(version: bytes, sizes: list[int], plain: bytes) -> bytes:
    rest = struct.pack(f"<{len(sizes)}I", *sizes) + zlib.compress(plain)
    return version + struct.pack("<I", zlib.crc32(rest)) + rest


@settings(deadline=None)
@given(ENTRIES, st.booleans())
@example({}, True)
@example({"": 1}, True)
@example({"": 1, "\n": 2}, True)
@example({"": b"\x00"}, True)
@example({"a\udcff\x00\n\u2028": 1, "": 10**30}, True)
@example({"a\udcff": b"\x00", "": b"{}"}, True)
# the bytes that these stand for are a letter
@example({"\udcc3\udca9": 1, "\xe9": 2}, True)
def test_what_is_encoded_is_decoded(entries: Entries, compressed: bool) -> None:
    again = decode(encode(entries, compressed=compressed))
    assert again == entries
    assert list(again) == list(entries)


def test_what_is_encoded_is_versioned_and_has_no_code_in_it() -> None:
    sums, members = encode({"alice": 3, "bob": 258}), encode({"alice": b"12345678"})
    assert (sums[:4], members[:4]) == (b"pdS3", b"pdB3")
    assert sums[8:16] == bytes([2, 0, 0, 0, 9, 0, 0, 0])
    assert zlib.decompress(sums[16:]) == b"alice\0bob" + bytes([3, *[0] * 7, 2, 1, *[0] * 6])
    assert zlib.decompress(members[16:]) == b"alice" + bytes([8, *[0] * 7]) + b"12345678"


@pytest.mark.parametrize(
    ("entries", "version", "plain"),
    [
        ({"a": 2**64}, b"pdS2", b'{"a":18446744073709551616}'),
        ({"a\0b": 3, "c": 1}, b"pdS2", rb'{"a\u0000b":3,"c":1}'),
        ({"\0": b"xy"}, b"pdB2", rb'{"\u0000":2}xy'),
    ],
)
def test_what_does_not_fit_is_written_as_in_version_2(
    entries: Entries, version: bytes, plain: bytes
) -> None:
    encoded = encode(entries)
    assert encoded[:4] == version
    assert zlib.decompress(encoded[12:]) == plain
    assert decode(encoded) == entries


def test_what_fits_is_not_written_as_in_version_2() -> None:
    for entries in ({}, {"": 1}, {"a\udcff": 2**64 - 1}, {"a": 1, "": 1}):
        assert encode(entries)[:4] == b"pdS3"


def test_what_version_2_wrote_is_read() -> None:
    assert decode(framed(b"pdS2", rb'{"alice\n7":3,"bob\udcff":1}')) == {
        "alice\n7": 3,
        "bob\udcff": 1,
    }
    assert decode(framed(b"pdB2", b'{"alice":8,"bob":1}', b"12345678x")) == {
        "alice": b"12345678",
        "bob": b"x",
    }


def test_what_is_not_compressed_stands_there_as_it_is() -> None:
    entries = {"alice": 3, "bob": 1}
    assert b"alice\0bob" in encode(entries, compressed=False)
    assert b"alice" * 100 not in encode({"alice" * 100: 3})


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


@pytest.mark.parametrize(
    ("keys", "amounts", "tail"),
    [(b"a\0b", [1, 2], None), (b"a", [160], b" " * 160), (b"", [8], b"\x09" + bytes(7))],
)
def test_wrong_sizes_are_refused_also_with_the_right_checksum(
    keys: bytes, amounts: list[int], tail: bytes | None
) -> None:
    assert accepted(packed(keys, amounts, tail)) is not None
    right = len(amounts), len(keys)
    numbers = [*range(200), *(1 << bit for bit in range(32)), 2**32 - 1]
    wrong = [
        (count, length)
        for count, length in (
            *((number, right[1]) for number in numbers),
            *((right[0], number) for number in numbers),
        )
        if (count, length) != right
        and accepted(packed(keys, amounts, tail, count=count, length=length)) is not None
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("keys", "amounts", "tail"),
    [
        # a key twice, with nothing for it, too many and too few of them
        *((b"a\0a", [1, 1], None), (b"a\0a", [1, 1], b"xy"), (b"\0", [1, 1], None)),
        *((b"a", [0], None), (b"a\0b", [1, 0], None), (b"a\0b", [1, 0], b"x")),
        *((b"a\0b", [1], None), (b"a", [1, 2], None), (b"a", [], None), (b"\0", [], None)),
        # no UTF-8, more or fewer bytes, and more than 64 bits tell of
        *((b"\xff", [1], None), (b"a\xc3", [1], None), (b"\xc0\x80", [1], None)),
        *((b"a", [1], b""), (b"a", [1], b"xy"), (b"a\0b", [2**64 - 1, 2], b"x")),
    ],
)
def test_what_nobody_encodes_is_refused_also_with_the_right_checksum(
    keys: bytes, amounts: list[int], tail: bytes | None
) -> None:
    assert accepted(packed(b"a\0b", [1, 1], None if tail is None else b"xy")) is not None
    assert accepted(packed(keys, amounts, tail)) is None


@pytest.mark.parametrize("more", [b"\0", bytes(8), b"x" * 16])
def test_more_after_the_sums_is_refused(more: bytes) -> None:
    numbers = struct.pack("<Q", 1)
    assert accepted(_checked(b"pdS3", [1, 1], b"a" + numbers)) == {"a": 1}
    assert accepted(_checked(b"pdS3", [1, 1], b"a" + numbers + more)) is None
    assert accepted(_checked(b"pdS3", [1, 1], b"a" + numbers[:-1])) is None


@settings(deadline=None)
@given(st.binary(), st.binary(), st.lists(st.integers(0, 2**64 - 1), max_size=4))
def test_whatever_is_accepted_is_what_is_encoded_of_it(
    keys: bytes, tail: bytes, amounts: list[int]
) -> None:
    for data in (packed(keys, amounts), packed(keys, amounts, tail)):
        entries = accepted(data)
        assert entries is None or accepted(encode(entries)) == entries


@settings(deadline=None)
@given(st.binary(), st.sampled_from([b"", b"pdS2", b"pdB2", b"pdS3", b"pdB3"]))
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


@pytest.mark.parametrize("version", [b"pd01", b"pdS1", b"pdS4", b"PDS3", b"\0\0\0\0"])
def test_another_version_is_refused_by_its_name(version: bytes) -> None:
    with pytest.raises(CodecError, match="is not known"):
        decode(version + SOME[0][4:])
