"""Events out of a milter's bytes, however the bytes arrive."""

import struct
import time
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from protocol.packets import QUIT, connect, events, macros, offer, packet, texts
from protocol.streams import chunked, cut

from policyd.protocol.milter import (
    MAX_PACKET,
    Body,
    Connect,
    EndOfMessage,
    Event,
    Header,
    Helo,
    Macros,
    Mail,
    MilterParser,
    Negotiate,
    Rcpt,
    Signal,
    Unknown,
)

EVERY: list[tuple[bytes, Event]] = [
    (offer(6, 0x1FF, 0x1FFFFF), Negotiate(6, 0x1FF, 0x1FFFFF)),
    (packet(b"O", struct.pack("!III", 6, 1, 2) + b"more"), Negotiate(6, 1, 2)),
    (macros(b"C", b"j", b"mx", b"{x}", b""), Macros(b"C", {b"j": b"mx", b"{x}": b""})),
    (macros(b"H"), Macros(b"H", {})),
    (connect(b"192.0.2.7"), Connect(b"client.example", 4711, b"192.0.2.7")),
    (packet(b"C", b"x\x006\0\x01::1\0"), Connect(b"x", 1, b"::1")),
    (packet(b"C", b"x\0L\0\0/run/x\0"), Connect(b"x", 0, b"/run/x")),
    (packet(b"C", b"unknown\0U"), Connect(b"unknown", 0, b"")),
    (packet(b"C", b"unknown\0"), Connect(b"unknown", 0, b"")),
    (texts(b"H", b"client.example"), Helo(b"client.example")),
    (texts(b"M", b"<a@b>", b"SIZE=3", b"X"), Mail(b"<a@b>", (b"SIZE=3", b"X"))),
    (texts(b"M", b"<>"), Mail(b"<>", ())),
    (texts(b"R", b"<m\xc3\xbcller@\xff>"), Rcpt(b"<m\xc3\xbcller@\xff>", ())),
    (packet(b"T"), Signal.DATA),
    (texts(b"L", b"Subject", b"one\n two"), Header(b"Subject", b"one\n two")),
    (texts(b"L", b"X-Empty", b""), Header(b"X-Empty", b"")),
    (packet(b"L", b"X\0a\0b"), Header(b"X", b"a\0b")),
    (packet(b"N"), Signal.END_OF_HEADERS),
    (packet(b"B", b"a\0b\r\n"), Body(b"a\0b\r\n")),
    (packet(b"B"), Body(b"")),
    (packet(b"E"), EndOfMessage(b"")),
    (packet(b"E", b"rest"), EndOfMessage(b"rest")),
    (packet(b"A"), Signal.ABORT),
    (QUIT, Signal.QUIT),
    (packet(b"K"), Signal.QUIT_NEW_CONNECTION),
    (texts(b"U", b"NONSENSE"), Unknown(b"NONSENSE")),
]


@pytest.mark.parametrize(("data", "event"), EVERY)
def test_every_kind_of_packet(data: bytes, event: Event) -> None:
    found, error = events([data])
    assert (found, error) == ([event], None)
    assert type(found[0]) is type(event)


@settings(deadline=None)
@given(st.lists(st.sampled_from(EVERY), min_size=1, max_size=8), st.lists(st.integers(0, 300)))
def test_the_same_events_come_out_whatever_the_chunks(
    some: list[tuple[bytes, Event]], places: list[int]
) -> None:
    data = b"".join(one for one, _ in some)
    expected = [event for _, event in some]
    for chunks in ([data], chunked(data, 1), chunked(data, 7), cut(data, places)):
        assert events(chunks) == (expected, None)


@settings(deadline=None)
@given(
    st.lists(
        st.one_of(
            st.builds(packet, st.binary(min_size=1, max_size=1), st.binary(max_size=20)),
            st.builds(packet, st.sampled_from([b"O", b"D", b"C", b"M", b"L"]), st.binary()),
            st.binary(max_size=6),
        )
    ),
    st.lists(st.integers(0, 80)),
)
def test_nonsense_gives_the_same_whatever_the_chunks(
    pieces: list[bytes], places: list[int]
) -> None:
    data = b"".join(pieces)
    whole = events([data])
    assert events(chunked(data, 1)) == whole
    assert events(cut(data, places)) == whole


def test_an_event_is_given_with_its_last_byte_and_not_before() -> None:
    parser = MilterParser()
    data = texts(b"L", b"Subject", b"x")
    for byte in data[:-1]:
        assert parser.feed(bytes([byte])) == []
    assert parser.feed(data[-1:]) == [Header(b"Subject", b"x")]


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"\0\0\0\0", "a packet of 0 bytes"),
        (struct.pack("!I", MAX_PACKET + 1), f"a packet of {MAX_PACKET + 1} bytes"),
        (b"GET / HTTP/1.1\r\n", "a packet of 1195725856 bytes"),
        (packet(b"Z"), "a packet 'Z', which there is not"),
        (packet(b"\xff"), "a packet '\\xff', which there is not"),
        (packet(b"O", b"short"), "a packet 'O' that is wrong: unpack_from requires"),
        (packet(b"D"), "a packet 'D' that is wrong: macros without a value"),
        (macros(b"M", b"i"), "a packet 'D' that is wrong: macros without a value"),
        (packet(b"D", b"Mi\0Q"), "a packet 'D' that is wrong: a text without an end"),
        (packet(b"C", b"x"), "a packet 'C' that is wrong: a text without an end"),
        (packet(b"C", b"x\x004\0"), "a packet 'C' that is wrong: unpack_from requires"),
        (packet(b"C", b"x\x004\0\x011.2"), "a packet 'C' that is wrong: a text without an end"),
        (packet(b"M", b"<a>"), "a packet 'M' that is wrong: a text without an end"),
        (packet(b"R", b"<a>\0X"), "a packet 'R' that is wrong: a text without an end"),
        (packet(b"L", b"Subject"), "a packet 'L' that is wrong: a text without an end"),
    ],
)
def test_what_is_no_milters_packet_ends_it(data: bytes, error: str) -> None:
    parser = MilterParser()
    assert parser.feed(QUIT + data + QUIT) == [Signal.QUIT]
    assert parser.error is not None
    assert parser.error.startswith(error)
    assert parser.feed(QUIT) == []
    assert len(parser._buffer) == 0


def test_the_largest_packet() -> None:
    body = bytes(MAX_PACKET - 1)
    assert events(chunked(packet(b"B", body), 65536)) == ([Body(body)], None)


def test_a_body_in_single_bytes_takes_linear_time() -> None:
    def seconds(chunks: Iterable[bytes]) -> float:
        started = time.perf_counter()
        events(chunks)
        return time.perf_counter() - started

    few, many = packet(b"B", bytes(50_000)), packet(b"B", bytes(400_000))
    # eight times as many: quadratic would be sixty-four times as long
    once = min(seconds(chunked(few, 1)) for _ in range(3))
    assert min(seconds(chunked(many, 1)) for _ in range(3)) < 24 * once
