"""Requests out of bytes, however the bytes arrive."""

import time
from collections.abc import Callable, Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from protocol.streams import NAMES, REQUESTS, chunked, cut, fed, lines, shown

from policyd.protocol.parser import MAX_ATTRIBUTES, MAX_LINE, MAX_REQUEST, RequestParser

Pairs = list[tuple[bytes, bytes]]
CHUNK_SIZES = (1, 2, 3, 4095, 4096, MAX_LINE - 1, MAX_LINE, MAX_REQUEST - 1, MAX_REQUEST, 10**6)
ONE = lines((b"request", b"smtpd_access_policy"), (b"sender", b"a@b.example"))


def text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def expected(pairs: Pairs) -> dict[str, str]:
    attributes: dict[str, str] = {}
    for name, value in pairs:
        attributes.setdefault(text(name), text(value))
    return attributes


@settings(deadline=None)
@given(st.lists(REQUESTS, min_size=1, max_size=5), st.lists(st.integers(0, 400)))
def test_the_same_requests_come_out_whatever_the_chunks(
    said: list[Pairs], places: list[int]
) -> None:
    data = b"".join(lines(*pairs) for pairs in said)
    for chunks in ([data], chunked(data, 1), chunked(data, 7), cut(data, places)):
        requests, error = fed(chunks)
        assert error is None
        assert len(requests) == len(said)
        for request, pairs in zip(requests, said, strict=True):
            attributes = expected(pairs)
            assert {name: request[name] for name in attributes} == attributes


@settings(deadline=None)
@given(
    st.lists(st.sampled_from([b"\n", b"=", b"a", b"a=b\n", b"\n\n", b"\r\n", b"\xff"])),
    st.lists(st.integers(0, 80)),
)
def test_nonsense_gives_the_same_whatever_the_chunks(
    pieces: list[bytes], places: list[int]
) -> None:
    data = b"".join(pieces)
    whole = shown([data])
    assert shown(chunked(data, 1)) == whole
    assert shown(cut(data, places)) == whole


@settings(deadline=None)
@given(st.binary())
def test_no_bytes_raise(data: bytes) -> None:
    fed([data, b"\n\n", data])


def test_a_request_is_given_with_the_chunk_that_ends_it_and_not_before() -> None:
    parser = RequestParser()
    for byte in ONE[:-1]:
        assert parser.feed(bytes([byte])) == []
    (request,) = parser.feed(ONE[-1:])
    assert request["sender"] == "a@b.example"


def test_a_chunk_may_end_one_request_and_begin_another() -> None:
    parser = RequestParser()
    assert parser.feed(ONE[:20]) == []
    assert len(parser.feed(ONE[20:] + ONE + ONE[:5])) == 2
    assert len(parser.feed(ONE[5:])) == 1


@pytest.mark.parametrize(
    "separator",
    [b"\r", b"\x0b", b"\x0c", b"\x1c", b"\x1d", b"\x1e", b"\x00", "\x85", "\u2028", "\u2029"],
)
@pytest.mark.parametrize("size", [1, 10**6])
def test_only_a_newline_ends_a_line(separator: bytes | str, size: int) -> None:
    raw = separator.encode() if isinstance(separator, str) else separator
    sender = b"vt" + raw + b"sasl_username=victim@x.example"
    data = lines((b"sender", sender), (b"sasl_username", b"alice"))
    (request,), error = fed(chunked(data, size))
    assert error is None
    assert request["sender"] == text(sender)
    assert request["sasl_username"] == "alice"


@pytest.mark.parametrize("size", [1, 10**6])
def test_an_empty_line_with_a_carriage_return_is_no_empty_line(size: int) -> None:
    requests, error = fed(chunked(b"a=b\r\n\r\n", size))
    assert (requests, error) == ([], None)
    requests, error = fed(chunked(b"a=b\r\n\r\n\n", size))
    assert requests == []
    assert error == "a line that is no attribute"


def test_the_first_equals_sign_ends_the_name() -> None:
    (request,), _ = fed([lines((b"sender", b"a b=c==@x.example"), (b"", b"=nameless"))])
    assert request["sender"] == "a b=c==@x.example"
    assert request[""] == "=nameless"


def test_of_an_attribute_given_twice_the_first_counts() -> None:
    said = [(b"sasl_username", b"alice"), (b"size", b"1"), (b"sasl_username", b"victim")]
    (request,), _ = fed([lines(*said, (b"sasl_username", b""))])
    assert request["sasl_username"] == "alice"
    assert request["size"] == "1"


def test_an_empty_value_given_first_counts_too() -> None:
    (request,), _ = fed([lines((b"sasl_username", b""), (b"sasl_username", b"victim"))])
    assert request["sasl_username"] == ""


def test_bytes_that_are_not_utf8_survive() -> None:
    raw = bytes(set(range(256)) - {0x0A})
    (request,), error = fed(chunked(lines((b"sender", raw)), 1))
    assert error is None
    assert request["sender"].encode("utf-8", "surrogateescape") == raw


def test_a_character_that_two_chunks_share_is_one() -> None:
    data = lines((b"sender", "jörg@例え.example".encode()))
    for place in range(len(data)):
        (request,), _ = fed(cut(data, [place]))
        assert request["sender"] == "jörg@例え.example"


def test_a_missing_attribute_is_empty() -> None:
    (request,), _ = fed([ONE])
    assert request["queue_id"] == ""
    assert request.size == 0
    assert request.recipient_count == 0
    assert request.stage is None


# errors


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (b"\n", "a request without attributes"),
        (b"no attribute\n\n", "a line that is no attribute"),
        (b"a=b\nno attribute\nc=d\n\n", "a line that is no attribute"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n\n", "a line that is no attribute"),
    ],
)
@pytest.mark.parametrize("size", [1, 2, 10**6])
def test_an_error_ends_it_and_what_was_complete_is_given(bad: bytes, why: str, size: int) -> None:
    requests, error = fed(chunked(ONE + ONE + bad + ONE, size))
    assert [request["sender"] for request in requests] == ["a@b.example"] * 2
    assert error == why


def test_after_an_error_nothing_is_kept_or_parsed() -> None:
    parser = RequestParser()
    parser.feed(b"\n" + b"x" * 1000)
    assert parser.error is not None
    assert parser.feed(ONE) == []
    assert len(parser._buffer) == 0


# caps


def request_of(size: int) -> bytes:
    """Return one request of *size* bytes, its empty line included, in lines that may be so long."""
    most = MAX_LINE - 1
    count = -(-(size - 1) // most)
    shares = [(size - 1) // count + (number < (size - 1) % count) for number in range(count)]
    data = b"".join(b"a%d=" % n + b"x" * (share - 4) + b"\n" for n, share in enumerate(shares))
    assert len(data) == size - 1
    return data + b"\n"


def line_of(size: int) -> bytes:
    """Return a request with a line of *size* bytes, its newline included, between others."""
    return b"a=b\n" + b"long=" + b"x" * (size - 6) + b"\n" + b"c=d\n\n"


def attributes(count: int) -> bytes:
    return lines(*[(b"a%d" % number, b"") for number in range(count)])


def same_attributes(count: int) -> bytes:
    return lines(*[(b"same", b"") for _ in range(count)])


CAPS = [
    (request_of, MAX_REQUEST, "bytes"),
    (line_of, MAX_LINE, "bytes"),
    (attributes, MAX_ATTRIBUTES, "attributes"),
    (same_attributes, MAX_ATTRIBUTES, "attributes"),
]


@pytest.mark.parametrize("size", CHUNK_SIZES)
@pytest.mark.parametrize(("make", "cap", "unit"), CAPS)
def test_what_just_fits_is_a_request_and_one_more_is_an_error(
    make: Callable[[int], bytes], cap: int, unit: str, size: int
) -> None:
    requests, error = fed(chunked(ONE + make(cap) + ONE, size))
    assert error is None
    assert len(requests) == 3

    requests, error = fed(chunked(ONE + make(cap + 1) + ONE, size))
    assert error is not None
    assert error.endswith(f"more than {cap} {unit}")
    assert [request["sender"] for request in requests] == ["a@b.example"]


def test_the_caps_are_those_of_the_contract() -> None:
    assert (MAX_REQUEST, MAX_LINE, MAX_ATTRIBUTES) == (65536, 16384, 100)


@pytest.mark.parametrize("before", [b"", ONE, ONE * 300])
@pytest.mark.parametrize("size", [1, 100, 5000])
@pytest.mark.parametrize(
    ("endless", "cap"), [(b"x" * 10**6, MAX_LINE), (b"a=" + b"x" * 98 + b"\n", MAX_REQUEST)]
)
def test_what_never_ends_is_noticed_at_the_cap(
    endless: bytes, cap: int, size: int, before: bytes
) -> None:
    parser = RequestParser()
    sent = 0
    data = endless * (2 * cap // len(endless) + 1)
    # it begins in the chunk in which other requests end
    for chunk in (before + data[:size], *chunked(data[size:], size)):
        assert len(parser.feed(chunk)) == chunk.count(b"\n\n")
        sent += size
        if parser.error is not None:
            break
        assert sent < cap
        assert len(parser._buffer) == sent
    assert sent < cap + size
    assert len(parser._buffer) == 0


def test_a_line_that_never_ends_is_noticed_at_the_cap_also_where_it_is_not_the_first() -> None:
    for first in (b"a=b\n", b"a=b\nc=d\n"):
        parser = RequestParser()
        parser.feed(first + b"x" * (MAX_LINE - 1))
        assert parser.error is None
        parser.feed(b"x")
        assert parser.error == f"a line of more than {MAX_LINE} bytes"


@settings(deadline=None, max_examples=25)
@given(st.lists(NAMES, min_size=90, max_size=110), st.integers(1, 50))
def test_attributes_are_counted_alike_whatever_the_chunks(names: list[bytes], size: int) -> None:
    data = lines(*[(name, b"") for name in names])
    requests, error = fed(chunked(data, size))
    assert (error is None) is (len(names) <= MAX_ATTRIBUTES)
    assert len(requests) == (len(names) <= MAX_ATTRIBUTES)


# the time it takes


def seconds(make_chunks: Callable[[], Iterable[bytes]]) -> float:
    """Return the processor time to parse the chunks, undisturbed: the least of several tries."""
    tries = []
    for _ in range(5):
        chunks, parser = list(make_chunks()), RequestParser()
        start = time.thread_time()
        for chunk in chunks:
            parser.feed(chunk)
        tries.append(time.thread_time() - start)
        assert parser.error is None
    return min(tries)


@pytest.mark.parametrize("make", [request_of, lambda _: line_of(MAX_LINE)])
def test_one_long_request_in_single_bytes_takes_as_long_as_many_short_ones(
    make: Callable[[int], bytes],
) -> None:
    # searched anew with every byte it takes 50 times as long; 6 leaves room for a busy machine
    long = make(MAX_REQUEST)
    short = lines((b"request", b"smtpd_access_policy"), (b"sender", b"x" * 100))
    many = short * (len(long) // len(short))
    assert seconds(lambda: chunked(long, 1)) < 6 * seconds(lambda: chunked(many, 1))


def test_many_requests_in_one_chunk_take_no_longer_each_than_a_few() -> None:
    few, many = ONE * 100, ONE * 10_000
    assert seconds(lambda: [many]) < 6 * 100 * seconds(lambda: [few])
