"""Streams that were mutated, parsed in any chunks: what a plain reading of the rules says."""

import random
from typing import Final

from hypothesis import given
from hypothesis import strategies as st
from protocol.streams import chunked, cut, fed

from policyd.protocol.parser import MAX_ATTRIBUTES, MAX_LINE, MAX_REQUEST

from .form import CHECKS, seeds
from .house import recorded
from .mutation import Mutator

STREAMS: Final = [*(b"".join(session) for session in recorded()), *seeds("requests")]
LINES: Final = sorted({line + b"\n" for stream in STREAMS for line in stream.split(b"\n")})
LARGE: Final = [b"x" * MAX_LINE, b"a=%s\n" % (b"y" * (MAX_LINE - 3)), b"a=\n" * MAX_ATTRIBUTES]


def read(stream: bytes) -> tuple[list[dict[str, str]], bool]:
    """Return the requests in *stream*, and whether it breaks the rules after them."""
    requests = []
    lines: list[bytes] = []
    *whole, rest = stream.split(b"\n")
    for line in whole:
        if line:
            lines.append(line)
            continue
        if (
            not 0 < len(lines) <= MAX_ATTRIBUTES
            or sum(len(one) + 1 for one in lines) + 1 > MAX_REQUEST
            or any(b"=" not in one or len(one) + 1 > MAX_LINE for one in lines)
        ):
            return requests, True
        request: dict[str, str] = {}
        for one in lines:
            name, value = one.decode("utf-8", "surrogateescape").split("=", 1)
            request.setdefault(name, value)
        requests.append(request)
        lines = []
    unfinished = sum(len(one) + 1 for one in lines) + len(rest)
    return requests, unfinished >= MAX_REQUEST or len(rest) >= MAX_LINE


@CHECKS
@given(
    st.sampled_from(STREAMS),
    st.integers(0, 2**32),
    st.integers(1, 5000),
    st.lists(st.integers(0, 9000), max_size=5),
)
def test_a_mutated_stream_is_read_as_the_rules_say(
    stream: bytes, seed: int, size: int, places: list[int]
) -> None:
    chance = random.Random(seed)
    mutated = Mutator(chance, LINES + LARGE).raw(stream)
    requests, is_wrong = read(mutated)
    for chunks in ([mutated], chunked(mutated, size), cut(mutated, places)):
        found, error = fed(chunks)
        assert [dict(request.attributes) for request in found] == requests
        assert (error is not None) is is_wrong
