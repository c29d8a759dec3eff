"""Bytes as they come from a connection, cut into chunks in every way."""

from collections.abc import Iterable, Iterator

from hypothesis import strategies as st

from policyd.protocol.parser import RequestParser
from policyd.protocol.request import Request


def lines(*pairs: tuple[bytes, bytes]) -> bytes:
    """Return one request."""
    return b"".join(name + b"=" + value + b"\n" for name, value in pairs) + b"\n"


def chunked(data: bytes, size: int) -> Iterator[bytes]:
    """Cut *data* into chunks of *size* bytes."""
    return (data[at : at + size] for at in range(0, len(data), size))


def cut(data: bytes, places: Iterable[int]) -> Iterator[bytes]:
    """Cut *data* at *places*; a place beyond the end cuts nothing off."""
    start = 0
    for place in sorted(places):
        yield data[start:place]
        start = max(start, place)
    yield data[start:]


def fed(chunks: Iterable[bytes]) -> tuple[list[Request], str | None]:
    """Return what a new parser makes of *chunks*: the requests, and the error."""
    parser = RequestParser()
    requests = [request for chunk in chunks for request in parser.feed(chunk)]
    return requests, parser.error


def shown(chunks: Iterable[bytes]) -> tuple[list[str], str | None]:
    """Return the same in a form that can be compared."""
    requests, error = fed(chunks)
    return [repr(request) for request in requests], error


NAMES = st.binary(max_size=8).filter(lambda name: not set(name) & set(b"=\n"))
VALUES = st.binary(max_size=30).map(lambda value: value.replace(b"\n", b"\x0b"))
REQUESTS = st.lists(st.tuples(NAMES, VALUES), min_size=1, max_size=8)
